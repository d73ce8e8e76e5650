"""The verification of learning from pictures judges what commands leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import verify_images
from labelled_pictures import CAMERAS, fill
from verify import images_bench, images_convert, images_labels, images_run, images_set, images_tests, images_train
from verify.children import Finished
from verify.images_parity import Compared

from robot_rl.rewards.labels import LabelledSet
from robot_rl.rewards.scoring import operating_point

ROOT = Path(__file__).resolve().parents[2]
ENDED = Finished(status=0, seconds=12.0, out="", err="")


def test_every_claim_names_tests_that_are_there() -> None:
    for files in images_tests.CLAIMS.values():
        for name in files:
            assert (ROOT / name).is_file(), name


def test_whole_trainings_are_measured_only_when_they_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    choose = verify_images.VERIFICATION.parsed
    assert choose([]) == (["bench", "labels", "run", "convert", "tests"], 0)
    assert choose(["--only", "train", "--seed", "4"]) == (["train"], 4)
    with pytest.raises(SystemExit):
        choose(["--seed", "-1"])
    with pytest.raises(SystemExit) as ended:
        choose(["--list"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out.strip().splitlines()
    assert [line.endswith("only if named)") for line in listed] == [False] * 5 + [True]


def bench_rows(of_state: float, of_encoding: float, step: float) -> list[dict[str, object]]:
    return [
        {"name": f"updates from cached features, {images_bench.SIZE}", "value": 30.0, "baseline": 60.0,
         "ratio": of_state, "note": "n"},
        {"name": f"the same, against encoding, {images_bench.SIZE}", "value": 30.0, "baseline": 0.1,
         "ratio": of_encoding, "note": "n"},
        {"name": "a step in the replay", "value": step, "baseline": 98385.0, "ratio": 0.2, "note": "n"},
    ]  # fmt: skip


def test_the_bench_is_judged_by_its_three_bars() -> None:
    assert [r.holds for r in images_bench.judge(bench_rows(0.5, 50.0, 40_000.0))] == [True, True, True]
    assert [r.holds for r in images_bench.judge(bench_rows(0.49, 49.0, 40_001.0))] == [False, False, False]


def test_a_set_is_poisoned_as_asked_and_the_original_is_left(tmp_path: Path) -> None:
    with LabelledSet(tmp_path / "set", "climb", CAMERAS, writing=True) as frames:
        fill(frames, episodes=6)
    wrong = images_set.poison(tmp_path / "set", tmp_path / "copy", 0.1, seed=0)
    assert len(wrong) == round(0.1 * len(LabelledSet(tmp_path / "set")))
    for frame in LabelledSet(tmp_path / "copy").frames:
        assert (frame.label != int(bool(frame.truth))) == (frame.name in wrong)
    assert all(f.label == int(bool(f.truth)) for f in LabelledSet(tmp_path / "set").frames)
    assert images_set.poison(tmp_path / "set", tmp_path / "copy", 0.1, seed=0) == wrong
    assert images_set.poison(tmp_path / "set", tmp_path / "copy", 0.1, seed=1) != wrong


def test_an_audit_is_judged_by_what_it_finds_and_by_what_it_names_wrongly() -> None:
    wrong = {f"w{i}" for i in range(10)}
    found, right = images_labels.audited(wrong, [f"w{i}" for i in range(9)] + ["a"], 100, 5.0)
    assert (found.holds, right.holds) == (True, True)
    assert "with all of them turned round 2 of 100 labels would be wrong, 10 before" in right.measured
    found, right = images_labels.audited(wrong, ["w1", "a"], 100, 5.0)
    assert (found.holds, right.holds) == (False, False)
    found, right = images_labels.audited(wrong, [], 100, 5.0)
    assert (found.holds, right.holds) == (False, False)


def test_a_classifier_is_judged_on_unseen_episodes_and_on_other_starts() -> None:
    facts = {"failures": 1000, "successes": 200, "false_positives": 10, "true_positives": 190, "accuracy": 0.983,
             "threshold": 0.7, "episodes": 60}  # fmt: skip
    assert images_labels.unseen(facts)[0].holds
    assert not images_labels.unseen({**facts, "accuracy": 0.94})[0].holds
    labels = np.repeat([0, 1], [300, 60])
    passes = lambda n: np.where((np.arange(360) < n) | (labels == 1), 0.9, 0.1)  # noqa: E731
    assert images_labels.fresh(operating_point(labels, passes(3), 0.5)).holds
    assert not images_labels.fresh(operating_point(labels, passes(15), 0.5)).holds


def judged(false_positives: int, failures: int, false_claims: int = 0) -> dict[str, object]:
    counts = {"failures": failures, "false_positives": false_positives, "successes": 20, "false_negatives": 1,
              "episodes": 12, "claims": 9, "false_claims": false_claims}  # fmt: skip
    return {"env_steps": 600, "judged": {"practice": counts}}


def test_what_deceived_the_classifier_is_read_from_the_runs_record() -> None:
    def told(*counts: int) -> list[bool | None]:
        return [row.holds for row in images_run.deceived("run", judged(*counts), 60.0)]

    frames, claims = images_run.deceived("run", judged(20, 500, 4), 60.0)
    assert frames.measured.startswith("20 of 500 (95 % interval 2.46 to 6.11 %)")
    assert claims.measured.startswith("4 of 9 ")
    assert told(20, 500, 4) == [True, True]  # known: nothing is promised of what a policy seeks out
    assert told(0, 0) == [False]
    assert [row.holds for row in images_run.deceived("run", {"env_steps": 600}, 60.0)] == [False]


def test_an_export_is_judged_by_numbers_and_by_what_the_twin_does() -> None:
    parity = {"observations": 100, "source": "recorded observations", "bytes": {"compared": 9, "one_step_apart": 1},
              "largest_difference": {"program": {"action": 3e-6, "std": 9e-5}}}  # fmt: skip
    assert images_run.recorded("onnx", parity).holds
    assert not images_run.recorded("onnx", {**parity, "largest_difference": {"program": {"action": 2e-4}}}).holds

    def through(action: list[float], same: list[bool]) -> bool | None:
        found = Compared(action=np.array(action), feature=1e-3, reach=33.0, bytes=9, moved=2, same=np.array(same))
        return images_run.through_jax("onnx", found).holds

    assert through([1e-6, 9e-5], [True, True])
    assert through([1e-6, 5e-4], [True, False]), "another byte is another observation"
    assert not through([1e-6, 5e-4], [True, True])
    assert not through([1e-6, 5e-4], [False, False]), "then nothing was compared"


def test_an_export_may_lose_single_episodes_and_not_many() -> None:
    assert images_run.mcnemar(0, 0) == images_run.mcnemar(2, 2) == 1.0
    assert images_run.mcnemar(0, 6) == pytest.approx(2.0 / 64.0)
    own = [(True, 20)] * 14 + [(False, 60)] * 6
    assert images_run.driven("onnx", own, own).holds
    assert images_run.driven("onnx", own, [(False, 60)] * 2 + own[2:]).holds
    assert not images_run.driven("onnx", own, [(False, 60)] * 8 + own[8:]).holds
    assert not images_run.driven("onnx", [], []).holds


def test_a_policy_from_pictures_is_judged_by_the_tasks_own_rule(tmp_path: Path) -> None:
    def told(successes: int, n: int = images_train.EPISODES) -> None:
        rows = [json.dumps({"success": i < successes, "steps": 20}) for i in range(n)]
        (tmp_path / "eval-truth.jsonl").write_text("\n".join(rows) + "\n")

    told(48)
    assert images_train.autonomous(ENDED, tmp_path, 3).holds
    told(47)
    assert not images_train.autonomous(ENDED, tmp_path, 3).holds
    told(20, 20)
    assert not images_train.autonomous(ENDED, tmp_path, 3).holds
    told(50)
    failed = Finished(status=2, seconds=1.0, out="", err="robot-rl: no")
    assert not images_train.autonomous(failed, tmp_path, 3).holds


def test_a_mistake_must_be_told_with_everything_that_is_asked_for() -> None:
    said = Finished(status=2, seconds=1.0, out="", err="robot-rl: the layer 'a' has shape (1,), lite0 needs (2,)")
    assert images_convert.row("wide", said, ["the layer 'a'", "(1,)", "(2,)"]).holds
    row = images_convert.row("wide", said, ["the layer 'a'", "Supported"])
    assert not row.holds
    assert "it does not say Supported" in row.measured
    assert not images_convert.row("wide", said, ["the layer 'a'"], "the code ran").holds


def test_the_set_of_the_conversions_has_both_labels_in_every_episode(tmp_path: Path) -> None:
    frames = LabelledSet(images_convert.small_set(tmp_path / "set"))
    assert len(frames.episodes()) == images_convert.EPISODES
    for name in frames.episodes():
        assert {f.label for f in frames.frames if f.episode == name} == {0, 1}
