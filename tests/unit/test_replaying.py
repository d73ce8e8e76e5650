"""A recorded episode is replayed: bit for bit in the twin, nearly elsewhere, and never where it does not belong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from practised import ClockedTwin, practise

from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.episodes.beginning import request_of
from robot_rl.episodes.facts import end_of, start_of, to_text
from robot_rl.episodes.reader import Episode
from robot_rl.errors import CheckpointError, ConfigError, RobotError, RobotRLError
from robot_rl.replaying import replay
from robot_rl_sim.gl import require_gl

FEW = settings(
    max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
TASKS = {
    "reach": ["task=reach", "task.max_steps=25"],
    "pick_cube": ["task=pick_cube", "task.max_steps=25"],
    "peg_insert": ["task=peg_insert", "task.max_steps=25"],
}
DRIVEN = ["task=peg_insert", "task.max_steps=15", "robot.reset_motion=true"]

try:
    require_gl()
    NO_GL = ""
except RobotRLError as error:
    NO_GL = str(error)


@pytest.fixture(scope="module")
def twins() -> Iterator[Callable[..., RobotEnv]]:
    """Environments by name and settings, made once: what an episode leaves behind must not matter to the next."""
    made: dict[tuple[str, ...], RobotEnv] = {}

    def make(which: str, *words: str) -> RobotEnv:
        if (which, *words) not in made:
            made[which, *words] = make_env(compose([*words]).settings())
        return made[which, *words]

    yield make
    for env in made.values():
        env.close()


@pytest.mark.parametrize("task", TASKS)
@FEW
@given(seed=st.integers(0, 2**32 - 1))
def test_an_episode_of_the_twin_comes_out_again_bit_for_bit(task: str, seed: int, twins, tmp_path_factory) -> None:
    words = TASKS[task]
    # Drifts take the tool to the edge of its workspace, so the guard has something to say.
    for path in practise(tmp_path_factory.mktemp(task), words, seed, env=twins("one", *words)):
        episode = Episode(path)
        done = replay(twins("other", *words), episode)
        assert done.difference == ""
        assert done.complete
        assert done.same_outcome
        assert [list(told) for told in done.events] == [list(told) for told in episode.steps.guard_events]
        assert done.error_m.max() == 0.0
        assert done.error_rad.max() < 1e-15


def test_the_guard_had_something_to_say(twins, tmp_path: Path) -> None:
    words = TASKS["reach"]
    path = practise(tmp_path, words, 3, env=twins("one", *words))[-1]
    assert any(Episode(path).steps.guard_events), "or replaying changed actions was never tried"


def test_so_does_one_whose_start_was_driven_to_as_hardware_does(twins, tmp_path: Path) -> None:
    for path in practise(tmp_path, DRIVEN, 5, env=twins("one", *DRIVEN)):
        assert replay(twins("other", *DRIVEN), Episode(path)).difference == ""


@pytest.mark.skipif(bool(NO_GL), reason=NO_GL)
def test_so_do_its_pictures(twins, tmp_path: Path) -> None:
    words = ["task=pick_cube", "task.max_steps=5", "robot.cameras=[front,wrist]", "robot.image_size=48"]
    path = practise(tmp_path, words, 1, env=twins("one", *words))[-1]
    episode = Episode(path)
    assert replay(twins("other", *words), episode).difference == ""
    frames = episode.cameras()["wrist", False]
    picture = np.array(frames[3])
    picture[0, 0, 0] ^= 1
    frames.__class__ = type("Changed", (type(frames),), {"__getitem__": lambda self, i: picture})
    episode.cameras = lambda: {("wrist", False): frames}  # type: ignore[method-assign]
    assert "of camera wrist differs first" in str(replay(twins("other", *words), episode).difference)


def test_another_physics_is_told_apart_and_measured(twins, tmp_path: Path) -> None:
    words = TASKS["pick_cube"]
    episode = Episode(practise(tmp_path, words, 2, env=twins("one", *words))[0])
    done = replay(twins("fine", *words, "robot.physics_dt_s=0.001"), episode)
    assert "of reading 1 differs first, by" in str(done.difference)
    assert 0.0 < done.error_m.max() < 0.05
    assert any(line.startswith("not the same: ") for line in done.lines())


def test_by_state_the_tool_stays_nearer_than_by_actions_from_another_place(twins, tmp_path: Path) -> None:
    words = TASKS["reach"]
    env = twins("one", *words)
    episode = Episode(practise(tmp_path, words, 4, env=env, reaches=0.2)[0])
    assert replay(env, episode, "state").error_m.max() < 1e-4
    request = request_of(episode.start)
    assert request is not None
    moved = {**episode.start.reset["request"], "p_BE": (request.p_BE + np.array([0.02, 0.0, 0.0])).tolist()}
    episode.start = dataclasses.replace(episode.start, reset={"request": moved})
    by = {way: replay(env, episode, way) for way in ("actions", "state")}
    assert all(done.difference is None for done in by.values())
    assert by["actions"].error_m[0] == pytest.approx(0.02, abs=1e-6)
    assert by["state"].error_m[-1] < 0.25 * by["actions"].error_m[-1]


def test_slower_takes_more_periods_and_keeps_the_path(twins, tmp_path: Path) -> None:
    words = ["task=reach", "task.max_steps=20"]
    env = twins("one", *words)
    episode = Episode(practise(tmp_path, words, 6, env=env, reaches=0.1)[0])
    done = replay(env, episode, "state", 0.5)
    assert (done.steps, done.periods) == (20, 40)
    assert done.complete or done.outcome.terminated
    assert done.error_m.max() < 0.03
    for by, speed, words_ in (("state", 2.0, "allowed: 0.05 to 1"), ("actions", 0.5, "go slower with --by state")):
        with pytest.raises(ConfigError, match=words_):
            replay(env, episode, by, speed)  # pyright: ignore[reportArgumentType]


def test_an_old_file_begins_nearly_where_it_did_and_says_so(twins, tmp_path: Path) -> None:
    words = TASKS["pick_cube"]
    env = twins("one", *words)
    episode = Episode(practise(tmp_path, words, 7, env=env)[1])
    text = to_text(episode.start)
    del text["reset"]  # as files of before have none
    episode.start = start_of(text)
    assert request_of(episode.start) is None
    done = replay(env, episode)
    assert "an approximate start" in done.begin
    assert done.difference is None
    assert done.error_m[0] < 1e-6


def test_what_was_recorded_of_the_end_can_still_be_read_without_new_facts(twins, tmp_path: Path) -> None:
    path = practise(tmp_path, TASKS["reach"], 1, env=twins("one", *TASKS["reach"]))[0]
    episode = Episode(path)
    assert episode.end is not None
    assert end_of(to_text(episode.end)) == episode.end
    assert start_of(to_text(episode.start)) == episode.start  # every bit of the start survives as text


def test_an_operator_ends_it_between_two_periods(twins, tmp_path: Path) -> None:
    words = TASKS["reach"]
    env = twins("one", *words)
    episode = Episode(practise(tmp_path, words, 8, env=env)[0])
    asked = iter([False] * 4 + [True])
    done = replay(env, episode, stopping=lambda: next(asked))
    assert len(done.rewards) == 4
    assert not done.complete
    assert done.outcome.reason == "ended by the operator"


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (["task=pick_cube"], "is of task 'reach', the settings are of 'pick_cube'"),
        (["task=reach", "robot.control_hz=20"], "is 0.1 s, that of this robot 0.05 s; set robot.control_hz"),
    ],
)
def test_another_task_or_rate_is_refused(other: list[str], sentence: str, twins, tmp_path: Path) -> None:
    words = TASKS["reach"]
    episode = Episode(practise(tmp_path, words, 9, env=twins("one", *words))[0])
    with pytest.raises(CheckpointError, match=sentence.replace("(", r"\(")):
        replay(twins("one", *other), episode)


def test_cameras_that_the_episode_has_not_are_refused(twins, tmp_path: Path) -> None:
    words = TASKS["reach"]
    episode = Episode(practise(tmp_path, words, 9, env=twins("one", *words))[0])
    with pytest.raises(CheckpointError, match="have image wrist, the episode has none"):
        replay(twins("one", *words, "robot.cameras=[wrist]"), episode)


def test_a_damaged_start_is_refused_in_words(twins, tmp_path: Path) -> None:
    words = TASKS["reach"]
    env = twins("one", *words)
    episode = Episode(practise(tmp_path, words, 9, env=env)[0])
    start = episode.start
    episode.start = dataclasses.replace(start, reset={"request": {"p_BE": [1.0]}})
    with pytest.raises(CheckpointError, match="the recorded start of the episode cannot be used"):
        replay(env, episode)
    snapshot = {**start.reset["snapshot"], "physics": [0.0, 1.0]}
    episode.start = dataclasses.replace(start, reset={**start.reset, "snapshot": snapshot})
    with pytest.raises(RobotError, match="the recorded state has 2 numbers"):
        replay(env, episode)


def test_a_robot_in_real_time_is_told_what_was_executed_and_its_bits_are_not_compared(twins, tmp_path: Path) -> None:
    words = TASKS["reach"]
    env = twins("one", *words)
    episode = Episode(practise(tmp_path, words, 3, env=env)[1])
    robot = ClockedTwin(twins("other", *words))
    done = replay(RobotEnv(robot, env.task), episode)  # pyright: ignore[reportArgumentType]
    assert robot.moves == 1 + len(done.rewards)
    assert done.difference is None
    assert "on another kind of robot" in done.begin
    assert done.error_m.max() < 0.005
