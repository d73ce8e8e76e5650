"""The actor-learner link within one thread: the same methods as `robot_rl.transport`, no sockets and no encoding.

Everything sent is there at the next call of the other end, so a run with a fixed seed repeats exactly.
"""

from __future__ import annotations

import math
from collections import deque

from robot_rl.errors import TransportError
from robot_rl.link import Received
from robot_rl.messages import LearnerStatus, Policy, StepBlock


class _Shared:
    """What both ends see."""

    def __init__(self) -> None:
        self.waiting: deque[Received] = deque()
        self.sent = 0
        self.stored = 0
        self.policy: Policy | None = None
        self.status: LearnerStatus | None = None
        self.closed = False


class LocalActor:
    """The actor's end; see `robot_rl.link.ActorSide`."""

    def __init__(self, shared: _Shared, stream: str, capacity: int) -> None:
        self._shared, self._stream, self._capacity = shared, stream, capacity

    @property
    def stream(self) -> str:
        """`actor/session`."""
        return self._stream

    @property
    def unacked(self) -> int:
        """Blocks that the learner has not confirmed."""
        return self._shared.sent - self._shared.stored

    @property
    def learner_alive(self) -> bool:
        """Whether the learner's end is open."""
        return not self._shared.closed

    @property
    def status_age_s(self) -> float:
        """Zero once there is a status: it is always current."""
        return math.inf if self._shared.status is None else 0.0

    def send(self, block: StepBlock) -> int:
        """Hand over a block and return its sequence number."""
        if not self.wait_room(0.0):
            raise TransportError(
                f"{self.unacked} blocks wait for the learner, the most allowed; let it poll and acknowledge"
            )
        self._shared.sent += 1
        self._shared.waiting.append((self._stream, self._shared.sent, block))
        return self._shared.sent

    def wait_room(self, timeout_s: float) -> bool:
        """Return whether `send` has room; in one thread there is nothing to wait for."""
        return self.unacked < self._capacity

    def policy(self) -> Policy | None:
        """Return the newest weights that this method has not returned yet."""
        policy, self._shared.policy = self._shared.policy, None
        return policy

    def status(self) -> LearnerStatus | None:
        """Return the newest status of the learner."""
        return self._shared.status

    def close(self, drain_s: float = 0.0) -> int:
        """Return how many blocks the learner has not confirmed."""
        return self.unacked


class LocalLearner:
    """The learner's end; see `robot_rl.link.LearnerSide`."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared

    def poll(self, timeout_s: float) -> list[Received]:
        """Return the blocks that were sent since the last call."""
        received = list(self._shared.waiting)
        self._shared.waiting.clear()
        return received

    def acknowledge(self, stream: str, seq: int, status: LearnerStatus | None = None) -> None:
        """Confirm that every block up to `seq` is stored."""
        self._shared.stored = max(self._shared.stored, min(seq, self._shared.sent))
        if status is not None:
            self._shared.status = status

    def publish(self, policy: Policy) -> None:
        """Give weights to the actor."""
        self._shared.policy = policy

    def set_status(self, status: LearnerStatus) -> None:
        """Set what the actor sees."""
        self._shared.status = status

    def close(self) -> None:
        """Mark the learner as gone."""
        self._shared.closed = True


def local_link(
    actor: str = "actor0", session: str = "local", capacity: int = 4096, stored: int = 0
) -> tuple[LocalActor, LocalLearner]:
    """Return both ends.

    Args:
        actor, session: Names of the stream.
        capacity: Unconfirmed blocks that `send` accepts.
        stored: Sequence number that the stream has reached already, when a run is resumed.
    """
    shared = _Shared()
    shared.sent = shared.stored = stored
    return LocalActor(shared, f"{actor}/{session}", capacity), LocalLearner(shared)
