"""Pickled demonstrations of SERL and HIL-SERL: mapped into a task in the open, or refused with the difference."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_maker import SERL_MAP, a_goal, a_map, read, transitions

from robot_rl.demos import load
from robot_rl.episodes.check_set import check_files
from robot_rl.episodes.folder import find_files
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.formats import serl
from robot_rl.formats.incoming import Incoming, write_run


def pickled(folder: Path, rows: Any, name: str = "demos.pkl") -> Path:
    path = folder / name
    path.write_bytes(pickle.dumps(rows))
    return path


def episodes(folder: Path, rows: Any, text: str = SERL_MAP) -> list[Incoming]:
    goal = a_goal("wrist")
    return list(serl.episodes([pickled(folder, rows)], goal, a_map(folder, text, goal)))


def test_transitions_become_episodes_that_serve_as_demonstrations(tmp_path: Path) -> None:
    goal = a_goal("wrist")
    first, second = transitions(5, seed=1), transitions(4, seed=2)
    path = pickled(tmp_path, first + second)
    done = write_run(serl.episodes([path], goal, a_map(tmp_path, SERL_MAP, goal)), tmp_path / "run", goal)
    assert (done.episodes, done.steps, done.successes) == (2, 9, 2)
    for episode, rows in zip(read(done.path), (first, second), strict=True):
        seen = np.concatenate([row["observations"]["state"] for row in rows])
        np.testing.assert_array_equal(episode.steps.state[:, :3], seen[:, :3])
        np.testing.assert_allclose(episode.steps.state[:, 3], 0.001 * seen[:, 3], rtol=1e-6)
        np.testing.assert_array_equal(episode.steps.next_state[-1, :3], rows[-1]["next_observations"]["state"][0, :3])
        wanted = np.array([row["actions"][:6] for row in rows], np.float32)
        np.testing.assert_array_equal(episode.steps.executed[:, :6], wanted)
        frames = episode.cameras()["wrist", False]
        shots = [*(r["observations"]["wrist_1"][0] for r in rows), rows[-1]["next_observations"]["wrist_1"][0]]
        assert all(np.array_equal(frames[i], shot) for i, shot in enumerate(shots))
        assert list(episode.steps.source) == ["demo", "human", *["demo"] * (len(rows) - 2)]
        assert episode.steps.terminated.tolist() == [False] * (len(rows) - 1) + [True]
        assert any("stamps" in u for u in episode.start.origin["unknown"])
        assert any("control period" in u for u in episode.start.origin["unknown"])
    assert not [f for f in check_files(find_files([done.path])) if f.problem]
    assert len(load(done.path, goal.observation_spec, goal.action_spec).blocks) == 2


def test_a_gripper_that_says_neither_keeps_what_it_said_before(tmp_path: Path) -> None:
    rows = transitions(6)
    for row, value in zip(rows, (0.1, -0.9, 0.0, 0.3, 1.0, -0.2), strict=True):
        row["actions"][6] = value
    made = episodes(tmp_path, rows)[0]
    assert made.executed[:, 6].tolist() == [-1.0, 1.0, 1.0, 1.0, -1.0, -1.0]


def test_an_end_without_reward_is_not_taken_for_a_failure(tmp_path: Path) -> None:
    made = episodes(tmp_path, transitions(4, success=False))[0]
    assert not made.terminated.any()
    assert made.truncated.tolist() == [False, False, False, True]
    assert "not told apart" in made.reasons[-1]


def test_where_transitions_do_not_follow_each_other_a_new_episode_begins(tmp_path: Path) -> None:
    # A buffer of interventions: segments of several episodes, one after the other, without an end between them.
    rows = [*transitions(3, seed=1, done=False), *transitions(2, seed=2, done=False), *transitions(4, seed=3)]
    made = episodes(tmp_path, rows)
    assert [len(e) for e in made] == [3, 2, 4]
    assert made[0].truncated[-1]
    assert made[0].reasons[-1] == serl.CUT
    assert made[2].terminated[-1]
    np.testing.assert_array_equal(made[0].states[-1, :3], rows[2]["next_observations"]["state"][0, :3])


def test_without_a_map_the_difference_is_named(tmp_path: Path) -> None:
    path = pickled(tmp_path, transitions())
    with pytest.raises(
        ConfigError,
        match=r"holds observations state \(1, 4\), wrist_1 \(1, 12, 16, 3\) and actions \(7,\).*fields position \(3\)",
    ):
        list(serl.episodes([path], a_goal("wrist"), None))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("state[0:3]", "state[0:2]", r"state field 'position' of the task has 3 number\(s\), 'state\[0:2\]' gives 2"),
        ("state[0:3]", "state[2:5]", r"'state' has 4 numbers; 'state\[2:5\]' asks for more"),
        ("state[0:3]", "pose[0:3]", r"has no numbers 'pose'; it has state, wrist_1"),
        ("actions[0:3]", "act[0:3]", "has no numbers 'act'; it has actions, dones"),
        ("wrist_1", "wrist_2", r"has no pictures 'wrist_2' .* its observations are state, wrist_1"),
        (
            '"actions[3:6]"',
            '{from: "actions[3:6]", scale: 100}',
            r"action 'rotation' .* reaches .*; the task's actions",
        ),
        ("  position:", "  place:", r"names state field 'place', the task has position, width"),
        ('  width: {from: "state[3]", scale: 0.001}\n', "", "does not say where state field width of the task comes"),
        ("hold: 0.5", "holt: 0.5", "has 'holt', which is not known; allowed: from, scale, offset, hold, constant"),
        ("scale: -1", "scale: minus", "holds something else than numbers"),
        ("images:", "imges:", r"has 'imges', which is not known"),
        ("images: {wrist: wrist_1}", "images: wrist", "must hold names with values, it holds 'wrist'"),
        ("state:\n", "state: [\n", "cannot be read: while parsing"),
    ],
)
def test_a_map_that_does_not_fit_is_refused_in_words(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in SERL_MAP
    goal = a_goal("wrist")
    path = pickled(tmp_path, transitions())

    def imported() -> None:
        fields = a_map(tmp_path, SERL_MAP.replace(old, new), goal)
        write_run(serl.episodes([path], goal, fields), tmp_path / "run", goal)

    with pytest.raises(ConfigError, match=expected):
        imported()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "holds an empty list; expected is a list of transitions"),
        ({"a": 1}, "holds a dict; expected is a list of transitions"),
        ([1], "transition 0 of .* lacks observations"),
        ([{**transitions()[0], "observations": 3}], "observations of transition 0 of .* is a int, not a dictionary"),
    ],
    ids=["empty", "dictionary", "number", "observation"],
)
def test_what_holds_no_transitions_is_refused(tmp_path: Path, rows: Any, expected: str) -> None:
    with pytest.raises(CheckpointError, match=expected):
        episodes(tmp_path, rows)


def test_pictures_of_another_size_are_refused_or_brought_to_size(tmp_path: Path) -> None:
    goal = a_goal("wrist")
    rows = transitions()
    for row in rows:
        for part in ("observations", "next_observations"):
            row[part]["wrist_1"] = np.repeat(np.repeat(row[part]["wrist_1"], 2, axis=1), 2, axis=2)
    path = pickled(tmp_path, rows)
    with pytest.raises(
        ConfigError, match=r"pictures of camera 'wrist' are 32x24, the task's are 16x12; say resize: true"
    ):
        write_run(serl.episodes([path], goal, a_map(tmp_path, SERL_MAP, goal)), tmp_path / "run", goal)
    fields = a_map(tmp_path, SERL_MAP + "resize: true\n", goal)
    done = write_run(serl.episodes([path], goal, fields), tmp_path / "run", goal)
    frame = read(done.path)[0].cameras()["wrist", False][0]
    np.testing.assert_array_equal(frame, rows[0]["observations"]["wrist_1"][0, ::2, ::2])
