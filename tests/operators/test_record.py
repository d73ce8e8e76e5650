from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from preflight_rig import ROBOT_RL
from small_disk import fill, small_disk

from robot_rl import demos
from robot_rl.assisted import AssistedEnv
from robot_rl.build import make_env
from robot_rl.cli import main
from robot_rl.config import compose
from robot_rl.episodes.reader import Episode
from robot_rl.errors import ConfigError, RobotError, StorageError
from robot_rl.operator import NOBODY, Button, OperatorInput
from robot_rl.record import Progress, RecordConfig, Recording, counts, open_recording, recorded, start_seed, table
from robot_rl.robot import RobotState

SCRIPTED = ("operator=scripted", "operator.share=1.0")


class Puppet:
    """A person whose every period is written down: None holds, a number pushes along x, a word is a button."""

    def __init__(self, *periods: list[Any], gone_at: int = -1) -> None:
        self._episodes, self._now, self._at = list(periods), iter(()), 0
        self.gone, self._gone_at = "", gone_at
        self.size = 7

    def connect(self) -> None:
        pass

    def begin(self, seed: int) -> None:
        self._now = iter(self._episodes.pop(0) if self._episodes else [])

    def read(self, state: RobotState) -> OperatorInput:
        self._at += 1
        if self._at == self._gone_at:
            self.gone = "the puppet was unplugged"
            return OperatorInput(note=self.gone)
        what = next(self._now, None)
        if what is None:
            return NOBODY
        if isinstance(what, str):
            return OperatorInput(buttons=(what,))
        action = np.zeros(self.size, np.float32)
        action[0], action[-1] = what, -1.0
        return OperatorInput(action=action)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def recording(root: Path, *settings: str, operator: Any = None, **config: Any) -> Iterator[Recording]:
    """Open a recording in a folder of runs."""
    composed = compose([*settings])
    chosen = composed.settings()
    inner = make_env(chosen)
    env = AssistedEnv(inner, operator or chosen.operator.make(inner.task))
    config = {"source": "human" if operator else "demo", "confirm": False, **config}
    try:
        folder = open_recording(root, "mine", env, task=composed.task, seed=0, config_yaml=composed.text())
        env.connect()
        with Recording(folder, env, RecordConfig(**config)) as made:
            yield made
    finally:
        env.close()


def test_the_scripted_operator_records_and_the_same_command_goes_on(tmp_path: Path) -> None:
    for n in (2, 3):
        with recording(tmp_path, "task=reach", *SCRIPTED, n=n) as made:
            assert made.run()
    found = recorded(tmp_path / "mine")
    assert [e.path.name for e in found] == [f"{i:06d}.mcap" for i in range(1, len(found) + 1)]
    assert sum(map(counts, found)) == 3
    starts = [e.start for e in found]
    assert {s.kind for s in starts} == {"demo"}
    assert [s.seed for s in starts] == [start_seed(0, i) for i in range(len(found))]
    assert set(Episode(found[0].path).steps.source) == {"demo"}
    composed = compose(["task=reach"])
    task = composed.settings().task.make()
    loaded = demos.load(tmp_path / "mine", task.observation_spec, task.action_spec)
    assert len(loaded.blocks) == 3
    assert all(block.info["success"] for block in loaded.blocks)


def test_an_episode_begins_with_the_first_motion_and_the_arm_holds_meanwhile(tmp_path: Path) -> None:
    person = Puppet([None, None, None, 0.5, None, None, 0.5, "success"])
    seen: list[str] = []
    with recording(tmp_path, "task=pick_cube", operator=person, n=1) as made:
        made._show = lambda p: seen.append(p.phase)  # the argument, which the helper does not give
        assert made.run()
    episode = Episode(tmp_path / "mine" / "episodes" / "000001.mcap")
    assert len(episode) == 5
    np.testing.assert_allclose(episode.steps.action[:, 0], [0.5, 0, 0, 0.5, 0])
    assert not episode.steps.action[:, 1:6].any()
    assert set(episode.steps.action[:, 6]) == {-1.0}
    assert episode.success
    assert episode.end.verdict == "success"
    assert episode.end.reason == "the operator said success"
    assert seen.count("waiting") == 3


