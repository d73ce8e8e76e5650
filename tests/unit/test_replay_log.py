"""The log keeps every whole record, whatever cut it short, and never passes over damage in silence."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl.errors import CheckpointError, StorageError
from robot_rl.messages import StepBlock
from robot_rl.replay_log import ReplayLog, read


def block_of(number: int, steps: int = 3) -> StepBlock:
    return StepBlock(
        episode=number,
        start=0,
        states=np.full((steps, 4), number, np.float32),
        actions=np.zeros((steps, 2), np.float32),
        rewards=np.arange(steps, dtype=np.float32),
        sources=np.zeros(steps, np.uint8),
        policy_versions=np.full(steps, number, np.int64),
        images={"front": np.full((steps, 2, 4, 3), number % 256, np.uint8)},
        info={"success": True},
    )


def write(folder: Path, n: int, **kwargs: float) -> list[tuple[str, int]]:
    keys = [(f"actor{i % 2}/s", i // 2 + 1) for i in range(n)]
    with ReplayLog(folder, fsync_every_s=None, **kwargs) as log:
        for i, (stream, seq) in enumerate(keys):
            log.append(stream, seq, block_of(i))
    return keys


def read_keys(folder: Path) -> list[tuple[str, int]]:
    return [(stream, seq) for stream, seq, _ in read(folder)]


def segment(folder: Path) -> Path:
    return sorted(folder.glob("*.log"))[-1]


def test_what_was_appended_is_read_back_over_segments_and_reopening(tmp_path: Path) -> None:
    keys = write(tmp_path, 30, segment_bytes=2000)
    assert len(list(tmp_path.glob("*.log"))) > 3
    with ReplayLog(tmp_path, segment_bytes=2000) as log:
        assert log.last_seq() == {"actor0/s": 15, "actor1/s": 15}
        log.append("actor0/s", 16, block_of(30))
        log.append("actor0/t", 1, block_of(31))
    records = list(read(tmp_path))
    assert [r[:2] for r in records] == [*keys, ("actor0/s", 16), ("actor0/t", 1)]
    for i, (_, _, block) in enumerate(records):
        assert (block.episode, block.info) == (i, {"success": True})
        np.testing.assert_array_equal(block.images["front"], block_of(i).images["front"])


def test_cut_at_any_byte_every_whole_record_before_it_is_kept(tmp_path: Path) -> None:
    keys = write(tmp_path, 4)
    whole = segment(tmp_path).read_bytes()
    ends = []
    for i in range(5):
        write(tmp_path / f"{i}", i)
        ends.append(len(segment(tmp_path / f"{i}").read_bytes()))
    for cut in range(len(whole) + 1):
        segment(tmp_path).write_bytes(whole[:cut])
        kept = max([i for i, end in enumerate(ends) if end <= cut], default=0)
        assert read_keys(tmp_path) == keys[:kept]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_log_cut_anywhere_can_be_continued(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("log")
    keys = write(folder, 4)
    path = segment(folder)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut] + bytes(data.draw(st.sampled_from([0, 0, 5, 100]))))
    kept = len(read_keys(folder))
    with ReplayLog(folder) as log:
        assert sum(log.last_seq().values()) == kept
        for i, key in enumerate(keys[kept:], kept):
            log.append(*key, block_of(i))
    assert read_keys(folder) == keys
    assert path.read_bytes() == whole


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 0.999), flip=st.integers(1, 255))
def test_a_damaged_byte_is_reported_or_was_in_the_last_record(
    tmp_path_factory: pytest.TempPathFactory, where: float, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    keys = write(folder, 4)
    path = segment(folder)
    raw = bytearray(path.read_bytes())
    raw[int(where * len(raw))] ^= flip
    path.write_bytes(raw)
    try:
        assert read_keys(folder) == keys[:3]
    except CheckpointError as e:
        assert str(path) in str(e)  # noqa: PT017 (either outcome is right)


def test_damage_names_file_and_offset_and_nothing_is_cut(tmp_path: Path) -> None:
    write(tmp_path, 4)
    path = segment(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[8 + 16 + 40] ^= 1
    path.write_bytes(raw)
    for use in (lambda: list(read(tmp_path)), lambda: ReplayLog(tmp_path)):
        with pytest.raises(CheckpointError, match=r"blocks-000001.log is damaged at byte 8: its checksum"):
            use()
    assert path.read_bytes() == raw


def test_a_segment_before_the_last_must_be_whole(tmp_path: Path) -> None:
    write(tmp_path, 12, segment_bytes=2000)
    first = sorted(tmp_path.glob("*.log"))[0]
    first.write_bytes(first.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="cut short"):
        list(read(tmp_path))


def test_misuse_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no replay log"):
        list(read(tmp_path / "missing"))
    with ReplayLog(tmp_path) as log:
        log.append("a", 3, block_of(0))
        with pytest.raises(CheckpointError, match="block 3 of a does not follow 3"):
            log.append("a", 3, block_of(0))
        with pytest.raises(CheckpointError, match="in use by another learner"):
            ReplayLog(tmp_path)
    with pytest.raises(StorageError, match="closed"):
        log.append("a", 4, block_of(0))
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot open"):
        ReplayLog(tmp_path / "file")


def run(code: str, *args: object) -> subprocess.Popen[str]:
    prelude = f"import sys; sys.path[:0] = {sys.path!r}\n"
    command = [sys.executable, "-c", prelude + textwrap.dedent(code), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


WRITER = """
    import numpy as np
    from robot_rl.messages import StepBlock
    from robot_rl.replay_log import ReplayLog
    def block(n):
        z = np.zeros
        return StepBlock(episode=n, start=0, states=z((500, 32), np.float32), actions=z((500, 4), np.float32),
            rewards=z(500, np.float32), sources=z(500, np.uint8), policy_versions=z(500, np.int64))
    log = ReplayLog(sys.argv[1], segment_bytes=1_000_000)
