"""The race after training: the classical driver as it is, a policy that drives, and what is kept of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robot_rl.build import make_env
from robot_rl.car_env import CarEnv
from robot_rl.config import compose
from robot_rl.jsonl import write_json_atomic
from robot_rl_tasks.car import evidence as race
from robot_rl_tasks.car.driver import PurePursuit


@pytest.fixture(scope="module")
def env() -> CarEnv:
    return make_env(compose(["task=lap"]).settings())


class Borrowed:
    """Drives as the classical driver wants, but only within the window and below the cap."""

    def __init__(self, env: CarEnv) -> None:
        self._env, self._driver = env, PurePursuit(env.task.course, env.task.driver)

    def act(self, state: np.ndarray) -> np.ndarray:
        command = self._driver.command(self._env.robot_state)
        return self._env.action_of(command.steering_rad, command.speed_m_s)


def test_the_race_is_kept_and_the_driver_is_as_fast_as_alone(
    env: CarEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "VIDEOS", {})
    (tmp_path / "demos").mkdir()
    write_json_atomic(tmp_path / "demos" / "demos.json", {"median_s": 20.0})
    cap, slew = env.task.speed_cap.now_m_s, env.task.slew
    own, classical = race.evidence(env, Borrowed(env), tmp_path, laps=1)
    rows = {row["kind"]: row for row in json.loads((tmp_path / "leaderboard.json").read_text())["rows"]}
    assert set(rows) == {"policy", "classical", "demonstration"}
    assert 6.0 < classical.clean[0] < 8.0, "the classical driver's lap of the oval"
    assert own.clean[0] > classical.clean[0] + 0.5, "the cap holds the policy back, and not the driver"
    assert own.trail[:, 2].max() < cap + 0.5
    assert rows["demonstration"]["median_s"] == 20.0
    assert (tmp_path / "lines.png").stat().st_size > 10_000
    assert env.task.slew == slew
    assert env.task.speed_cap.now_m_s >= cap


def test_a_race_ends_though_there_is_no_lap(env: CarEnv) -> None:
    found = race.drive(env, race.Race("nobody", "policy"), lambda o: np.array([0.0, -1.0]), laps=1, longest_s=12.0)
    assert found.laps_s == []
    assert found.row()["median_s"] is None
    assert found.crashes >= 1, "standing is being stuck"