def test_failures_are_kept_with_their_verdict_and_do_not_count(tmp_path: Path) -> None:
    person = Puppet([0.1, "failure"], [0.1, "discard"], ["discard"], [0.1, 0.1, "success"])
    with recording(tmp_path, "task=reach", operator=_six(person), n=1) as made:
        assert made.run()
    found = recorded(tmp_path / "mine")
    assert [e.end.verdict for e in found] == ["failure", "discard", "success"]
    assert [counts(e) for e in found] == [False, False, True]
    told = table(found)
    assert "the operator said failure" in told[1]
    assert told[3].endswith("yes")


def _six(person: Puppet) -> Puppet:
    person.size = 6
    return person


def test_an_episode_ends_at_its_time_limit_counted_from_the_first_motion(tmp_path: Path) -> None:
    person = Puppet([None] * 4 + [0.1], [0.1, "success"])
    with recording(tmp_path, "task=reach", operator=_six(person), n=1, time_s=0.3) as made:
        made.run()
    late, good = recorded(tmp_path / "mine")
    assert late.steps == 3
    assert late.end.reason == "time limit"
    assert late.end.truncated
    assert not counts(late)
    assert counts(good)


@pytest.mark.parametrize(("word", "counted"), [("success", True), ("discard", False), ("failure", False)])
def test_a_success_waits_for_the_persons_word(tmp_path: Path, word: Button, counted: bool) -> None:
    expert = compose(["task=reach", *SCRIPTED]).settings()
    task = expert.task.make()

    class Asked:
        """The expert's hands and a person's word."""

        gone = ""

        def __init__(self) -> None:
            self._hands, self._success, self._words = expert.operator.make(task), False, 0

        def connect(self) -> None: ...

        def begin(self, seed: int) -> None:
            self._hands.begin(seed)

        def read(self, state: RobotState) -> OperatorInput:
            if task.outcome(state).success:
                self._words += 1
                return OperatorInput(buttons=(word,)) if self._words == 3 else NOBODY
            return self._hands.read(state)

        def close(self) -> None: ...

    with recording(tmp_path, "task=reach", operator=Asked(), n=1, confirm=True) as made:
        made._stopping = lambda: made.progress.tried > 0 and not counted
        assert made.run() is counted
    (found,) = recorded(tmp_path / "mine")
    assert counts(found) is counted
    assert found.end.success
    assert found.end.verdict == ("" if counted else word)


def test_a_device_that_goes_ends_the_recording_and_loses_nothing(tmp_path: Path) -> None:
    person = Puppet([0.1, "success"], [0.1] * 50, gone_at=6)
    with (
        recording(tmp_path, "task=reach", operator=_six(person), n=5) as made,
        pytest.raises(RobotError, match=r"unplugged, so the recording ends here. 1 of 5 demonstrations are safe"),
    ):
        made.run()
    good, cut = recorded(tmp_path / "mine")
    assert counts(good)
    assert cut.end.reason == "the puppet was unplugged"
    assert cut.steps == 4


def test_pausing_ends_the_episode_and_waits(tmp_path: Path) -> None:
    person = Puppet([0.1, "pause", None, None, "pause"], [0.1, "success"])
    phases: list[str] = []
    with recording(tmp_path, "task=reach", operator=_six(person), n=1) as made:
        made._show = lambda p: phases.append(p.phase)
        made.run()
    paused, good = recorded(tmp_path / "mine")
    assert "paused" in paused.end.reason
    assert "paused" in phases
    assert counts(good)


