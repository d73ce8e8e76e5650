from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl_hardware.car.deadman import STOP_WITHIN_S, Deadman, DeadmanSettings
from robot_rl_hardware.car.watchdog import Decision, Watchdog, WatchdogSettings

PERIOD_S = 0.02


class Rig:
    """A car's surroundings on a clock of their own: each source sends every period unless it is switched off."""

    def __init__(self) -> None:
        self.now_s, self.count, self.held = 50.0, 0, False
        self.on = {"policy", "link", "localisation", "deadman", "life"}
        self.deadman = Deadman()
        self.said: list[str] = []
        self.dog = Watchdog(self.deadman, report=self.said.append)

    def run(self, periods: int) -> Decision:
        decision = Decision(reason="never asked")
        for _ in range(periods):
            self.now_s += PERIOD_S
            self.count += 1
            if "policy" in self.on:
                self.dog.command(1.5, 0.1, self.now_s, self.now_s)
            if "link" in self.on:
                self.dog.linked(self.now_s, self.now_s)
            if "localisation" in self.on:
                self.dog.located(self.now_s, self.now_s)
            if "deadman" in self.on:
                content = b"%d" % (self.count if "life" in self.on else 0)
                self.deadman.sample(self.held, self.now_s, self.now_s, content)
            decision = self.dog.tick(self.now_s)
        return decision

    def driving(self) -> Rig:
        self.run(3)
        self.held = True
        assert self.run(3).drives
        return self


def test_it_drives_once_the_deadman_is_pressed_and_all_is_fresh() -> None:
    rig = Rig()
    assert rig.run(5).reason == "the deadman is not held"
    rig.held = True
    assert rig.run(1).reason == "no command was given since the deadman was pressed"
    assert rig.run(1) == Decision(1.5, 0.1, rig.now_s)


def test_a_button_that_is_down_from_the_start_lets_nothing_drive() -> None:
    rig = Rig()
    rig.held = True
    assert rig.run(20).reason == "the deadman must be let go and pressed again"


@pytest.mark.parametrize("source", ["policy", "link", "localisation", "deadman", "life"])
def test_whatever_falls_silent_stops_the_car_in_time_and_coming_back_is_not_enough(source: str) -> None:
    rig = Rig().driving()
    last_s = rig.now_s
    rig.on.remove(source)
    while rig.run(1).drives:
        assert rig.now_s - last_s < STOP_WITHIN_S
    assert rig.now_s - last_s <= STOP_WITHIN_S - PERIOD_S + 1e-9  # the VESC's driver may take a period more
    assert rig.said[-1].startswith("the car must stop: the ")
    assert rig.dog.counts == {"deadman" if source == "life" else source: 1}
    rig.on.add(source)
    decision = rig.run(100)
    assert "the deadman must be let go and pressed again, since the car stopped: the " in decision.reason
    rig.held = False
    rig.run(2)
    rig.held = True
    assert rig.run(2).drives


@pytest.mark.parametrize("source", ["policy", "link", "localisation", "deadman", "life"])
def test_it_tells_what_stopped_it_and_when_that_was_heard_of_last(source: str) -> None:
    rig = Rig().driving()
    assert rig.dog.stopped is None
    last_s = rig.now_s
    rig.on.remove(source)
    rig.run(50)
    stopped = rig.dog.stopped
    assert stopped is not None
    assert stopped.name == ("deadman" if source == "life" else source)
    # A pad that is stuck showed something new once more: what it then repeats.
    assert stopped.last_s == pytest.approx(last_s + (PERIOD_S if source == "life" else 0.0))
    assert stopped.number == 1
    assert stopped.reason in rig.said[-1]


def test_a_let_go_counts_from_the_sample_that_says_so() -> None:
    rig = Rig().driving()
    rig.held = False
    rig.run(1)
    assert rig.dog.stopped is not None
    assert (rig.dog.stopped.name, rig.dog.stopped.last_s) == ("deadman", rig.now_s)


def test_letting_go_stops_at_once_and_nothing_resumes_by_itself() -> None:
    rig = Rig().driving()
    rig.held = False
    assert rig.run(1).reason == "the deadman is not held"
    assert not rig.run(100).drives  # FastRLAP drove on half a second after its person had let go
    assert rig.dog.counts == {"deadman": 1}


