"""`robot-rl pretrain`: drives in the twin on other courses, and what it says to wrong wishes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_rl.build import make_env
from robot_rl.cli import main
from robot_rl.config import compose
from robot_rl.encoders.program import load_trunk
from robot_rl.pretraining.drives import drive_log
from robot_rl.pretraining.logs import read_log, read_logs
from robot_rl.pretraining.steps import drives_of

SMALL = ("--minutes", "0.2", "--courses", "indoor-7,outdoor-7", "--updates", "2", "--batch", "8", "--size", "64")


@pytest.mark.gl
def test_the_command_drives_learns_and_goes_on(tmp_path: Path, capsys) -> None:
    out = tmp_path / "made"
    assert main(["pretrain", "--out", str(out), *SMALL]) == 0
    said = capsys.readouterr()
    assert (
        f"next: robot-rl train task=lap obs=images robot.image_size=64 obs.encoder={out / 'encoder.trunk'}" in said.out
    )
    assert "driven steps 120 of 120" in said.err
    assert load_trunk(out / "encoder.trunk").name == "navigation"
    files = sorted((out / "logs").iterdir())
    assert [p.name for p in files] == ["indoor-7-60-0.npz", "outdoor-7-60-0.npz"]
    before = [p.stat().st_mtime_ns for p in files]
    assert main(["pretrain", "--out", str(out), *SMALL]) == 0
    assert [p.stat().st_mtime_ns for p in files] == before, "what was driven is not driven again"
    # A folder of logs alone, as public ones are given.
    other = tmp_path / "other"
    assert main(["pretrain", "--out", str(other), "--minutes", "0", "--logs", str(out / "logs"), "--updates", "0"]) == 0
    assert load_trunk(other / "encoder.trunk").size == 128


@pytest.mark.gl
def test_an_unsteady_driver_meets_trouble_and_its_poses_are_those_of_the_pictures(tmp_path: Path) -> None:
    chosen = compose(
        ["task=lap", "obs=images", "task.course=indoor-7", "robot.image_size=64", "expert.speed_m_s=1.6"]
    ).settings()
    env = make_env(chosen, encode=False)
    path = tmp_path / "a.npz"
    assert drive_log(path, env, env.task.expert(chosen.expert.make()), 500, seed=3)
    log = read_log(path)
    assert len(log) >= 500
    assert log.trouble.sum() >= 1, "now and then it steers into a wall"
    drives = drives_of([log])
    speed = drives.motion[:, 0] * 3.0
    assert 0.8 < np.median(speed) < 1.7
    assert drives.trouble.any()
    where = env.task.course
    apart = [abs(where.line.project(p)[1]) for p in log.p_W[::20]]
    assert max(apart) < 1.5, "it stays on its course"
    assert np.ptp(apart) > 0.1
    assert not drive_log(tmp_path / "b.npz", env, env.task.expert(chosen.expert.make()), 50, 4, stopping=lambda: True)
    assert not (tmp_path / "b.npz").exists()
    env.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--courses", "oval"], r"learnt on other courses than those that are raced on"),
        (["--courses", ","], r"--courses names none"),
        (["--minutes", "0"], r"there are no --logs, so there is nothing to learn from"),
        (["--minutes", "-3"], r"--minutes is -3; allowed are 0, for none, to 600"),
        (["task=pick_cube"], r"an encoder for driving is learnt with task=lap"),
        (["--size", "100"], r"size is 100 pixels; allowed are multiples of 64"),
        (["--minutes", "0", "--logs", "nowhere"], r"nowhere holds no logs of navigation"),
        (["--minuts", "3"], r"there is no option '--minuts'. Did you mean '--minutes'"),
    ],
)
def test_wrong_wishes_are_answered_in_a_sentence(words: list[str], said: str, capsys, tmp_path: Path) -> None:
    import re

    assert main(["pretrain", "--out", str(tmp_path / "x"), *words]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert not (tmp_path / "x").exists()


def test_help_has_examples(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    assert "robot-rl train task=lap obs=images obs.encoder=" in capsys.readouterr().out


def test_logs_are_read_by_their_names(tmp_path: Path) -> None:
    from robot_rl.pretraining.logs import save_log

    for name in ("b", "a"):
        save_log(
            tmp_path / f"{name}.npz", pictures=np.zeros((3, 64, 64, 3), np.uint8), stamp_s=np.arange(3.0),
            p_W=np.zeros((3, 2)), yaw_rad=np.zeros(3),
        )  # fmt: skip
    assert [log.name for log in read_logs(tmp_path)] == ["a", "b"]