def test_a_full_disk_is_a_sentence_and_what_was_recorded_stays(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "400k") as disk:
        with recording(disk, "task=reach", *SCRIPTED, n=1) as made:
            assert made.run()
        filler = fill(disk)
        with (
            recording(disk, "task=reach", *SCRIPTED, n=3) as made,
            pytest.raises(StorageError, match=r"No space left.* 1 of 3 demonstrations are safe"),
        ):
            made.run()
        filler.unlink()
        with recording(disk, "task=reach", *SCRIPTED, n=2) as made:
            assert made.run()
        assert sum(map(counts, recorded(disk / "mine"))) == 2


def test_another_task_another_rate_other_cameras_and_other_folders_are_refused(tmp_path: Path) -> None:
    with recording(tmp_path, "task=reach", *SCRIPTED, n=1) as made:
        made.run()
    for settings, sentence in (
        (("task=pick_cube",), "is of the task 'reach', and this command is of 'pick_cube'; go on with task=reach"),
        (("task=reach", "robot.cameras=[front]"), "this command has image front, the recording does not have it"),
        (("task=reach", "robot.control_hz=20"), "control period of 0.05 s, the recording has 0.1 s"),
    ):
        with pytest.raises(ConfigError, match=sentence), recording(tmp_path, *settings, *SCRIPTED):
            pass
    other = tmp_path / "other"
    (other / "mine").mkdir(parents=True)
    (other / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is no recording"), recording(other, "task=reach", *SCRIPTED):
        pass


def test_two_processes_never_record_into_one_folder(tmp_path: Path) -> None:
    with (
        recording(tmp_path, "task=reach", *SCRIPTED, n=1),
        pytest.raises(ConfigError, match="another process records into"),
        recording(tmp_path, "task=reach", *SCRIPTED, n=1),
    ):
        pass


def test_a_scripted_operator_that_fails_too_often_is_told(tmp_path: Path) -> None:
    with (
        recording(tmp_path, "task=reach", *SCRIPTED, n=1, time_s=0.2) as made,
        pytest.raises(ConfigError, match="succeeded in 0 of 5 episodes"),
    ):
        made.run()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["n=0"], "n is 0"),
        (["n=many"], "n is 'many'"),
        (["--time", "-1"], "the time of an episode is -1.0"),
        (["operator=none"], "nobody demonstrates: choose one of operator=gamepad, joy, keyboard"),
        (["operator=gamepat"], "Did you mean 'gamepad'"),
        (["operator=gamepad", "operator.device=/dev/input/js99"], "/dev/input/js99 cannot be opened"),
        (["operator=keyboard"], "need a terminal"),
    ],
)
def test_a_mistake_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    chosen = arguments if any(a.startswith("operator=") for a in arguments) else [*SCRIPTED, *arguments]
    assert main(["record", "task=reach", f"runs={tmp_path}", *chosen]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told


def test_the_command_records_out_of_the_box_and_says_what_to_do_next(tmp_path: Path) -> None:
    command = [*ROBOT_RL, "record", "task=reach", "operator=scripted", "n=2", "name=mine"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 demonstrations of reach in runs/mine" in done.stdout
    assert "robot-rl train task=reach demos=runs/mine" in done.stdout
    assert done.stderr == ""


def test_progress_is_shown_in_lines() -> None:
    from robot_rl.cli.record import headline, lines

    p = Progress(
        done=3, n=20, tried=4, phase="recording", episode_left_s=12.3, left_s=200.0, acts=True, note="it hangs"
    )
    p.action, p.said = np.array([0.5, -1.0], np.float32), "episode 4: lifted (counts)"
    p.guard["step_clip"] = 2
    drawn = "\n".join(lines(p, "pick_cube", ["ENTER success"]))
    for text in ("demonstration 4 of 20", "about 3:20 left", "12.3 s left", "you act", "+0.50 -1.00", "step_clip 2",
                 "! it hangs", "ENTER success", "episode 4: lifted (counts)"):  # fmt: skip
        assert text in drawn
    assert "it hangs" in headline(p)
