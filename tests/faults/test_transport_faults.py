"""Kill either end of the link at any moment: nothing that was confirmed is lost, nothing is stored twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from robot_rl.link import LinkConfig, session_spec
from robot_rl.link_actor import ActorLink
from robot_rl.link_learner import LearnerLink
from robot_rl.messages import StepBlock
from robot_rl.replay_log import ReplayLog, read
from robot_rl.specs import ActionSpec, ContinuousGroup, ObservationSpec, StateField

SPEC = session_spec(
    ObservationSpec(state={"tool": StateField(size=3, unit="m")}),
    ActionSpec(continuous={"arm": ContinuousGroup(size=2, unit="m", scale=0.01)}),
)
WAIT_S = 60.0  # a bound on hanging, never a measurement

COMMON = """
import time

import numpy as np
from robot_rl.link import LinkConfig, session_spec
from robot_rl.link_actor import ActorLink
from robot_rl.link_learner import LearnerLink
from robot_rl.messages import StepBlock
from robot_rl.replay_log import ReplayLog
from robot_rl.specs import ActionSpec, ContinuousGroup, ObservationSpec, StateField

SPEC = session_spec(
    ObservationSpec(state={"tool": StateField(size=3, unit="m")}),
    ActionSpec(continuous={"arm": ContinuousGroup(size=2, unit="m", scale=0.01)}),
)
config = LinkConfig(data_port=int(sys.argv[1]), weights_port=int(sys.argv[2]), heartbeat_s=0.05, dead_after_s=0.5)

def block_of(number):
    n = 5
    return StepBlock(
        episode=number, start=0, states=np.full((n, 3), number, np.float32), actions=np.zeros((n, 2), np.float32),
        rewards=np.zeros(n, np.float32), sources=np.zeros(n, np.uint8), policy_versions=np.zeros(n, np.int64))
"""

LEARNER = """
log = ReplayLog(sys.argv[3])
learner = LearnerLink(config, SPEC, log.last_seq())
print(learner.data_port, learner.weights_port, flush=True)
while True:
    for stream, seq, block in learner.poll(1.0):
        log.append(stream, seq, block)
        learner.acknowledge(stream, seq)
        print(stream, seq, flush=True)
"""

ACTOR = """
actor = ActorLink(config, SPEC, session=sys.argv[3])
seq, confirmed = 0, 0
while True:
    if actor.unacked < 50:
        seq = actor.send(block_of(seq + 1))
    if seq - actor.unacked > confirmed:
        confirmed = seq - actor.unacked
        print(confirmed, flush=True)
    else:
        time.sleep(0.001)
"""


def block_of(number: int) -> StepBlock:
    n = 5
    return StepBlock(
        episode=number,
        start=0,
        states=np.full((n, 3), number, np.float32),
        actions=np.zeros((n, 2), np.float32),
        rewards=np.zeros(n, np.float32),
        sources=np.zeros(n, np.uint8),
        policy_versions=np.zeros(n, np.int64),
    )


@contextmanager
def process(code: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script of its own; it is killed without warning when the block ends."""
    script = f"import sys; sys.path[:0] = {sys.path!r}\n" + COMMON + textwrap.dedent(code)
    child = subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def line(child: subprocess.Popen[str]) -> list[str]:
    assert child.stdout is not None
    text = child.stdout.readline()
    assert text, "the process ended by itself"
    return text.split()


def stored(folder: Path) -> dict[str, list[int]]:
    """Return the numbers in the log per stream, checking that each block is the one that was sent under it."""
    out: dict[str, list[int]] = defaultdict(list)
    for stream, seq, block in read(folder):
        assert block.episode == seq
        assert (block.states == seq).all()
        out[stream].append(seq)
    return out


@pytest.mark.parametrize("seed", [0, 1])
def test_a_killed_learner_comes_back_and_has_every_block_once(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    ports: tuple[object, ...] = (0, 0)
    actors: list[ActorLink] = []
    sent = [0, 0]
    for kills in range(4):
        with process(LEARNER, *ports, tmp_path) as learner:
            ports = tuple(map(int, line(learner)))
            if not actors:
                config = LinkConfig(data_port=ports[0], weights_port=ports[1], heartbeat_s=0.05, dead_after_s=0.5)
                actors = [ActorLink(config, SPEC, actor=f"actor{i}", session="s") for i in range(2)]
            before = len(stored(tmp_path)["actor0/s"])
            for i, actor in enumerate(actors):
                for _ in range(rng.randrange(50, 200)):
                    sent[i] += 1
                    assert actor.send(block_of(sent[i])) == sent[i]
            if kills < 3:
                for _ in range(rng.randrange(1, 80)):
                    line(learner)
            else:
                assert [actor.close(drain_s=WAIT_S) for actor in actors] == [0, 0]
        assert len(stored(tmp_path)["actor0/s"]) >= before
    for i, actor in enumerate(actors):
        assert stored(tmp_path)[actor.stream] == list(range(1, sent[i] + 1))


def test_a_killed_actor_loses_only_its_unsent_tail_and_its_next_session_counts_anew(tmp_path: Path) -> None:
    config = LinkConfig(data_port=0, weights_port=0, heartbeat_s=0.05, dead_after_s=0.5)
    with ReplayLog(tmp_path) as log:
        learner = LearnerLink(config, SPEC, log.last_seq())
        confirmed: dict[str, int] = {}

        def serve() -> None:
            for stream, seq, block in learner.poll(0.01):
                log.append(stream, seq, block)
                learner.acknowledge(stream, seq)

        for session, kill_after in (("first", 120), ("second", 40), ("third", 80)):
            with process(ACTOR, learner.data_port, learner.weights_port, session) as actor:
                deadline = time.monotonic() + WAIT_S
                while len(stored(tmp_path)[f"actor0/{session}"]) < kill_after:
                    assert time.monotonic() < deadline
                    serve()
                confirmed[session] = int(line(actor)[0])
        while learner.poll(0.2):
            pass  # what was in flight when the actor died, and is not confirmed
        learner.close()
    numbers = stored(tmp_path)
    for session, n in confirmed.items():
        mine = numbers[f"actor0/{session}"]
        assert mine == list(range(1, len(mine) + 1))
        assert len(mine) >= n


def test_both_killed_and_restarted_again_and_again_leave_a_log_without_gaps(tmp_path: Path) -> None:
    rng = random.Random(5)
    ports: tuple[object, ...] = (0, 0)
    confirmed: dict[str, int] = {}
    for round_ in range(3):
        with process(LEARNER, *ports, tmp_path) as learner:
            ports = tuple(map(int, line(learner)))
            with process(ACTOR, *ports, f"s{round_}") as actor:
                for _ in range(rng.randrange(3, 30)):
                    confirmed[f"actor0/s{round_}"] = int(line(actor)[0])
                if rng.random() < 0.5:
                    learner.send_signal(signal.SIGKILL)
    numbers = stored(tmp_path)
    for stream, n in confirmed.items():
        assert numbers[stream] == list(range(1, len(numbers[stream]) + 1))
        assert len(numbers[stream]) >= n
