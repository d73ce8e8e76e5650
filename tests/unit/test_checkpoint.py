from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_rl.checkpoint import Checkpoints, load, save
from robot_rl.errors import CheckpointError, ConfigError, StorageError

ARRAYS = {
    "critic/w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "key": np.array([1, 2], np.uint32),
    "step": np.zeros((), np.int32),
    "empty": np.zeros((0, 5), np.float32),
    "flags": np.array([True, False]),
}
META = {"updates": 80, "rng": "text", "spec": {"a": [1, 2.5]}, "kind": "learner"}

names = st.text(st.characters(min_codepoint=33, max_codepoint=1000), min_size=1, max_size=8)
anything = hnp.arrays(
    dtype=st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint8, np.bool_]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@settings(max_examples=60, deadline=None)
@given(arrays=st.dictionaries(names, anything, max_size=4), meta=st.dictionaries(names, st.integers(-9, 9), max_size=3))
def test_what_is_saved_comes_back_bit_for_bit(tmp_path_factory, arrays, meta) -> None:
    path = tmp_path_factory.mktemp("c") / "a.ckpt"
    found = load(save(path, arrays, meta))
    assert found.meta == meta
    assert list(found.arrays) == list(arrays)
    for name, array in arrays.items():
        back = found.arrays[name]
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_flipped_byte_and_no_cut_goes_unnoticed(tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("c") / "a.ckpt"
    whole = save(path, ARRAYS, META).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        broken = whole[:at]
    else:
        broken = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    path.write_bytes(broken)
    with pytest.raises(CheckpointError) as told:
        load(path)
    assert str(path) in str(told.value)


def test_a_missing_file_says_what_is_there(tmp_path: Path) -> None:
    save(tmp_path / "policy.ckpt", ARRAYS, META)
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*clone\.ckpt; .* holds policy\.ckpt"):
        load(tmp_path / "clone.ckpt")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load(tmp_path / "nowhere" / "policy.ckpt")


def test_another_version_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", ARRAYS, META)
    data = bytearray(path.read_bytes())
    data[8:12] = struct.pack("<I", 7)
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="has version 7, this release reads version 1"):
        load(path)


def test_objects_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dtype object"):
        save(tmp_path / "a.ckpt", {"x": np.array([None])}, {})
    assert list(tmp_path.iterdir()) == []


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert kept.newest() is None
    for number in (8, 16, 1000, 24):
        kept.save(number, ARRAYS, {"updates": number})
    assert [int(p.stem[-12:]) for p in kept.paths()] == [1000, 24]
    assert kept.newest().meta["updates"] == 1000


def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path: Path, caplog) -> None:
    kept = Checkpoints(tmp_path, keep=2)
    kept.save(1, ARRAYS, {"updates": 1})
    newest = kept.save(2, ARRAYS, {"updates": 2})
    newest.write_bytes(newest.read_bytes()[:-5])
    assert kept.newest().meta["updates"] == 1
    assert "is damaged" in caplog.text
    assert "going on from the checkpoint before" in caplog.text
    (tmp_path / "checkpoint-000000000001.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is damaged"):
        kept.newest()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not save"):
        save(tmp_path / "file" / "a.ckpt", ARRAYS, META)


LIMITED = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from robot_rl.checkpoint import Checkpoints, load
from robot_rl.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kept = Checkpoints(Path(sys.argv[1]))
kept.save(1, {"a": np.zeros(10, np.float32)}, {"updates": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    kept.save(2, {"a": np.zeros(100_000, np.float32)}, {"updates": 2})
except StorageError as e:
    print(e)
print(kept.newest().meta["updates"], len(list(Path(sys.argv[1]).iterdir())))
"""


def test_a_disk_that_refuses_leaves_the_one_before(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True, env=os.environ
    )
    lines = done.stdout.splitlines()
    assert "could not save" in lines[0]
    assert "intact" in lines[0]
    assert lines[1] == "1 1"  # the one before is the newest, and no half file lies about