"""


def test_a_killed_writer_loses_nothing_that_it_reported(tmp_path: Path) -> None:
    for kill_after in (1, 17, 60):
        before = dict(_last(tmp_path)).get("a", 0)
        process = run(
            WRITER
            + """
    n = log.last_seq().get("a", 0)
    while True:
        n += 1
        log.append("a", n, block(n))
        print(n, flush=True)
""",
            tmp_path,
        )
        assert process.stdout is not None
        reported = [int(process.stdout.readline()) for _ in range(kill_after)]
        process.send_signal(signal.SIGKILL)
        reported += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.communicate()
        seqs = [seq for _, seq, _ in read(tmp_path)]
        assert seqs == list(range(1, len(seqs) + 1))
        assert before < reported[-1] <= len(seqs) <= reported[-1] + 1


def _last(folder: Path) -> dict[str, int]:
    with ReplayLog(folder) as log:
        return log.last_seq()


def test_a_full_disk_is_reported_and_leaves_a_whole_log_that_goes_on_later(tmp_path: Path) -> None:
    """A file size limit makes the kernel cut a write short and then refuse, as a full disk does."""
    process = run(
        WRITER
        + """
    import resource
    from robot_rl.errors import StorageError
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    n = 0
    try:
        while True:
            log.append("a", n + 1, block(n))
            n += 1
    except StorageError as e:
        print(e)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    whole = log.folder.joinpath("blocks-000001.log").stat().st_size
    for _ in range(3):
        n += 1
        log.append("a", n, block(n))
    print(n, whole)
""",
        tmp_path,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    sentence, numbers = out.strip().split("\n")
    n, size = map(int, numbers.split())
    assert "cannot write to the replay log" in sentence
    assert "everything logged before is intact" in sentence
    assert 100_000 < size < 200_000
    assert [seq for _, seq, _ in read(tmp_path)] == list(range(1, n + 1))
