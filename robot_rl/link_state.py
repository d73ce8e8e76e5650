"""What each end of the link remembers of a stream, apart from any socket.

Go-back-N: the actor numbers its blocks 1, 2, ... and keeps them until they are stored; the learner takes only the next
number; after any loss the actor goes back to the first number that the learner lacks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Frames = Sequence[bytes | memoryview]

RESEND_FIRST_S = 1.0
RESEND_MOST_S = 30.0


class Outbox:
    """The actor's blocks that are not yet known to be stored. Not thread-safe."""

    def __init__(self) -> None:
        self._entries: deque[tuple[Frames, int]] = deque()
        self._oldest = 1  # sequence number of the first entry
        self._cursor = 1  # next to transmit
        self._received = 0
        self._silent_since_s = 0.0
        self._resend_s = RESEND_FIRST_S
        self.nbytes = 0

    def __len__(self) -> int:
        """Return how many blocks are not yet stored."""
        return len(self._entries)

    @property
    def oldest(self) -> int:
        """Lowest sequence number that can still be sent."""
        return self._oldest

    @property
    def following(self) -> int:
        """Sequence number of the next block."""
        return self._oldest + len(self._entries)

    def append(self, frames: Frames) -> None:
        """Add the block with number `following`."""
        nbytes = sum(len(f) for f in frames)
        self._entries.append((frames, nbytes))
        self.nbytes += nbytes

    def peek(self) -> Frames | None:
        """Return the next block to transmit, if any waits."""
        return self._entries[self._cursor - self._oldest][0] if self._cursor < self.following else None

    def transmitted(self, now_s: float) -> None:
        """Move on after `peek`'s block was handed to the network."""
        if self._cursor == self._received + 1:
            self._silent_since_s = now_s
        self._cursor += 1

    def confirmed(self, received: int, stored: int, now_s: float) -> None:
        """Note how far the learner is; forget what it has stored."""
        stored = min(stored, self.following - 1)
        while self._oldest <= stored:
            self.nbytes -= self._entries.popleft()[1]
            self._oldest += 1
        self._cursor = max(self._cursor, self._oldest)
        if received > self._received:
            self._silent_since_s, self._resend_s = now_s, RESEND_FIRST_S
        self._received = min(max(received, stored), self.following - 1)

    def rewind(self, received: int, now_s: float) -> None:
        """Go back to the block after `received`."""
        self._received = min(received, self.following - 1)
        self._cursor = min(max(received + 1, self._oldest), self.following)
        self._silent_since_s = now_s

    def overdue(self, now_s: float) -> bool:
        """Return whether transmitted blocks have shown no progress for long; then `rewind` to what was received."""
        if self._cursor <= self._received + 1 or now_s - self._silent_since_s < self._resend_s:
            return False
        self._resend_s = min(2.0 * self._resend_s, RESEND_MOST_S)
        return True

    @property
    def received(self) -> int:
        """Highest number that the learner is known to have received."""
        return self._received


@dataclass(slots=True)
class Progress:
    """How far the learner is with one stream: blocks up to `received` have arrived, up to `stored` are on disk."""

    received: int
    stored: int

    def offer(self, seq: int) -> Literal["next", "duplicate", "gap"]:
        """Judge a block by its number; the next one counts as received."""
        if seq <= self.received:
            return "duplicate"
        if seq > self.received + 1:
            return "gap"
        self.received = seq
        return "next"

    def confirm(self, seq: int) -> None:
        """Count blocks up to `seq` as stored."""
        self.stored = max(self.stored, min(seq, self.received))
