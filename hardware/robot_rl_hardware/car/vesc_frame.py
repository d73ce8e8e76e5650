"""Frames of the VESC's serial protocol: bytes into payloads and back, whatever else the line carries.

    0x02 length(1) payload crc(2) 0x03        payloads of 1 to 255 bytes
    0x03 length(2) payload crc(2) 0x03        longer ones

All numbers are big-endian; the checksum is CRC-16/XMODEM of the payload alone.
"""

from __future__ import annotations

import binascii

from robot_rl.errors import WireError

MAX_PAYLOAD = 512
"""What the firmware accepts. A longer length is no length but garbage, and waiting for its end would cost time."""

_SHORT, _LONG, _STOP = 0x02, 0x03, 0x03
_SHORT_MAX = 255


def crc16(payload: bytes) -> int:
    """Return the CRC-16/XMODEM of a payload."""
    return binascii.crc_hqx(payload, 0)


def to_frame(payload: bytes) -> bytes:
    """Return the frame around a payload.

    Raises:
        WireError: The payload is empty or longer than the firmware accepts.
    """
    if not 1 <= len(payload) <= MAX_PAYLOAD:
        raise WireError(f"a VESC takes payloads of 1 to {MAX_PAYLOAD} bytes, got {len(payload)}")
    if len(payload) <= _SHORT_MAX:
        head = bytes((_SHORT, len(payload)))
    else:
        head = bytes((_LONG, *len(payload).to_bytes(2, "big")))
    return head + payload + crc16(payload).to_bytes(2, "big") + bytes((_STOP,))


class FrameReader:
    """Finds whole, correct frames in a stream of bytes, and begins anew one byte later after anything else.

    It never holds more than one frame that has begun, so no bytes make it grow.

    Attributes:
        skipped: How many bytes belonged to no correct frame.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0

    @property
    def waiting(self) -> bool:
        """Whether a frame has begun and not ended. What only looks like a beginning counts too: see `give_up`."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they came, and return the payloads that are complete now."""
        self._buffer += data
        payloads, at = [], 0
        while at < len(self._buffer):
            size, payload = self._frame_at(at)
            if size == 0:
                break
            if payload is None:
                self.skipped += 1
            else:
                payloads.append(payload)
            at += size
        del self._buffer[:at]
        return payloads

    def give_up(self) -> list[bytes]:
        """Take what has begun for garbage, since its end did not come in time, and return what follows it.

        A damaged length makes the reader wait for bytes that are the next frames: only a clock can tell, and the clock
        is whoever reads the port.
        """
        if not self._buffer:
            return []
        del self._buffer[0]
        self.skipped += 1
        return self.feed(b"")

    def _frame_at(self, at: int) -> tuple[int, bytes | None]:
        """Return how many bytes to go on by, 0 to wait for more, and the payload if a correct frame stands here."""
        buffer = self._buffer
        start = buffer[at]
        if start not in (_SHORT, _LONG):
            return 1, None
        begin = at + start  # the start byte is also the length of the head
        if len(buffer) < begin:
            return 0, None
        length = int.from_bytes(buffer[at + 1 : begin], "big")
        # The firmware writes a length in two bytes only where one is too short; anything else is no head.
        if not (1 if start == _SHORT else _SHORT_MAX) <= length <= MAX_PAYLOAD:
            return 1, None
        end = begin + length
        if len(buffer) < end + 3:
            return 0, None
        payload = bytes(buffer[begin:end])
        if buffer[end + 2] != _STOP or int.from_bytes(buffer[end : end + 2], "big") != crc16(payload):
            return 1, None
        return end + 3 - at, payload
