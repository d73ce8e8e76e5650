"""Freshness and clocks: old, late, frozen and future data are never fresh, and a clock that is set makes none so."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl_controllers.freshness import ClockMap, Freshness

unhurried = settings(deadline=None, max_examples=200)


class Clocks:
    """A monotonic and a system clock that a test sets."""

    def __init__(self) -> None:
        self.now_s, self.system_s = 100.0, 1.7e9

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.system_s += seconds

    def map(self) -> ClockMap:
        return ClockMap(
            system_ns=lambda: round(1e9 * self.system_s),
            monotonic_s=lambda: self.now_s,
            max_jump_s=0.05,
            distrust_s=1.0,
        )

    def stamp(self) -> int:
        return round(1e9 * self.system_s)


def test_a_source_is_fresh_until_its_newest_datum_is_too_old() -> None:
    camera = Freshness("camera front", 0.1)
    assert camera.problem(5.0) == "camera front has sent nothing that could be used"
    assert camera.take(5.0, 5.02)
    assert camera.problem(5.1) == ""
    assert camera.age_s(5.1) == pytest.approx(0.1)
    assert camera.problem(5.2) == "camera front is 0.200 s old, allowed are 0.100 s"
    assert camera.take(5.19, 5.2)
    assert camera.gap_ms.percentile(50) == pytest.approx(190.0, rel=0.02)


@unhurried
@given(st.lists(st.tuples(st.floats(allow_nan=True), st.floats(-1e3, 1e3)), max_size=30), st.floats(-1e3, 1e3))
def test_whatever_comes_only_an_age_within_the_limit_is_fresh(data: list[tuple[float, float]], now_s: float) -> None:
    source = Freshness("arm", 0.25, frozen_after=3)
    for stamp_s, at_s in data:
        usable = source.take(stamp_s, at_s)
        assert not usable or abs(at_s - stamp_s) <= 0.25
    assert source.arrived == len(data)
    assert source.problem(now_s) or abs(source.age_s(now_s)) <= 0.25


def test_late_and_backward_data_are_counted_and_do_not_replace_newer_ones() -> None:
    arm = Freshness("arm", 0.1)
    assert arm.take(1.0, 1.0)
    assert not arm.take(0.9, 1.05)
    assert not arm.take(0.2, 1.05)
    assert not arm.take(math.nan, 1.05)
    assert (arm.backward, arm.late, arm.stamp_s) == (3, 3, 1.0)
    assert not arm.take(2.0, 1.1)
    assert "arm is stamped 0.900 s ahead of the clock" in arm.problem(1.1)
    assert arm.take(1.1, 1.15)
    assert arm.problem(1.15) == ""


@pytest.mark.parametrize("by_stamp", [True, False])
def test_a_source_that_repeats_itself_is_frozen_until_it_changes(by_stamp: bool) -> None:
    camera = Freshness("camera", 10.0, frozen_after=3)
    taken = [camera.take(1.0 if by_stamp else 1.0 + 0.1 * i, 1.5, None if by_stamp else b"same") for i in range(5)]
    assert taken == [True, True, True, False, False]
    assert camera.frozen
    assert camera.frozen_times == 1
    assert camera.problem(1.6) == "camera has repeated itself 4 times in a row"
    assert camera.take(1.7, 1.7, None if by_stamp else b"other")
    assert not camera.frozen


def test_a_source_that_was_opened_again_begins_anew() -> None:
    camera = Freshness("camera", 1.0, frozen_after=1)
    camera.take(5.0, 5.0, b"same")
    camera.take(5.1, 5.1, b"same")
    camera.forget()
    assert not camera.frozen
    assert camera.take(3.0, 3.0, b"same")
    assert (camera.arrived, camera.frozen_times) == (3, 1)


@pytest.mark.parametrize("wrong", [{"max_age_s": 0.0}, {"max_age_s": math.inf}, {"max_age_s": 1.0, "frozen_after": -1}])
def test_settings_that_judge_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="freshness of 'x'"):
        Freshness("x", **wrong)  # pyright: ignore[reportArgumentType]


def test_stamps_of_the_system_clock_come_out_on_the_monotonic_one_and_back() -> None:
    clocks = Clocks()
    mapped = clocks.map()
    stamp_ns = clocks.stamp()
    clocks.wait(0.3)
    assert mapped.to_monotonic_s(stamp_ns) == pytest.approx(100.0, abs=1e-5)
    assert mapped.to_system_ns(100.0) == pytest.approx(stamp_ns, abs=1e4)
    assert mapped.trusted()


@unhurried
@given(st.floats(-1e5, 1e5).filter(lambda s: abs(s) > 0.06), st.floats(0.0, 0.9), st.floats(0.0, 0.9))
def test_no_stamp_is_fresh_for_a_while_after_the_clock_was_set(jump_s: float, before_s: float, after_s: float) -> None:
    clocks = Clocks()
    mapped = clocks.map()
    old_ns = clocks.stamp()
    clocks.wait(before_s)
    clocks.system_s += jump_s
    assert math.isnan(mapped.to_monotonic_s(old_ns))
    clocks.wait(after_s)
    assert math.isnan(mapped.to_monotonic_s(old_ns))
    assert math.isnan(mapped.to_monotonic_s(clocks.stamp()))
    assert not mapped.trusted()
    assert mapped.jumps == 1
    clocks.wait(1.0)
    assert mapped.to_monotonic_s(clocks.stamp()) == pytest.approx(clocks.now_s, abs=1e-5)


def test_a_clock_that_is_slewed_is_followed() -> None:
    clocks = Clocks()
    mapped = clocks.map()
    for _ in range(100):
        clocks.wait(1.0)
        clocks.system_s += 5e-4
        assert mapped.to_monotonic_s(clocks.stamp()) == pytest.approx(clocks.now_s, abs=1e-5)
    assert mapped.jumps == 0


def test_losing_the_processor_between_two_looks_is_no_jump() -> None:
    clocks, pauses = Clocks(), [0.0]

    def monotonic_s() -> float:
        clocks.wait(pauses[-1])
        return clocks.now_s

    mapped = ClockMap(system_ns=clocks.stamp, monotonic_s=monotonic_s)
    for pause_s in (0.0, 0.2, 0.2, 0.0, 0.2):
        pauses.append(pause_s)
        assert abs(clocks.now_s - mapped.to_monotonic_s(clocks.stamp())) < 2.5
    assert mapped.jumps == 0
    clocks.system_s -= 5.0
    assert math.isnan(mapped.to_monotonic_s(clocks.stamp()))
    assert mapped.jumps == 1


def test_the_machine_s_own_clocks_agree() -> None:
    mapped = ClockMap(max_jump_s=10.0)
    now_s = mapped.look()
    assert mapped.to_monotonic_s(mapped.to_system_ns(now_s)) == pytest.approx(now_s, abs=1e-3)
