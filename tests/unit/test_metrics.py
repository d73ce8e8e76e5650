"""Metrics survive kills, torn lines and full disks."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, MissingDependency, StorageError
from robot_rl.jsonl import JsonlFile, JsonlTail, last_row
from robot_rl.metrics import EPISODE_DEFAULTS, Latencies, MetricsWriter, read_jsonl, write_evaluation

fresh = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
rows_strategy = st.lists(
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=9), max_size=3), max_size=9
)


def test_rows_carry_time_steps_and_scalars_of_any_kind(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, sinks=("jsonl",)) as writer:
        writer.write(100, 400, {"critic/loss": np.float32(0.123456789), "link/queue": 3, "bad": float("nan")})
        writer.write(0, 50, {"actor/bc_nll": 1.5}, kind="clone")
    train, clone = read_jsonl(tmp_path / "metrics.jsonl")
    assert (train["kind"], train["env_steps"], train["updates"]) == ("train", 100, 400)
    assert train["critic/loss"] == pytest.approx(0.123457)
    assert train["bad"] is None
    assert clone["kind"] == "clone"
    assert 0.0 <= train["t_s"] <= clone["t_s"]


def test_an_episode_is_complete_and_gathers_its_guard_events(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, sinks=()) as writer:
        writer.episode(
            57, {"episode": 2, "success": np.True_, "return": np.float32(1), "guard/box": 3, "guard/cone": 1}
        )
        writer.episode(60, {"guard": {"stale": 2}, "note": "x"})
    first, second = read_jsonl(tmp_path / "episodes.jsonl")
    assert set(EPISODE_DEFAULTS) | {"t_s", "env_steps"} == set(first)
    assert first["success"] is True
    assert first["guard"] == {"box": 3, "cone": 1}
    assert second["guard"] == {"stale": 2}
    assert second["note"] == "x"


def test_reopening_appends_and_time_goes_on(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, sinks=()) as writer:
        writer.write(1, 1, {}, t_s=1000.0)
    with MetricsWriter(tmp_path, sinks=()) as writer:
        assert writer.elapsed_s >= 1000.0
        writer.write(2, 2, {})
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert [r["env_steps"] for r in rows] == [1, 2]
    assert rows[1]["t_s"] >= 1000.0


def test_an_unknown_sink_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'tensorboard'"):
        MetricsWriter(tmp_path, sinks=("tensorbord",))


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed here")
def test_a_missing_weights_and_biases_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match=r"pip install robot-rl\[wandb\]"):
        MetricsWriter(tmp_path, sinks=("wandb",))


@fresh
@given(rows=rows_strategy, cut=st.integers(0, 400), more=rows_strategy)
def test_a_file_cut_anywhere_keeps_every_whole_line_and_takes_more(
    tmp_path: Path, rows: list[dict[str, object]], cut: int, more: list[dict[str, object]]
) -> None:
    path = tmp_path / "cut.jsonl"
    path.unlink(missing_ok=True)
    file = JsonlFile(path)
    for row in rows:
        file.append(row)
    file.close()
    data = path.read_bytes()
    cut = min(cut, len(data))
    path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n")
    # A line that lacks only its newline is whole too.
    whole += cut > 0 and cut < len(data) and data[cut : cut + 1] == b"\n"
    assert read_jsonl(path) == rows[:whole]
    file = JsonlFile(path)
    for row in more:
        file.append(row)
    file.close()
    assert read_jsonl(path) == rows[:whole] + more
    assert last_row(path) == (rows[:whole] + more or [{}])[-1]


@fresh
@given(junk=st.binary(max_size=300))
def test_a_reader_survives_any_bytes(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "junk.jsonl"
    path.write_bytes(junk + b'\n{"a":1}\n')
    assert read_jsonl(path)[-1] == {"a": 1}
    assert last_row(path) == {"a": 1}


@fresh
@given(rows=rows_strategy, chunks=st.lists(st.integers(1, 40), max_size=20))
def test_a_tail_returns_each_line_once_however_it_arrives(
    tmp_path: Path, rows: list[dict[str, object]], chunks: list[int]
) -> None:
    path = tmp_path / "tail.jsonl"
    path.unlink(missing_ok=True)
    tail = JsonlTail(path)
    assert tail.read() == []
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    seen = []
    with open(path, "ab", buffering=0) as file:
        for size in [*chunks, len(data)]:
            file.write(data[:size])
            data = data[size:]
            seen += tail.read()
    assert seen == rows
    assert tail.skipped == 0


def test_a_tail_starts_again_when_the_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a":1}\n{"a":2}\n')
    tail = JsonlTail(path)
    assert len(tail.read()) == 2
    path.unlink()
    path.write_text('{"a":3}\n')
    assert tail.read() == [{"a": 3}]


def test_sigkill_loses_no_line_that_was_written(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from robot_rl.metrics import MetricsWriter\n"
        "w = MetricsWriter(Path(sys.argv[1]))\n"
        "for i in range(100): w.write(i, i, {'a/b': i}); w.episode(i, {'episode': i})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [r["env_steps"] for r in read_jsonl(tmp_path / "metrics.jsonl")] == list(range(100))
    assert [r["episode"] for r in read_jsonl(tmp_path / "episodes.jsonl")] == list(range(100))
    assert tensorboard_steps(tmp_path, "a/b") == list(range(100))


def tensorboard_steps(folder: Path, tag: str) -> list[int]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    steps = []
    for path in sorted((folder / "tensorboard").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            steps += [event.step for value in event.summary.value if value.tag == tag]
    return steps


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as writer:
        writer.write(10, 40, {"critic/loss": 0.5, "nothing": float("inf")})
        writer.episode(12, {"success": True, "return": 1.0})
    assert tensorboard_steps(tmp_path, "critic/loss") == [10]
    assert tensorboard_steps(tmp_path, "progress/updates") == [10]
    assert tensorboard_steps(tmp_path, "episode/success") == [12]
    assert tensorboard_steps(tmp_path, "nothing") == []


def test_a_full_disk_is_reported_once_and_training_may_go_on(tmp_path: Path) -> None:
    os.symlink("/dev/full", tmp_path / "metrics.jsonl")
    writer = MetricsWriter(tmp_path, sinks=())
    with pytest.raises(StorageError, match="No space left"):
        writer.write(1, 1, {"a": 1.0})
    writer.write(2, 2, {"a": 1.0})
    writer.write(3, 3, {"a": 1.0})
    assert writer.dropped == 3
    writer.close()
    writer.close()


def test_writing_goes_on_when_the_disk_has_room_again(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; from robot_rl.metrics import MetricsWriter\n"
        "from robot_rl.errors import StorageError\n"
        "w = MetricsWriter(Path(sys.argv[1]), sinks=())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))\n"
        "errors = 0\n"
        "for i in range(10):\n"
        "    if i == 7: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    try: w.write(i, i, {'x': 1})\n"
        "    except StorageError: errors += 1\n"
        "sys.exit(0 if errors == 1 and w.dropped > 0 else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == 0
    steps = [r["env_steps"] for r in read_jsonl(tmp_path / "metrics.jsonl")]
    assert steps[-3:] == [7, 8, 9]
    assert steps[0] == 0


def test_latencies_are_a_bounded_sample_of_what_was_seen(tmp_path: Path) -> None:
    latencies = Latencies(limit=100)
    for i in range(10_000):
        latencies.add("act_ms", float(i))
    path = latencies.save(tmp_path, "actor0")
    assert path.name == "latency-actor0.json"
    samples = json.loads(path.read_text())["latency/act_ms"]
    assert len(samples) == 100
    assert len(set(samples)) == 100
    assert 3000 < np.mean(samples) < 7000


def test_an_evaluation_leaves_its_episodes_and_its_summary(tmp_path: Path) -> None:
    rows = [{"success": i > 0, "duration_s": 2.0, "return": float(i > 0)} for i in range(4)]
    write_evaluation(tmp_path, "clone", rows[:2])
    summary = write_evaluation(tmp_path, "final", rows, time_limit_s=6.0, policy_version=7)
    assert (summary.successes, summary.n) == (3, 4)
    assert summary.restricted_mean_time_s == pytest.approx((3 * 2.0 + 6.0) / 4)
    kept = json.loads((tmp_path / "eval.json").read_text())
    assert kept["final"]["policy_version"] == 7
    assert kept["clone"]["n"] == 2
    assert [r["success"] for r in read_jsonl(tmp_path / "eval-final.jsonl")] == [False, True, True, True]
    with pytest.raises(ConfigError, match="cannot be the label"):
        write_evaluation(tmp_path, "../final", rows)


def test_tensorboard_is_left_out_with_a_word_where_it_is_not_installed(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['tensorboard'] = None\n"
        "from pathlib import Path; from robot_rl.metrics import MetricsWriter\n"
        "with MetricsWriter(Path(sys.argv[1])) as w: w.write(1, 1, {'a/b': 1.0})\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True)
    assert "pip install robot-rl[report]" in done.stderr
    assert len(read_jsonl(tmp_path / "metrics.jsonl")) == 1
