"""The twin in real time in a process of its own: it tracks, holds, resets, and survives nobody by moving on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from realtime_rig import PATIENCE_S, running, wait_for

from robot_rl.errors import RobotError
from robot_rl.geometry import quat_angle
from robot_rl.robot import ArmCommand
from robot_rl_controllers.drive.handle import ProcessDriver
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_tasks.pick_cube import PickCube


def in_mode(mode: Mode) -> Callable[[Reading], bool]:
    return lambda reading: reading.mode is mode


class Commander:
    """Sends commands around a place, as an actor would."""

    def __init__(self, driver: ProcessDriver) -> None:
        self._driver = driver
        state = driver.read().state
        self.p, self.quat, self.sequence = state.p_BE.copy(), state.quat_BE.copy(), driver.read().sequence

    def send(self, offset: tuple[float, float, float], age_s: float = 0.0, close: bool = False) -> int:
        self.sequence += 1
        stamp_s = time.monotonic() - age_s
        self._driver.send(ArmCommand(self.p + np.array(offset), self.quat, close), self.sequence, stamp_s)
        return self.sequence

    def keep(self, offset: tuple[float, float, float], until: Callable[[Reading], bool]) -> Reading:
        """Ask for one place again and again until a reading is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while not until(reading := self._driver.read()):
            assert time.monotonic() < deadline, f"{reading.mode.name} {reading.reason}"
            if reading.mode is Mode.HOLD:  # this machine let us sleep too long
                self._driver.recover()
            self.send(offset)
            time.sleep(0.02)
        return reading


def let_pass(driver: ProcessDriver, ticks: int) -> Reading:
    begun = driver.read().ticks.ticks
    return wait_for(driver, lambda reading: reading.ticks.ticks > begun + ticks, "time")


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessDriver]:
    """One twin for the tests that leave it running."""
    with running(PickCube()) as driver:
        yield driver


@pytest.fixture
def driver(shared: ProcessDriver) -> ProcessDriver:
    """A twin that runs and rests at home, whatever the test before left."""
    if shared.read().mode is not Mode.RUN:
        shared.acknowledge("a test")
        wait_for(shared, in_mode(Mode.RUN), "RUN")
    shared.home()
    wait_for(shared, in_mode(Mode.RUN), "home")
    return shared


def test_it_tracks_a_target_and_says_what_was_executed(driver: ProcessDriver) -> None:
    commander = Commander(driver)
    # Joint friction leaves an error of some millimetres; the spring is not stiffer.
    reading = commander.keep((0.0, 0.06, 0.0), lambda r: abs(r.state.p_BE[1] - commander.p[1] - 0.06) < 0.01)
    np.testing.assert_allclose(reading.executed.p_BE, commander.p + np.array([0.0, 0.06, 0.0]), atol=1e-9)
    assert 0 < reading.sequence <= commander.sequence
    assert quat_angle(reading.state.quat_BE, commander.quat) < 0.05
    assert np.abs(reading.tau).max() > 0.0
    assert reading.ticks.ticks > 0
    closing = commander.keep((0.0, 0.06, 0.0), lambda r: r.mode is Mode.RUN and r.sequence > 0)
    assert not closing.state.gripper_closing
    commander.send((0.0, 0.06, 0.0), close=True)
    wait_for(driver, lambda r: r.state.gripper_closing or r.mode is Mode.HOLD, "closing")


def test_it_holds_still_when_nobody_commands(driver: ProcessDriver) -> None:
    commander = Commander(driver)
    commander.send((0.0, -0.09, 0.0))
    held = wait_for(driver, in_mode(Mode.HOLD), "HOLD")
    assert "allowed are 0.250 s" in held.reason
    assert held.executed.stopped
    assert held.recoveries_left >= 1
    p = wait_for(driver, lambda r: np.abs(r.state.V_BE).max() < 0.01, "rest").state.p_BE
    driver.recover()
    wait_for(driver, in_mode(Mode.RUN), "RUN")
    after = let_pass(driver, 300)
    assert after.mode is Mode.RUN
    assert np.linalg.norm(after.state.p_BE - p) < 0.003, "a recovery moves nothing"


