"""Whether data is fresh: ages, gaps and frozen sources, and stamps of a clock that may jump.

Ages are always differences of `time.monotonic()`. `ClockMap` brings stamps of the system's clock (ROS time) there, and
`Freshness` judges one named source, such as a topic or a camera.
"""

from __future__ import annotations

import logging
import math
import time
import zlib
from collections.abc import Callable

from robot_rl.errors import ConfigError
from robot_rl.timing import Histogram

log = logging.getLogger(__name__)

READS = 5
READ_S = 0.0005
"""A pair of clocks is read again, up to `READS` times, if that took longer: the process lost the processor between."""


class Freshness:
    """The newest datum of one source: how old it is, and whether the source only pretends to live.

    A source is frozen when it repeats itself: the same stamp, or the same content where that is given, `frozen_after`
    times in a row. A camera's picture carries noise and never repeats; a rendered picture of a still scene does, so
    give no content for one.

    Attributes:
        name: The source, for sentences.
        stamp_s: Monotonic time of the newest datum; -inf before the first.
        arrived: How many data came.
        late: How many were too old, or stamped too far ahead, when they came.
        backward: How many were older than one that had come before; they are not taken.
        frozen_times: How often the source froze.
        gap_ms: Distribution of the time between successive stamps, in milliseconds.

    Args:
        name: The source, for sentences.
        max_age_s: Oldest datum to act on.
        frozen_after: How many repeats in a row make a frozen source; 0 never looks.

    Raises:
        ConfigError: A setting is out of range.
    """

    def __init__(self, name: str, max_age_s: float, frozen_after: int = 0) -> None:
        if not 0.0 < max_age_s < math.inf or frozen_after < 0:
            raise ConfigError(
                f"the freshness of '{name}' needs a positive max_age_s and frozen_after of at least 0, got "
                f"max_age_s={max_age_s}, frozen_after={frozen_after}."
            )
        self.name, self.max_age_s, self.frozen_after = name, max_age_s, frozen_after
        self.stamp_s = -math.inf
        self.arrived = self.late = self.backward = self.frozen_times = 0
        self.gap_ms = Histogram()
        self._repeats, self._ahead_s = 0, 0.0
        self._content: int | None = None

    def take(self, stamp_s: float, now_s: float, content: bytes | memoryview | None = None) -> bool:
        """Take note of a datum that came, and return whether it is the newest and may be used.

        Args:
            stamp_s: monotonic time at which it was measured; one that is no number is never fresh.
            now_s: monotonic time.
            content: of which a checksum is compared with the last one's; contiguous.
        """
        self.arrived += 1
        if not abs(now_s - stamp_s) <= self.max_age_s:
            self.late += 1
        checksum = None if content is None else zlib.crc32(content)
        same = stamp_s == self.stamp_s or (checksum is not None and checksum == self._content)
        self._repeats = self._repeats + 1 if same else 0
        self._content = checksum
        if self.frozen_after and self._repeats == self.frozen_after:
            self.frozen_times += 1
            log.warning("%s is frozen: %s", self.name, self.problem(now_s))
        ahead_s = stamp_s - now_s
        self._ahead_s = ahead_s if ahead_s > self.max_age_s else 0.0
        if self._ahead_s:  # never the newest, or all that follows would be older
            return False
        if not stamp_s >= self.stamp_s:
            self.backward += 1
            return False
        if stamp_s > self.stamp_s > -math.inf:
            self.gap_ms.add(1e3 * (stamp_s - self.stamp_s))
        self.stamp_s = stamp_s
        return not self.problem(now_s)

    @property
    def frozen(self) -> bool:
        """Whether the source repeats itself."""
        return 0 < self.frozen_after <= self._repeats

    def age_s(self, now_s: float) -> float:
        """Return the age of the newest datum; inf before the first, negative if its stamp lies in the future."""
        return now_s - self.stamp_s

    def problem(self, now_s: float) -> str:
        """Return why the newest datum may not be acted on, as a sentence; empty if it may."""
        if self._ahead_s:
            return f"{self.name} is stamped {self._ahead_s:.3f} s ahead of the clock; the clocks of the machines differ"
        if self.stamp_s == -math.inf:
            return f"{self.name} has sent nothing that could be used"
        age_s = self.age_s(now_s)
        if not abs(age_s) <= self.max_age_s:
            return f"{self.name} is {age_s:.3f} s old, allowed are {self.max_age_s:.3f} s"
        if self.frozen:
            return f"{self.name} has repeated itself {self._repeats} times in a row"
        return ""

    def forget(self) -> None:
        """Begin anew, as after the source was opened again. Counts stay."""
        self.stamp_s, self._repeats, self._ahead_s, self._content = -math.inf, 0, 0.0, None


class ClockMap:
    """Turns stamps of the system's clock into monotonic time, and notices when that clock is set.

    When it is, a stamp from before cannot be told from one after: an old command could look fresh. So for a while no
    stamp is worth anything (nan, which the guard finds stale), and then the new clock counts. A clock that is merely
    slewed, as NTP does, is followed.

    Attributes:
        jumps: How often the clock was set.

    Args:
        max_jump_s: A larger change between two looks is a jump.
        distrust_s: How long stamps are worth nothing afterwards; longer than any command may be under way.
        system_ns: The system's clock, nanoseconds.
        monotonic_s: The monotonic clock, seconds.
    """

    def __init__(
        self,
        max_jump_s: float = 0.05,
        distrust_s: float = 1.0,
        system_ns: Callable[[], int] = time.time_ns,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_jump_s, self.distrust_s = max_jump_s, distrust_s
        self.jumps = 0
        self._system_ns, self._monotonic_s = system_ns, monotonic_s
        self._offset_ns, _, _ = self._measure()
        self._trusted_from_s = -math.inf

    def to_monotonic_s(self, stamp_ns: int) -> float:
        """Return the monotonic time [s] of a stamp of the system's clock [ns]; nan while the clock is not trusted."""
        now_s = self.look()
        return math.nan if now_s < self._trusted_from_s else 1e-9 * (stamp_ns + self._offset_ns)

    def to_system_ns(self, monotonic_s: float) -> int:
        """Return the system's time [ns] of a monotonic time [s]."""
        self.look()
        return round(1e9 * monotonic_s) - self._offset_ns

    def trusted(self) -> bool:
        """Return whether stamps are worth something now."""
        return self.look() >= self._trusted_from_s

    def look(self) -> float:
        """Compare the clocks, and return the monotonic time [s]. Called by every conversion."""
        offset_ns, now_s, width_s = self._measure()
        jump_s = 1e-9 * (self._offset_ns - offset_ns)
        if width_s > self.max_jump_s >= abs(jump_s) - width_s:  # a process that lost the processor saw no jump
            return now_s
        self._offset_ns = offset_ns
        if abs(jump_s) > self.max_jump_s + width_s:
            self.jumps += 1
            self._trusted_from_s = now_s + self.distrust_s
            log.warning(
                "the system's clock was set by %+.3f s; stamps count as stale for %.1f s", jump_s, self.distrust_s
            )
        return now_s

    def _measure(self) -> tuple[int, float, float]:
        """Return (monotonic minus system time [ns], monotonic time [s], how far apart they were read [s])."""
        best, tightest, now_s = 0, math.inf, 0.0
        for _ in range(READS):
            before_s = self._monotonic_s()
            system_ns = self._system_ns()
            now_s = self._monotonic_s()
            if now_s - before_s < tightest:
                tightest, best = now_s - before_s, round(5e8 * (before_s + now_s)) - system_ns
            if tightest < READ_S:
                break
        return best, now_s, tightest
