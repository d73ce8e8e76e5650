"""Trimming, relabelling and merging change what they say, keep everything else, and never leave less than there was."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from episode_maker import make_episode, make_file, specs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from robot_rl.cli import main
from robot_rl.episodes import edit
from robot_rl.episodes.check import check_episode
from robot_rl.episodes.edit import relabel, trim
from robot_rl.episodes.folder import entry, episode_files
from robot_rl.episodes.merge import digest, merge
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.episodes.replay_source import to_block
from robot_rl.episodes.scan import Scan, scan
from robot_rl.errors import CheckpointError, ConfigError, StorageError

N = 8
RESET = {"request": {"p_BE": [0.5, 0.0, 0.2]}}


def contents(path: Path) -> list[tuple]:
    return [(m.topic, m.sequence, m.log_ns, m.publish_ns, m.data) for m in scan(path, Scan())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return make_file(
        folder, n=N, cameras=("wrist",), seed=2, verdict="success", config="a: 1\n", reset=RESET,
        changes={2: {"source": "human"}, 5: {"guard_events": ("box",)}},
    )  # fmt: skip


def copied(whole: Path, folder: Path) -> Path:
    return Path(shutil.copy(whole, folder / "000001.mcap"))


@settings(
    max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_a_trimmed_episode_holds_just_the_steps_that_were_asked_for(whole: Path, tmp_path_factory, data) -> None:
    first = data.draw(st.integers(0, N - 1))
    last = data.draw(st.integers(first, N - 1))
    path = copied(whole, tmp_path_factory.mktemp("trim"))
    before, bits = Episode(whole), path.read_bytes()  # pictures are read when they are asked for
    done = trim(path, first, last)
    after = Episode(path)
    if (first, last) == (0, N - 1):
        assert (done.what, done.original, path.read_bytes()) == ("", None, bits)
        return
    assert done.original is not None
    assert done.original.read_bytes() == bits
    was, now, part = before.steps, after.steps, slice(first, last + 1)
    assert len(now) == now.gap == last + 1 - first
    for name in ("state", "next_state", "action", "executed", "reward", "policy_version", "stamp_ns", "after_ns"):
        assert np.array_equal(getattr(now, name), getattr(was, name)[part])
    assert now.source == was.source[part]
    assert list(map(list, now.guard_events)) == list(map(list, was.guard_events[part]))
    assert len(after.observed_readings()) == len(now) + 1
    for mine, theirs in zip(after.observed_readings(), before.observed_readings()[first:], strict=False):
        assert np.array_equal(mine.q, theirs.q)
    frames, old = after.cameras()["wrist", False], before.cameras()["wrist", False]
    assert list(frames.observation) == list(range(len(now) + 1))
    assert all(np.array_equal(frames[k], old[first + k]) for k in range(len(frames)))
    end, cut = after.end, last < N - 1
    assert end is not None
    assert (end.terminated, end.truncated) == (not cut, cut) == (bool(now.terminated[-1]), bool(now.truncated[-1]))
    assert not (now.terminated[:-1] | now.truncated[:-1]).any()
    assert (end.steps, end.reason) == (len(now), "trimmed" if cut else "done")
    assert end.verdict == ("" if cut else "success")  # the operator's word was on an end that is gone
    assert end.succeeded is not cut
    assert end.total_reward == pytest.approx(float(now.reward.sum()))
    assert sum(end.sources.values()) == len(now)
    assert end.guard == ({"box": 1} if first <= 5 <= last else {})
    assert after.start.reset == (RESET if first == 0 else {})
    assert after.start.seed == (2 if first == 0 else -1)
    assert after.start.config == before.start.config
    assert [f for f in check_episode(after) if f.problem] == []
    (edited,) = after.edits
    assert edited["what"] == f"trimmed to steps {first} to {last} of {N}"
    assert "@" in edited["who"]
    assert json.loads(edited["before"])["steps"] == str(N)
    block = to_block(after, *specs("wrist"), 0)
    assert (block.terminated, block.steps) == (not cut, len(now))  # a cut end bootstraps


def test_a_second_trim_keeps_both_originals(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    trim(path, 0, 5)
    done = trim(path, 2, 4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000001.mcap", "000001.mcap.orig", "000001.mcap.orig2"]
    assert done.original == tmp_path / "000001.mcap.orig2"
    episode = Episode(path)
    assert [e["what"] for e in episode.edits] == ["trimmed to steps 0 to 5 of 8", "trimmed to steps 2 to 4 of 6"]
    assert episode_files(tmp_path) == [path]


def test_a_new_verdict_changes_nothing_else(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    before, messages = Episode(path), contents(path)
    assert relabel(path, "success").what == ""
    assert relabel(path, "discard").what == "verdict 'discard' instead of 'success'"
    after = Episode(path)
    assert contents(path) == messages
    assert after.start == before.start
    assert after.end is not None
    assert after.end.verdict == "discard"
    assert json.loads(after.edits[0]["before"])["verdict"] == "success"
    assert relabel(path, "").what == "verdict 'none' instead of 'discard'"
    assert Episode(path).success is True  # the task's own word
    assert entry(path).end == Episode(path).end


def test_a_discarded_episode_stays_discarded_when_it_is_trimmed(whole: Path, tmp_path: Path) -> None:
    path = copied(whole, tmp_path)
    relabel(path, "discard")
    trim(path, 0, 3)
    end = Episode(path).end
    assert end is not None
    assert end.verdict == "discard"


def test_an_episode_whose_end_was_lost_gets_one_that_bootstraps(whole: Path, tmp_path: Path) -> None:
    part = tmp_path / "000001.mcap.part"
    part.write_bytes(whole.read_bytes()[:-4000])
    with pytest.raises(CheckpointError, match="complete it with: robot-rl data repair"):
        relabel(part, "failure")
    assert main(["data", "repair", str(part)]) == 0
    path = tmp_path / "000001.mcap"
    steps = len(Episode(path))
    assert 0 < steps < N + 1
    relabel(path, "failure")
    episode = Episode(path)
    assert episode.end is not None
    assert (episode.end.steps, episode.end.verdict, episode.success) == (steps, "failure", False)
    if steps < N:
        assert (episode.end.terminated, episode.end.truncated) == (False, True)
        assert (bool(episode.steps.terminated[-1]), bool(episode.steps.truncated[-1])) == (False, True)


@pytest.mark.parametrize(("first", "last"), [(0, N), (-1, 3), (5, 4)])
def test_steps_that_are_not_there_are_refused(whole: Path, tmp_path: Path, first: int, last: int) -> None:
    path = copied(whole, tmp_path)
    bits = path.read_bytes()
    with pytest.raises(ConfigError, match=r"has steps 0 to 7"):
        trim(path, first, last)
    assert path.read_bytes() == bits
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_being_recorded_is_not_edited(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        make_episode(recorder, n=3, end=False)
        assert recorder.wait()
        (path,) = tmp_path.iterdir()
        for act in (lambda: relabel(path, "failure"), lambda: trim(path, 0, 1)):
            with pytest.raises(CheckpointError, match="is being recorded"):
                act()


@pytest.mark.parametrize("when", ["write", "replace"])
def test_an_edit_that_fails_leaves_the_episode(whole: Path, tmp_path: Path, when: str, monkeypatch) -> None:
    """Fails at the level of the file system: a folder lies where the new file is to be written, or no rename works."""
    path = copied(whole, tmp_path)
    bits = path.read_bytes()
    if when == "write":
        (tmp_path / f".{path.name}.{os.getpid()}.tmp").mkdir()
    else:
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="The episode is left as it is"):
        relabel(path, "failure")
    with pytest.raises(StorageError, match="The episode is left as it is"):
        trim(path, 1, 2)
    assert path.read_bytes() == bits
    assert Episode(path).success is True


def test_an_episode_that_ends_where_it_was_given_up_is_the_same_after_a_relabel(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        make_episode(recorder, n=4, success=False, end=False)
        recorder.end(reason="the arm is gone")
    path = tmp_path / "000001.mcap"
    before = digest(path)
    relabel(path, "discard")
    assert digest(path) == before


# ---- merge -----------------------------------------------------------------------------------------------------------


def runs(tmp_path: Path, **other: object) -> tuple[Path, Path]:
    for name, seeds in (("a", (1, 2)), ("b", (3, 4))):
        with EpisodeRecorder(tmp_path / name / "episodes") as recorder:
            for seed in seeds:
                make_episode(recorder, n=3, seed=seed, **(other if name == "b" else {}))  # pyright: ignore
    return tmp_path / "a", tmp_path / "b"


def test_merged_runs_are_one_folder_that_says_where_each_is_of(tmp_path: Path, capsys) -> None:
    a, b = runs(tmp_path)
    shutil.copy(a / "episodes" / "000002.mcap", b / "episodes" / "000009.mcap")
    relabel(b / "episodes" / "000009.mcap", "failure")  # still the same episode
    bits = {p: p.read_bytes() for p in (*episode_files(a), *episode_files(b))}
    assert main(["data", "merge", str(a), str(b), "--out", "both", "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"left out: {b}/episodes/000009.mcap holds the same as {a}/episodes/000002.mcap" in out
    assert f"4 episodes in {tmp_path}/both/episodes, 1 left out" in out
    made = episode_files(tmp_path / "both")
    assert [p.name for p in made] == [f"00000{k}.mcap" for k in (1, 2, 3, 4)]
    old = [*episode_files(a), *episode_files(b)[:2]]
    for path, origin in zip(made, old, strict=True):
        assert contents(path) == contents(origin)
        episode, was = Episode(path), Episode(origin)
        assert (episode.start, episode.end) == (was.start, was.end)
        assert episode.edits[-1]["from"] == str(origin)
    assert all(p.read_bytes() == was for p, was in bits.items())
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"task": "another"}, "it is of task 'another'"),
        ({"cameras": ("side",)}, "this one has image side, the first does not know it"),
        ({"period_s": 0.05}, "its control period is 0.05 s"),
    ],
)
def test_what_does_not_belong_together_is_not_merged(tmp_path: Path, other, sentence: str, capsys) -> None:
    a, b = runs(tmp_path, **other)
    assert main(["data", "merge", str(a), str(b), "--out", str(tmp_path / "both")]) == 2
    error = capsys.readouterr().err
    assert "000001.mcap cannot be merged with the rest" in error
    assert sentence in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_merge_never_overwrites_and_takes_no_half_episode(tmp_path: Path) -> None:
    a, b = runs(tmp_path)
    with pytest.raises(ConfigError, match="is never overwritten"):
        merge(episode_files(a), b)
    part = a / "episodes" / "000003.mcap.part"
    part.write_bytes((a / "episodes" / "000001.mcap").read_bytes()[:-300])
    with pytest.raises(CheckpointError, match="is not complete; complete it with: robot-rl data repair"):
        merge(episode_files(a), tmp_path / "both")
    assert not (tmp_path / "both").exists()


# ---- commands --------------------------------------------------------------------------------------------------------


def test_the_commands_do_it_and_say_so(whole: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(copied(whole, tmp_path).name)
    assert main(["data", "trim", str(path), "--from", "1", "--to", "4"]) == 0
    out = capsys.readouterr().out
    assert "000001.mcap: trimmed to steps 1 to 4 of 8" in out
    assert "the episode as it was is 000001.mcap.orig" in out
    assert main(["data", "relabel", str(path), "--verdict", "failure"]) == 0
    assert main(["data", "relabel", str(path), "--verdict", "failure"]) == 0
    assert "0 of 1 episodes relabelled, 1 had that verdict, 0 left as they are" in capsys.readouterr().out
    assert main(["data", "show", str(path)]) == 0
    assert "trimmed to steps 1 to 4 of 8" in (tmp_path / "000001.html").read_text()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trim", "whole.mcap"], "say which steps to keep with --from or --to"),
        (["trim", "--to", "3"], "name one episode to trim"),
        (["trim", "whole.mcap", "--to", "x"], "invalid int value: 'x'"),
        (["trim", "whole.mcap", "--to", "99"], "steps 0 to 99 were asked for"),
        (["trim", "text.mcap", "--to", "3"], "is no MCAP file"),
        (["relabel", "--verdict", "failure"], "say which episodes to relabel"),
        (["relabel", "whole.mcap"], "the following arguments are required: --verdict"),
        (["relabel", "whole.mcap", "--verdict", "great"], "invalid choice: 'great'"),
        (["merge", "whole.mcap"], "the following arguments are required: --out"),
        (["merge", "--out", "x"], "say which runs to merge"),
    ],
)
def test_mistakes_end_with_one_sentence(whole: Path, words, sentence: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(whole, "whole.mcap")
    Path("text.mcap").write_text("hello")
    bits = Path("whole.mcap").read_bytes()
    assert main(["data", *words]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert len(errors.strip().splitlines()) == 1
    assert Path("whole.mcap").read_bytes() == bits
    assert edit.ORIGINAL not in "".join(os.listdir())
