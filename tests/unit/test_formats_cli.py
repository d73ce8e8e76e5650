"""`robot-rl data export` and `import`: what a person sees, and that nothing half done is left."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from format_maker import a_run, transitions
from small_disk import small_disk

from robot_rl.cli import main
from robot_rl.errors import ConfigError, StorageError
from robot_rl.formats.target import new_file, new_folder

FORMATS = ["lerobot", "hdf5"]
EXACT = {"lerobot": ["--lossless"], "hdf5": []}
REACH_MAP = """\
state: {tool_height: "state[0]", tool_tilt: "state[1:3]", goal_position: "state[0:3]", goal_yaw: "state[3]"}
action: {translation: "actions[0:3]", rotation: {constant: [0, 0, 0]}}
"""


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_says_what_it_wrote_and_is_never_written_over(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path / "run", "wrist")
    words = ["data", "export", kind, str(tmp_path / "run"), "--out", str(tmp_path / "deep" / "out")]
    assert main(words) == 0
    assert "2 episodes, 11" in capsys.readouterr().out
    before = sorted(p.stat().st_mtime_ns for p in tmp_path.rglob("*"))
    assert main(words) == 2
    assert "out exists; " in capsys.readouterr().err
    assert sorted(p.stat().st_mtime_ns for p in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["export", "lerbot", "run", "--out", "x"],
            "there is no format 'lerbot' to export to; allowed: lerobot, hdf5. Di",
        ),
        (["export", "lerobot", "run"], "say where to write, such as: robot-rl data export lerobot"),
        (["export", "lerobot", "nothing", "--out", "x"], "nothing does not exist"),
        (["export", "lerobot", "empty", "--out", "x"], "empty holds no episodes"),
        (["export", "lerobot", "run", "--out", "x", "--full"], "holds no pictures of full size of camera 'wrist'"),
        (["export", "hdf5", "run", "--out", "x", "--valid", "2"], "--valid is 2.0; it must lie in 0 to 1"),
        (["export"], "the following arguments are required"),
        (["import", "rlds", "run", "--out", "x"], "there is no format 'rlds' to import; allowed: lerobot, serl, bag."),
        (["import", "lerobot", "run", "task=reach"], "say where to write, such as: robot-rl data import lerobot"),
        (["import", "lerobot", "run", "--out", "x"], "say of which task the data are, such as: task=pick_cube"),
        (["import", "lerobot", "gone", "--out", "x", "task=reach"], "gone does not exist; give what is to be imported"),
        (
            ["import", "lerobot", "run", "--out", "x", "task=reach"],
            "run is no LeRobot data set: it has no meta/info.json",
        ),
        (["import", "serl", "run", "--out", "x", "task=reach", "--map", "no.yaml"], "the map no.yaml cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(
    tmp_path: Path, words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a_run(Path("run"), "wrist", episodes=1)
    Path("empty").mkdir()
    assert main(["data", *words]) == 2
    told = capsys.readouterr().err
    assert expected in told
    assert told.count("\n") == 1
    assert not Path("x").exists()
    assert not list(Path().glob(".x*"))


def test_demonstrations_of_serl_are_imported_for_a_task_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demos.pkl").write_bytes(pickle.dumps(transitions()))
    Path("serl.yaml").write_text(REACH_MAP)
    words = ["data", "import", "serl", "demos.pkl", "--map", "serl.yaml", "--out", "runs/old", "task=reach"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "1 episodes, 5 steps, 1 successes, in runs/old" in told
    assert "not known: stamps, executed actions, ends without reward, readings of the robot, control period" in told
    assert main(["data", "check", "runs/old"]) == 0
    assert main(["data", "ls", "runs/old"]) == 0
    assert "demo+human" in capsys.readouterr().out
    assert main(["data", "show", "runs/old"]) == 0
    assert main(words) == 2


@pytest.mark.parametrize(("module", "kind"), [("pyarrow", "lerobot"), ("av", "lerobot"), ("h5py", "hdf5")])
def test_a_missing_library_names_its_extra(tmp_path: Path, module: str, kind: str) -> None:
    a_run(tmp_path / "run", "wrist", episodes=1)
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from robot_rl.cli import main\n"
        f"sys.exit(main(['data', 'export', {kind!r}, {str(tmp_path / 'run')!r}, '--out', {str(tmp_path / 'x')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "pip install 'robot-rl[export]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_ends_an_export_in_words_and_leaves_nothing(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path / "run", "wrist", episodes=6, n=30)
    with small_disk(tmp_path / "disk", "64k") as disk:
        assert main(["data", "export", kind, str(tmp_path / "run"), "--out", str(disk / "out"), *EXACT[kind]]) == 2
        told = capsys.readouterr().err
        assert "could not write" in told
        assert "No space left on device" in told
        assert not list(disk.iterdir())


def test_a_full_disk_ends_an_import_in_words_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demos.pkl").write_bytes(pickle.dumps([row for i in range(20) for row in transitions(20, seed=i)]))
    Path("serl.yaml").write_text(REACH_MAP)
    with small_disk(tmp_path / "disk", "64k") as disk:
        words = ["data", "import", "serl", "demos.pkl", "--map", "serl.yaml", "--out", str(disk / "run"), "task=reach"]
        assert main(words) == 2
        assert "No space left on device" in capsys.readouterr().err
        assert not list(disk.iterdir())


def test_what_a_killed_export_left_is_no_data_set_and_is_cleared_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom robot_rl.formats.target import new_folder\n"
        "with new_folder(Path(sys.argv[1]), 'a data set') as folder:\n"
        "    (folder / 'half').mkdir(); (folder / 'half/file').write_text('x'); os._exit(9)\n"
    )
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", code, str(out)], check=False, timeout=120)
    assert done.returncode == 9
    assert not out.exists()
    with new_folder(out, "a data set") as folder:
        assert not list(folder.iterdir())
        (folder / "whole").write_text("x")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "whole"]


def test_two_that_write_the_same_do_not_mix(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with new_folder(out, "a data set") as folder:
        (folder / "mine").write_text("x")
        with (
            pytest.raises(ConfigError, match="out is being written by another process"),
            new_file(out, "a data set"),
        ):
            pass
        assert (folder / "mine").exists()
    assert (out / "mine").exists()
    other = tmp_path / "other"
    with pytest.raises(ConfigError, match="has come to exist meanwhile"):
        taken_meanwhile(other)
    assert other.read_text() == "someone else's"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "out"]


def taken_meanwhile(path: Path) -> None:
    """Write a file while someone else takes its name."""
    with new_file(path, "a data set") as mine:
        mine.write_text("x")
        path.write_text("someone else's")


def broken_off(path: Path, error: BaseException) -> None:
    """Begin a folder and fail."""
    with new_folder(path, "a data set") as folder:
        (folder / "half").write_text("x")
        raise error


def test_a_failure_or_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    for error, expected in (
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ValueError(), ValueError),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), StorageError),
    ):
        with pytest.raises(expected):
            broken_off(tmp_path / "out", error)
        assert not list(tmp_path.iterdir())
