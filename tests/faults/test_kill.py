from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from robot_rl import train
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.jsonl import last_row, read_jsonl
from robot_rl.replay_log import read
from robot_rl.settings import SupervisorConfig
from robot_rl.supervisor import ProcessFailed, Supervisor
from robot_rl.train_processes import processes, train_processes

SETTINGS = (
    "task=reach", "demos=3", "live=off", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=16",
    "agent.updates_per_actor_update=1", "learner.updates_per_call=4", "learner.updates_per_step=0.5",
    "learner.clone_updates=50", "learner.hold_steps=40", "metrics.sinks=[jsonl]", "checkpoint.every_s=0.3",
    "metrics.every_s=0.1", "learner.total_env_steps=4000", "link.dead_after_s=1.0",
)  # fmt: skip


def drive(supervisor: Supervisor, what: Callable[[], object], seconds: float = 120.0) -> None:
    """Supervise until something holds."""
    deadline_s = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        supervisor.poll()
        time.sleep(0.01)


@pytest.mark.slow
def test_killing_the_learner_and_then_the_actor_loses_nothing_but_an_unsent_tail(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    composed = compose([*SETTINGS, f"runs={tmp_path}", "name=run"])
    settings, folder = composed.settings(), train.start_run(composed)
    env = make_env(settings)
    train.prepare_demos(folder, settings, env, lambda text: None)

    def steps() -> int:
        return int(last_row(folder / "metrics.jsonl").get("env_steps", 0))

    with processes(folder, settings) as (supervisor, start_actors):
        start_actors()
        for name in ("learner", "actor0"):
            at = steps() + chance.randrange(100, 800)
            drive(supervisor, lambda at=at: steps() > at)
            pid = supervisor.pid(name)
            os.kill(pid, signal.SIGKILL)
            drive(supervisor, lambda name=name, pid=pid: supervisor.pid(name) not in (None, pid))
        assert supervisor.restarts == 2
        assert train_processes(supervisor, settings, lambda: False), f"seed {seed}"

    after: dict[str, int] = {}
    following: dict[tuple[str, int], int] = {}
    ended = 0
    for stream, seq, block in read(folder / "replay"):
        assert seq == after.get(stream, 0) + 1, f"seed {seed}: a block is missing or there twice"
        after[stream] = seq
        assert block.start == following.get((stream, block.episode), 0), f"seed {seed}"
        following[stream, block.episode] = block.start + block.steps
        ended += block.ended
    assert len(after) == 2, "the actor's second session is a stream of its own"
    total = sum(following.values())
    last = read_jsonl(folder / "metrics.jsonl")[-1]
    assert last["env_steps"] == total >= 4000
    assert last["updates"] == 2000
    assert ended - 1 <= len(read_jsonl(folder / "episodes.jsonl")) <= ended


def child(code: str) -> Callable[[int], list[str]]:
    """Return the command of a process; `start` is the number of its start."""
    return lambda start: [sys.executable, "-c", f"start = {start}\n{code}"]


def test_a_process_that_dies_is_started_again_until_the_budget_is_spent(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, SupervisorConfig(restarts=2))
    supervisor.add("loser", child("print('lost my way'); raise SystemExit(7)"))
    with pytest.raises(ProcessFailed, match=r"loser died \(status 7\) and 2 restarts are spent .* lost my way"):
        drive(supervisor, lambda: False)
    assert (tmp_path / "loser.log").read_text().count("lost my way") == 3
    supervisor.close()


def test_a_process_that_recovers_is_done(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, SupervisorConfig(restarts=3))
    supervisor.add("late", child("import os, signal\nif start < 2: os.kill(os.getpid(), signal.SIGKILL)"))
    drive(supervisor, lambda: supervisor.done("late"))
    assert supervisor.restarts == 2
    assert supervisor.states() == {"late": "done"}
    supervisor.close()


def test_a_mistake_of_the_user_ends_the_run_with_its_sentence(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, SupervisorConfig(restarts=5))
    code = "import sys; sys.stderr.write('robot-rl: the port is taken\\n'); raise SystemExit(2)"
    supervisor.add("learner", child(code))
    with pytest.raises(ProcessFailed, match=r"^the port is taken$"):
        drive(supervisor, lambda: False)
    assert supervisor.restarts == 0
    supervisor.close()


STUBBORN = "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\n"


def test_one_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, SupervisorConfig(stop_s=0.5))
    supervisor.add("stubborn", child(STUBBORN + "time.sleep(600)"))
    drive(supervisor, lambda: (tmp_path / "stubborn.log").read_text())
    supervisor.stop(["stubborn"])
    assert supervisor.states() == {"stubborn": "stopped"}
    assert supervisor.pid("stubborn") is None


ORPHAN = """
import sys, time
from pathlib import Path
from robot_rl.settings import SupervisorConfig
from robot_rl.supervisor import Supervisor
supervisor = Supervisor(Path(sys.argv[1]), SupervisorConfig())
code = "from robot_rl.supervisor import die_with_supervisor as d; d(); "
code += "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
supervisor.add("child", lambda start: [sys.executable, "-c", code])
log = Path(sys.argv[1]) / "child.log"
while not log.read_text().endswith("\\n"):
    time.sleep(0.01)
print(log.read_text(), flush=True)
time.sleep(600)
"""


def test_no_process_outlives_its_supervisor(tmp_path: Path) -> None:
    import subprocess

    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    orphan = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline_s = time.monotonic() + 20.0
    while Path(f"/proc/{orphan}").exists() and "Z" not in Path(f"/proc/{orphan}/stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < deadline_s, "it still runs"
        time.sleep(0.01)


def test_a_yielding_process_has_a_lower_claim_than_the_others(tmp_path):
    supervisor = Supervisor(tmp_path, SupervisorConfig(), yielding=("learner",))
    try:
        for name in ("learner", "actor0"):
            supervisor.add(name, lambda _: [sys.executable, "-c", "import time; time.sleep(600)"])
        claims = {name: os.getpriority(os.PRIO_PROCESS, supervisor.pid(name)) for name in ("learner", "actor0")}
        assert claims["learner"] > claims["actor0"]
    finally:
        supervisor.close()
