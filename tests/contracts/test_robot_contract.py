from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from ros_rig import arm_node

from robot_rl.build import make_env
from robot_rl.config import compose, options
from robot_rl.errors import RobotError
from robot_rl.robot import ArmCommand, Robot, RobotState
from robot_rl.task import Task
from robot_rl.timing import is_real_time

UP, FAR = np.array([0.0, 0.0, 0.02]), np.array([5.0, 0.0, 0.0])
ARMS = [robot for robot in options()["robot"] if robot != "ros" and not robot.startswith("car")]
LOCK_STEP = [(robot, task) for robot in ARMS for task in options()["task"] if task != "lap"]  # cars: tests/car
# In real time a reset takes seconds, so the smallest task must do.
CASES = [
    *(pytest.param(case, id="-".join(case)) for case in LOCK_STEP),
    pytest.param(("ros", "reach"), id="ros-reach", marks=[pytest.mark.ros, pytest.mark.slow]),
]
PATIENT = ["robot.state_age_s=5", "robot.answer_s=5", "robot.acknowledge_s=0"]


@pytest.fixture(scope="module", params=CASES)
def rig(request: pytest.FixtureRequest) -> Iterator[tuple[Robot, Task]]:
    robot, task = request.param
    if robot != "ros":
        env = make_env(compose([f"robot={robot}", f"task={task}"]).settings())
        env.robot.connect()
        yield env.robot, env.task
        return
    pytest.importorskip("rclpy")
    with arm_node("twin", task) as node:
        env = make_env(compose(["robot=ros", f"robot.domain={node.domain}", f"task={task}", *PATIENT]).settings())
        env.robot.connect()
        yield env.robot, env.task
        env.close()


def real_time(rig: tuple[Robot, Task]) -> bool:
    return is_real_time(rig[0])


def begin(rig: tuple[Robot, Task], seed: int = 0) -> RobotState:
    robot, task = rig
    return robot.reset(task.sample_reset(np.random.default_rng(seed)))


def arrays(state: RobotState) -> dict[str, np.ndarray]:
    found = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    return {k: v for k, v in found.items() if isinstance(v, np.ndarray)} | dict(state.objects)


def stay(state: RobotState) -> ArmCommand:
    return ArmCommand(state.p_BE.copy(), state.quat_BE.copy(), False)


def test_a_reading_has_the_documented_shapes(rig: tuple[Robot, Task]) -> None:
    state = begin(rig)
    shapes = {"q": (7,), "dq": (7,), "p_BE": (3,), "quat_BE": (4,), "V_BE": (6,), "F_BE": (6,)}
    for name, shape in shapes.items():
        assert getattr(state, name).shape == shape
        assert np.isfinite(getattr(state, name)).all()
    assert np.linalg.norm(state.quat_BE) == pytest.approx(1.0)
    assert -1e-3 <= state.gripper_width_m <= 0.0801  # fingers that press give way a little
    assert set(state.objects) == set(rig[1].scene)


def test_a_reading_is_a_copy(rig: tuple[Robot, Task]) -> None:
    robot, _ = rig
    state = begin(rig)
    before = {k: v.copy() for k, v in arrays(state).items()}
    robot.command(ArmCommand(state.p_BE + UP, state.quat_BE.copy(), True))
    robot.observe()
    begin(rig, 1)
    for name, value in arrays(state).items():
        assert np.array_equal(value, before[name]), f"a later reading changed {name} of an earlier one"


def test_observing_twice_gives_the_same_reading_and_time_only_passes_in_commands(rig: tuple[Robot, Task]) -> None:
    if real_time(rig):
        pytest.skip("here time passes by itself")
    robot, _ = rig
    state = begin(rig)
    assert robot.observe().stamp_s == robot.observe().stamp_s == state.stamp_s
    robot.command(stay(state))
    later = robot.observe()
    assert later.stamp_s == pytest.approx(state.stamp_s + robot.period_s)


def test_a_reset_returns_the_new_reading(rig: tuple[Robot, Task]) -> None:
    robot, task = rig
    state = begin(rig)
    robot.command(ArmCommand(state.p_BE + UP, state.quat_BE.copy(), False))
    robot.observe()
    request = task.sample_reset(np.random.default_rng(5))
    # In real time the arm drives there, and stays where the spring is as strong as friction.
    assert np.abs(robot.reset(request).p_BE - request.p_BE).max() < (5e-3 if real_time(rig) else 1e-3)


def test_standing_still_stays_still(rig: tuple[Robot, Task]) -> None:
    robot, _ = rig
    start = begin(rig)
    for _ in range(10):
        executed = robot.command(stay(start))
        # A machine that is too busy lets commands grow old; then the arm holds, which is standing still too.
        assert not executed.stopped or (real_time(rig) and "old" in executed.reason), executed
    state = robot.observe()
    assert np.abs(state.p_BE - start.p_BE).max() < 2e-3
    assert np.abs(state.dq).max() < 0.05


def test_a_command_is_followed(rig: tuple[Robot, Task]) -> None:
    robot, _ = rig
    start = begin(rig)
    goal = start.p_BE + 1.5 * UP
    for _ in range(5):
        if not any([robot.command(ArmCommand(goal, start.quat_BE.copy(), False)).stopped for _ in range(20)]):
            break
        begin(rig)  # a busy machine: it held
    assert np.linalg.norm(robot.observe().p_BE - goal) < 4e-3


def test_what_lies_outside_the_limits_is_changed_and_told_of(rig: tuple[Robot, Task]) -> None:
    robot, task = rig
    start = begin(rig)
    executed = robot.command(ArmCommand(start.p_BE + FAR, start.quat_BE.copy(), False))
    assert executed.events
    assert (executed.p_BE <= np.array(task.limits.box_max_m) + 1e-9).all()
    # In real time the arm is measured anew when the request arrives, some micrometres away.
    assert np.linalg.norm(executed.p_BE - start.p_BE) <= task.limits.step_m + (2e-3 if real_time(rig) else 1e-6)


def test_nonsense_never_moves_the_arm(rig: tuple[Robot, Task]) -> None:
    robot, _ = rig
    start = begin(rig)
    executed = robot.command(ArmCommand(np.full(3, np.nan), start.quat_BE.copy(), False))
    assert executed.events
    state = robot.observe()
    assert np.isfinite(state.q).all()
    assert np.abs(state.p_BE - start.p_BE).max() < 5e-3


def test_an_impossible_start_is_refused_in_words(rig: tuple[Robot, Task]) -> None:
    robot, task = rig
    request = task.sample_reset(np.random.default_rng(0))
    with pytest.raises(RobotError):
        robot.reset(dataclasses.replace(request, p_BE=np.array([3.0, 0.0, 0.2])))


def test_closing_twice_is_safe(rig: tuple[Robot, Task]) -> None:
    robot, _ = rig
    robot.close()
    robot.close()
    begin(rig)
