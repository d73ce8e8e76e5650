from __future__ import annotations

from pathlib import Path

import pytest
from screen_robot import SHAPE, SIZE, Presses, Screen

from robot_rl.assisted import AssistedEnv
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError, RobotError
from robot_rl.operator import Button, OperatorInput
from robot_rl.rewards.collect import CollectConfig, Collecting
from robot_rl.rewards.judges import HumanJudge
from robot_rl.rewards.labels import LabelledSet
from robot_rl.robot import RobotState
from robot_rl.specs import ImageField
from robot_rl_tasks.pick_cube import PickCube


class Script(Presses):
    """Presses by step of the episode, the same in each."""

    def __init__(self, presses: dict[int, Button]) -> None:
        super().__init__()
        self.presses, self.step, self.episodes = presses, 0, 0

    def begin(self, seed: int) -> None:
        self.step, self.episodes = 0, self.episodes + 1

    def read(self, state: RobotState) -> OperatorInput:
        step, self.step = self.step, self.step + 1
        return OperatorInput(buttons=(self.presses[step],) if step in self.presses else ())


def collect(
    folder: Path, presses: dict[int, Button], config: CollectConfig, screen: Screen | None = None, steps: int = 20,
    stop_after: int = 100,
) -> tuple[LabelledSet, Collecting, Script]:  # fmt: skip
    screen, task, person = screen or Screen(), PickCube(max_steps=steps, object_state=False), Script(presses)
    front = {"front": ImageField(height=SIZE, width=SIZE)}
    env = AssistedEnv(
        RobotEnv(screen, task, images=front, judge=HumanJudge(task)), person, verdicts_end=False
    )  # fmt: skip
    with LabelledSet(folder, "pick_cube", {"front": SHAPE}, writing=True) as frames:
        collecting = Collecting(frames, env, config, lambda: person.episodes > stop_after)
        collecting.run()
    return frames, collecting, person


def test_a_press_holds_until_the_next_and_ends_nothing(tmp_path: Path) -> None:
    config = CollectConfig(successes=5, failures=9, every=1, mark_s=0.1)
    frames, _, person = collect(tmp_path / "set", {8: "success", 14: "failure"}, config)
    assert person.episodes == 1
    labels = {f.step: f.label for f in frames.frames}
    assert [labels[s] for s in range(8)] == [0] * 8
    assert 8 not in labels, "nobody presses in the very period"
    assert [labels[s] for s in range(9, 14)] == [1] * 5
    assert [labels[s] for s in (15,)] == [0]
    assert {f.by for f in frames.frames} == {"person"}


def test_only_what_is_still_wanted_is_kept_and_each_episode_begins_with_failure(tmp_path: Path) -> None:
    config = CollectConfig(successes=6, failures=10, every=2, most=4, mark_s=0.0)
    frames, collecting, person = collect(tmp_path / "set", {10: "success"}, config)
    assert collecting.complete
    assert (frames.count(1), frames.count(0)) == (6, 10)
    assert person.episodes == 3
    for episode in frames.episodes():
        mine = [f for f in frames.frames if f.episode == episode]
        assert all(sum(f.label == v for f in mine) <= 4 for v in (0, 1))
        assert all(f.step % 2 == 0 and f.label == int(f.step >= 10) for f in mine)


def test_a_stop_keeps_what_there_is_and_the_next_call_goes_on_elsewhere(tmp_path: Path) -> None:
    config = CollectConfig(successes=0, failures=30, every=2)
    first, collecting, _ = collect(tmp_path / "set", {}, config, stop_after=1)
    assert not collecting.complete
    had = [f.name for f in first.frames]
    frames, collecting, _ = collect(tmp_path / "set", {}, config)
    assert collecting.complete
    assert [f.name for f in frames.frames][: len(had)] == had
    assert len({f.episode for f in frames.frames}) == 3


def test_discard_ends_the_episode(tmp_path: Path) -> None:
    config = CollectConfig(successes=0, failures=8, every=1)
    frames, _, person = collect(tmp_path / "set", {4: "discard"}, config)
    assert person.episodes == 2
    assert {f.step for f in frames.frames} == {0, 1, 2, 3}


def test_the_twins_truth_labels_by_itself(tmp_path: Path) -> None:
    screen = Screen()
    screen.cube_m = 0.2
    frames, _, _ = collect(tmp_path / "set", {}, CollectConfig(successes=4, failures=0, labels="truth"), screen)
    assert [(f.label, f.by, f.truth) for f in frames.frames] == [(1, "twin", True)] * 4


def test_truth_where_nobody_knows_it_is_told_in_words(tmp_path: Path) -> None:
    screen = Screen()
    screen.knows = False
    with pytest.raises(RobotError, match="nobody knows the truth here; label with the keys"):
        collect(tmp_path / "set", {}, CollectConfig(successes=1, labels="truth"), screen)


def test_episodes_that_give_nothing_end_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="30 episodes gave no frame that is still wanted: there are 0 of 3 successes"):
        collect(tmp_path / "set", {}, CollectConfig(successes=3, failures=2), steps=3)
