"""A file that was cut anywhere gives everything that was whole before the cut, and nothing that was not recorded."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from episode_maker import make_episode, make_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader

from robot_rl.episodes.part import PartFile
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.episodes.repair import repair
from robot_rl.episodes.scan import Scan, scan
from robot_rl.errors import CheckpointError, StorageError

TAILS = {"nothing": b"", "zeros": bytes(5000), "garbage": b"\xff" * 30}  # what a power cut may leave behind a cut
FAST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_file(tmp_path_factory.mktemp("whole"), n=6, cameras=("wrist",), seed=1)


def contents(path: Path) -> list[tuple]:
    return [(m.topic, m.type_name, m.sequence, m.log_ns, m.publish_ns, m.data) for m in scan(path, Scan())]


def ends_of_steps(path: Path) -> list[int]:
    """Return the bytes at which the chunk of each step ends."""
    data = path.read_bytes()
    places = [m.chunk for m in scan(path, Scan()) if m.topic == "/rl/step"]
    return [p + 9 + int.from_bytes(data[p + 1 : p + 9], "little") for p in places]


def test_every_step_is_a_chunk_of_its_own(whole: Path) -> None:
    ends = ends_of_steps(whole)
    assert len(set(ends)) == len(ends) == 6


def test_a_file_cut_at_any_byte_gives_exactly_the_steps_before_the_cut(whole: Path, tmp_path: Path) -> None:
    data, everything, ends = whole.read_bytes(), contents(whole), ends_of_steps(whole)
    path = tmp_path / "000001.mcap.part"
    facts = False
    at_ends = {end + k for end in ends for k in (-1, 0, 1)}
    for cut in sorted({*range(0, len(data), 31), *at_ends}):
        path.write_bytes(data[:cut])
        try:
            episode = Episode(path)
        except CheckpointError:
            assert not facts  # once the start is there, nothing takes it away
            continue
        facts = True
        assert len(episode) == sum(end <= cut for end in ends)
        found = contents(path)
        assert found == everything[: len(found)]
        assert episode.start.task == "point"
        assert (episode.end is None) or len(episode) == 6


@FAST
@given(st.data())
def test_repair_keeps_every_whole_chunk_and_invents_nothing(whole: Path, tmp_path: Path, data) -> None:
    original = whole.read_bytes()
    cut = data.draw(st.integers(0, len(original)))
    tail = TAILS[data.draw(st.sampled_from(sorted(TAILS)))]
    path = tmp_path / "000007.mcap.part"
    (tmp_path / "000007.mcap").unlink(missing_ok=True)
    path.write_bytes(original[:cut] + tail)
    try:
        before = Episode(path)
    except CheckpointError:
        with pytest.raises(CheckpointError, match=r"nothing can be recovered|is no MCAP file"):
            repair(path)
        assert path.exists()
        return
    kept = contents(path)
    outcome = repair(path)
    assert outcome.changed
    assert outcome.path == tmp_path / "000007.mcap"
    assert not path.exists()
    assert outcome.steps == len(before) == sum(end <= cut for end in ends_of_steps(whole))
    assert contents(outcome.path) == kept
    after = Episode(outcome.path)
    assert (after.start, after.end) == (before.start, before.end)
    if after.end is None:
        assert "cut after" in after.cut or "damaged part" in after.cut
        assert after.success is None
    assert not repair(outcome.path).changed
    if kept:
        with AnyReader([outcome.path]) as reader:
            assert [raw for _, _, raw in reader.messages()] == [k[-1] for k in sorted(kept, key=lambda k: k[3])]


@FAST
@given(byte=st.integers(0, 10**9), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_data(whole: Path, tmp_path: Path, byte: int, bit: int) -> None:
    data = bytearray(whole.read_bytes())
    data[byte % len(data)] ^= 1 << bit
    path = tmp_path / "000001.mcap"
    path.write_bytes(data)
    try:
        episode = Episode(path)
        steps, original = episode.steps, Episode(whole).steps
    except CheckpointError:
        return
    for k, index in enumerate(steps.index):
        assert np.array_equal(steps.executed[k], original.executed[index])
        assert np.array_equal(steps.next_state[k], original.next_state[index])


def test_a_damaged_chunk_costs_itself_alone_and_repair_says_so(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "000001.mcap"
    shutil.copy(whole, path)
    data = bytearray(path.read_bytes())
    data[ends_of_steps(whole)[2] - 20] ^= 0xFF  # within the third step
    path.write_bytes(data)
    episode = Episode(path)
    assert list(episode.steps.index) == [0, 1, 3, 4, 5]
    assert episode.steps.gap == 2
    outcome = repair(path)
    assert outcome.changed
    assert "1 damaged part(s)" in outcome.what
    assert list(Episode(path).steps.index) == [0, 1, 3, 4, 5]


def test_what_is_being_recorded_is_readable_and_not_repaired(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        make_episode(recorder, n=3, end=False)
        assert recorder.wait()
        (path,) = tmp_path.glob("*.part")
        episode = Episode(path)
        assert len(episode) == 3
        assert episode.cut == "it is being recorded"
        with pytest.raises(CheckpointError, match="is being recorded"):
            repair(path)
        recorder.end("failure")
    assert Episode(tmp_path / "000001.mcap").success is False


def test_a_file_whose_name_alone_is_missing_gets_it(whole: Path, tmp_path: Path) -> None:
    part = tmp_path / "000003.mcap.part"
    shutil.copy(whole, part)
    outcome = repair(part)
    assert (outcome.path, outcome.what) == (tmp_path / "000003.mcap", "")
    assert Episode(outcome.path).cut == ""
    shutil.copy(whole, part)
    with pytest.raises(CheckpointError, match="exists beside"):
        repair(part)


def test_a_file_never_takes_the_place_of_another(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "000001.mcap")
    file.write(b"mine")
    (tmp_path / "000001.mcap").write_bytes(b"theirs")
    with pytest.raises(StorageError, match="exists already"):
        file.complete()
    file.close()
    assert (tmp_path / "000001.mcap").read_bytes() == b"theirs"
    assert (tmp_path / "000001.mcap.part").read_bytes() == b"mine"


def test_facts_that_a_disk_filled_up_with_zeros_are_not_taken_for_facts(whole: Path, tmp_path: Path) -> None:
    original = whole.read_bytes()
    within_the_end = original.rindex(b"robot_rl/end", 0, original.index(b"total_reward")) + 30
    path = tmp_path / "000009.mcap.part"
    path.write_bytes(original[:within_the_end] + bytes(5000))
    assert Episode(path).end is None
    outcome = repair(path)
    assert outcome.steps == 6
    assert Episode(outcome.path).end is None
