"""`robot-rl replay`: what a person sees, is asked, and is refused."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from practised import practise

from robot_rl.cli import main
from robot_rl.episodes import schema
from robot_rl.episodes.facts import to_text
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.rewrite import rewrite
from robot_rl.errors import CheckpointError

WORDS = ["task=reach", "task.max_steps=12"]
CLOCKED = """\
_target_: practised.make_clocked
cameras: []
image_size: 128
control_hz: 0.0
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return practise(tmp_path_factory.mktemp("mine"), WORDS, 1)[1]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A folder with a robot in real time."""
    (tmp_path / "conf" / "robot").mkdir(parents=True)
    (tmp_path / "conf" / "robot" / "clocked.yaml").write_text(CLOCKED)
    return tmp_path / "conf"


@pytest.fixture
def typed() -> Iterator[list[int]]:
    """A terminal in the place of standard input; its other end is the only element."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, encoding="utf-8") as terminal:
        before, sys.stdin = sys.stdin, terminal
        try:
            yield [ours]
        finally:
            sys.stdin = before
            os.close(ours)


def test_a_person_sees_that_it_is_the_same_and_gets_a_page(recorded: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "page.html"
    assert main(["replay", str(recorded), "--out", str(page)]) == 0
    out = capsys.readouterr().out
    assert "12 of 12 control periods replayed by actions, from the recorded state of the twin" in out
    assert "bit for bit the same as recorded" in out
    assert "position    RMS 0.00 mm, worst 0.00 mm" in out
    assert "outcome     the same: " in out
    text = page.read_text()
    assert "Path of the tool" in text
    assert text.count("<svg") == 8
    assert recorded.stat().st_size == Episode(recorded).size  # it is only read


def test_it_is_filmed_if_there_is_something_to_draw_with(recorded: Path, tmp_path: Path, capsys) -> None:
    from robot_rl_sim.gl import require_gl

    try:
        require_gl()
    except Exception as e:
        pytest.skip(str(e))
    film = tmp_path / "film.mp4"
    assert main(["replay", str(recorded), "--out", str(tmp_path / "p.html"), "--video", str(film)]) == 0
    assert f"video {film}" in capsys.readouterr().out
    assert film.stat().st_size > 1000


def test_a_change_of_the_settings_is_seen_in_the_result_and_the_status(recorded: Path, tmp_path: Path, capsys) -> None:
    page = str(tmp_path / "page.html")
    assert main(["replay", str(recorded), "--out", page, "robot=twin", "robot.physics_dt_s=0.001"]) == 1
    assert "not the same: " in capsys.readouterr().out


def test_settings_that_were_not_recorded_are_those_of_the_task(tmp_path: Path, capsys) -> None:
    path = practise(tmp_path, ["task=reach"], 2, episodes=1, config=False)[0]
    assert main(["replay", str(path)]) == 0
    out = capsys.readouterr().out
    assert "holds no settings; those of the task 'reach' are taken as they are today" in out
    assert "bit for bit the same as recorded" in out


def test_a_robot_in_real_time_moves_only_when_a_person_agrees(recorded, conf, tmp_path, capsys, typed) -> None:
    words = ["replay", str(recorded), "robot=clocked", "--config-dir", str(conf), "--out", str(tmp_path / "p.html")]
    for answer, status in (("no\n", 130), ("\n", 130), ("yes\n", 0)):
        os.write(typed[0], answer.encode())
        assert main(words) == status, answer
        out = capsys.readouterr().out
        assert "the arm on the bench will go to (" in out
        assert "Is the way clear? Type yes: " in out
        assert ("control periods replayed" in out) == (status == 0)


def test_where_nobody_can_be_asked_it_does_not_move_without_being_told_to(
    recorded: Path, conf: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    words = ["replay", str(recorded), "robot=clocked", "--config-dir", str(conf), "--out", str(tmp_path / "p.html")]
    assert main(words) == 2
    assert "nobody can be asked here; give --yes" in capsys.readouterr().err
    assert main([*words, "--yes"]) == 0
    assert "on another kind of robot" in capsys.readouterr().out


def test_ctrl_c_ends_it_after_the_period_and_holds(recorded: Path, conf: Path, tmp_path: Path, capsys) -> None:
    import practised

    before = signal.getsignal(signal.SIGINT)  # ignored where a shell runs the tests in its background
    practised.INTERRUPT_AT = 4
    try:
        words = ["replay", str(recorded), "robot=clocked", "--config-dir", str(conf), "--out", str(tmp_path / "p.html")]
        assert main([*words, "--yes"]) == 1
    finally:
        practised.INTERRUPT_AT = 0
    seen = capsys.readouterr()
    assert "ends after this control period" in seen.err
    assert "4 of 12 control periods replayed" in seen.out
    assert "ended by the operator" in seen.out
    assert practised.CLOSED[-1] == 4  # closed, which holds, and not commanded any more
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.mcap"], "the episode nowhere.mcap cannot be read: No such file"),
        (["."], "is a folder; name one episode in it"),
        (["text.mcap"], "text.mcap is no MCAP file"),
        (["EPISODE", "task=pick_cube"], "is of task 'reach', the settings are of 'pick_cube'; leave task= out"),
        (["EPISODE", "--by", "magic"], "invalid choice: 'magic'"),
        (["EPISODE", "--by", "state", "--speed", "3"], "--speed is 3; allowed: 0.05 to 1"),
        (["EPISODE", "--speed", "0.5"], "go slower with --by state"),
        (["EPISODE", "--video", "no/such/film.mp4"], "there is no folder no/such to write film.mp4 to"),
        (["EPISODE", "robot.cameras=[wrist]"], "the episode has none"),
        (["EPISODE", "robot=twni"], "Did you mean 'twin'?"),
    ],
)
def test_mistakes_end_with_one_sentence(words, sentence: str, recorded, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.mcap").write_text("hello")
    bits = recorded.read_bytes()
    assert main(["replay", *(str(recorded) if w == "EPISODE" else w for w in words)]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert len(errors.strip().splitlines()) == 1
    assert recorded.read_bytes() == bits


# ---- a schema that is not ours ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("float32 reward\n", "float64 reward\n", "'reward' as float64, here it is float32"),
        ("bool success\n", "bool success\nint8 mood\n", "a field 'mood' (int8) that is not known here"),
        ("bool success\n", "", "no field 'success'"),
        ("bool terminated ", "bool truncated2 ", "a field 'truncated2' (bool)"),
    ],
)
def test_steps_of_another_schema_are_refused_not_misread(
    recorded: Path, tmp_path: Path, capsys, old: str, new: str, sentence: str
) -> None:
    text = schema.STEP_DEFINITION.replace(old, new)
    assert text != schema.STEP_DEFINITION
    path = foreign(recorded, tmp_path / "000001.mcap", text)
    with pytest.raises(CheckpointError, match="have another schema") as raised:
        Episode(path)
    assert sentence in str(raised.value)
    bits = path.read_bytes()
    for words in (["replay", str(path)], ["data", "show", str(path)], ["data", "trim", str(path), "--to", "1"]):
        assert main(words) == 2
        assert "have another schema" in capsys.readouterr().err
    assert main(["data", "check", str(path)]) == 1
    assert "unreadable: the steps of" in capsys.readouterr().out
    assert path.read_bytes() == bits


def test_comments_and_space_do_not_make_another_schema() -> None:
    text = "\n".join(line.partition("#")[0].replace(" ", "   ") for line in schema.STEP_DEFINITION.splitlines())
    assert schema.step_difference(text.encode()) == ""


def foreign(path: Path, out: Path, definition: str) -> Path:
    """Write a file as a version with another definition of a step would."""
    episode = Episode(path)
    rewrite(path, out, {**episode.metadata, schema.START: {**episode.metadata[schema.START], **to_text(episode.start)}})
    from mcap.writer import Writer

    with open(out, "wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2", library="another")
        writer.add_metadata(schema.START, dict(episode.metadata[schema.START]))
        kind = writer.register_schema(schema.STEP_TYPE, "ros2msg", definition.encode())
        channel = writer.register_channel(schema.STEP, "cdr", kind)
        writer.add_message(channel, 1, np.zeros(400, np.uint8).tobytes(), 1, 0)
        writer.finish()
    return out
