"""The loop against a plant that does what a test says: faults, recoveries, requests, and never a motion by itself."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from robot_rl.cell import Box, Cell
from robot_rl.errors import RobotError
from robot_rl.geometry import Vector
from robot_rl.task import Compliance, Limits
from robot_rl.typed import Target
from robot_rl_controllers.drive.fr3_kinematics import HOME_Q, Fr3Kinematics
from robot_rl_controllers.drive.interface import Mode, Reading
from robot_rl_controllers.drive.loop import DriveLoop
from robot_rl_controllers.drive.plant import PlantFault, Sample
from robot_rl_controllers.drive.records import COMMAND_P, COMMAND_QUAT, Ask, Board
from robot_rl_controllers.drive.spec import DriveSpec

ARM = Fr3Kinematics()
Step = Callable[[Sample], object]
LIMITS = Limits(box_min_m=(0.2, -0.3, 0.0), box_max_m=(0.7, 0.3, 0.6), force_n=30.0)


class ScriptedPlant:
    """An arm that stands still whatever the torques, and says or raises what a script tells it to."""

    dt_s = 0.001

    def __init__(self) -> None:
        self.script: Callable[[int, Sample], None] = lambda tick, sample: None
        self.tick = 0
        self.torques: list[Vector] = []
        self.said: list[str] = []
        self.gone = False

    def connect(self) -> None:
        self.said.append("connect")

    def begin(self, sample: Sample) -> None:
        self.said.append("begin")
        self._fill(sample)

    def _fill(self, sample: Sample) -> None:
        q = np.array(HOME_Q)
        sample.q[:], sample.J[:] = q, ARM.tool_jacobian(q)
        sample.p_BE[:], sample.quat_BE[:] = ARM.tool_pose(q)
        sample.F_BE[:] = 0.0
        sample.stamp_s, sample.robot_s = time.monotonic(), self.tick * self.dt_s
        if self.torques:
            sample.tau_prev[:] = self.torques[-1]

    def read(self, sample: Sample) -> None:
        if self.gone:
            raise PlantFault("the cable is out", recoverable=False)
        self.tick += 1
        self._fill(sample)
        self.script(self.tick, sample)

    def write(self, tau: Vector, finger_m: float) -> None:
        self.torques.append(tau.copy())

    def end(self) -> None:
        self.said.append("end")

    def recover(self) -> None:
        self.said.append("recover")

    def close(self) -> None:
        self.said.append("close")


class Rig:
    """A loop with a scripted plant, run for as many ticks as a test's script lasts."""

    def __init__(self, limits: Limits = LIMITS, cell: Cell | None = None, hardware: bool = False) -> None:
        self.plant, self.board = ScriptedPlant(), Board(())
        self.parent = Board((), self.board.memory.fd)  # the other end, as a parent process would map it
        spec = DriveSpec(
            name="rig", parent=os.getppid(), memory=self.board.memory.fd, plant=Target(path="not.made"), objects=(),
            limits=limits, cell=cell or Cell(), compliance=Compliance(), period_s=0.1, hardware=hardware,
        )  # fmt: skip
        self.sentences: list[str] = []
        self.loop = DriveLoop(self.plant, spec, self.board, "normal", self.sentences.append)
        self.sequence = 0
        self.requests = 0

    def run(self, steps: Mapping[int, Step], ticks: int = 200) -> None:
        """Run, doing the given things just before the given ticks, and end."""

        def script(tick: int, sample: Sample) -> None:
            if tick in steps:
                steps[tick](sample)
            if tick >= ticks:
                self.loop.quit_reason = "the test is over"

        self.plant.script = script
        self.loop.run()

    def read(self) -> Reading:
        reading = self.parent.reading()
        assert reading is not None
        return reading

    def send(self, offset: float, stamp_s: float | None = None, close: bool = False) -> None:
        self.sequence += 1
        slot = self.parent.command
        slot.numbers[0] = time.monotonic() if stamp_s is None else stamp_s
        p, slot.numbers[COMMAND_QUAT] = ARM.tool_pose(np.array(HOME_Q))
        slot.numbers[COMMAND_P] = p + np.array([0.0, offset, 0.0])
        slot.words[:] = self.sequence, close
        slot.publish()

    def ask(self, what: Ask, text: str = "", flag: bool = False) -> int:
        request = self.parent.request
        request.words[:] = what, flag
        request.numbers[:] = math.nan
        request.set_text(text)
        return request.publish()

    def refusal(self, number: int) -> str:
        return self.parent.answer.find(number).text


