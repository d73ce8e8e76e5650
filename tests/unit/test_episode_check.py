"""Each check finds what it is there for, and finds nothing in good data."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from episode_maker import a_start, make_episode, make_file, observed, reading

from robot_rl.cli import main
from robot_rl.episodes.check import Finding, check_episode
from robot_rl.episodes.check_set import check_files
from robot_rl.episodes.folder import episode_files
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.episodes.scan import Scan, scan

NAN = np.full(7, np.nan, np.float32)
FULL = np.ones(7, np.float32)
BOXED = {k: {"guard_events": ("box",)} for k in range(8)}


def kinds(found: list[Finding]) -> list[str]:
    return sorted({f.kind for f in found})


def test_good_episodes_have_nothing_to_be_said_about(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        for seed in range(10):
            make_episode(recorder, n=20 + seed, seed=seed, cameras=("wrist",), success=seed > 2)
    assert check_files(episode_files(tmp_path)) == []


@pytest.mark.parametrize(
    ("options", "kind", "words", "problem"),
    [
        ({"changes": {1: {"action": NAN}}}, "nan", "action is not finite in 1 step(s), first in step 1", True),
        ({"changes": {2: {"reward": float("inf")}}}, "nan", "reward is not finite", True),
        ({"changes": {3: {"stamp_s": 1.3}}}, "gap", "took more than 2 control periods, the longest 1.000 s", True),
        ({"changes": {3: {"stamp_s": 0.3}}}, "stamp", "do not rise at 1 step(s), first at step 3", True),
        ({"changes": {k: {"executed": FULL} for k in range(8)}}, "saturated", "at its limit in 67 %", False),
        ({"changes": BOXED}, "guard", "changed 67 % of the actions (box)", False),
        ({"verdict": "failure"}, "label", "the operator says failure, the task says success", False),
        ({"changes": {11: {"reward": 0.0}}}, "label", "a success without any reward", False),
        ({"end": False, "success": False, "n": 0}, "cut", "holds no step", True),
    ],
)  # fmt: skip
def test_each_fault_is_found_and_told(tmp_path: Path, options, kind: str, words: str, problem: bool) -> None:
    found = check_episode(Episode(make_file(tmp_path, **{"n": 12, **options})))
    fitting = [f for f in found if f.kind == kind and words in f.sentence]
    assert fitting, found
    assert fitting[0].problem is problem


def end_of_step(path: Path, k: int) -> int:
    """Return the byte at which the chunk of step k ends."""
    data, place = path.read_bytes(), [m.chunk for m in scan(path, Scan()) if m.topic == "/rl/step"][k]
    return place + 9 + int.from_bytes(data[place + 1 : place + 9], "little")


def record(
    folder: Path, move: float, picture: Callable[[int], np.ndarray], full: bool, lag_s: float = 0.0, stops: int = 99
) -> Episode:
    """Record 20 steps of a tool that moves, with a camera."""
    rng = np.random.default_rng(0)
    with EpisodeRecorder(folder) as recorder:
        for k in range(21):
            state = reading(rng, 0.1 * k)
            state.p_BE = np.array([move * k, 0.0, 0.0])
            observation = observed(rng, state, ())
            if not full:
                observation = {"state": observation, "wrist": picture(k)}
            if k == 0:
                recorder.begin(a_start("wrist"), state, observation)
            else:
                age_s = lag_s + 0.1 * max(0, k - stops)
                info = {"timing": {"state_age_ms": 0.0, "image_age_ms/wrist": 1e3 * age_s}}
                recorder.step(state, observation, np.zeros(7, np.float32), 1.0, False, k == 20, info)
            if full:
                recorder.frame("wrist", picture(k), state.stamp_s)
        recorder.end()
    return Episode(folder / "000001.mcap")


def noise(k: int) -> np.ndarray:
    return np.random.default_rng(k).integers(0, 256, (12, 16, 3), np.uint8)


@pytest.mark.parametrize("full", [False, True])
def test_a_camera_that_froze_is_found_only_while_the_tool_moves(tmp_path: Path, full: bool) -> None:
    frozen = check_episode(record(tmp_path / "a", 0.01, lambda k: noise(min(k, 5)), full))
    (found,) = [f for f in frozen if f.kind == "frozen"]
    assert "camera wrist shows the same picture 16 times (1.5 s) while the tool moves" in found.sentence
    assert found.problem
    for name, move, stop in (("b", 0.0, 5), ("c", 0.01, 99), ("d", 0.01, 17)):
        episode = record(tmp_path / name, move, lambda k, stop=stop: noise(min(k, stop)), full)
        assert "frozen" not in kinds(check_episode(episode)), name


def test_a_camera_that_sends_no_more_is_found_though_its_stamp_stands_still(tmp_path: Path) -> None:
    episode = record(tmp_path, 0.01, lambda k: noise(min(k, 5)), False, stops=5)
    assert len(set(episode.cameras()["wrist", False].stamp_ns)) == 6
    assert {"frozen", "picture"} <= set(kinds(check_episode(episode)))


def test_old_and_missing_pictures_are_found(tmp_path: Path) -> None:
    found = check_episode(record(tmp_path / "a", 0.01, noise, False, lag_s=0.5))
    assert "up to 0.500 s old when they were used" in next(f for f in found if f.kind == "picture").sentence
    rng = np.random.default_rng(0)
    with EpisodeRecorder(tmp_path / "b") as recorder:
        state = reading(rng, 0.0)
        recorder.begin(a_start("wrist"), state, observed(rng, state, ("wrist",)))
        for k in range(1, 6):
            state = reading(rng, 0.1 * k)
            seen = observed(rng, state, ("wrist",) if k != 3 else ())
            recorder.step(state, seen, np.zeros(7, np.float32), 1.0, False, k == 5, {})
        recorder.end()
    (found,) = check_episode(Episode(tmp_path / "b" / "000001.mcap"))
    assert (found.kind, found.problem) == ("picture", True)
    assert "camera wrist lacks 1 picture(s), first of observation 3" in found.sentence


def test_stamps_from_the_future_and_old_ones_are_found_in_real_time(tmp_path: Path) -> None:
    for folder, shift_s, words in (("a", 5.0, "from the future"), ("b", -5.0, "older than 1 s")):
        now_s = time.monotonic()
        changes = {k: {"stamp_s": now_s + shift_s + 0.1 * k} for k in range(6)}
        path = make_file(tmp_path / folder, n=6, real_time=True, changes=changes)
        assert any(f.kind == "stamp" and words in f.sentence for f in check_episode(Episode(path)))


def test_the_episode_that_differs_from_the_rest_is_found(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        for seed in range(9):
            make_episode(recorder, n=20 + seed % 3, seed=seed)
        make_episode(recorder, n=200, seed=10)
        make_episode(recorder, n=20, seed=11, task="another")
        make_episode(recorder, n=20, seed=12, cameras=("side",))
        make_episode(recorder, n=20, seed=13, period_s=0.05)
    found = check_files(episode_files(tmp_path))
    by_name = {(f.path.name, f.kind, f.problem) for f in found}
    assert ("000010.mcap", "outlier", False) in by_name
    assert {name for name, kind, _ in by_name if kind == "other"} == {"000011.mcap", "000012.mcap", "000013.mcap"}
    assert not {name for name, _, _ in by_name} - {f"0000{i}.mcap" for i in (10, 11, 12, 13)}
    assert any("it is of task 'another', most are of 'point'" in f.sentence for f in found)


def test_a_set_without_a_success_is_remarked_on(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        for seed in range(8):
            make_episode(recorder, n=20, seed=seed, success=False)
    (found,) = check_files(episode_files(tmp_path))
    assert (found.kind, found.problem) == ("label", False)
    assert "none of 8 episodes is a success" in found.sentence


def test_labels_out_of_balance_are_remarked_on(tmp_path: Path) -> None:
    for folder, good in (("a", 0.0), ("b", 1.0), ("c", 0.5)):
        with EpisodeRecorder(tmp_path / folder) as recorder:
            for seed in range(20):
                make_episode(recorder, n=6, seed=seed, success=seed == 0 if good == 0.0 else seed < 20 * good)
    assert check_files(episode_files(tmp_path / "c")) == []
    (found,) = check_files(episode_files(tmp_path / "b"))
    assert (found.kind, found.problem) == ("label", False)
    assert "20 of 20 episodes are successes: what tells them apart is hard to learn from so few" in found.sentence
    assert [f.kind for f in check_files(episode_files(tmp_path / "a"))] == []  # 1 of 20 is still 5 %


def test_the_episode_that_acts_otherwise_in_the_same_places_is_found(tmp_path: Path) -> None:
    """All go to the middle from where they are; one goes away from it, and nothing else about it is unusual."""
    with EpisodeRecorder(tmp_path) as recorder:
        for seed in range(12):
            rng = np.random.default_rng(seed)
            state = reading(rng, 0.0)
            state.p_BE, state.gripper_width_m = rng.uniform(-0.1, 0.1, 3), 0.04
            recorder.begin(a_start(), state, observed(rng, state, ()))
            for k in range(1, 16):
                away = 1.0 if seed == 7 else -1.0
                action = np.zeros(7, np.float32)
                action[:3] = np.clip(away * 8.0 * state.p_BE + rng.normal(0.0, 0.02, 3), -0.9, 0.9)
                state = reading(rng, 0.1 * k)
                state.p_BE, state.gripper_width_m = rng.uniform(-0.1, 0.1, 3), 0.04
                recorder.step(
                    state, observed(rng, state, ()), action, float(k == 15), k == 15, False, {"success": k == 15}
                )
            recorder.end()
    found = check_files(episode_files(tmp_path))
    assert [(f.path.name, f.kind, f.problem) for f in found] == [("000008.mcap", "disagree", False)]
    assert "it disagrees with the rest: where others were too" in found[0].sentence


def test_a_folder_that_may_not_be_read_is_told_of(tmp_path: Path, capsys) -> None:
    make_file(tmp_path / "mine" / "episodes", n=1)
    (tmp_path / "mine").chmod(0)
    root = os.geteuid() == 0
    if root:
        tmp_path.chmod(0o755)
        for parent in tmp_path.parents[:2]:
            parent.chmod(0o755)
        os.seteuid(65534)  # nobody: nothing is hidden from root
    try:
        status = main(["data", "ls", str(tmp_path / "mine")])
    finally:
        if root:
            os.seteuid(0)
        (tmp_path / "mine").chmod(0o755)
    assert status == 2
    error = capsys.readouterr().err
    assert "cannot be read: Permission denied; check its permissions, or name another" in error
    assert len(error.strip().splitlines()) == 1


def test_the_commands_end_with_a_status_and_sentences(tmp_path: Path, capsys, monkeypatch) -> None:
    folder = tmp_path / "runs" / "mine" / "episodes"
    whole = make_file(folder, n=5, cameras=("wrist",))
    monkeypatch.chdir(tmp_path)
    assert main(["data", "ls"]) == 0
    out = capsys.readouterr().out
    assert "runs/mine/episodes/000001.mcap  point  practice  policy  5      yes" in out
    assert "1 episodes, 5 steps, 1 successes" in out
    assert main(["data", "check", "mine"]) == 0
    assert "1 episodes checked: no problem, 0 remark(s)" in capsys.readouterr().out
    data = whole.read_bytes()
    (folder / "000002.mcap.part").write_bytes(data[: end_of_step(whole, 1)])
    (folder / "000003.mcap.part").write_bytes(b"")
    assert main(["data", "ls", "mine"]) == 0
    out = capsys.readouterr().out
    assert "it was cut after 2 steps" in out
    assert "nothing can be read from it" in out
    assert main(["data", "check", "mine"]) == 1
    assert "000002.mcap.part: cut: it was cut after 2 steps" in capsys.readouterr().out
    assert main(["data", "repair", "mine"]) == 1
    out = capsys.readouterr().out
    assert "000002.mcap: it was cut after 2 steps" in out
    assert "1 of 3 episodes completed, 1 were whole, 1 left as they are" in out
    assert main(["data", "show", str(folder / "000002.mcap")]) == 0
    assert (folder / "000002.html").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data", "shwo"], "'shwo' cannot be done to data; allowed: ls, show, check, repair, trim"),
        (["data", "shwo"], "Did you mean 'show'?"),
        (["data", "ls", "nowhere"], "nowhere does not exist"),
        (["data", "ls"], "there is no folder runs of runs here"),
        (["data", "show"], "say which episodes to show"),
        (["data", "check", "."], "holds no episodes"),
        (["data", "show", "text.mcap"], "is no MCAP file"),
        (["data", "ls", "n" * 300], "cannot be read: File name too long"),
        (["data", "repiar"], "Did you mean 'repair'?"),
    ],
)
def test_mistakes_end_with_one_sentence(words, sentence: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mcap").write_text("hello")
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert len(errors.strip().splitlines()) == 1
