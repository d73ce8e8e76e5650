"""The keyboard as an operator's device: any terminal, over ssh, on any desktop and on none.

A terminal tells presses and never releases, so a press moves for a moment and a key that is held repeats. A link that
hangs sends nothing, and the motion ends by itself; what it delivers at once afterwards counts as one press.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_rl.assisted import StepSeen
from robot_rl.errors import ConfigError, RobotError
from robot_rl.operator import Button, OperatorInput
from robot_rl.robot import RobotState
from robot_rl_hardware.operator.hand import MOTIONS as AXES
from robot_rl_hardware.operator.hand import GripperToggle, Hand
from robot_rl_hardware.operator.jog import MOTIONS
from robot_rl_hardware.operator.keyboard import Keyboard, KeyboardGone
from robot_rl_hardware.operator.watchdog import Watchdog

BUTTON_KEYS: dict[str, Button] = {
    "enter": "success",
    "backspace": "failure",
    "x": "discard",
    "p": "pause",
    "space": "stop",
}
HELP = (
    "w/s forward, back   a/d left, right   r/f up, down (or arrows, page up and down)",
    "l/j turn about x    i/k about y       u/o about z    g gripper    -/+ slower, faster",
    "ENTER success   BACKSPACE failure   x discard   p pause   SPACE stop",
)


class KeyboardOperator:
    """An `Operator` that presses keys in a terminal.

    Args:
        hand: Makes actions of motions.
        watchdog: Lets go of a key that repeats for ever.
        tty: Device file of a terminal, such as /dev/pts/3, for a process whose input is none; the own one when empty.
        grant_s: How long after the period that saw it a press still moves; at least that period it does.
        clock: Monotonic seconds.

    Attributes:
        help: What the keys do, in lines for a terminal.
        gone: Why no key can be pressed any more; empty while that is not so.
    """

    help = HELP

    def __init__(
        self, hand: Hand, watchdog: Watchdog, tty: str = "", grant_s: float = 0.08,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        if not 0.0 <= grant_s <= 0.5:
            raise ConfigError(f"operator.grant_s is {grant_s}; allowed: 0 to 0.5")
        self.gone = ""
        self._hand, self._watchdog, self._tty, self._grant_s, self._clock = hand, watchdog, tty, grant_s, clock
        self._gripper = GripperToggle()
        self._keyboard: Keyboard | None = None
        self._fd = -1
        self._axis, self._sign, self._until_s = 0, 0.0, -math.inf

    def connect(self) -> None:
        """Let keys through one by one; raises `RobotError` without a terminal."""
        self.close()
        if self._tty:
            try:
                # Not as the terminal of this process: its Ctrl-C stays with the command that runs in it.
                self._fd = os.open(self._tty, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError as e:
                raise RobotError(
                    f"the terminal {self._tty} cannot be opened: {e.strerror}; operator.tty must be what the command "
                    "'tty' prints in a terminal that is open"
                ) from e
        self._keyboard = Keyboard(self._fd if self._tty else None)
        self._keyboard.__enter__()
        self.gone = ""
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Begin an episode: keys that were pressed before count no more."""
        self._keys()
        self._until_s = -math.inf
        self._gripper.forget()
        self._hand.begin()
        self._watchdog.distrust("held from before")

    def read(self, state: RobotState) -> OperatorInput:
        """Return what the person does now."""
        now_s = self._clock()
        buttons: list[Button] = []
        moved = False
        for key in self._keys():
            if key in MOTIONS:
                self._axis, self._sign = MOTIONS[key]
                self._until_s, moved = now_s + self._grant_s, True
                continue
            self._until_s, moved = -math.inf, False  # any other key ends the motion
            if key in BUTTON_KEYS:
                buttons.append(BUTTON_KEYS[key])
            elif key == "g" and self._hand.has_gripper:
                self._gripper.press(state.gripper_closing, now_s)
            elif key in "-_":
                self._hand.slower()
            elif key in "+=":
                self._hand.faster()
        moving = moved or now_s < self._until_s
        why = self._watchdog.look(
            now_s, (self._axis, self._sign) if moving else None, arrived=True, held=moving, deflected=moving,
            trouble=self.gone,
        )  # fmt: skip
        acting = not self.gone and ((moving and not why) or self._gripper.pending(state.gripper_closing, now_s))
        close = self._gripper.close(state.gripper_closing, now_s, acting)
        note = f"the key counts as let go ({why}): let go of it once" if why and not self.gone else self.gone
        if not acting:
            return OperatorInput(buttons=tuple(buttons), note=note)
        motion = np.zeros(len(AXES))
        if moving and not why:
            motion[self._axis] = self._sign
        return OperatorInput(action=self._hand.action(motion, state.quat_BE, close), buttons=tuple(buttons), note=note)

    def close(self) -> None:
        """Put the terminal back as it was. Safe to call twice."""
        keyboard, self._keyboard = self._keyboard, None
        if keyboard is not None:
            keyboard.__exit__(None, None, None)
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd = -1

    def _keys(self) -> list[str]:
        """Return the keys since the last call, without waiting."""
        if self._keyboard is None or self.gone:
            return []
        try:
            return self._keyboard.read()
        except KeyboardGone as e:
            self.gone = str(e)
            return []


class TerminalButtons:
    """A `Watcher` that shows nothing: the keys of a terminal as buttons, beside a device that has too few of them.

    Args:
        keyboard: Let through one by one already; closed with this.
    """

    help = HELP[-1:]

    def __init__(self, keyboard: Keyboard) -> None:
        self._keyboard: Keyboard | None = keyboard
        keyboard.__enter__()

    def reset(self, observation: Any, facts: Mapping[str, Any]) -> None:
        """What was pressed before counts no more."""
        self.buttons()

    def step(self, seen: StepSeen) -> None:
        """There is nothing to show."""

    def buttons(self) -> tuple[Button, ...]:
        """Return the buttons of the keys that were pressed; none any more once the terminal is closed."""
        if self._keyboard is None:
            return ()
        try:
            return tuple(BUTTON_KEYS[key] for key in self._keyboard.read() if key in BUTTON_KEYS)
        except KeyboardGone:
            self.close()
            return ()

    def close(self) -> None:
        """Put the terminal back as it was. Safe to call twice."""
        keyboard, self._keyboard = self._keyboard, None
        if keyboard is not None:
            keyboard.__exit__(None, None, None)