def test_a_stuck_pad_whose_sample_is_stamped_anew_counts_as_let_go() -> None:
    rig = Rig().driving()
    rig.on.remove("life")
    assert "has shown nothing new" in rig.run(10).reason


def test_a_pad_that_vanishes_counts_as_let_go_also_when_it_comes_back_pressed() -> None:
    rig = Rig().driving()
    rig.deadman.lost("the pad was unplugged")
    assert rig.run(1).reason == "the pad was unplugged"
    rig.deadman.found()
    assert not rig.run(50).drives
    rig.held = False
    rig.run(1)
    rig.held = True
    assert rig.run(2).drives


def test_a_press_while_something_is_stale_is_lost() -> None:
    rig = Rig()
    rig.on.remove("localisation")
    rig.run(3)
    rig.held = True
    assert rig.run(3).reason == "the localisation has sent nothing that could be used"
    rig.on.add("localisation")
    assert not rig.run(50).drives


def test_letting_go_between_two_ticks_voids_the_commands_from_before() -> None:
    rig = Rig().driving()
    for held in (False, True):
        rig.now_s += 0.001
        rig.deadman.sample(held, rig.now_s, rig.now_s, b"%r" % held)
    assert rig.dog.tick(rig.now_s).reason == "no command was given since the deadman was pressed"
    assert rig.run(1).drives


@pytest.mark.parametrize("speed", [math.nan, math.inf])
def test_a_command_that_is_no_number_stops_the_car_until_the_deadman_is_pressed(speed: float) -> None:
    rig = Rig().driving()
    rig.dog.command(speed, 0.0, rig.now_s, rig.now_s)
    assert "the policy commands what is no number" in rig.run(1).reason
    assert not rig.run(50).drives


def test_a_stop_of_somebody_else_needs_the_deadman_too() -> None:
    rig = Rig().driving()
    rig.dog.stop("the car hit something")
    assert rig.run(1).reason == "the car hit something"
    assert rig.run(10).reason.endswith("since the car stopped: the car hit something")
    assert rig.dog.counts == {"stop": 1}


@pytest.mark.parametrize("time_s", [math.nan, -math.inf, 49.0])
def test_a_clock_that_goes_wrong_stops_the_car(time_s: float) -> None:
    rig = Rig().driving()
    assert "the clock went from" in rig.dog.tick(time_s).reason
    assert not rig.run(50).drives


ages = st.floats(-0.05, 0.3) | st.just(math.nan)
events = st.lists(
    st.one_of(
        st.tuples(st.just("command"), ages),
        st.tuples(st.just("linked"), ages),
        st.tuples(st.just("located"), ages),
        st.tuples(st.just("sample"), st.booleans(), ages, st.integers(0, 2)),
        st.tuples(st.just("burst"), st.booleans(), st.integers(0, 5)),
        st.tuples(st.just("burst"), st.booleans(), st.integers(0, 5)),
        st.tuples(st.just("burst"), st.booleans(), st.integers(0, 5)),
        st.tuples(st.just("lost")),
        st.tuples(st.just("found")),
        st.tuples(st.just("stop")),
        st.tuples(st.just("wait"), st.floats(0.0, 0.2)),
    ),
    max_size=60,
)


class Oracle:
    """The promises of the watchdog in other words: from the raw events, which times allow a motion at all."""

    def __init__(self) -> None:
        self.newest = {"command": -math.inf, "linked": -math.inf, "located": -math.inf}
        self.gone = False
        self.bad_s = self.pressed_s = -math.inf
        self.forget()

    def forget(self) -> None:
        self.sampled_s = self.held_s = self.released_s = -math.inf  # stamps: newest, held, let go

    def came(self, name: str, stamp_s: float, now_s: float) -> None:
        if stamp_s <= now_s + 0.2:
            self.newest[name] = max(self.newest[name], stamp_s)

    def sample(self, held: bool, stamp_s: float, now_s: float) -> None:
        in_order = stamp_s >= self.sampled_s and now_s - stamp_s <= 0.1
        if self.gone or not (held or in_order):
            self.held_s = self.released_s = -math.inf
        elif held and in_order:
            if now_s - self.released_s <= 0.1:
                self.pressed_s = now_s
            self.held_s, self.released_s = stamp_s, -math.inf
        elif held:
            self.released_s = -math.inf
        else:
            self.held_s, self.released_s = -math.inf, stamp_s
        if stamp_s > self.sampled_s:
            self.sampled_s = stamp_s

    def holds(self, now_s: float) -> bool:
        return not self.gone and now_s - self.held_s <= 0.1

    def check(self, decision: Decision, now_s: float) -> None:
        limits = {"command": 0.1, "linked": 0.1, "located": 0.12}
        fresh = all(now_s - self.newest[name] <= limit for name, limit in limits.items())
        if decision.drives:
            assert fresh, "it drove on something stale"
            assert self.holds(now_s), "it drove without a held deadman"
            assert self.pressed_s >= self.bad_s, "it resumed without a new press"
            assert decision.stamp_s > self.pressed_s, "it drove on a command from before the press"
        if not (fresh and self.holds(now_s)):
            self.bad_s = now_s


