"""What is encoded comes back equal; whatever else arrives is a WireError that names its fault."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_rl.errors import WireError
from robot_rl.link import Ack, Data, Heartbeat, Hello, Refused, Welcome, Who
from robot_rl.messages import LearnerStatus, Policy, StepBlock
from robot_rl.wire import WIRE_VERSION, WireLimits, decode, encode, encode_one

ALL = (StepBlock, Policy, LearnerStatus, Hello, Welcome, Refused, Who, Data, Ack, Heartbeat)

counts = st.integers(0, 2**63 - 1)
names = st.text(max_size=8)
floats32 = st.floats(width=32)


@st.composite
def blocks(draw: st.DrawFn) -> StepBlock:
    n, state, action = draw(st.integers(0, 40)), draw(st.integers(0, 40)), draw(st.integers(0, 7))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    ended = draw(st.booleans())
    cameras = draw(st.lists(names, max_size=2, unique=True))
    plain = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), names)
    return StepBlock(
        episode=draw(counts),
        start=draw(counts),
        states=rng.standard_normal((n, state)).astype(np.float32),
        actions=rng.standard_normal((n, action)).astype(np.float32),
        rewards=draw(hnp.arrays(np.float32, n, elements=floats32)),
        sources=rng.integers(0, 3, n).astype(np.uint8),
        policy_versions=rng.integers(0, 2**62, n),
        images={c: rng.integers(0, 256, (n, 16, 16, 3)).astype(np.uint8) for c in cameras},
        ended=ended,
        terminated=ended and draw(st.booleans()),
        final_state=np.zeros(state if ended else 0, np.float32),
        final_images={c: np.zeros((16, 16, 3), np.uint8) for c in cameras} if ended else {},
        info=draw(st.dictionaries(names, plain, max_size=4)),
    )


statuses = st.builds(
    LearnerStatus, env_steps=counts, updates=counts, steps_allowed=counts, finished=st.booleans(), policy_version=counts
)
weights = hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0), elements=floats32)
specs = st.dictionaries(names, st.dictionaries(names, st.lists(st.one_of(counts, names), max_size=3), max_size=3))
messages = st.one_of(
    blocks(),
    st.builds(Policy, version=counts, weights=st.dictionaries(names, weights, max_size=4)),
    statuses,
    st.builds(Hello, actor=names, session=names, spec=specs, oldest=st.integers(1, 2**63 - 1)),
    st.builds(Welcome, received=counts, stored=counts),
    st.builds(Refused, reason=st.text()),
    st.builds(Data, seq=st.integers(1, 2**63 - 1), block=blocks()),
    st.builds(Ack, received=counts, stored=counts, status=st.one_of(st.none(), statuses), resend=st.booleans()),
    st.just(Who()),
    st.just(Heartbeat()),
)


def assert_equal(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if dataclasses.is_dataclass(a):
        for f in dataclasses.fields(a):
            assert_equal(getattr(a, f.name), getattr(b, f.name))
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for k in a:
            assert_equal(a[k], b[k])
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@settings(max_examples=200, deadline=None)
@given(message=messages, inline=st.sampled_from([0, 100, 4096, math.inf]))
def test_every_message_comes_back_equal(message: object, inline: float) -> None:
    frames = encode(message, inline)
    assert_equal(message, decode([bytes(f) for f in frames], ALL))
    assert_equal(message, decode([encode_one(message)], (type(message),)))


@settings(max_examples=400, deadline=None)
@given(frames=st.lists(st.binary(max_size=300), max_size=4))
def test_random_bytes_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode(frames, ALL)


plain_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.binary(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(message=messages, data=st.data())
def test_a_mutated_message_decodes_or_is_refused(message: object, data: st.DataObject) -> None:
    """Flip bytes, drop or add frames, or swap a field for any value: never another exception."""
    frames = [bytearray(f) for f in encode(message, data.draw(st.sampled_from([0, 4096])))]
    how = data.draw(st.sampled_from(["flip", "cut", "drop", "repeat", "field", "array"]))
    which = data.draw(st.integers(0, len(frames) - 1))
    if how == "flip" and frames[which]:
        frames[which][data.draw(st.integers(0, len(frames[which]) - 1))] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del frames[which][data.draw(st.integers(0, len(frames[which]))) :]
    elif how == "drop":
        del frames[which]
    elif how == "repeat":
        frames.append(frames[which])
    else:
        version, name, fields = msgpack.unpackb(frames[0])
        if fields:
            key = data.draw(st.sampled_from(sorted(fields)))
            if how == "field" or type(fields[key]) is not list:
                fields[key] = data.draw(plain_values)
            elif fields[key]:
                fields[key][data.draw(st.integers(0, len(fields[key]) - 1))] = data.draw(plain_values)
        frames[0] = bytearray(msgpack.packb([version, name, fields]))
    with contextlib.suppress(WireError):
        decode(frames, ALL)


def refused(fields: dict, name: str = "Welcome", version: int = WIRE_VERSION, **limits: int) -> str:
    with pytest.raises(WireError) as e:
        decode([msgpack.packb([version, name, fields])], ALL, WireLimits(**limits))
    return str(e.value)


def test_the_fault_is_named() -> None:
    good = {"received": 1, "stored": 1}
    assert "unknown field 'extra'" in refused(good | {"extra": 1})
    assert "lacks the field 'stored'" in refused({"received": 1})
    assert "Welcome.stored is str, expected int" in refused(good | {"stored": "1"})
    assert "Welcome.stored is bool" in refused(good | {"stored": True})
    assert "expected 0 or more" in refused(good | {"stored": -1})
    assert "wire version 99, this end speaks 1" in refused(good, version=99)
    assert "'Surprise', allowed here" in refused({}, name="Surprise")
    assert "allowed are 5" in refused(good, total_bytes=5)
    with pytest.raises(WireError, match="allowed here: Who"):
        decode(encode(Heartbeat()), (Who,))


def test_arrays_are_checked_before_they_are_made() -> None:
    def policy(array: object) -> str:
        return refused({"version": 0, "weights": {"w": array}}, name="Policy")

    assert "dtype '|O'" in policy(["|O", [1], bytes(8)])
    assert "needs 8000000000000 bytes, got 4" in policy(["<f4", [10**12, 2], bytes(4)])
    assert "no valid shape" in policy(["<f4", [-1, -1], bytes(4)])
    assert "at most 8" in policy(["<f4", [1] * 9, bytes(4)])
    assert "impossible shape" in policy(["<f4", [0, 2**62, 2**62], b""])
    assert "points at frame 7" in policy(["<f4", [1], 7])
    assert "points at frame 0" in policy(["<f4", [1], 0])


def test_what_cannot_travel_is_refused_at_the_sender() -> None:
    with pytest.raises(WireError, match=r"Policy.weights\[w\] has dtype float64"):
        encode(Policy(version=1, weights={"w": np.zeros(3)}))  # pyright: ignore[reportArgumentType]
    with pytest.raises(WireError, match="dtype object"):
        encode(Policy(version=1, weights={"w": np.array([object()])}))
    with pytest.raises(WireError, match="dict is not a message"):
        encode({})


def test_large_arrays_are_not_copied() -> None:
    array = np.zeros(100_000, np.float32)
    frames = encode(Policy(version=1, weights={"w": array}))
    assert len(frames) == 2
    assert np.shares_memory(np.frombuffer(frames[1], np.float32), array)
    again = decode(frames, (Policy,)).weights["w"]
    assert np.shares_memory(again, array)
    assert not again.flags.writeable
