"""Records that one process writes and others read, through memory that both map, without locks and without waiting.

The memory has no name: it is a file that exists only as an open descriptor, which a child process inherits. So nobody
else can open it, and it is gone with the last process that holds it, however that one ends.

A `Slot` holds the newest of something. Its writer fills one of four places in turn and then publishes its number, so a
reader copies a place that the writer will come back to four writes later, and a writer that dies half way leaves the
record before it whole. Number and checksum inside the copy tell whether the writer did come back meanwhile, on machines
that reorder writes too; the reader then tries again. A `Queue` holds what must not be lost, in order, for one reader; a
`Book` keeps the last few, by number.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import RobotError
from robot_rl.geometry import Vector

Words = NDArray[np.int64]

_HEAD = 64  # bytes before the places: a cache line of its own for the number of the newest record
_PLACES = 4
_MORE_PLACES = 16
_GIVE_UP_S = 1.0


@dataclass(frozen=True)
class Layout:
    """What a record holds: so many floats, so many whole numbers, and a text of at most so many bytes."""

    numbers: int
    words: int
    text: int = 0

    def dtype(self) -> np.dtype[np.void]:
        """Return the record as numpy sees it; the checksum covers all that follows it."""
        size = -(-self.text // 8) * 8
        fields = [("crc", "<i8"), ("count", "<i8"), ("length", "<i8"), ("words", "<i8", (self.words,))]
        return np.dtype([*fields, ("numbers", "<f8", (self.numbers,)), ("text", "u1", (size,))])


@dataclass(frozen=True)
class Record:
    """One record as it was written: its number (from 1), floats, whole numbers and text. The arrays are read-only."""

    count: int
    numbers: Vector
    words: Words
    text: str


class Memory:
    """Memory shared by a process and the children that inherit its descriptor."""

    def __init__(self, size: int, fd: int = -1) -> None:
        """Make new memory of `size` bytes, all zero, or map that of an inherited descriptor."""
        if fd < 0:
            fd = _anonymous()
            os.ftruncate(fd, size)
        elif os.fstat(fd).st_size < size:
            found = os.fstat(fd).st_size
            raise RobotError(
                f"the shared memory has {found} bytes where {size} are needed; both ends must be one version"
            )
        self.fd, self.size = fd, size
        self.map = mmap.mmap(fd, size)

    def close(self) -> None:
        """Give back the descriptor. What is mapped stays until the last array on it is gone."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("robot_rl")
    with tempfile.TemporaryFile() as file:  # without memfd, a file that has no name
        return os.dup(file.fileno())


class Slot:
    """The newest record of a kind; one writer, any number of readers, in threads or processes."""

    places = _PLACES

    def __init__(self, memory: Memory, offset: int, layout: Layout) -> None:
        self.layout, self._dtype = layout, layout.dtype()
        size = self._dtype.itemsize
        view = memoryview(memory.map)
        self._head = np.frombuffer(memory.map, np.int64, 1, offset)
        starts = [offset + _HEAD + i * size for i in range(self.places)]
        self._views = [view[start : start + size] for start in starts]
        self._draft = np.zeros((), self._dtype)
        self._bytes = memoryview(self._draft.reshape(1).view(np.uint8))  # pyright: ignore[reportArgumentType]
        self._body = self._bytes[8:]
        self._count = int(self._head[0])
        # Filled in by the writer before `publish`; views into the draft.
        self.numbers: Vector = self._draft["numbers"]
        self.words: Words = self._draft["words"]
        self._meta = self._draft.reshape(1)

    @classmethod
    def size(cls, layout: Layout) -> int:
        """Return how many bytes of memory it takes."""
        return _HEAD + -(-cls.places * layout.dtype().itemsize // _HEAD) * _HEAD

    @property
    def count(self) -> int:
        """How many records have been published; it changes with every one."""
        return int(self._head[0])

    def set_text(self, text: str) -> None:
        """Set the text of the next records; what does not fit is cut."""
        raw = text.encode()[: self.layout.text].decode(errors="ignore").encode()
        self._meta["length"] = len(raw)
        self._draft["text"][: len(raw)] = np.frombuffer(raw, np.uint8)

    def publish(self) -> int:
        """Publish numbers, words and text as they are now, and return the record's number."""
        count = self._count = self._count + 1
        self._meta["count"] = count
        self._meta["crc"] = zlib.crc32(self._body)
        self._views[count % self.places][:] = self._bytes
        self._head[0] = count
        return count

    def read(self) -> Record | None:
        """Return a copy of the newest record, or None before the first.

        Raises:
            RobotError: No whole record could be read for a second, which no living writer causes.
        """
        deadline = 0.0
        while True:
            count = int(self._head[0])
            if count == 0:
                return None
            record = self._copy(count)
            if record is not None:
                return record
            now = time.monotonic()
            deadline = deadline or now + _GIVE_UP_S
            if now > deadline:
                raise RobotError(f"record {count} in the driver's shared memory is damaged; start the driver anew")

    def _copy(self, count: int) -> Record | None:
        raw = bytes(self._views[count % self.places])
        record = np.frombuffer(raw, self._dtype)[0]
        if record["count"] != count or record["crc"] != zlib.crc32(memoryview(raw)[8:]):
            return None
        text = bytes(record["text"][: record["length"]]).decode(errors="replace")
        return Record(count, record["numbers"], record["words"], text)


class Book(Slot):
    """The last records of a kind, each to be asked for by its number."""

    places = _MORE_PLACES

    def find(self, count: int) -> Record | None:
        """Return the record of that number, or None if it was not published yet or is no longer kept."""
        return self._copy(count) if 0 < count <= self.count else None


class Queue(Slot):
    """Records that are all read, in order, by one reader. Its writer is told when the reader is too far behind."""

    places = _MORE_PLACES

    def __init__(self, memory: Memory, offset: int, layout: Layout) -> None:
        super().__init__(memory, offset, layout)
        self._taken = np.frombuffer(memory.map, np.int64, 1, offset + 8)

    def publish(self) -> int:
        """Append a record and return its number.

        Raises:
            RobotError: The reader has left the last records unread.
        """
        if self._count - int(self._taken[0]) >= self.places - 1:
            raise RobotError(f"the driver has not read its last {self.places - 1} requests; its loop stands still")
        return super().publish()

    @property
    def waiting(self) -> bool:
        """Whether `take` would return a record."""
        return bool(self._head[0] != self._taken[0])

    def take(self) -> Record | None:
        """Return the oldest record that was not taken yet, or None."""
        count = int(self._taken[0]) + 1
        if count > int(self._head[0]):
            return None
        record = self._copy(count)
        if record is not None:
            self._taken[0] = count
        return record
