"""`robot-rl calibrate bounds` in a real terminal: on the twin through its node, and on a simulated Franka directly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.cell import Box, Cell
from robot_rl.cell_file import load_cell, save_cell
from robot_rl.errors import ConfigError
from robot_rl_hardware.operator.bounds import write_box
from robot_rl_hardware.operator.corners import MIN_SIDE_M, Corners

# ROS imports an old parser, which imports modules that Python has renamed.
pytestmark = [pytest.mark.ros, pytest.mark.filterwarnings("ignore:module 'sre_.*:DeprecationWarning")]

_points = st.lists(st.tuples(*[st.floats(-0.6, 0.6)] * 3), max_size=8)


@given(points=_points, margin_m=st.floats(0.0, 0.02))
@settings(deadline=None)
def test_bounds_lie_within_what_was_touched_and_keep_out_boxes_around_it(
    points: list[tuple[float, float, float]], margin_m: float
) -> None:
    inner, outer = Corners(margin_m), Corners(-margin_m)
    for p in points:
        inner.add(p)
        outer.add(p)
    if inner.missing():
        with pytest.raises(ConfigError, match="nothing was written"):
            inner.box()
        return
    touched = np.array(points)
    box, around = inner.box(), outer.box()
    rounding = 1e-4
    assert (np.array(box.min_m) >= touched.min(0) + margin_m - rounding).all()
    assert (np.array(box.max_m) <= touched.max(0) - margin_m + rounding).all()
    assert min(box.sides_m) >= MIN_SIDE_M - 2 * rounding
    assert (np.array(around.min_m) <= touched.min(0) - margin_m + rounding).all()
    assert (np.array(around.max_m) >= touched.max(0) + margin_m - rounding).all()


@pytest.mark.parametrize("p", [(float("nan"), 0.0, 0.0), (5.0, 0.0, 0.0)])
def test_a_point_that_no_arm_reaches_is_refused(p: tuple[float, float, float]) -> None:
    corners = Corners()
    with pytest.raises(ConfigError, match="none that an arm reaches"):
        corners.add(p)
    assert corners.points == []


def test_a_flat_box_names_its_axis_and_is_mended_by_another_point() -> None:
    corners = Corners(0.005)
    corners.add((0.4, -0.1, 0.1))
    corners.add((0.5, 0.1, 0.1))
    assert "along z" in corners.missing()[0]
    corners.add((0.5, 0.1, 0.2))
    assert corners.missing() == []
    corners.undo()
    assert corners.missing()


def test_boxes_to_keep_out_of_are_added_and_the_bounds_kept(tmp_path: Path) -> None:
    path = tmp_path / "cell.yaml"
    bounds = Box(min_m=(0.3, -0.2, 0.0), max_m=(0.6, 0.2, 0.4))
    save_cell(path, Cell(name="bench", bounds=bounds))
    for i in range(2):
        corners = Corners(-0.01)
        corners.add((0.4, 0.0, 0.0))
        corners.add((0.45, 0.05, 0.1 + i))
        assert "keep-out box" in write_box(path, corners, keep_out=True)
    cell = load_cell(path)
    assert cell.bounds == bounds
    assert len(cell.keep_out) == 2
    assert cell.keep_out[0].contains((0.395, -0.005, -0.005))


def test_corners_are_touched_by_jogging_the_twin(terminal: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'robot-rl[ros]'")
    from robot_rl_hardware.ros.operator_client import open_client, wait_for_arm

    domain = request.getfixturevalue("arm_domain")
    with open_client("observer", "/arm", domain) as arm:
        start = np.array(wait_for_arm(arm, 60.0).p_BE)
        path = tmp_path / "my_cell.yaml"
        command = ["calibrate", "bounds", "--cell", str(path), "--jog", "--margin", "0.002", "--domain", str(domain)]
        bounds = terminal(command)
        bounds.expect("touched 0")
        bounds.type("\r")
        bounds.expect("touched 1")
        bounds.type("S")
        bounds.expect("not written: touch at least two opposite corners")
        for axis, key in enumerate("war"):
            bounds.hold(key, _beyond(arm, axis, start[axis] + 0.028), f"a motion along {'xyz'[axis]}")
        bounds.type("\r")
        bounds.expect("the box is whole")
        end = np.array(arm.view().p_BE)
        bounds.type("S")
        bounds.look(0.2)
        assert bounds.wait() == 0
    cell = load_cell(path)
    assert np.allclose(cell.bounds.min_m, start + 0.002, atol=0.004)
    assert np.allclose(cell.bounds.max_m, end - 0.002, atol=0.006)
    assert "wrote the bounds" in bounds.look()


def _beyond(arm: Any, axis: int, limit_m: float) -> Callable[[], bool]:
    return lambda: bool(arm.view().p_BE[axis] > limit_m)


def test_corners_are_read_from_a_franka_that_nothing_drives(terminal: Any, tmp_path: Path) -> None:
    from fci_sim_process import Simulator, why_not

    if reason := why_not():
        pytest.skip(reason)
    path = tmp_path / "my_cell.yaml"
    with Simulator(lenient=True) as robot:
        save_cell(path, Cell(name="sim", address=robot.host))
        bounds = terminal(["calibrate", "bounds", "--cell", str(path), "--direct"])
        bounds.expect("read only: guide it by hand")
        bounds.type("\r")
        bounds.expect("touched 1: last (+0.")
        bounds.type("q")
        assert bounds.wait() == 1
    assert "nothing was written" in bounds.look()
    assert load_cell(path).bounds is None
