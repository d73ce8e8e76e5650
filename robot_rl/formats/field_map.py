"""Where each field of a task comes from in foreign data: a YAML file that a person writes, checked against the task.

    state:
      cube_position: "observation.state[5:8]"     # a column, and which of its numbers
      tool_height: {from: "state[2]", scale: 0.001}
    action:
      translation: "actions[0:3]"
      gripper: {from: "actions[6]", scale: -1, hold: 0.5}
    images: {wrist: wrist_1}
    reward: rewards
    period_s: 0.1

Nothing is guessed: a field that is not named, a size that does not fit and a column that is not there are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, nearest
from robot_rl.specs import ActionSpec, ObservationSpec

_PICK = re.compile(r"(?P<key>.+?)(?:\[(?P<first>\d+)(?::(?P<last>\d+))?\])?")
_ROOM = 1e-4  # beyond [-1, 1], what rounding explains
Column = Callable[[str], NDArray[np.float64]]
"""Returns the (n, k) numbers of a column by its key; raises `ConfigError` naming those there are."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where the numbers of one field come from.

    Attributes:
        key: The column.
        first, last: Which of its numbers, as in a slice; all of them if `last` is None.
        scale, offset: value = scale * number + offset.
        hold: For a discrete action: between -hold and hold, after scaling, the choice before stays. SERL's grippers say
            open, close or neither.
        constant: Numbers that stand for the field in every step instead of a column.
    """

    key: str = ""
    first: int = 0
    last: int | None = None
    scale: float = 1.0
    offset: float = 0.0
    hold: float = 0.0
    constant: tuple[float, ...] | None = None

    def words(self) -> str:
        """Return what a person wrote, about."""
        if self.constant is not None:
            return f"the constant {list(self.constant)}"
        return f"'{self.key}'" if self.last is None else f"'{self.key}[{self.first}:{self.last}]'"

    def values(self, column: Column, n: int) -> NDArray[np.float64]:
        """Return the (n, size) numbers."""
        if self.constant is not None:
            return np.tile(np.asarray(self.constant, np.float64), (n, 1))
        whole = column(self.key)
        last = whole.shape[1] if self.last is None else self.last
        if last > whole.shape[1]:
            raise ConfigError(f"'{self.key}' has {whole.shape[1]} numbers; {self.words()} asks for more")
        return self.scale * whole[:, self.first : last] + self.offset


@dataclass(frozen=True, kw_only=True)
class FieldMap:
    """Where everything comes from.

    Attributes:
        state: By field of the observation.
        action: By group of the action.
        images: By camera of the task: the foreign name.
        resize: Whether pictures of another size are brought to the task's.
        reward: Where the reward comes from; None leaves it to the format.
        period_s: Control period of the data, if they do not say it or shall not be believed.
        success: What came of the episodes, for data that do not say it.
    """

    state: Mapping[str, Part]
    action: Mapping[str, Part]
    images: Mapping[str, str] = field(default_factory=dict)
    resize: bool = False
    reward: Part | None = None
    period_s: float | None = None
    success: bool | None = None

    def states(self, spec: ObservationSpec, column: Column, n: int) -> NDArray[np.float32]:
        """Return the (n, S) flat states."""
        sizes = state_sizes(spec)
        return np.concatenate(_parts("state field", self.state, sizes, column, n), axis=1).astype(np.float32)

    def actions(self, spec: ActionSpec, column: Column, n: int) -> NDArray[np.float32]:
        """Return the (n, A) flat actions in [-1, 1]."""
        sizes = action_sizes(spec)
        parts = _parts("action", self.action, sizes, column, n)
        for i, (name, group) in enumerate(spec.discrete.items(), start=len(spec.continuous)):
            if self.action[name].hold > 0.0:
                parts[i] = _held(parts[i][:, 0], self.action[name].hold, len(group.choices))
        for name, values in zip(sizes, parts, strict=True):
            largest = float(np.abs(values).max(initial=0.0))
            if largest > 1.0 + _ROOM:
                raise ConfigError(
                    f"action '{name}' from {self.action[name].words()} reaches {largest:.4g}; the task's actions lie "
                    "in [-1, 1], so give its scale in the map"
                )
        return np.clip(np.concatenate(parts, axis=1), -1.0, 1.0).astype(np.float32)


def state_sizes(spec: ObservationSpec) -> dict[str, int]:
    """Return how many numbers each field of the state has."""
    return {name: f.size for name, f in spec.state.items()}


def action_sizes(spec: ActionSpec) -> dict[str, int]:
    """Return how many numbers each group of the action has."""
    return {**{name: g.size for name, g in spec.continuous.items()}, **dict.fromkeys(spec.discrete, 1)}


def read_map(path: Path, observation_spec: ObservationSpec, action_spec: ActionSpec) -> FieldMap:
    """Return the map in a YAML file, checked against the task.

    Raises:
        ConfigError: It cannot be read, or does not name what the task has.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as e:
        raise ConfigError(f"the map {path} cannot be read: {' '.join(str(e).split())}") from e
    where = f"the map {path}"
    found = _mapping(found, where)
    _known(found, FieldMap.__dataclass_fields__, where)
    action = {**action_spec.continuous, **action_spec.discrete}
    sections = {
        "state": (observation_spec.state, "state field"),
        "action": (action, "action"),
        "images": (observation_spec.images, "camera"),
    }
    for section, (wanted, word) in sections.items():
        _same_names(_mapping(found.get(section, {}), f"'{section}' in {where}"), wanted, word, section, where)
    period_s, success, resize = found.get("period_s"), found.get("success"), found.get("resize", False)
    if period_s is not None and not (isinstance(period_s, int | float) and period_s > 0.0):
        raise ConfigError(f"period_s in {where} is {period_s!r}; it must be a positive number of seconds")
    if not isinstance(success, bool | None) or not isinstance(resize, bool):
        raise ConfigError(f"'success' and 'resize' in {where} must be true or false")
    return FieldMap(
        state={name: _part(found["state"][name], f"state.{name} in {where}") for name in observation_spec.state},
        action={name: _part(found["action"][name], f"action.{name} in {where}") for name in action},
        images={name: str(found["images"][name]) for name in observation_spec.images},
        resize=resize,
        reward=_part(found["reward"], f"reward in {where}") if "reward" in found else None,
        period_s=period_s,
        success=success,
    )


