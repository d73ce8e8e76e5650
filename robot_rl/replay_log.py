"""An append-only log of received blocks: what lets a killed learner come back with its replay.

A folder holds segments `blocks-000001.log`, ... Each is a magic and then records:

    magic (4), payload length (4), CRC-32 of the payload (4), CRC-32 of these 12 bytes (4), payload

and a payload is sequence number (8), length of the stream's name (2), that name, the encoded block. A record goes out
in one write, so a kill can only tear the last one; reopening cuts it off. Any other damage is an error, since to skip
it silently would lose data that the actor has already forgotten.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from robot_rl.errors import CheckpointError, StorageError, WireError
from robot_rl.messages import StepBlock
from robot_rl.wire import WireLimits, decode, encode_one

log = logging.getLogger(__name__)

SEGMENT_BYTES = 64_000_000

_FILE_MAGIC = b"RRLBLK1\n"
_RECORD_MAGIC = b"RREC"
_HEAD = struct.Struct("<4sII")
_CRC = struct.Struct("<I")
_KEY = struct.Struct("<QH")
_HEADER_BYTES = _HEAD.size + _CRC.size
_NAME = re.compile(r"blocks-(\d{6})\.log")
_LIMITS = WireLimits(total_bytes=2**31)


class _Record(NamedTuple):
    """Where a record ends, whose it is, and its encoded block."""

    end: int
    stream: str
    seq: int
    block: memoryview


class ReplayLog:
    """The log of one run, open for writing by one process.

    Args:
        folder: Where the segments lie; made if missing.
        fsync_every_s: How often written data is forced to the disk. A killed process loses nothing either way; this
            bounds what a power cut can take. None leaves it to the system.
        segment_bytes: Size at which a new file begins.
    """

    def __init__(
        self, folder: str | Path, fsync_every_s: float | None = 5.0, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.folder = Path(folder)
        self._fsync_every_s, self._segment_bytes = fsync_every_s, segment_bytes
        self._fd = -1
        self._lock_fd = -1
        self._end = 0
        self._last_seq: dict[str, int] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._lock()
            self._open()
        except OSError as e:
            self.close()
            raise StorageError(f"cannot open the replay log {self.folder}: {e.strerror or e}") from e
        except BaseException:
            self.close()
            raise
        self._synced_s = time.monotonic()

    def __enter__(self) -> ReplayLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def last_seq(self) -> dict[str, int]:
        """Return the newest sequence number stored of each stream."""
        return dict(self._last_seq)

    def append(self, stream: str, seq: int, block: StepBlock) -> None:
        """Write one block. When this returns, a kill of the process cannot lose it.

        Raises:
            StorageError: The disk is full or failed. What was logged before is intact, and a later append may succeed.
        """
        if self._fd < 0:
            raise StorageError(f"the replay log {self.folder} is closed")
        if seq <= self._last_seq.get(stream, 0):
            known = self._last_seq[stream]
            raise CheckpointError(
                f"block {seq} of {stream} does not follow {known}, the newest in the log {self.folder}"
            )
        name = stream.encode()
        parts = [_KEY.pack(seq, len(name)), name, encode_one(block)]
        length, crc = 0, 0
        for part in parts:
            length, crc = length + len(part), zlib.crc32(part, crc)
        head = _HEAD.pack(_RECORD_MAGIC, length, crc)
        parts = [head, _CRC.pack(zlib.crc32(head)), *parts]
        if self._end > len(_FILE_MAGIC) and self._end + _HEADER_BYTES + length > self._segment_bytes:
            self._roll()
        self._write(b"".join(parts))
        self._last_seq[stream] = seq
        if self._fsync_every_s is not None and time.monotonic() - self._synced_s >= self._fsync_every_s:
            self.sync()

    def sync(self) -> None:
        """Force what was written to the disk."""
        try:
            os.fsync(self._fd)
        except OSError as e:
            raise StorageError(f"cannot flush the replay log {self.folder} to disk: {e.strerror}") from e
        self._synced_s = time.monotonic()

    def close(self) -> None:
        """Flush and close. Safe to call twice."""
        fd, lock_fd, self._fd, self._lock_fd = self._fd, self._lock_fd, -1, -1
        try:
            if fd >= 0:
                os.fsync(fd)
        except OSError as e:
            raise StorageError(f"cannot flush the replay log {self.folder} to disk: {e.strerror}") from e
        finally:
            for open_fd in (fd, lock_fd):
                if open_fd >= 0:
                    os.close(open_fd)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise CheckpointError(
                f"the replay log {self.folder} is in use by another learner; stop it first or choose another run folder"
            ) from e

    def _open(self) -> None:
        """Read every segment, cut off a torn tail and open the last one for appending."""
        segments = _segments(self.folder)
        end = 0
        for path in segments:
            end = 0
            for record in _scan(path, last=path is segments[-1]):
                end = record.end
                self._last_seq[record.stream] = max(record.seq, self._last_seq.get(record.stream, 0))
        if not segments:
            self._create(1)
            return
        self._fd = os.open(segments[-1], os.O_RDWR | os.O_CLOEXEC)
        size = os.fstat(self._fd).st_size
        self._end = max(end, len(_FILE_MAGIC))
        if size > self._end:
            log.warning("cut a torn record of %d bytes off %s", size - self._end, segments[-1])
        os.ftruncate(self._fd, self._end)
        os.pwrite(self._fd, _FILE_MAGIC, 0)  # the file may have been torn within its first bytes

    def _create(self, number: int) -> None:
        path = self.folder / f"blocks-{number:06d}.log"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._end = os.pwrite(self._fd, _FILE_MAGIC, 0)
        folder_fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder_fd)
        finally:
            os.close(folder_fd)

    def _roll(self) -> None:
        old_fd, old_end = self._fd, self._end
        number = int(_segments(self.folder)[-1].stem[-6:]) + 1
        try:
            os.fsync(old_fd)
            self._create(number)
        except OSError as e:
            if self._fd not in (old_fd, -1):
                os.close(self._fd)
            (self.folder / f"blocks-{number:06d}.log").unlink(missing_ok=True)
            self._fd, self._end = old_fd, old_end
            raise StorageError(f"cannot begin a new file of the replay log {self.folder}: {e.strerror}") from e
        os.close(old_fd)

    def _write(self, record: bytes) -> None:
        written = 0
        view = memoryview(record)
        try:
            while written < len(record):  # one write unless the disk fills, and then the next says why
                written += os.pwrite(self._fd, view[written:], self._end + written)
        except OSError as e:
            try:
                os.ftruncate(self._fd, self._end)
            except OSError:
                log.exception("could not cut a partial record off %s; reopening the log will", self.folder)
                os.close(self._fd)
                self._fd = -1
            raise StorageError(
                f"cannot write to the replay log {self.folder}: {e.strerror}. "
                "Free some space; everything logged before is intact"
            ) from e
        self._end += written


def read(folder: str | Path) -> Iterator[tuple[str, int, StepBlock]]:
    """Yield (stream, seq, block) of everything in a log, in the order in which it was written.

    Raises:
        CheckpointError: The folder holds no log, or a record is damaged; names the file and the offset.
    """
    segments = _segments(Path(folder))
    if not segments:
        raise CheckpointError(f"{folder} holds no replay log (files blocks-000001.log, ...)")
    for path in segments:
        offset = len(_FILE_MAGIC)
        for record in _scan(path, last=path is segments[-1]):
            try:
                block = decode([record.block], (StepBlock,), _LIMITS)
            except WireError as e:
                raise CheckpointError(f"{path}, record at byte {offset}: {e}") from e
            offset = record.end
            yield record.stream, record.seq, block


def _segments(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("blocks-*.log") if _NAME.fullmatch(p.name)) if folder.is_dir() else []


def _scan(path: Path, last: bool) -> Iterator[_Record]:
    """Yield the records of a segment. A torn tail ends the last segment quietly; other damage raises."""
    data = memoryview(path.read_bytes())
    offset = len(_FILE_MAGIC)
    fault = "" if data[:offset] == _FILE_MAGIC else "it does not begin as a segment of a replay log"
    if fault:
        if last and _is_zeros(data[offset:]):
            return
        raise _damage(path, 0, fault)
    while offset < len(data):
        end, fault = _check(data, offset)
        if fault:
            if last and _is_zeros(data[end:]):
                return
            raise _damage(path, offset, fault)
        payload = data[offset + _HEADER_BYTES : end]
        seq, name_bytes = _KEY.unpack_from(payload)
        start = _KEY.size + name_bytes
        yield _Record(end, bytes(payload[_KEY.size : start]).decode(), seq, payload[start:])
        offset = end


def _check(data: memoryview, offset: int) -> tuple[int, str]:
    """Return where the record at `offset` ends, as far as that is known, and what is wrong with it."""
    begin = offset + _HEADER_BYTES
    if begin > len(data):
        return len(data), "the file is cut short"
    magic, length, crc = _HEAD.unpack_from(data, offset)
    (head_crc,) = _CRC.unpack_from(data, offset + _HEAD.size)
    if magic != _RECORD_MAGIC or zlib.crc32(data[offset : offset + _HEAD.size]) != head_crc:
        return begin, "its header is damaged"
    if begin + length > len(data):
        return len(data), "the file is cut short"
    if zlib.crc32(data[begin : begin + length]) != crc:
        return begin + length, "its checksum does not match"
    return begin + length, ""


def _is_zeros(data: memoryview) -> bool:
    """Whether only zeros are left: after a power cut a file may have grown without its data having reached the disk."""
    return not bytes(data).strip(b"\0")


def _damage(path: Path, offset: int, what: str) -> CheckpointError:
    return CheckpointError(
        f"replay log {path} is damaged at byte {offset}: {what}. Restore the file from a copy, "
        f"or keep what lies before with: truncate -s {offset} {path} (and remove later segments)"
    )