def test_a_command_is_followed_and_answered() -> None:
    rig, seen = Rig(), []
    rig.run({10: lambda _: rig.send(0.05, close=True), 60: lambda _: seen.append(rig.read())}, ticks=80)
    reading = seen[0]
    assert reading.mode is Mode.RUN
    assert reading.sequence == 1
    assert reading.executed.close_gripper
    assert not reading.executed.stopped
    assert reading.executed.p_BE[1] == pytest.approx(0.05)
    assert np.abs(rig.plant.torques[8]).max() < 1e-6, "it held still before"
    assert np.abs(rig.plant.torques[50]).max() > 1.0
    assert rig.plant.said == ["begin", "end", "close"]
    assert rig.read().mode is Mode.CLOSED


def test_the_robot_is_answered_before_a_command_is_looked_at_and_follows_it_in_the_next_tick() -> None:
    rig, seen = Rig(), []
    write = rig.plant.write

    def look(tau: Vector, finger_m: float) -> None:
        write(tau, finger_m)
        seen.append(rig.loop.pilot.sequence)

    rig.plant.write = look
    rig.run({10: lambda _: rig.send(0.05)}, ticks=40)
    assert seen[8:12] == [0, 0, 1, 1]  # of the ticks 9 to 12
    assert np.abs(rig.plant.torques[9]).max() < 1e-6
    assert np.abs(rig.plant.torques[10]).max() > 1e-6


def test_what_a_plant_tells_after_the_answer_is_what_the_guard_sees() -> None:
    rig = Rig()
    order: list[str] = []

    class TalkativePlant(ScriptedPlant):
        def read(self, sample: Sample) -> None:
            super().read(sample)
            order.append("read")

        def write(self, tau: Vector, finger_m: float) -> None:
            super().write(tau, finger_m)
            order.append("write")

        def tell_more(self, sample: Sample) -> None:
            order.append("tell more")
            sample.F_BE[2] = 50.0

    rig.plant = TalkativePlant()
    rig.loop = DriveLoop(rig.plant, rig.loop.spec, rig.board, "normal", rig.sentences.append)
    rig.run({}, ticks=20)
    assert order[:6] == ["read", "write", "tell more"] * 2
    assert rig.loop.pilot.guard.stop_reason == "contact force 50.0 N is above the limit of 30.0 N"


def test_the_response_ends_when_the_robot_has_its_answer() -> None:
    rig = Rig()
    sample, desk = rig.loop.sample, rig.loop.desk
    for tick in range(100):
        sample.stamp_s = 10.0 + 0.001 * tick
        desk.count(sample, round(1e9 * sample.stamp_s) + 70_000)
    assert rig.board.histograms.response.percentiles() == (70.0,) * 4


@pytest.mark.parametrize(
    ("stamp", "event"),
    [(lambda: time.monotonic() - 0.5, "stale_command"), (lambda: time.monotonic() + 9, "stale_command")],
)
def test_a_command_of_another_time_holds_the_arm(stamp: Callable[[], float], event: str) -> None:
    rig, seen = Rig(), []
    rig.run({10: lambda _: rig.send(0.05, stamp()), 60: lambda _: seen.append(rig.read())})
    assert seen[0].mode is Mode.HOLD
    assert seen[0].executed.stopped
    assert event in seen[0].executed.events
    assert seen[0].executed.reason == seen[0].reason != ""
    assert max(np.abs(tau).max() for tau in rig.plant.torques) < 1e-6


def test_silence_holds_the_arm_and_costs_no_recovery() -> None:
    limits = dataclasses.replace(LIMITS, command_age_s=0.02)
    rig, seen = Rig(limits), []

    def wait(sample: Sample) -> None:
        time.sleep(0.05)
        sample.stamp_s = time.monotonic()

    rig.run({10: lambda _: rig.send(0.05), 20: wait, 60: lambda _: seen.append(rig.read())})
    assert seen[0].mode is Mode.HOLD
    assert seen[0].executed.stopped, "whoever sent the last command is told"
    assert "the command is 0.0" in seen[0].reason
    assert seen[0].counts.get("stale_command", 1) == 1
    assert seen[0].recoveries_left == 3


def test_a_pose_that_is_not_finite_holds_the_arm() -> None:
    rig, seen = Rig(), []
    rig.run({10: lambda _: rig.send(math.nan), 60: lambda _: seen.append(rig.read())})
    assert seen[0].mode is Mode.HOLD
    assert seen[0].executed.events == ("not_finite",)
    assert np.isfinite(seen[0].executed.p_BE).all()