def needed(observation_spec: ObservationSpec, action_spec: ActionSpec) -> str:
    """Return what a map must name, in words."""
    state = ", ".join(f"{name} ({f.size})" for name, f in observation_spec.state.items())
    action = [*(f"{name} ({g.size})" for name, g in action_spec.continuous.items()), *action_spec.discrete]
    images = f"; cameras {', '.join(observation_spec.images)}" if observation_spec.images else ""
    return f"state fields {state}; actions {', '.join(action)}{images}"


def _parts(
    word: str, parts: Mapping[str, Part], sizes: Mapping[str, int], column: Column, n: int
) -> list[NDArray[np.float64]]:
    made = []
    for name, size in sizes.items():
        values = parts[name].values(column, n)
        if values.shape[1] != size:
            raise ConfigError(
                f"{word} '{name}' of the task has {size} number(s), {parts[name].words()} gives {values.shape[1]}"
            )
        if not np.isfinite(values).all():
            raise ConfigError(f"{word} '{name}' from {parts[name].words()} holds numbers that are not finite")
        made.append(values)
    return made


def _held(values: NDArray[np.float64], hold: float, choices: int) -> NDArray[np.float64]:
    """Return (n, 1) choices in [-1, 1], where a value within `hold` keeps the choice before; the first one at first."""
    last, made = -1.0, np.empty((len(values), 1))
    for i, value in enumerate(values):
        if abs(value) >= hold:
            last = 2.0 * round((min(max(value, -1.0), 1.0) + 1.0) * 0.5 * (choices - 1)) / (choices - 1) - 1.0
        made[i, 0] = last
    return made


def _part(value: Any, where: str) -> Part:
    if isinstance(value, str):
        value = {"from": value}
    value = _mapping(value, where)
    _known(value, ("from", "scale", "offset", "hold", "constant"), where)
    if ("from" in value) == ("constant" in value):
        raise ConfigError(f"{where} must have either 'from', such as \"state[0:3]\", or 'constant'")
    numbers = {k: value[k] for k in ("scale", "offset", "hold") if k in value}
    constant = value.get("constant")
    constants = [constant] if isinstance(constant, int | float) else constant or []
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (*numbers.values(), *constants)):
        raise ConfigError(f"{where} holds something else than numbers: {value}")
    if "constant" in value:
        return Part(constant=tuple(float(v) for v in constants))
    found = _PICK.fullmatch(str(value["from"]))
    if found is None:
        raise ConfigError(f"{where} is '{value['from']}'; write a column such as state, state[3] or state[0:3]")
    first, last = found["first"], found["last"]
    begin = int(first or 0)
    end = int(last) if last is not None else begin + 1 if first is not None else None
    if end is not None and end <= begin:
        raise ConfigError(f"{where} is '{value['from']}', which holds nothing")
    scale, offset, hold = (float(numbers.get(k, d)) for k, d in (("scale", 1.0), ("offset", 0.0), ("hold", 0.0)))
    return Part(key=found["key"], first=begin, last=end, scale=scale, offset=offset, hold=hold)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        raise ConfigError(f"{where} must hold names with values, it holds {str(value)[:60]!r}; see docs/formats.md")
    return value


def _known(value: Mapping[str, Any], allowed: Any, where: str) -> None:
    for name in value:
        if name not in allowed:
            raise ConfigError(
                f"{where} has '{name}', which is not known; allowed: {', '.join(allowed)}.{nearest(name, allowed)}"
            )


def _same_names(found: Mapping[str, Any], wanted: Mapping[str, Any], word: str, section: str, where: str) -> None:
    for name in found:
        if name not in wanted:
            have = f"the task has {', '.join(wanted)}" if wanted else "the task has none"
            raise ConfigError(f"{where} names {word} '{name}', {have}.{nearest(name, wanted)}")
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ConfigError(
            f"{where} does not say where {word} {', '.join(missing)} of the task comes from; add it under '{section}:'"
        )
