"""Where a tool may be: the box, the keep-outs and the cone of one task in one cell, asked about single poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robot_rl.cell import Box
from robot_rl.errors import RobotError
from robot_rl.geometry import Vector, quat_normalise_t
from robot_rl.robot import RobotState
from robot_rl.task import Limits
from robot_rl_controllers.guard_keep_out import depth
from robot_rl_controllers.guard_layout import KEEP_OUT_BOXES, MARGIN_M, MARGIN_RAD, TOLERANCE
from robot_rl_controllers.guard_limits import pack_keep_out, pack_workspace, positive
from robot_rl_controllers.guard_rules import into_box, tilt


class Workspace:
    """The part of the guard that has no memory: which poses of the tool are allowed at all.

    Args:
        limits: workspace of the task, within the cell.
        keep_out: boxes that the tool must not enter.
        margin_m, margin_rad: how far the measured pose may be off before that is reported.

    Raises:
        ConfigError: A bound is inverted, degenerate, not finite or evidently a default.
    """

    def __init__(
        self, limits: Limits, keep_out: Sequence[Box] = (), margin_m: float = 0.01, margin_rad: float = 0.05
    ) -> None:
        self.limits, self.keep_out = limits, tuple(keep_out)
        workspace, boxes = pack_workspace(limits), pack_keep_out(self.keep_out, limits)
        self._bounds = np.concatenate((workspace, np.full(KEEP_OUT_BOXES - len(workspace), np.inf), boxes))
        self._bounds[[MARGIN_M, MARGIN_RAD]] = positive("margin_m", margin_m), positive("margin_rad", margin_rad)

    def check_waypoint(self, p: Vector, quat: Vector) -> tuple[str, ...]:
        """Return which of "not_finite", "workspace", "keep_out", "cone" a tool pose in B breaks; empty if none."""
        pose = np.full(7, np.nan)
        try:
            pose[:3], pose[3:] = p, quat
        except (TypeError, ValueError):
            return ("not_finite",)
        unit = np.array(quat_normalise_t(pose[3:]))
        if not np.isfinite(pose).all() or not unit.any():
            return ("not_finite",)
        broken = []
        if np.abs(np.array(into_box(pose[:3], self._bounds)) - pose[:3]).max() > TOLERANCE:
            broken.append("workspace")
        if depth(pose[:3], self._bounds) > TOLERANCE:
            broken.append("keep_out")
        if tilt(unit, self._bounds) > self.limits.cone_rad + TOLERANCE:
            broken.append("cone")
        return tuple(broken)

    def check_reset(self, p: Vector, quat: Vector) -> None:
        """Refuse a start pose of the tool, (3,) [m] and (4,) wxyz in B, that is outside the workspace.

        Raises:
            RobotError: naming the rule, the pose and what is allowed.
        """
        broken = self.check_waypoint(p, quat)
        if broken:
            limits = self.limits
            raise RobotError(
                f"the start pose p_BE={np.round(p, 4).tolist()} m, quat_BE={np.round(quat, 4).tolist()} breaks the "
                f"rule {' and '.join(broken)}; allowed is the box {limits.box_min_m} to {limits.box_max_m} m"
                f"{self._without()} and a tilt of {limits.cone_rad} rad from {limits.cone_axis}. Move the start area "
                "or correct the limits."
            )

    def check_start(self, state: RobotState) -> None:
        """Refuse to begin where the tool is outside the workspace by more than the margins, or in a keep-out box.

        Raises:
            RobotError: saying where the tool is and what is allowed.
        """
        p, quat = np.asarray(state.p_BE), np.asarray(state.quat_BE)
        broken = self.check_waypoint(p, quat)
        if not broken:
            return
        bounds = self._bounds
        if "not_finite" not in broken:
            off_m = max(np.abs(np.array(into_box(p, bounds)) - p).max(), depth(p, bounds))
            off_rad = tilt(quat_normalise_t(quat), bounds) - self.limits.cone_rad
            if off_m <= bounds[MARGIN_M] and off_rad <= bounds[MARGIN_RAD]:
                return
        raise RobotError(
            f"the tool is at p_BE={np.round(p, 4).tolist()} m, quat_BE={np.round(quat, 4).tolist()}, which breaks the "
            f"rule {' and '.join(broken)}; allowed is the box {self.limits.box_min_m} to {self.limits.box_max_m} m"
            f"{self._without()} and a tilt of {self.limits.cone_rad} rad from {self.limits.cone_axis}. Guide the arm "
            "inside by hand, or correct the limits and the cell's bounds."
        )

    def _without(self) -> str:
        """Return the keep-out boxes for a sentence."""
        return "".join(f" without the box {box.min_m} to {box.max_m} m" for box in self.keep_out)