def test_nothing_resumes_into_motion_after_a_recovery() -> None:
    rig, seen = Rig(), []
    rig.run(
        {
            10: lambda _: rig.send(math.nan),
            30: lambda _: rig.send(0.05),  # given while it holds
            50: lambda _: rig.ask(Ask.RECOVER),
            100: lambda _: seen.append(rig.read()),
            101: lambda _: rig.send(0.05, time.monotonic() - 0.02 - 0.001 * 60),  # given before it ran again
            140: lambda _: seen.append(rig.read()),
        }
    )
    assert [reading.mode for reading in seen] == [Mode.RUN, Mode.RUN]
    assert max(np.abs(tau).max() for tau in rig.plant.torques) < 1e-6


def test_a_reading_that_is_not_finite_holds_with_torques_that_fade() -> None:
    rig, seen = Rig(), []

    def break_reading(sample: Sample) -> None:
        sample.q[2] = sample.p_BE[0] = math.nan

    steps = {tick: break_reading for tick in range(40, 80)}
    rig.run({10: lambda _: rig.send(0.05), **steps, 79: lambda s: (break_reading(s), seen.append(rig.read()))})
    assert seen[0].mode is Mode.HOLD
    torques = np.array(rig.plant.torques)
    assert np.isfinite(torques).all()
    assert np.abs(np.diff(torques, axis=0)).max() <= 0.95
    assert np.abs(torques[77]).max() < np.abs(torques[38]).max()


def test_too_much_force_stops_until_a_person_acknowledges() -> None:
    rig, seen, numbers = Rig(), [], []

    def push(sample: Sample) -> None:
        sample.F_BE[2] = 50.0

    steps: dict[int, Step] = {tick: push for tick in range(40, 61)}
    steps |= {
        70: lambda _: (seen.append(rig.read()), numbers.append(rig.ask(Ask.RECOVER))),
        80: lambda _: numbers.append(rig.ask(Ask.BEGIN_RESET)),
        90: lambda _: (seen.append(rig.read()), numbers.append(rig.ask(Ask.ACKNOWLEDGE, "a test"))),
        110: lambda _: seen.append(rig.read()),
    }
    rig.run(steps)
    assert [reading.mode for reading in seen] == [Mode.STOPPED, Mode.STOPPED, Mode.RUN]
    assert "contact force 50.0 N is above the limit of 30.0 N" in seen[0].reason
    assert "A stop ends only on a person's word" in rig.refusal(numbers[0])
    assert "a reset can begin only while the arm runs; it is STOPPED" in rig.refusal(numbers[1])
    assert rig.refusal(numbers[2]) == ""


def test_a_stop_is_kept_with_its_first_reason() -> None:
    rig, seen = Rig(), []
    rig.run(
        {
            20: lambda _: rig.ask(Ask.STOP, "the dog came in"),
            30: lambda _: rig.ask(Ask.STOP, "and the cat"),
            40: lambda _: rig.send(0.05),
            60: lambda _: seen.append(rig.read()),
        }
    )
    assert (seen[0].mode, seen[0].reason) == (Mode.STOPPED, "the dog came in")
    assert (seen[0].sequence, seen[0].executed.events, seen[0].executed.stopped) == (1, ("stopped",), True)
    assert seen[0].executed.reason == "the dog came in"


def test_lost_packets_hold_and_recover_within_the_budget() -> None:
    rig, seen, numbers = Rig(), [], []

    def lose(_: Sample) -> None:
        raise PlantFault("communication_constraints_violation", soft=True)

    rig.run(
        {
            20: lose,
            30: lambda _: (seen.append(rig.read()), numbers.append(rig.ask(Ask.RECOVER))),
            50: lambda _: seen.append(rig.read()),
            60: lose,  # at the same place again: that takes a person
            70: lambda _: numbers.append(rig.ask(Ask.RECOVER)),
            80: lambda _: seen.append(rig.read()),
        },
        ticks=90,
    )
    assert [reading.mode for reading in seen] == [Mode.HOLD, Mode.RUN, Mode.HOLD]
    assert seen[0].reason == "communication_constraints_violation"
    assert rig.plant.said == ["begin", "recover", "begin", "close"], "control that was lost is not given back"
    assert "at this place" in rig.refusal(numbers[1])


