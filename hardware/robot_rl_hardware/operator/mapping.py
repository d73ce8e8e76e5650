"""Which stick moves what, and which button means what: data from YAML, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, nearest
from robot_rl.geometry import Vector
from robot_rl.operator import BUTTONS
from robot_rl.typed import build
from robot_rl_hardware.operator.hand import MOTIONS, past_deadband

WORDS = (*BUTTONS, "gripper", "dead_man", "slower", "faster")
"""What a button can mean."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One control of a device that moves something.

    Attributes:
        axis: Number of a stick's or trigger's axis; -1 if it is a button.
        button: Number of a button; -1 if it is an axis.
        rest, full: What an axis says at rest and at full deflection, from -1 to 1: a stick rests at 0, a trigger at
            the other end. A full of -1 turns a stick around.
        gain: Multiplies the deflection; -1 lets a second trigger move the other way.
    """

    axis: int = -1
    button: int = -1
    rest: float = 0.0
    full: float = 1.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if (self.axis < 0) == (self.button < 0):
            raise ConfigError(f"a motion needs either an axis or a button, got axis {self.axis}, button {self.button}")
        if not all(map(math.isfinite, (self.rest, self.full, self.gain))) or self.rest == self.full:
            raise ConfigError(f"rest {self.rest} and full {self.full} of axis {self.axis} must differ and be numbers")

    def deflection(self, axes: Mapping[int, float], held: Set[int]) -> float:
        """Return how far it is deflected, before any deadband; an axis that has said nothing yet rests."""
        if self.button >= 0:
            return self.gain * (self.button in held)
        return self.gain * (axes.get(self.axis, self.rest) - self.rest) / (self.full - self.rest)


@dataclass(frozen=True, kw_only=True)
class ControlMap:
    """Which controls of a device mean what.

    Attributes:
        motions: Terms by name of `MOTIONS`; several are added.
        buttons: Number of the button by one of `WORDS`.
    """

    motions: Mapping[str, Sequence[Term]] = field(default_factory=dict)
    buttons: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _known(self.motions, MOTIONS, "operator.motions")
        _known(self.buttons, WORDS, "operator.buttons")
        numbers = list(self.buttons.values())
        for word, number in self.buttons.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ConfigError(f"operator.buttons.{word} is {number!r}; allowed: the number of a button, from 0")
            if numbers.count(number) > 1:
                both = ", ".join(w for w, n in self.buttons.items() if n == number)
                raise ConfigError(f"button {number} would mean {both}; give each its own (operator.buttons)")

    @property
    def axes(self) -> set[int]:
        """Numbers of the axes that move something."""
        return {t.axis for terms in self.motions.values() for t in terms if t.axis >= 0}

    @property
    def dead_man(self) -> int | None:
        """Number of the button that must be held to act; None without one."""
        return self.buttons.get("dead_man")

    def motion(self, axes: Mapping[int, float], held: Set[int], band: float) -> Vector:
        """Return (6,) deflections in [-1, 1] by `MOTIONS`, exactly 0 at rest."""
        out = np.zeros(len(MOTIONS))
        for name, terms in self.motions.items():
            total = sum(past_deadband(term.deflection(axes, held), band) for term in terms)
            out[MOTIONS.index(name)] = min(max(total, -1.0), 1.0)
        return out

    def words(self, pressed: Sequence[int]) -> list[str]:
        """Return what buttons that went down mean, in their order."""
        by_number = {number: word for word, number in self.buttons.items()}
        return [by_number[number] for number in pressed if number in by_number]

    def told(self) -> str:
        """Return what the buttons are, for people."""
        return "  ".join(f"{word.replace('_', '-')} {number}" for word, number in self.buttons.items())


def control_map(motions: Mapping[str, Any], buttons: Mapping[str, Any]) -> ControlMap:
    """Return the map that plain values describe; `null` takes a motion or a button away.

    Raises:
        ConfigError: A name is unknown, or a value is none.
    """
    made: dict[str, tuple[Term, ...]] = {}
    for name, value in motions.items():
        if value is None:
            continue
        terms: Sequence[Any] = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for term in terms:
            if not isinstance(term, Mapping):
                raise ConfigError(f"operator.motions.{name} is {value!r}; allowed: such as {{axis: 1, full: -1}}")
        made[name] = tuple(build(Term, term, f"operator.motions.{name}") for term in terms)
    return ControlMap(motions=made, buttons={k: v for k, v in buttons.items() if v is not None})


def _known(names: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    for name in names:
        if name not in allowed:
            raise ConfigError(f"{where} has no '{name}'; there are {', '.join(allowed)}.{nearest(name, allowed)}")
