"""Gains and limits: what is refused, where it lands, and how gains slew."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError
from robot_rl.task import Compliance
from robot_rl_controllers import gains as layout
from robot_rl_controllers.gains import pack_gains, pack_limits, slew_gains

unhurried = settings(deadline=None)  # the first call of a kernel loads or compiles it
BAD = [
    ("stiffness", (math.nan,) * 6),
    ("stiffness", (-1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
    ("stiffness", (1.0, 1.0)),
    ("stiffness", "much"),
    ("damping", (math.inf,) * 6),
    ("clip_m", 0.01),
    ("clip_rad", -0.1),
]


def test_settings_land_where_the_layout_says() -> None:
    compliance = Compliance(
        stiffness=(1, 2, 3, 4, 5, 6), damping=(7, 8, 9, 10, 11, 12), clip_m=(13, 14, 15), clip_rad=16
    )
    packed = pack_gains(compliance)
    assert packed.dtype == np.float64
    assert packed.tolist() == list(range(1, 17))
    limits = pack_limits(Compliance(speed_m_s=1, speed_rad_s=2), tau_rate_Nm_s=3, null_stiffness=4, null_damping=5)
    assert limits[:5].tolist() == [1, 2, 3, 4, 5]
    assert limits[layout.TAU_LIMIT :].tolist() == [87, 87, 87, 87, 12, 12, 12]
    assert pack_limits(Compliance())[layout.TAU_RATE] * 1e-3 <= 0.95


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_gain_is_refused_with_its_name_and_value(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"compliance\.{name} must be .* got "):
        pack_gains(dataclasses.replace(Compliance(), **{name: value}))


@pytest.mark.parametrize(
    ("name", "value"), [("tau_rate_Nm_s", -1.0), ("null_stiffness", math.nan), ("tau_limit_Nm", (1.0,))]
)
def test_a_bad_limit_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        pack_limits(Compliance(), **{name: value})
    with pytest.raises(ConfigError, match="speed_m_s"):
        pack_limits(Compliance(speed_m_s=-1.0))


@unhurried
@given(st.floats(0.0, 1e4), st.floats(0.0, 1e4), st.floats(1e-4, 1.0), st.floats(0.0, 10.0), st.integers(1, 50))
def test_gains_approach_without_overshoot_and_the_way_does_not_depend_on_the_tick(
    start: float, goal: float, dt: float, time_constant: float, ticks: int
) -> None:
    current, wanted = np.array([start]), np.array([goal])
    for _ in range(ticks):
        slew_gains(current, wanted, dt, time_constant)
        assert min(start, goal) - 1e-9 <= current[0] <= max(start, goal) + 1e-9
    left = math.exp(-ticks * dt / time_constant) if time_constant > 0.0 and ticks * dt / time_constant < 700 else 0.0
    assert current[0] - goal == pytest.approx(left * (start - goal), abs=1e-6)


@pytest.mark.parametrize("dt", [0.0, -1.0, math.nan])
def test_a_tick_without_length_or_a_gain_that_is_not_finite_changes_nothing(dt: float) -> None:
    current = np.array([1.0, 2.0])
    slew_gains(current, np.array([5.0, 5.0]), dt, 0.1)
    assert current.tolist() == [1.0, 2.0]
    slew_gains(current, np.array([math.nan, 5.0]), 0.1, 0.0)
    assert current.tolist() == [1.0, 5.0]