@given(events)
@settings(max_examples=300, deadline=None)
def test_no_sequence_of_events_leads_to_a_motion_that_is_not_allowed(happening: list[tuple]) -> None:
    deadman, now_s, oracle = Deadman(), 10.0, Oracle()
    dog = Watchdog(deadman, report=lambda sentence: None)
    count = 0
    for event in happening:
        match event:
            case ("command" | "linked" | "located") as name, age:
                oracle.came(name, now_s - age, now_s)
                if name == "command":
                    dog.command(1.0, 0.0, now_s - age, now_s)
                else:
                    getattr(dog, name)(now_s - age, now_s)
            case "sample", held, age, content:
                oracle.sample(held, now_s - age, now_s)
                deadman.sample(held, now_s - age, now_s, bytes([content]))
            case "burst", held, periods:  # everything is well for a while, so that motions happen at all
                for _ in range(periods):
                    now_s += PERIOD_S
                    count += 1
                    dog.linked(now_s, now_s)
                    dog.located(now_s, now_s)
                    oracle.sample(held, now_s, now_s)
                    deadman.sample(held, now_s, now_s, b"live %d" % count)
                    dog.command(1.0, 0.0, now_s, now_s)
                    for name in oracle.newest:
                        oracle.came(name, now_s, now_s)
                    oracle.check(dog.tick(now_s), now_s)
            case ("lost",):
                oracle.gone = True
                oracle.forget()
                deadman.lost("gone")
            case ("found",):
                oracle.gone = False
                oracle.forget()
                deadman.found()
            case ("stop",):
                dog.stop("a test says so")
                oracle.bad_s = math.nextafter(now_s, math.inf)
            case "wait", time_s:
                now_s += time_s
        oracle.check(dog.tick(now_s), now_s)


def test_a_late_word_that_the_button_is_up_is_believed_and_that_it_is_down_is_not() -> None:
    deadman = Deadman()
    deadman.sample(False, 1.0, 1.0, b"a")
    deadman.sample(True, 1.01, 1.01, b"b")
    assert (deadman.problem(1.01), deadman.presses) == ("", 1)
    deadman.sample(False, 0.5, 1.02, b"c")
    assert deadman.problem(1.02) == "the deadman is not held"
    deadman.sample(True, 0.6, 1.03, b"d")
    assert deadman.problem(1.03) == "the deadman is not held"


def test_a_sample_says_nothing_once_it_is_old() -> None:
    deadman = Deadman(DeadmanSettings(held_s=0.1, stuck_s=0.16))
    deadman.sample(True, 1.0, 1.0, b"a")
    assert deadman.problem(1.1 - 1e-9) == ""
    assert deadman.problem(1.11) == "the deadman's device is 0.110 s old, allowed are 0.100 s"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DeadmanSettings(stuck_s=0.5), "deadman.stuck_s is 0.5; it must be positive and at most 0.16"),
        (lambda: DeadmanSettings(held_s=math.nan), "deadman.held_s is nan"),
        (lambda: WatchdogSettings(command_age_s=0.19), "watchdog.command_age_s is 0.19; it must be .* at most 0.16"),
        (lambda: WatchdogSettings(localisation_age_s=-1.0), "watchdog.localisation_age_s is -1.0"),
        (lambda: WatchdogSettings(period_s=0.5), "watchdog.period_s is 0.5"),
    ],
)
def test_ages_that_leave_no_time_to_stop_are_refused(make: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make()