def test_a_reflex_of_the_robot_is_a_stop_and_is_cleared_only_when_acknowledged() -> None:
    rig, seen = Rig(), []

    def reflex(_: Sample) -> None:
        raise PlantFault("cartesian_reflex")

    rig.run(
        {
            20: reflex,
            30: lambda _: rig.ask(Ask.RECOVER),
            40: lambda _: (seen.append(rig.read()), rig.ask(Ask.ACKNOWLEDGE, "a test")),
            60: lambda _: seen.append(rig.read()),
        }
    )
    assert [reading.mode for reading in seen] == [Mode.STOPPED, Mode.RUN]
    assert rig.plant.said == ["begin", "recover", "begin", "end", "close"]


@pytest.mark.parametrize(("soft", "mode"), [(False, Mode.STOPPED), (True, Mode.HOLD)])
def test_a_fault_in_the_very_first_control_holds_or_stops_and_leaves_the_driver_alive(soft: bool, mode: Mode) -> None:
    rig, seen = Rig(), []
    begin = rig.plant.begin

    def fail_once(sample: Sample) -> None:
        rig.plant.begin = begin
        rig.plant.said.append("fail")
        raise PlantFault("a reflex in the first millisecond", soft=soft)

    rig.plant.begin = fail_once
    rig.run(
        {
            30: lambda _: (seen.append(rig.read()), rig.ask(Ask.ACKNOWLEDGE, "a test")),
            60: lambda _: (seen.append(rig.read()), rig.send(0.05)),
        },
        ticks=90,
    )
    assert [reading.mode for reading in seen] == [mode, Mode.RUN]
    assert "a reflex in the first millisecond" in seen[0].reason
    assert rig.plant.said == ["fail", "recover", "begin", "end", "close"]
    assert len(rig.plant.torques) < 70, "not a torque before it was acknowledged"
    assert np.abs(rig.plant.torques[-2]).max() > 1.0, "and then it follows"


@pytest.mark.parametrize("words", [{"refused": True}, {"recoverable": False}])
def test_a_robot_that_is_not_to_be_had_ends_the_driver(words: dict[str, bool]) -> None:
    rig = Rig()

    def refuse(_: Sample) -> None:
        raise PlantFault("the user stop is pressed", **words)

    rig.plant.begin = refuse
    with pytest.raises(PlantFault, match="user stop"):
        rig.run({})
    assert rig.plant.said == ["end", "close"]
    assert not rig.plant.torques


def test_a_robot_that_is_gone_is_a_fault_that_nothing_here_ends() -> None:
    rig = Rig()
    seen: list[Reading] = []

    def pull_the_cable(_: Sample) -> None:
        rig.plant.gone = True
        rig.ask(Ask.ACKNOWLEDGE, "a test")
        raise PlantFault("the cable is out", recoverable=False)

    def report(sentence: str) -> None:
        rig.sentences.append(sentence)
        rig.loop.quit_reason = "the test is over" if "FAULT" in sentence else ""

    rig.loop.pilot.machine._report = report
    rig.run({20: pull_the_cable})
    seen.append(rig.read())
    assert seen[0].reason == "the test is over"
    assert rig.sentences == ["the arm goes from RUN to FAULT: the cable is out"]


def test_hardware_does_not_start_outside_its_bounds() -> None:
    low = Cell(bounds=Box(min_m=(0.2, -0.3, 0.0), max_m=(0.7, 0.3, 0.3)))
    rig = Rig(dataclasses.replace(LIMITS, box_max_m=(0.7, 0.3, 0.3)), low, hardware=True)
    with pytest.raises(RobotError, match=r"the tool is at .* which breaks the rule workspace"):
        rig.run({})
    assert rig.plant.said == ["begin", "end", "close"]


def test_states_that_were_never_seen_are_counted() -> None:
    rig = Rig()

    def skip(sample: Sample) -> None:
        rig.plant.tick += 4
        sample.robot_s += 4 * rig.plant.dt_s

    rig.run({50: skip}, ticks=100)
    reading = rig.read()
    assert (reading.ticks.missed, reading.ticks.ticks) == (4, 96)
    assert 0.0 < reading.ticks.response_us[0] <= reading.ticks.response_us[3]


def test_a_parent_that_is_gone_ends_the_loop() -> None:
    rig = Rig()
    rig.loop.spec = dataclasses.replace(rig.loop.spec, parent=1 if os.getppid() != 1 else 2)
    rig.run({}, ticks=10**9)
    assert rig.read().reason == "its parent is gone"
    assert rig.plant.said == ["begin", "end", "close"]


def test_a_failure_in_the_loop_gives_the_robot_back_first() -> None:
    rig = Rig()

    def fail(_: Sample) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rig.run({20: fail})
    assert rig.plant.said == ["begin", "end", "close"]
