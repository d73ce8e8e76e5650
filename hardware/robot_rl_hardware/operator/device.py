"""`DeviceOperator`: a person with a device in the hand, whatever the device is.

A `Source` reads the device; everything that must be the same for all of them happens here: dead-man, deadband, axes,
gripper, watchdog, and finding the device again after it was unplugged.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from robot_rl.errors import RobotError
from robot_rl.geometry import Vector
from robot_rl.operator import BUTTONS, Button, OperatorInput
from robot_rl.robot import RobotState
from robot_rl_hardware.operator.hand import GripperToggle, Hand
from robot_rl_hardware.operator.mapping import ControlMap
from robot_rl_hardware.operator.watchdog import Watchdog

AGAIN_S = 1.0
"""How often a device that is gone is looked for."""


@dataclass(slots=True, kw_only=True)
class Sample:
    """What a device says at the moment.

    Attributes:
        axes: Deflection by number, from -1 to 1.
        held: Numbers of the buttons that are down.
        pressed: Numbers of the buttons that went down since the last sample, in their order.
        arrived: Whether the device has sent anything since the last sample.
        trouble: Why nothing can be known of it now; empty if all is well.
        suspect: Why it must be seen at rest before it is believed again: something was missed.
    """

    axes: Mapping[int, float] = field(default_factory=dict)
    held: Set[int] = frozenset()
    pressed: Sequence[int] = ()
    arrived: bool = False
    trouble: str = ""
    suspect: str = ""


class Source(Protocol):
    """A device that is read."""

    @property
    def name(self) -> str:
        """What it is, for sentences."""
        ...

    @property
    def gone(self) -> str:
        """Why it must be opened again, such as that it was unplugged; empty while it can be read."""
        ...

    def open(self) -> None:
        """Open it; raises `RobotError` naming the devices that are there. Also opens one again that was gone."""
        ...

    def poll(self) -> Sample:
        """Return what it says now; never waits."""
        ...

    def close(self) -> None:
        """Release it. Safe to call twice."""
        ...


class DeviceOperator:
    """An `Operator` on a device with axes and buttons.

    Args:
        source: Reads the device.
        controls: Which controls mean what.
        hand: Makes actions of motions.
        watchdog: Decides whether the device is believed.
        clock: Monotonic seconds.

    Attributes:
        help: What the controls do, in lines for a terminal.
    """

    def __init__(
        self, source: Source, controls: ControlMap, hand: Hand, watchdog: Watchdog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.source, self._controls, self._hand, self._watchdog, self._clock = source, controls, hand, watchdog, clock
        self._gripper = GripperToggle()
        self._again_s = -math.inf
        self.help = (f"{source.name}: {controls.told()}",)

    @property
    def gone(self) -> str:
        """Why the device cannot be read at the moment, such as that it was unplugged; empty while it can."""
        return self.source.gone

    def connect(self) -> None:
        """Open the device; raises `RobotError` naming the devices that are there when it cannot."""
        self.source.open()
        self.help = (f"{self.source.name}: {self._controls.told()}",)
        self.begin(0)

    def begin(self, seed: int) -> None:
        """Begin an episode: what is held counts only after it was let go."""
        self._gripper.forget()
        self._hand.begin()
        self._watchdog.distrust("held from before")
        self._look(self._sample(self._clock()), self._clock())

    def read(self, state: RobotState) -> OperatorInput:
        """Return what the person does now."""
        now_s = self._clock()
        sample = self._sample(now_s)
        why, motion, held = self._look(sample, now_s)
        words = self._controls.words(sample.pressed)
        buttons: tuple[Button, ...] = tuple(b for w in words for b in BUTTONS if b == w)
        note = why
        believed = not why
        for word in words:
            if word == "slower":
                self._hand.slower()
            elif word == "faster":
                self._hand.faster()
            elif word == "gripper" and believed and self._hand.has_gripper:
                if held or self._controls.dead_man is None:
                    self._gripper.press(state.gripper_closing, now_s)
                else:
                    note = note or f"hold the dead-man button ({self._controls.dead_man}) to act"
        acting = believed and (held or self._gripper.pending(state.gripper_closing, now_s))
        close = self._gripper.close(state.gripper_closing, now_s, acting)
        if not acting:
            return OperatorInput(buttons=buttons, note=note)
        return OperatorInput(
            action=self._hand.action(motion if held else 0.0 * motion, state.quat_BE, close), buttons=buttons, note=note
        )

    def close(self) -> None:
        """Release the device."""
        self.source.close()

    def _sample(self, now_s: float) -> Sample:
        """Return what the device says, after a look for one that is gone."""
        if self.source.gone and now_s >= self._again_s:
            self._again_s = now_s + AGAIN_S
            try:
                self.source.open()
            except RobotError:
                return Sample(trouble=self.source.gone)
            self._watchdog.opened_again(now_s)
        return self.source.poll()

    def _look(self, sample: Sample, now_s: float) -> tuple[str, Vector, bool]:
        """Return why it counts as let go, the motions, and whether the person is in charge."""
        motion = self._controls.motion(sample.axes, sample.held, self._hand.config.deadband)
        deflected, dead_man = bool(motion.any()), self._controls.dead_man
        held = deflected if dead_man is None else dead_man in sample.held
        if sample.suspect:
            self._watchdog.distrust(sample.suspect)
        content = (tuple(sorted(sample.axes.items())), frozenset(sample.held))
        why = self._watchdog.look(
            now_s, content, arrived=sample.arrived, held=held, deflected=deflected, trouble=sample.trouble
        )
        if why and not sample.trouble:
            why = f"{self.source.name} counts as let go ({why}): let go of everything once to take over again"
        return why, motion, held
