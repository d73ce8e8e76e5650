"""What a drive comes to: time and way driven, recoveries included, laps, trouble. And the cap on its speed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from robot_rl.car import Vector
from robot_rl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CapSettings:
    """How fast a car may go while it learns: the cap rises only while crashes are rare.

    Attributes:
        start_m_s: Cap at the beginning, and never lower.
        rise_m_s: How much it rises after each `clean_m` metres without trouble, up to the task's highest speed.
        clean_m: Way without trouble.
        fall_m_s: How much it falls with each trouble.
    """

    start_m_s: float = math.inf
    rise_m_s: float = 0.25
    clean_m: float = 40.0
    fall_m_s: float = 0.1

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if math.isnan(value) or value < 0.0 or (f.name in ("clean_m", "start_m_s") and value == 0.0):
                raise ConfigError(f"task.cap.{f.name} is {value}; it must be positive")


@dataclass(slots=True)
class SpeedCap:
    """The speed that a car may not exceed now.

    Attributes:
        settings: How it moves.
        most_m_s: It never rises beyond.
        now_m_s: The cap.
    """

    settings: CapSettings
    most_m_s: float
    now_m_s: float = 0.0
    _clean_m: float = 0.0

    def __post_init__(self) -> None:
        self.now_m_s = min(self.settings.start_m_s, self.most_m_s)

    def drove(self, way_m: float) -> None:
        """Count way without trouble."""
        self._clean_m += way_m
        if self._clean_m >= self.settings.clean_m:
            self._clean_m = 0.0
            self.now_m_s = min(self.now_m_s + self.settings.rise_m_s, self.most_m_s)

    def trouble(self) -> None:
        """Count a crash or the like."""
        self._clean_m = 0.0
        lowest = min(self.settings.start_m_s, self.most_m_s)
        self.now_m_s = max(self.now_m_s - self.settings.fall_m_s, lowest)

    def recall(self, cap_m_s: float) -> None:
        """Take up an earlier cap, of a run that goes on."""
        lowest = min(self.settings.start_m_s, self.most_m_s)
        self.now_m_s = min(max(cap_m_s, lowest), self.most_m_s)


@dataclass(slots=True)
class Tally:
    """Counts one episode, and the recovery before it.

    Attributes:
        driven_s, driven_m: Time and way, recovery included.
        recovery_s, recovery_m: Of the recovery alone.
        climbed: Its rungs, in words; empty without one.
        rescued: Whether a person had to carry the car.
        laps: Each lap that ended, as "LAP_S@DRIVEN_S", with "!" behind if the car was in trouble during it.
    """

    driven_s: float = 0.0
    driven_m: float = 0.0
    recovery_s: float = 0.0
    recovery_m: float = 0.0
    climbed: str = ""
    rescued: bool = False
    laps: list[str] = field(default_factory=list)
    _last: tuple[float, float, float] | None = None

    def stand(self, stamp_s: float, p: Vector) -> None:
        """Note where the car was put: the way there does not count."""
        self._last = (stamp_s, float(p[0]), float(p[1]))

    def move(self, stamp_s: float, p: Vector, recovering: bool = False) -> float:
        """Count the way since the reading before [m], and return it."""
        t, x, y = self._last or (stamp_s, float(p[0]), float(p[1]))
        seconds, way = stamp_s - t, math.hypot(float(p[0]) - x, float(p[1]) - y)
        self._last = (stamp_s, float(p[0]), float(p[1]))
        self.driven_s, self.driven_m = self.driven_s + seconds, self.driven_m + way
        if recovering:
            self.recovery_s, self.recovery_m = self.recovery_s + seconds, self.recovery_m + way
        return way

    def lap(self, lap_s: float, late_s: float, clean: bool) -> None:
        """Note a lap that ended so long before the newest reading."""
        self.laps.append(f"{lap_s:.3f}@{self.driven_s - late_s:.2f}{'' if clean else '!'}")

    def take(self, cap_m_s: float) -> dict[str, float | int | str | bool]:
        """Return what was counted, by name, and begin anew."""
        facts: dict[str, float | int | str | bool] = {
            "driven_s": round(self.driven_s, 3), "driven_m": round(self.driven_m, 3),
            "recovery_s": round(self.recovery_s, 3), "recovery_m": round(self.recovery_m, 3),
            "recovery": self.climbed, "rescued": self.rescued, "laps": " ".join(self.laps),
            "speed_cap_m_s": round(cap_m_s, 3),
        }  # fmt: skip
        self.driven_s = self.driven_m = self.recovery_s = self.recovery_m = 0.0
        self.climbed, self.rescued, self.laps = "", False, []
        return facts
