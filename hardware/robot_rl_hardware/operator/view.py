"""What an arm looks like to a person: the newest of its topics, and the lines that show it in a terminal."""

from __future__ import annotations

import contextlib
import math
import os
import select
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

import numpy as np

from robot_rl.geometry import Vector, rotate, vector_angle

STALE_S = 0.5
SILENT_S = 3.0
"""A node tells its status twice a second."""
LONGEST_LINE = 4096
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

    @property
    def told_mode(self) -> str:
        """The mode, if the status that said it is new: an old one confirms nothing."""
        return self.mode if self.status_age_s < SILENT_S else ""

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
        silent = f"   STATUS {self.status_age_s:.0f} s OLD" if self.status_age_s > SILENT_S else ""
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
    """Lines that are drawn over themselves on a terminal; elsewhere only what is new is printed.

    Drawing never waits: a terminal that is not read, because a network hangs or its window is frozen, must not keep
    the program from reading the key that stops. What does not fit is drawn later, or never.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        out: TextIO = stream or sys.stdout
        out.flush()
        self._terminal = out.isatty()
        self._fd = out.fileno()
        self._own = -1
        self._drawn = 0
        self._last = ""
        self._pending = b""
        if self._terminal:
            # A descriptor of its own: not to wait is a property of the opened file, which the shell shares.
            with contextlib.suppress(OSError):
                self._own = os.open(os.ttyname(self._fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        self._width = shutil.get_terminal_size((120, 24)).columns - 1

    def __enter__(self) -> Panel:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the terminal."""
        self.close()

    def close(self) -> None:
        """Release the terminal. Safe to call twice."""
        if self._own >= 0:
            os.close(self._own)
        self._own = -1

    def show(self, lines: Sequence[str], headline: str) -> None:
        """Draw the lines.

        Args:
            lines: For a terminal.
            headline: What is printed elsewhere, when it changes.
        """
        if self._pending:
            self._write(b"")
        if self._pending:
            return
        if self._own >= 0:
            up = f"\x1b[{self._drawn}F" if self._drawn else ""
            body = "".join(f"{_printable(line)[: self._width]}\x1b[K\n" for line in lines)
            self._drawn = len(lines)
            self._write(f"{up}{body}\x1b[J".encode(errors="replace"))
        elif headline != self._last:
            self._last = headline
            self._write((_printable(headline) + "\n").encode(errors="replace")[:LONGEST_LINE])

    def _write(self, data: bytes) -> None:
        """Write what can be written now and keep the rest."""
        self._pending += data
        fd = self._own if self._own >= 0 else self._fd
        with contextlib.suppress(OSError):  # full, or closed, which the keyboard tells
            # A pipe that select calls writable takes this much at once.
            if select.select([], [fd], [], 0.0)[1]:
                self._pending = self._pending[os.write(fd, self._pending[:LONGEST_LINE]) :]


def _printable(text: str) -> str:
    """Return one line without control characters: reasons come over the network."""
    return "".join(c if c.isprintable() else " " for c in text)
