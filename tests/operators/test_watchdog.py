from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl_hardware.operator.watchdog import Watchdog, WatchdogConfig


def look(dog: Watchdog, now_s: float, content: float, arrived: bool = True, trouble: str = "") -> str:
    held = content != 0.0
    return dog.look(now_s, content, arrived=arrived, held=held, deflected=held, trouble=trouble)


def test_a_device_that_falls_silent_while_deflected_is_let_go_until_it_is_at_rest() -> None:
    dog = Watchdog(WatchdogConfig(silent_s=0.3))
    assert look(dog, 0.0, 0.5) == ""
    assert look(dog, 0.2, 0.5, arrived=False) == ""
    assert "silent" in look(dog, 0.5, 0.5, arrived=False)
    assert "silent" in look(dog, 0.6, 0.7)  # it comes back, still deflected
    assert look(dog, 0.7, 0.0) == ""
    assert look(dog, 0.8, 0.7) == ""


def test_silence_at_rest_is_rest() -> None:
    dog = Watchdog(WatchdogConfig(silent_s=0.3))
    look(dog, 0.0, 0.0)
    assert look(dog, 100.0, 0.0, arrived=False) == ""
    assert look(dog, 100.1, 0.5) == ""


def test_a_device_that_repeats_itself_is_let_go() -> None:
    dog = Watchdog(WatchdogConfig(unchanged_s=3.0))
    said = [look(dog, 0.1 * i, 0.5) for i in range(50)]
    assert said[30] == ""
    assert "the same deflection" in said[31]
    assert "the same deflection" in look(dog, 5.1, 0.6)
    assert look(dog, 5.2, 0.0) == ""


def test_a_dead_man_that_is_held_at_rest_is_believed_for_longer() -> None:
    dog = Watchdog(WatchdogConfig(unchanged_s=1.0, still_s=10.0))
    for i in range(100):
        assert dog.look(0.1 * i, "held", arrived=i == 0, held=True, deflected=False) == ""
    assert dog.look(10.5, "held", arrived=False, held=True, deflected=False)


def test_trouble_lasts_until_the_device_is_seen_at_rest() -> None:
    dog = Watchdog()
    look(dog, 0.0, 0.5)
    assert look(dog, 0.1, 0.0, trouble="unplugged") == "unplugged"
    assert look(dog, 0.2, 0.5) == "unplugged"
    assert look(dog, 0.3, 0.0) == ""


def test_what_is_only_assumed_after_opening_again_is_no_rest() -> None:
    dog = Watchdog()
    look(dog, 0.0, 0.5, trouble="unplugged")
    dog.opened_again(1.0)
    assert look(dog, 1.0, 0.0, arrived=False) == "unplugged"
    assert look(dog, 1.1, 0.5) == "unplugged"  # it was deflected all along
    assert look(dog, 1.6, 0.0) == ""


@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.sampled_from([0.0, 0.4, 1.0]), st.booleans(), st.booleans())))
def test_it_is_never_believed_between_trouble_and_rest(looks: list[tuple[float, float, bool, bool]]) -> None:
    dog, now_s, must_rest = Watchdog(WatchdogConfig(silent_s=0.5, unchanged_s=1.0)), 0.0, False
    for step_s, content, arrived, trouble in looks:
        now_s += step_s
        why = look(dog, now_s, content, arrived, "gone" if trouble else "")
        must_rest = trouble or (must_rest and content != 0.0)
        assert why or not must_rest


@pytest.mark.parametrize("name", ["silent_s", "unchanged_s", "still_s"])
def test_a_limit_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=f"operator.{name}"):
        WatchdogConfig(**{name: 0.0})
    assert getattr(WatchdogConfig(**{name: math.inf}), name) == math.inf
