"""Bad input: each mistake gets one clear sentence and a status that is not zero, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from verify.children import Finished, Runner
from verify.rows import Row

from robot_rl.checkpoint import Checkpoints
from robot_rl.errors import CheckpointError

STAGE = "bad-input"
TIMEOUT_S = 180.0
BAR = "one sentence, status not 0, no traceback, nothing lost"
SMALL = ["task=reach", "experiment=debug", "learner.total_env_steps=100", "live=off", "metrics.sinks=[jsonl]"]
NO_EVALUATION = ["evaluation.episodes=0", "evaluation.clone_episodes=0"]
DISK_KB = 512  # one checkpoint of the small run fits, two do not
ROBOT_RL = [sys.executable, "-m", "robot_rl"]


def measure(runner: Runner) -> list[Row]:
    """Make every mistake once, with the real command."""
    runs = runner.work / "bad-input"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    rows = [
        _mistake(runner, "misspelt task", ["train", "task=pick_cub", f"runs={runs}"], "pick_cube"),
        _mistake(runner, "negative batch size", ["train", "agent.batch_size=-1", f"runs={runs}"], "agent.batch_size"),
        _port_in_use(runner, runs),
    ]
    made = _robot_rl(runner, "small", ["train", *SMALL, *NO_EVALUATION, f"runs={runs}", "name=small"])
    if made.status == 0:
        rows += [_missing_checkpoint(runner, runs / "small"), _corrupted_checkpoint(runner, runs / "small")]
    else:
        rows.append(Row(stage=STAGE, what="a small run to damage", measured=made.how(), bar="status 0", holds=False))
    return [*rows, _full_disk(runner, runs)]


def _robot_rl(runner: Runner, name: str, words: list[str]) -> Finished:
    return runner.run(f"bad-input-{name}", [*ROBOT_RL, *words], TIMEOUT_S)


def _mistake(runner: Runner, what: str, words: list[str], says: str, lost: Callable[[], str] = lambda: "") -> Row:
    """Return the row of one mistake.

    Args:
        runner: Runs the command.
        what: The mistake in words.
        words: Arguments of robot-rl.
        says: What the sentence must contain.
        lost: Says what was lost; empty if nothing was.
    """
    return judge(what, _robot_rl(runner, what.replace(" ", "-"), words), says, lost())


def judge(what: str, ended: Finished, says: str, lost: str = "") -> Row:
    """Return the row for how a command with a mistake ended; see `_mistake`."""
    complaints = [line.removeprefix("robot-rl: ") for line in ended.err.splitlines() if line.startswith("robot-rl: ")]
    sentence = next((c for c in complaints if says in c), "")
    traced = "Traceback" in ended.err + ended.out
    good = bool(sentence) and not traced and ended.status > 0 and not ended.timed_out
    measured = f"status {ended.status}: {sentence}" if good else ended.how()
    if lost:
        measured += f"; BUT {lost}"
    return Row(stage=STAGE, what=what, measured=measured, bar=BAR, holds=good and not lost)


def _port_in_use(runner: Runner, runs: Path) -> Row:
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["learner", *SMALL, "demos=0", f"bind=tcp://127.0.0.1:{port}", f"runs={runs}", "name=port"]
        return _mistake(runner, "port in use", words, str(port))


def _missing_checkpoint(runner: Runner, run: Path) -> Row:
    with _changed(run / "checkpoints" / "policy.ckpt") as path:
        path.unlink()
        return _mistake(runner, "missing checkpoint", ["eval", str(run), "-n", "1", "--video", "0"], "policy")


def _corrupted_checkpoint(runner: Runner, run: Path) -> Row:
    with _changed(run / "checkpoints" / "policy.ckpt") as path:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
        words = ["eval", str(run), "-n", "1", "--video", "0"]
        return _mistake(
            runner,
            "corrupted checkpoint",
            words,
            "damaged",
            lambda: "" if path.read_bytes() == data else "it was changed",
        )


@contextlib.contextmanager
def _changed(path: Path) -> Iterator[Path]:
    """Yield a file that may be damaged, and restore it."""
    data = path.read_bytes()
    try:
        yield path
    finally:
        path.write_bytes(data)


def _full_disk(runner: Runner, runs: Path) -> Row:
    """Train on a file system that is too small for a second checkpoint, then go on when there is room again."""
    what = "full disk while saving"
    if not _may_mount():
        measured = "needs a small file system, which this user may not mount; tests/faults/test_disk.py covers it"
        return Row(stage=STAGE, what=what, measured=measured, bar=BAR, holds=None)
    disk = runs / "disk"
    disk.mkdir()
    train = [*ROBOT_RL, "train", *SMALL, *NO_EVALUATION, f"runs={disk}", "name=full"]
    resume = [*ROBOT_RL, "train", f"runs={disk}", "resume=full", "live=off"]
    # The mount lives in a namespace of its own and ends with it, so what is left is copied out.
    script = (
        f'mount -t tmpfs -o size={DISK_KB}k none "$1" || exit 99\n'
        "shift; disk=$1; shift; n=$1; shift\n"
        '"${@:1:n}"; status=$?\n'
        'mount -o remount,size=64m "$disk" || exit 98\n'
        '"${@:n+1}" >"$disk/resumed.out" 2>&1; echo $? >"$disk/resumed.status"\n'
        'cp -r "$disk" "$disk.copy"; exit $status\n'
    )
    words = [*_NAMESPACE, "bash", "-c", script, "bash", str(disk), str(disk), str(len(train)), *train, *resume]
    ended = runner.run("bad-input-full-disk", words, 2 * TIMEOUT_S)
    return judge(what, ended, "No space left", _lost(disk.with_name("disk.copy")))


def _lost(disk: Path) -> str:
    """Return what a full disk cost, in words; empty if the run was completed when there was room again."""
    try:
        status = int((disk / "resumed.status").read_text())
        words = (disk / "resumed.out").read_text().strip().splitlines()
        found = Checkpoints(disk / "full" / "checkpoints").newest()
    except (OSError, ValueError, CheckpointError) as e:
        return f"what was saved cannot be read: {e}"
    if status != 0:
        return f"resume with more space ended with status {status}: {words[-1][:200] if words else 'no word'}"
    updates = int(found.meta["updates"]) if found is not None else 0
    return "" if updates > 0 else "the updates of the run are gone"


_NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


def _may_mount() -> bool:
    """Return whether a file system can be mounted in a namespace of its own."""
    command = [*_NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    return False
