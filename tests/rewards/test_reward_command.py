from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from labelled_pictures import CAMERAS, fill

from robot_rl.cli import main
from robot_rl.errors import RobotRLError
from robot_rl.jsonl import read_json
from robot_rl.rewards.classifier import load_classifier
from robot_rl.rewards.labels import LabelledSet
from robot_rl_sim.gl import require_gl

REASON = ""
try:
    require_gl()
except RobotRLError as error:
    REASON = str(error)
needs_gl = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with LabelledSet(tmp_path / "set", "climb", CAMERAS, writing=True) as frames:
        fill(frames)
    return tmp_path / "set"


def test_a_set_becomes_a_classifier_and_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["--encoder", "pixels", "--steps", "40", "--folds", "3"]
    assert main(["reward", "train", str(folder), *quick, "--cameras", "front", "--false-positives", "0.05"]) == 0
    out, err = capsys.readouterr()
    made = load_classifier(folder / "classifier.ckpt")
    assert list(made.cameras) == ["front"]
    assert made.facts["wanted_rate"] == 0.05
    assert f"threshold {made.threshold:.3f} for at most 5 % false positives" in out
    assert "each judged without its episode" in out
    assert f"reward.path={folder / 'classifier.ckpt'} robot.cameras=[front]" in out
    assert "training 40 of 40" in err
    assert main(["reward", "audit", str(folder), *quick]) == 0
    assert "labels are probably wrong" in capsys.readouterr().out
    assert (folder / "audit.html").stat().st_size > 10_000
    facts = read_json(folder / "audit.json")
    assert facts["frames"] == len(LabelledSet(folder))
    assert [p["wanted_rate"] for p in facts["points"]][:2] == [0.0, 0.001]
    assert all({"name", "label", "probability", "loss"} == set(s) for s in facts["suspects"])


def test_relabelling_says_what_it_did(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reward", "relabel", str(folder), "e000/000000", "e001", "--as", "none"]) == 0
    assert "13 of 13 frames are now none: 33 successes, 98 failures, 13 not labelled" in capsys.readouterr().out
    assert LabelledSet(folder).count(None) == 13


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["reward", "trian", "x"], "reward has no action 'trian'; there are collect, train.*Did you mean 'train'"),
        (["reward", "train", "nowhere"], "nowhere is no set of labelled pictures"),
        (["reward", "train", "{}", "--encoder", "pixels", "--false-positives", "2"], "must lie in 0 to below 1"),
        (["reward", "train", "{}", "--encoder", "pixels", "--cameras", "frnt"], "no camera 'frnt'.*mean 'front'"),
        (["reward", "train", "{}", "--encoder", "pixels", "--folds", "1"], "folds is 1; it must be at least 2"),
        (["reward", "relabel", "{}", "e000/999999", "--as", "success"], "has no frame 'e000/999999'"),
        (["reward", "harvest", "{}", "{}"], "no judged frames|no run"),
        (["reward", "collect", "{}", "--from", "nowhere"], "nowhere"),
        (["reward", "collect", "{}", "operator=near_misses"], "presses no keys; label with what the twin knows"),
        (["reward", "collect", "{}", "--successes", "-1", "operator=near_misses", "--labels", "truth"],
         "successes is -1; it must be at least 0"),
        (["train", "reward=classifier", "reward.path=none.ckpt", "robot.cameras=[front]"], "there is no checkpoint"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_one_sentence(
    words: list[str], sentence: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import re

    monkeypatch.chdir(tmp_path)
    assert main([word.replace("{}", str(folder)) for word in words]) == 2
    err = capsys.readouterr().err
    assert re.search(sentence, err.replace("\n", " ")), err
    assert "Traceback" not in err


@pytest.mark.gl
@needs_gl
def test_near_misses_are_collected_in_the_twin_and_a_kill_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "cubes"
    words = ["reward", "collect", str(where), "task=pick_cube", "robot.cameras=[front]", "robot.image_size=32"]
    words += ["operator=near_misses", "--labels", "truth", "--successes", "2", "--every", "4", "task.max_steps=40"]
    words += ["operator.right=0", "operator.stop=1", "operator.beside=1", "operator.push=0", "operator.drop=0"]
    words += ["operator.expert.speed=1.0", "operator.expert.pause_probability=0", "operator.rise_m=[0.12,0.14]"]
    assert main([*words, "--failures", "4"]) == 0
    first = LabelledSet(where)
    assert (first.count(1), first.count(0)) == (2, 4)
    assert main([*words, "--failures", "12"]) == 0
    frames = LabelledSet(where).frames
    assert sum(f.label == 0 for f in frames) == 12
    assert all(f.by == "twin" and f.truth == bool(f.label) for f in frames)
    assert [f.name for f in frames[:6]] == [f.name for f in first.frames]
    assert "robot-rl reward audit" in capsys.readouterr().out
    assert np.ptp(first.pictures(frames[0].name)["front"]) > 50
