"""The safety machine: whatever happens in whatever order, nothing runs again without somebody's leave."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from robot_rl.errors import ConfigError, RobotError
from robot_rl_controllers.drive.interface import Mode
from robot_rl_controllers.safety import SafetyMachine

BUDGET, WINDOW_S = 2, 100.0
waits = st.floats(0.0, 60.0)


def machine() -> SafetyMachine:
    return SafetyMachine(BUDGET, WINDOW_S, report=lambda _: None)


def held_at(now_s: float = 0.0) -> SafetyMachine:
    held = machine()
    held.fault("lost packets", soft=True, now_s=now_s)
    return held


class AnyOrder(RuleBasedStateMachine):
    """Events in any order, and what the arm may never have done after each."""

    def __init__(self) -> None:
        super().__init__()
        self.m, self.now_s = machine(), 0.0
        self.leave, self.person, self.hard = True, True, False  # what has been said since the last fault
        self.granted: list[float] = []
        self.before = Mode.RUN
        self.event = ""

    def begin(self, event: str, wait_s: float) -> None:
        self.now_s += wait_s
        self.event, self.before = event, self.m.mode

    @rule(kind=st.sampled_from(["soft", "silence", "hard", "stop", "lose"]), wait_s=waits)
    def go_wrong(self, kind: str, wait_s: float) -> None:
        self.begin(kind, wait_s)
        if kind == "lose":
            self.m.lose(kind, self.now_s)
        elif kind == "stop":
            self.m.stop(kind, self.now_s)
        else:
            self.m.fault(kind, soft=kind != "hard", now_s=self.now_s, free=kind == "silence")
        self.leave = self.person = False
        self.hard = self.hard or kind in ("hard", "stop")
        assert self.m.held

    @precondition(lambda self: self.m.mode is not Mode.FAULT)
    @rule(wait_s=waits)
    def acknowledge(self, wait_s: float) -> None:
        self.begin("acknowledge", wait_s)
        self.m.acknowledge("a person", self.now_s)
        self.leave = self.person = True
        if self.m.mode is not self.before:
            self.granted = []

    @rule(wait_s=waits, place=st.integers(0, 3))
    def recover(self, wait_s: float, place: int) -> None:
        self.begin("recover", wait_s)
        left, silent = self.m.recoveries_left(self.now_s), self.m.reason == "silence"
        try:
            self.m.recover(self.now_s, (float(place), 0.0, 0.0))
        except RobotError:
            assert self.m.mode is self.before
            return
        if self.before is Mode.HOLD:
            assert left > 0
            self.leave = True
            self.granted += [] if silent else [self.now_s]

    @rule(wait_s=waits)
    def recovered(self, wait_s: float) -> None:
        self.begin("recovered", wait_s)
        self.m.recovered(self.now_s)
        if self.m.mode is Mode.RUN and self.before is not Mode.RUN:
            assert self.before is Mode.RECOVERING
            assert self.leave
            assert self.person or not self.hard
            self.hard = False

    @rule(wait_s=waits, age_s=st.floats(-1.0, 100.0))
    def command(self, wait_s: float, age_s: float) -> None:
        self.begin("command", wait_s)
        if self.m.admits(10**9, self.now_s - age_s):
            assert self.m.mode is Mode.RUN

    @invariant()
    def only_the_right_event_changed_the_mode(self) -> None:
        if self.m.mode is Mode.RUN:
            assert self.before is Mode.RUN or self.event == "recovered"
        if self.before is Mode.STOPPED:
            assert self.m.mode is Mode.STOPPED or self.event in ("acknowledge", "lose")
        if self.before is Mode.FAULT:
            assert self.m.mode is Mode.FAULT
        assert (self.m.reason == "") == (self.m.mode is Mode.RUN)

    @invariant()
    def the_budget_holds(self) -> None:
        assert len([t for t in self.granted if self.now_s - t < WINDOW_S]) <= BUDGET


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(deadline=None, max_examples=100, stateful_step_count=60)


def test_a_stop_wins_over_a_hold_and_a_hold_never_over_a_stop() -> None:
    m = held_at()
    assert (m.mode, m.reason) == (Mode.HOLD, "lost packets")
    m.fault("a late command", soft=True, now_s=0.1)
    assert m.reason == "lost packets"
    m.stop("a person pressed stop", 0.2)
    m.fault("lost packets", soft=True, now_s=0.3)
    assert (m.mode, m.reason) == (Mode.STOPPED, "a person pressed stop")
    assert m.counts == {"held": 1, "stopped": 1}
    with pytest.raises(RobotError, match=r"^the arm is stopped: a person pressed stop\. A stop ends only on a person"):
        m.recover(0.4)
    m.acknowledge("Ada", 0.5)
    assert "acknowledged by Ada" in m.reason
    m.recovered(0.6)
    assert m.mode is Mode.RUN


def test_a_fault_while_a_stop_is_cleared_leads_back_to_the_stop() -> None:
    m = machine()
    m.stop("a reflex", 0.0)
    m.acknowledge("Ada", 1.0)
    m.fault("lost packets", soft=True, now_s=1.1)
    assert m.mode is Mode.STOPPED


def test_commands_from_before_the_arm_runs_again_are_never_executed() -> None:
    m = machine()
    assert m.admits(7, 1.0)
    m.fault("a late command", soft=True, now_s=2.0)
    assert not m.admits(8, 2.1)
    m.acknowledge("Ada", 3.0)
    assert not m.admits(9, 3.1)
    m.recovered(4.0)
    assert not m.admits(7, 5.0)  # an old number with a new stamp
    assert not m.admits(10, 3.5)  # a new number that was given before the arm ran
    assert not m.admits(11, math.nan)
    assert m.admits(12, 4.0)
    assert m.admits(12, 4.0)  # asked again about the command that stands
    assert m.counts["old_command"] == 3


def test_the_budget_is_spent_comes_back_with_time_and_on_a_person_s_word() -> None:
    m = machine()
    for i in range(BUDGET):
        assert m.recoveries_left(float(i)) == BUDGET - i
        m.fault("lost packets", soft=True, now_s=float(i))
        m.recover(float(i))
        m.recovered(float(i))
    m.fault("lost packets", soft=True, now_s=10.0)
    with pytest.raises(RobotError, match="recovered by itself 2 times within 100 s, which is all that is allowed"):
        m.recover(10.0)
    assert m.counts["recover_refused"] == 1
    assert m.recoveries_left(math.nan) == 0
    assert m.recoveries_left(WINDOW_S + 0.5) == 1
    m.acknowledge("Ada", 11.0)
    m.recovered(11.0)
    assert m.recoveries_left(11.0) == BUDGET


def test_silence_costs_no_budget_but_still_needs_leave() -> None:
    m = machine()
    for i in range(5):
        m.fault("no command for 0.3 s", soft=True, now_s=float(i), free=True)
        assert m.held
        assert m.recoveries_left(float(i)) > 0
        m.recover(float(i))
        m.recovered(float(i))
    assert m.recoveries_left(5.0) == BUDGET
    m.fault("no command for 0.3 s", soft=True, now_s=6.0, free=True)
    m.fault("lost packets", soft=True, now_s=6.1)
    m.recover(6.2)
    assert m.recoveries_left(6.3) == BUDGET - 1


def test_an_arm_does_not_recover_by_itself_twice_at_one_place() -> None:
    m = held_at()
    m.recover(0.0, (0.5, 0.0, 0.2))
    m.recovered(0.1)
    m.fault("lost packets", soft=True, now_s=1.0)
    with pytest.raises(RobotError, match="recovered by itself at this place 1 s ago"):
        m.recover(1.0, (0.5, 0.01, 0.2))
    with pytest.raises(RobotError, match="place of the tool is not known"):
        m.recover(1.0, (math.nan, 0.0, 0.2))
    m.recover(1.0, (0.5, 0.05, 0.2))
    assert m.mode is Mode.RECOVERING


def test_a_robot_that_is_gone_is_neither_recovered_nor_acknowledged() -> None:
    m = machine()
    m.lose("the control box does not answer", 0.0)
    with pytest.raises(RobotError, match=r"robot is gone: the control box does not answer\. Mend the cause"):
        m.recover(0.0)
    with pytest.raises(RobotError, match="no robot to acknowledge"):
        m.acknowledge("Ada", 0.0)
    m.stop("a person", 0.1)
    assert m.mode is Mode.FAULT


def test_leave_that_nobody_needs_changes_nothing() -> None:
    m = machine()
    m.recover(0.0)
    m.acknowledge("Ada", 0.0)
    m.recovered(0.0)
    assert m.mode is Mode.RUN
    assert m.counts == {}
    m.fault("", soft=True, now_s=0.0)
    assert m.reason == "no reason given"


def test_each_change_of_mode_is_told_once() -> None:
    said: list[str] = []
    m = SafetyMachine(report=said.append)
    for _ in range(3):
        m.fault("a late command", soft=True, now_s=0.0)
    m.recover(0.0)
    m.recovered(0.0)
    assert said == [
        "the arm goes from RUN to HOLD: a late command",
        "the arm goes from HOLD to RECOVERING: recovers from: a late command",
        "the arm goes from RECOVERING to RUN",
    ]


@pytest.mark.parametrize("wrong", [{"budget": -1}, {"window_s": 0.0}, {"window_s": math.nan}, {"same_place_m": -1.0}])
def test_a_budget_that_bounds_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="budget of recoveries"):
        SafetyMachine(**wrong)  # pyright: ignore[reportArgumentType]
