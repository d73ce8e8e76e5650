"""When an operator's device counts as let go although it says that it is held: it died, it hangs, or it repeats itself.

Once distrusted, a device stays so until it is seen at rest: a link that comes back with the stick still deflected must
not throw the arm into motion, and the person learns that they were not in charge for a while.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

from robot_rl.errors import ConfigError

SETTLE_S = 0.25
"""How long a device that was opened again must say nothing to be at rest; a deflected one reports far sooner."""


@dataclass(frozen=True, kw_only=True)
class WatchdogConfig:
    """What is believed of a device.

    Attributes:
        silent_s: Longest time without any report while it is held, for devices that report again and again then.
        unchanged_s: Longest time that one deflection is believed without any change.
        still_s: The same for a dead-man button that is held with nothing deflected.
    """

    silent_s: float = math.inf
    unchanged_s: float = 5.0
    still_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("silent_s", "unchanged_s", "still_s"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"operator.{name} is {getattr(self, name)}; it must be positive")


class Watchdog:
    """Decides whether what a device says may be acted on.

    Args:
        config: What is believed.

    Attributes:
        why: Why the device counts as let go until it is seen at rest; empty while it is trusted.
    """

    def __init__(self, config: WatchdogConfig | None = None) -> None:
        self.config = config or WatchdogConfig()
        self.why = ""
        self._content: Hashable = None
        self._arrived_s = self._changed_s = self._opened_s = -math.inf

    def distrust(self, why: str) -> None:
        """Count the device as let go until it is seen at rest; the first reason stands."""
        self.why = self.why or why

    def opened_again(self, now_s: float) -> None:
        """Take note that the device was opened again: what it says of itself until it reports is only assumed."""
        self._opened_s = now_s

    def look(
        self, now_s: float, content: Hashable, *, arrived: bool, held: bool, deflected: bool, trouble: str = ""
    ) -> str:
        """Return why the device counts as let go; empty if what it says may be acted on.

        Args:
            now_s: Monotonic time.
            content: All that it says at the moment.
            arrived: Whether any report has come since the last look.
            held: Whether a dead-man button is held or, without one, anything deflected.
            deflected: Whether anything is deflected.
            trouble: Why nothing can be known of it now, such as that it is unplugged.
        """
        if arrived:
            self._arrived_s = now_s
        if arrived and content != self._content:
            self._content, self._changed_s = content, now_s
        if trouble:
            self.distrust(trouble)
            return trouble
        if not held and not deflected:
            if arrived or now_s - self._opened_s > SETTLE_S:
                self.why = ""
        elif not self.why:
            silent_s, same_s = now_s - self._arrived_s, now_s - self._changed_s
            limit_s = self.config.unchanged_s if deflected else self.config.still_s
            if silent_s > self.config.silent_s:
                self.distrust(f"silent for {silent_s:.1f} s while it was held")
            elif same_s > limit_s:
                self.distrust(f"the same deflection for {same_s:.0f} s")
        return self.why
