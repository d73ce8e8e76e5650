"""The parameters of the arm node: where a reset goes, and how stiff the arm is, named as CRISP names them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robot_rl.errors import ConfigError, RobotRLError
from robot_rl.robot import ResetRequest
from robot_rl.task import Compliance

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.parameter import Parameter

AXES = ("x", "y", "z")
CRITICAL = -1.0
"""A damping of -1 asks for critical damping, 2 sqrt(stiffness), as with CRISP."""
_LARGEST = {"task.k_pos_": 4000.0, "task.k_rot_": 400.0, "task.d_pos_": 200.0, "task.d_rot_": 40.0}
_LARGEST_CLIP_M, _LARGEST_CLIP_RAD = 0.1, 0.5
_LARGEST_WIDTH_M = 0.12


def compliance_values(compliance: Compliance) -> dict[str, float]:
    """Return the parameters that say what a compliance is."""
    values: dict[str, float] = {}
    for prefix, numbers, first in (
        ("task.k_pos_", compliance.stiffness, 0),
        ("task.k_rot_", compliance.stiffness, 3),
        ("task.d_pos_", compliance.damping, 0),
        ("task.d_rot_", compliance.damping, 3),
    ):
        values |= {prefix + axis: float(numbers[first + i]) for i, axis in enumerate(AXES)}
    values |= {f"task.error_clip.{axis}": float(compliance.clip_m[i]) for i, axis in enumerate(AXES)}
    return values | {f"task.error_clip.r{axis}": float(compliance.clip_rad) for axis in AXES}


def compliance_of(values: Mapping[str, float], base: Compliance) -> Compliance:
    """Return the compliance that parameters ask for.

    The law clips the rotation as a whole, so of three clips of the rotation the smallest counts.
    """
    k = [values[f"task.k_{kind}_{axis}"] for kind in ("pos", "rot") for axis in AXES]
    d = [values[f"task.d_{kind}_{axis}"] for kind in ("pos", "rot") for axis in AXES]
    d = [2.0 * math.sqrt(stiff) if damp < 0.0 else damp for stiff, damp in zip(k, d, strict=True)]
    x, y, z = (values[f"task.error_clip.{axis}"] for axis in AXES)
    clip_rad = min(values[f"task.error_clip.r{axis}"] for axis in AXES)
    return dataclasses.replace(
        base, stiffness=(k[0], k[1], k[2], k[3], k[4], k[5]), damping=(d[0], d[1], d[2], d[3], d[4], d[5]),
        clip_m=(x, y, z), clip_rad=clip_rad,
    )  # fmt: skip


def start_values(request: ResetRequest) -> dict[str, Any]:
    """Return the parameters that say where a reset goes."""
    return {
        "start.position": [float(v) for v in request.p_BE],
        "start.orientation": [float(v) for v in request.quat_BE],
        "start.gripper_width": float(request.gripper_width_m),
        "start.objects": json.dumps({name: [float(v) for v in pose] for name, pose in request.objects.items()}),
    }


def start_of(values: Mapping[str, Any]) -> ResetRequest:
    """Return the reset that parameters ask for.

    Raises:
        ConfigError: A value is of the wrong length, not finite, no rotation, or no JSON.
    """
    p, quat = _numbers("start.position", values, 3), _numbers("start.orientation", values, 4)
    if not 0.9 < math.sqrt(sum(v * v for v in quat)) < 1.1:
        raise ConfigError(f"start.orientation is {list(quat)}; it must be a unit quaternion, wxyz")
    width = float(values["start.gripper_width"])
    if not 0.0 <= width <= _LARGEST_WIDTH_M:
        raise ConfigError(f"start.gripper_width is {width}; allowed: 0 to {_LARGEST_WIDTH_M} m")
    try:
        objects = json.loads(values["start.objects"] or "{}")
    except (ValueError, RecursionError) as e:
        raise ConfigError(f"start.objects is no JSON: {e}") from e
    if not isinstance(objects, dict):
        raise ConfigError("start.objects must be a JSON object of poses by name")
    poses = {str(name): np.array(_numbers(str(name), objects, 7)) for name in objects}
    return ResetRequest(p_BE=np.array(p), quat_BE=np.array(quat), gripper_width_m=width, objects=poses)


def _numbers(name: str, values: Mapping[str, Any], size: int) -> list[float]:
    try:
        found = [float(v) for v in values[name]]
    except (TypeError, ValueError) as e:
        raise ConfigError(f"{name} is {values[name]!r}; allowed: {size} numbers") from e
    if len(found) != size or not all(map(math.isfinite, found)):
        raise ConfigError(f"{name} is {found}; allowed: {size} finite numbers")
    return found


class ArmParameters:
    """Declares the parameters on a node and refuses values that cannot be meant.

    Args:
        node: The arm's node.
        compliance: What the task asks for; the values to begin with.
        start: Where a reset goes before anyone says so.
        apply: Called with each new compliance.
    """

    def __init__(
        self, node: Node, compliance: Compliance, start: ResetRequest, apply: Callable[[Compliance], None]
    ) -> None:
        from rcl_interfaces.msg import ParameterDescriptor

        self._base, self._apply = compliance, apply
        self._values: dict[str, Any] = {}
        for name, value in compliance_values(compliance).items():
            self._declare(node, name, value, _descriptor(name))
        for name, value in start_values(start).items():
            self._declare(node, name, value, ParameterDescriptor(description="where a reset goes; set all together"))
        node.add_on_set_parameters_callback(self._on_set)

    def _declare(self, node: Node, name: str, value: Any, descriptor: Any) -> None:
        self._values[name] = node.declare_parameter(name, value, descriptor).value

    def start(self) -> ResetRequest:
        """Return where a reset goes."""
        return start_of(self._values)

    def _on_set(self, parameters: Sequence[Parameter]) -> Any:
        from rcl_interfaces.msg import SetParametersResult

        new = self._values | {p.name: p.value for p in parameters if p.name in self._values}
        try:
            start_of(new)
            if any(name.startswith("task.") and new[name] != value for name, value in self._values.items()):
                self._apply(
                    compliance_of({n: float(v or 0.0) for n, v in new.items() if n.startswith("task.")}, self._base)
                )
        except RobotRLError as e:
            return SetParametersResult(successful=False, reason=str(e))
        self._values = new
        return SetParametersResult(successful=True)


def _descriptor(name: str) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor

    if name.startswith("task.error_clip."):
        turning = name.rpartition(".")[2].startswith("r")
        low, high, what = 0.0, _LARGEST_CLIP_RAD if turning else _LARGEST_CLIP_M, "error that the spring sees"
    else:
        high = _LARGEST[name[:-1]]
        low, what = (CRITICAL, "damping; -1 is critical") if name.startswith("task.d_") else (0.0, "stiffness")
    allowed = FloatingPointRange(from_value=low, to_value=high, step=0.0)
    return ParameterDescriptor(description=what, floating_point_range=[allowed])