@pytest.mark.parametrize("bad", ["late", "nan", "shape"])
def test_a_command_that_cannot_be_trusted_holds_it(driver: ProcessDriver, bad: str) -> None:
    let_pass(driver, 500)  # what is late was still given after the arm began to run
    commander = Commander(driver)
    if bad == "late":
        sequence = commander.send((0.0, 0.05, 0.0), age_s=0.5)
    elif bad == "nan":
        sequence = commander.send((0.0, np.nan, 0.0))
    else:
        sequence = commander.sequence + 1
        driver.send(ArmCommand(np.zeros(2), commander.quat, False), sequence, time.monotonic())
    held = wait_for(driver, in_mode(Mode.HOLD), "HOLD")
    assert held.sequence == sequence
    assert held.executed.stopped
    assert held.executed.reason == held.reason
    assert np.linalg.norm(held.state.p_BE - commander.p) < 0.002


def test_a_stop_ends_only_on_a_persons_word_and_then_nothing_moves(driver: ProcessDriver) -> None:
    commander = Commander(driver)
    driver.stop("a test wants it")
    stopped = wait_for(driver, in_mode(Mode.STOPPED), "STOPPED")
    assert stopped.reason == "a test wants it"
    sequence = commander.send((0.0, 0.05, 0.0))
    answered = wait_for(driver, lambda r: r.sequence == sequence, "an answer")
    assert answered.executed.stopped
    with pytest.raises(RobotError, match="A stop ends only on a person's word"):
        driver.recover()
    with pytest.raises(RobotError, match="a reset can begin only while the arm runs; it is STOPPED"):
        driver.home()
    driver.acknowledge("a test")
    wait_for(driver, in_mode(Mode.RUN), "RUN")
    after = let_pass(driver, 300)
    assert np.linalg.norm(after.state.p_BE - commander.p) < 0.002


def test_a_stop_during_a_reset_ends_the_reset(driver: ProcessDriver) -> None:
    request = driver.task.sample_reset(np.random.default_rng(3))
    driver.begin_reset(request)
    assert driver.read().mode is Mode.RESETTING
    with pytest.raises(RobotError, match="it is RESETTING"):
        driver.begin_reset(request)
    wait_for(driver, lambda r: np.abs(r.state.V_BE).max() > 0.02, "motion")
    driver.stop("enough")
    wait_for(driver, lambda r: r.mode is Mode.STOPPED and np.abs(r.state.V_BE).max() < 0.01, "rest")
    assert driver.read().reason == "enough"
    driver.acknowledge("a test")
    driver.begin_reset(request)  # at once: the one before must not meddle with it
    ended = wait_for(driver, lambda r: r.mode is not Mode.RESETTING, "the end of the reset")
    assert ended.mode is Mode.RUN, ended.reason


def test_compliance_changes_and_what_is_none_is_refused(driver: ProcessDriver) -> None:
    soft = dataclasses.replace(driver.task.compliance, stiffness=(200.0,) * 3 + (20.0,) * 3)
    driver.set_compliance(soft)
    let_pass(driver, 1200)  # the gains slew
    commander = Commander(driver)
    first = commander.sequence
    moved = commander.keep((0.0, 0.0, -0.03), lambda r: r.sequence > first + 40)
    off_m = moved.state.p_BE[2] - (commander.p[2] - 0.03)
    assert off_m > 0.005, "a soft arm lags behind by its joints' friction"
    driver.set_compliance(driver.task.compliance)


def test_pressing_on_the_table_too_hard_stops_it() -> None:
    task = PickCube()
    low = (0.28, -0.28, -0.05)  # below the table top
    task.limits = dataclasses.replace(task.limits, box_min_m=low, force_n=12.0)
    with running(task) as driver:
        commander = Commander(driver)
        down = commander.keep((0.0, 0.0, -0.45), lambda r: r.mode is Mode.STOPPED)
        assert "is above the limit of 12.0 N" in down.reason
        wait_for(driver, lambda r: np.linalg.norm(r.state.F_BE[:3]) < 1.0, "the end of the pushing")
        assert driver.read().mode is Mode.STOPPED
