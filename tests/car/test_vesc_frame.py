from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import WireError
from robot_rl_hardware.car.vesc_frame import MAX_PAYLOAD, FrameReader, crc16, to_frame

payloads = st.binary(min_size=1, max_size=MAX_PAYLOAD)
cuts = st.lists(st.integers(0, 4000), max_size=12)


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    """Return the bytes cut into pieces at these places."""
    edges = [0, *sorted(min(a, len(data)) for a in at), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def bitwise_crc(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def test_the_checksum_is_xmodem() -> None:
    assert crc16(b"123456789") == 0x31C3


@given(st.binary(max_size=600))
def test_the_checksum_is_that_of_its_polynomial(data: bytes) -> None:
    assert crc16(data) == bitwise_crc(data)


@pytest.mark.parametrize(("payload", "frame"), [(b"\x04", "020104408403"), (b"\x00", "020100000003")])
def test_frames_are_those_that_other_programs_send(payload: bytes, frame: str) -> None:
    assert to_frame(payload).hex() == frame


@pytest.mark.parametrize(("size", "head"), [(1, "0201"), (255, "02ff"), (256, "030100"), (512, "030200")])
def test_a_long_payload_has_a_long_head(size: int, head: str) -> None:
    assert to_frame(bytes(size)).hex().startswith(head)


@pytest.mark.parametrize("size", [0, MAX_PAYLOAD + 1])
def test_what_the_firmware_does_not_take_is_refused(size: int) -> None:
    with pytest.raises(WireError, match=f"1 to {MAX_PAYLOAD} bytes, got {size}"):
        to_frame(bytes(size))


@given(st.lists(payloads, max_size=6), cuts)
def test_frames_are_read_back_however_they_are_cut(sent: list[bytes], at: list[int]) -> None:
    reader = FrameReader()
    read = [p for piece in pieces(b"".join(map(to_frame, sent)), at) for p in reader.feed(piece)]
    assert read == sent
    assert reader.skipped == 0
    assert not reader.waiting


@given(payloads, st.data())
def test_a_frame_with_a_wrong_byte_is_never_taken(payload: bytes, data: st.DataObject) -> None:
    frame = bytearray(to_frame(payload))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    reader = FrameReader()
    read = reader.feed(bytes(frame))
    while reader.waiting:
        read += reader.give_up()
    # The checksum finds every error within 16 bits; only a shorter frame may hide in the payload by chance.
    assert not [p for p in read if len(p) >= len(payload)]


@given(payloads, st.data())
def test_a_frame_cut_short_is_no_frame_and_the_next_one_is_found(payload: bytes, data: st.DataObject) -> None:
    frame = to_frame(payload)
    reader = FrameReader()
    read = reader.feed(frame[: data.draw(st.integers(0, len(frame) - 1))])
    assert payload not in read
    read = reader.feed(to_frame(b"\x04next"))
    while reader.waiting:
        read += reader.give_up()
    assert read[-1] == b"\x04next"


@given(st.lists(st.binary(max_size=400), max_size=8), payloads)
@settings(max_examples=200)
def test_no_bytes_crash_the_reader_make_it_grow_or_hide_a_later_frame(garbage: list[bytes], payload: bytes) -> None:
    reader = FrameReader()
    for some in garbage:
        reader.feed(some)
        assert len(reader._buffer) < MAX_PAYLOAD + 6
    read = reader.feed(to_frame(payload))
    while reader.waiting:
        read += reader.give_up()
    assert payload in read


def test_garbage_without_a_start_byte_costs_nothing() -> None:
    reader = FrameReader()
    assert reader.feed(b"\xff\xfe\x00hello" + to_frame(b"\x04")) == [b"\x04"]
    assert reader.skipped == 8


def test_nothing_to_give_up_is_fine() -> None:
    assert FrameReader().give_up() == []
