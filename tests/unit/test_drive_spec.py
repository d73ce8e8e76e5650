"""What crosses into a driver's process: plain data, the same on both sides, and times counted well."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_rl.cell import Box, Cell
from robot_rl.errors import ConfigError
from robot_rl.task import Compliance, Limits
from robot_rl.typed import Target
from robot_rl_controllers.drive.records import pack_compliance, unpack_compliance
from robot_rl_controllers.drive.slots import Memory
from robot_rl_controllers.drive.spec import DriveSpec, RealTime
from robot_rl_controllers.drive.statistics import HISTOGRAM_BYTES, Histograms
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import PickCube
from robot_rl_tasks.reach import Reach


@pytest.mark.parametrize("task", [Reach(), PickCube(), PegInsert()])
def test_a_spec_arrives_as_it_was_sent(task: Reach | PickCube | PegInsert) -> None:
    cell = Cell(
        name="bench", address="10.0.0.1", bounds=Box(min_m=(0.1, 0.2, 0.3), max_m=(0.4, 0.5, 0.6)),
        keep_out=(Box(min_m=(0.0, 0.0, 0.0), max_m=(0.1, 0.1, 0.1)),), cameras={"wrist": {"serial": "1"}},
    )  # fmt: skip
    spec = DriveSpec(
        name="arm", parent=7, memory=5,
        plant=Target(path="a.b", settings={"x": [1, 2.5], "y": {"z": True}}, where="plant"),
        objects=tuple(task.scene), limits=task.limits, cell=cell, compliance=task.compliance,
        period_s=1.0 / task.control_hz, real_time=RealTime(cpus=(0, 1)), hardware=True,
    )  # fmt: skip
    assert DriveSpec.from_json(spec.to_json()) == spec


def test_what_is_not_plain_is_refused() -> None:
    spec = DriveSpec(
        name="arm", parent=7, memory=5, plant=Target(path="a.b", settings={"x": np.zeros(2)}), objects=(),
        limits=Limits(box_min_m=(0, 0, 0), box_max_m=(1, 1, 1)), cell=Cell(), compliance=Compliance(), period_s=0.1,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="must be plain numbers, texts, lists and groups, got array"):
        spec.to_json()


@pytest.mark.parametrize("bad", [{"priority": 0}, {"priority": 99}, {"cpus": (-1,)}])
def test_real_time_settings_that_no_system_grants_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="real_time"):
        RealTime(**bad)


@given(st.lists(st.floats(0.0, 1e4), min_size=18, max_size=18))
def test_a_compliance_survives_packing(values: list[float]) -> None:
    assert pack_compliance(unpack_compliance(values)) == values


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=200))
def test_percentiles_of_a_histogram_are_those_of_the_times_within_a_bin(times_ns: list[int]) -> None:
    histogram = Histograms(Memory(HISTOGRAM_BYTES), 0).response
    assert histogram.percentiles() == (0.0, 0.0, 0.0, 0.0)
    for ns in times_ns:
        histogram.add(ns)
    assert histogram.counts()[1].sum() == len(times_ns)
    times_us = np.sort(times_ns) // 1000
    for share, found in zip((0.5, 0.99, 0.999, 1.0), histogram.percentiles(), strict=True):
        true = times_us[max(math.ceil(share * len(times_us)) - 1, 0)]
        assert true - 1 <= found <= true + (1 if true < 4000 else 100)
