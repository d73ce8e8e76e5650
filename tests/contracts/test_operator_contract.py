"""What every operator keeps to. To add one, add a function to OPERATORS that returns it ready to be connected.

A device's own tests feed it; here it may be idle. What counts is that it never waits, that what it gives fits the task,
and that it can be let go of at any time.
"""

from __future__ import annotations

import os
import pty
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from operator_rig import DeviceFile, js_axis, js_button, operator_of

from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.operator import BUTTONS, Operator
from robot_rl.task import Task


def configured(name: str, *overrides: str) -> Callable[[Task], Operator]:
    """Return what makes an operator of the group `operator`."""
    return lambda task: compose([f"operator={name}", *overrides]).settings().operator.make(task)


def at_a_terminal(task: Task) -> Operator:
    """Return an operator with a keyboard of its own that nobody touches."""
    keys, screen = pty.openpty()
    made = operator_of("keyboard", task, tty=os.ttyname(screen))
    weakref.finalize(made, lambda: (os.close(keys), os.close(screen)))
    return made


def with_a_device(name: str, *reports: bytes) -> Callable[[Task], Operator]:
    """Return what makes an operator on a device file that says something and is then held still."""

    def make(task: Task) -> Operator:
        folder = tempfile.TemporaryDirectory(prefix="robot_rl-operator-")
        device = DeviceFile(Path(folder.name) / "js0")
        made = operator_of(name, task, device=device.path)
        began = made.connect

        def connect() -> None:
            began()
            for report in reports:
                device.write(report)

        made.connect = connect
        weakref.finalize(made, lambda: (device.unplug(), folder.cleanup()))
        return made

    return make


OPERATORS: dict[str, Callable[[Task], Operator]] = {
    "none": configured("none"),
    "scripted": configured("scripted"),
    "scripted-stuck": configured("scripted", "operator.when=stuck"),
    "scripted-alone": configured("scripted", "operator.share=1.0"),
    "keyboard": at_a_terminal,
    "gamepad": with_a_device("gamepad"),
    "gamepad-held": with_a_device("gamepad", js_button(4) + js_axis(0, -0.3) + js_axis(4, 0.4) + js_button(5)),
    "spacemouse": with_a_device("spacemouse"),
}
TASKS = ("reach", "pick_cube", "peg_insert")


@pytest.fixture(scope="module", params=TASKS)
def env(request: pytest.FixtureRequest) -> Iterator[RobotEnv]:
    made = make_env(compose([f"task={request.param}"]).settings())
    yield made
    made.close()


@pytest.fixture(params=OPERATORS)
def operator(request: pytest.FixtureRequest, env: RobotEnv) -> Iterator[Operator]:
    made = OPERATORS[request.param](env.task)
    made.connect()
    yield made
    made.close()


def test_what_it_gives_fits_the_task(operator: Operator, env: RobotEnv) -> None:
    for seed in range(3):
        env.reset(seed=seed)
        operator.begin(seed)
        for _ in range(30):
            given = operator.read(env.robot_state)
            assert set(given.buttons) <= set(BUTTONS)
            action = np.zeros(env.task.action_spec.size, np.float32)
            if given.action is not None:
                assert given.action.shape == action.shape
                assert given.action.dtype == np.float32
                assert np.isfinite(given.action).all()
                assert np.abs(given.action).max() <= 1.0
                action = given.action
            env.step(action)


def test_what_it_gave_is_not_changed_later(operator: Operator, env: RobotEnv) -> None:
    env.reset(seed=0)
    operator.begin(0)
    given = [operator.read(env.robot_state).action for _ in range(20)]
    kept = [None if a is None else a.copy() for a in given]
    for _ in range(20):
        operator.read(env.robot_state)
    for before, after in zip(kept, given, strict=True):
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            np.testing.assert_array_equal(before, after)


def test_an_episode_can_begin_at_any_time(operator: Operator, env: RobotEnv) -> None:
    env.reset(seed=0)
    operator.begin(0)
    operator.begin(1)
    operator.read(env.robot_state)


def test_it_can_be_closed_twice(operator: Operator) -> None:
    operator.close()
    operator.close()


def test_it_has_the_four_methods_and_no_more_are_needed(operator: Operator) -> None:
    for name in ("connect", "begin", "read", "close"):
        assert callable(getattr(operator, name))
