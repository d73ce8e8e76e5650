"""What an arm looks like to a person: the newest of its topics, and the lines that show it in a terminal."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

import numpy as np

from robot_rl.geometry import Vector, rotate, vector_angle

STALE_S = 0.5
_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class ArmView:
    """The newest of what an arm node says.

    Attributes:
        where: Namespace and domain, for people.
        p_BE, quat_BE: Measured tool pose, (3,) [m] and (4,) wxyz in B; None before the first.
        force_n: Largest of what the world does to the tool, the norm of its force.
        width_m: Opening of the gripper; nan if it is not told.
        closing: Whether the gripper was told to close.
        age_s: Since the newest pose arrived; infinite before the first.
        rate_hz: Poses in the last second.
        mode, reason, driver, recoveries_left, counts: Of the newest status; mode is "" before the first.
        status_age_s: Since the newest status arrived.
        events: What the guard changed in the newest request.
        others: How many others publish where the tool shall go.
    """

    where: str
    p_BE: Vector | None = None
    quat_BE: Vector | None = None
    force_n: float = math.nan
    width_m: float = math.nan
    closing: bool = False
    age_s: float = math.inf
    rate_hz: float = 0.0
    mode: str = ""
    reason: str = ""
    driver: str = ""
    recoveries_left: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    status_age_s: float = math.inf
    events: Sequence[str] = ()
    others: int = 0

    @property
    def fresh(self) -> bool:
        """Whether there is a pose to act on."""
        if self.p_BE is None or self.quat_BE is None or self.age_s >= STALE_S:
            return False
        return bool(np.isfinite(self.p_BE).all() and np.isfinite(self.quat_BE).all() and self.quat_BE.any())

    def lines(self) -> list[str]:
        """Return it as lines for a terminal."""
        if not self.mode:
            return [f"no arm node answers on {self.where} yet; start one with: robot-rl node arm"]
        out = [
            f"arm {self.where} ({self.driver or 'no driver told'})  {self.mode}"
            + f": {self.reason}" * bool(self.reason)
        ]
        if self.p_BE is None or self.quat_BE is None:
            out.append("tool  no reading yet")
        else:
            x, y, z = self.p_BE
            tilt = math.degrees(
                vector_angle(rotate(self.quat_BE, np.array([0.0, 0.0, 1.0])), np.array([0.0, 0.0, -1.0]))
            )
            out.append(f"tool  x {x:+.4f}  y {y:+.4f}  z {z:+.4f} m   {tilt:.1f} deg from straight down")
        gripper = "" if math.isnan(self.width_m) else f"   gripper {1e3 * self.width_m:.0f} mm, {_word(self.closing)}"
        out.append(f"force {self.force_n:.1f} N{gripper}")
        old = f", but the newest is {self.age_s:.1f} s OLD" if self.age_s > STALE_S and self.p_BE is not None else ""
        left = f"recoveries left {self.recoveries_left}"
        silent = f"   STATUS {self.status_age_s:.0f} s OLD" if self.status_age_s > 3.0 else ""
        out.append(f"readings {self.rate_hz:.0f} a second{old}   {left}{silent}")
        counted = "  ".join(f"{name} {n}" for name, n in sorted(self.counts.items()) if n)
        now = f"   now: {', '.join(self.events)}" if self.events else ""
        out.append(f"guard {counted or 'nothing yet'}{now}")
        if self.others:
            out.append(f"{self.others} other program{'s' * (self.others > 1)} may command this arm")
        return out


def _word(closing: bool) -> str:
    return "closing" if closing else "opening"


class Panel:
    """Lines that are drawn over themselves on a terminal; elsewhere only what is new is printed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._terminal = self._stream.isatty()
        self._drawn = 0
        self._last = ""

    def show(self, lines: Sequence[str], headline: str) -> None:
        """Draw the lines.

        Args:
            lines: For a terminal.
            headline: What is printed elsewhere, when it changes.
        """
        with contextlib.suppress(OSError):  # a closed terminal is told by the keyboard
            self._show(lines, headline)

    def _show(self, lines: Sequence[str], headline: str) -> None:
        if not self._terminal:
            if headline != self._last:
                self._stream.write(headline + "\n")
                self._stream.flush()
            self._last = headline
            return
        width = shutil.get_terminal_size((120, 24)).columns - 1
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        body = "".join(f"{_printable(line)[:width]}\x1b[K\n" for line in lines)
        self._stream.write(f"{up}{body}\x1b[J")
        self._stream.flush()
        self._drawn = len(lines)


def _printable(text: str) -> str:
    """Return one line without control characters: reasons come over the network."""
    return "".join(c if c.isprintable() else " " for c in text)
