"""How fast steps and weights cross the link, beside pickled transitions as SERL's agentlace sends them.

Steps: 30 at a time over loopback TCP to a second process that decodes them and adds them to a replay; the clock stops
when everything is confirmed. The baseline pickles a list of (s, a, r, s') dictionaries, sends it over REQ and waits for
REP, and inserts one by one. It leaves out agentlace's lz4, which would only slow it here. Weights: ours are the policy
alone, the baseline is the whole tree of networks over PUB. Run `python benchmarks/bench_transport.py`; `--quick` takes
a few seconds.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench_replay import ACTION_SPEC, BLOCK, GAMMA, PlainReplay, Row, block_of, observation_spec, transitions

from robot_rl.link import LinkConfig, session_spec
from robot_rl.link_actor import ActorLink
from robot_rl.link_learner import LearnerLink
from robot_rl.messages import Policy
from robot_rl.replay import Replay
from robot_rl.wire import encode, encode_one

CAPACITY = {0: 100_000, 2: 2000}
WINDOW = {0: 64, 2: 8}  # blocks under way at once
POLICY_FLOATS = 100_000  # 0.4 MB: a 2 x 256 policy
TREE_MB = 39  # what agentlace broadcasts for SERL's DrQ agent


def serve_ours(cameras: int) -> None:
    """Be the learner: receive, decode, add to a replay, confirm."""
    spec = observation_spec(cameras)
    learner = LearnerLink(LinkConfig(data_port=0, weights_port=0), session_spec(spec, ACTION_SPEC))
    replay = Replay(CAPACITY[cameras], spec, ACTION_SPEC, GAMMA)
    print(learner.data_port, learner.weights_port, flush=True)
    while True:
        received = learner.poll(1.0)
        for stream, _, block in received:
            replay.add(stream, block)
        if received:
            learner.acknowledge(received[-1][0], received[-1][1])


def serve_pickles(cameras: int) -> None:
    """Be agentlace's trainer: unpickle a list of transitions, insert each, reply."""
    replay = PlainReplay(CAPACITY[cameras], cameras)
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)
        while True:
            for transition in pickle.loads(socket.recv())["payload"]:
                replay.insert(transition)
            socket.send(pickle.dumps({"success": True}))


def hear_ours(data_port: int, weights_port: int) -> None:
    """Be an actor: print when each version of the weights can be used."""
    config = LinkConfig(data_port=data_port, weights_port=weights_port)
    actor = ActorLink(config, session_spec(observation_spec(0), ACTION_SPEC))
    while True:
        policy = actor.policy()
        if policy is None:
            time.sleep(1e-4)
        else:
            print(policy.version, time.monotonic(), flush=True)


def hear_pickles(port: int, _: int) -> None:
    """Be agentlace's client: print when each tree is unpickled."""
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.subscribe(b"")
        socket.connect(f"tcp://127.0.0.1:{port}")
        while True:
            tree = pickle.loads(socket.recv())
            print(tree["version"], time.monotonic(), flush=True)


@contextmanager
def other_process(role: Callable[..., None], *args: int) -> Iterator[subprocess.Popen[str]]:
    """Run one of the roles above in a process of its own."""
    root = str(Path(__file__).resolve().parents[1])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, __file__, "--role", role.__name__, *map(str, args)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def numbers(child: subprocess.Popen[str]) -> list[float]:
    """Return the numbers on the next line that the other process prints."""
    if child.stdout is None:
        raise RuntimeError("the process has no output")
    return [float(x) for x in child.stdout.readline().split()]


def steps_row(cameras: int, quick: bool) -> Row:
    """Measure transitions per second both ways, in turns."""
    seconds, spec = (0.4 if quick else 2.0), session_spec(observation_spec(cameras), ACTION_SPEC)
    block, few = block_of(cameras, ended=True), transitions(cameras)
    with (
        other_process(serve_ours, cameras) as ours,
        other_process(serve_pickles, cameras) as theirs,
        zmq.Context() as context,
        context.socket(zmq.REQ) as request,
    ):
        data_port, weights_port = map(int, numbers(ours))
        request.connect(f"tcp://127.0.0.1:{int(numbers(theirs)[0])}")
        window_mb = WINDOW[cameras] * sum(len(f) for f in encode(block)) / 1e6
        config = LinkConfig(data_port=data_port, weights_port=weights_port, buffer_mb=window_mb)
        actor = ActorLink(config, spec)
        actor.wait_learner(10.0)

        def send_ours() -> int:
            actor.wait_room(10.0)
            actor.send(block)
            return BLOCK

        def send_theirs() -> int:
            request.send(pickle.dumps({"type": "datastore", "payload": few}))
            request.recv()
            return BLOCK

        def measure(send: Callable[[], int]) -> float:
            done, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < seconds:
                done += send()
            while actor.unacked:
                time.sleep(1e-3)
            return done / (time.perf_counter() - begin)

        pairs = np.array([(measure(send_ours), measure(send_theirs)) for _ in range(2 if quick else 5)])
        actor.close()
    value, baseline = map(float, np.median(pairs, axis=0))
    what = "state" if cameras == 0 else "two 128x128 cameras"
    note = "encode, socket, decode, replay.add in a second process; baseline REQ/REP pickles"
    return _row(f"transport steps, {what}", value, baseline, value / baseline, "transitions/s", note)


def weights_rows(quick: bool) -> list[Row]:
    """Measure how long weights take to the actor, and how long the publisher is held up."""
    n = 10 if quick else 40
    weights = {"w": np.random.default_rng(0).standard_normal(POLICY_FLOATS).astype(np.float32)}
    tree = {str(i): np.zeros(TREE_MB * 250_000 // 20, np.float32) for i in range(20)}
    learner = LearnerLink(LinkConfig(data_port=0, weights_port=0), session_spec(observation_spec(0), ACTION_SPEC))
    with zmq.Context() as context, context.socket(zmq.PUB) as pub:
        port = pub.bind_to_random_port("tcp://127.0.0.1")

        def publish_ours(version: int) -> None:
            learner.publish(Policy(version=version, weights=weights))

        def publish_theirs(version: int) -> None:
            pub.send(pickle.dumps({"version": version, **tree}))

        with (
            other_process(hear_ours, learner.data_port, learner.weights_port) as actor,
            other_process(hear_pickles, port, 0) as client,
        ):
            publish_ours(0)
            numbers(actor)
            poller = zmq.Poller()
            poller.register(client.stdout, zmq.POLLIN)
            while not poller.poll(100):  # a plain PUB loses what it sends before the other side has joined
                publish_theirs(0)
            while poller.poll(500):
                numbers(client)
            times = np.array(
                [(*_publish(publish_ours, actor, i), *_publish(publish_theirs, client, i)) for i in range(1, n)]
            )
    learner.close()
    held, total, their_held, their_total = map(float, 1e3 * np.median(times, axis=0))
    size = len(encode_one(Policy(version=0, weights=weights))) / 1e6
    note = f"policy of {size:.1f} MB against a pickled tree of {TREE_MB} MB; median"
    worst = f"{note}; ours at worst {1e3 * times[:, 0].max():.2f} ms"
    return [
        _row("weights to the actor", total, their_total, their_total / total, "ms", note),
        _row("publisher held up by weights", held, their_held, their_held / held, "ms", worst),
    ]


def _publish(publish: Callable[[int], None], child: subprocess.Popen[str], version: int) -> tuple[float, float]:
    """Return the seconds that publishing took, and those until the other process could use the weights."""
    begin = time.monotonic()
    publish(version)
    held = time.monotonic() - begin
    return held, numbers(child)[1] - begin


def _row(name: str, value: float, baseline: float, ratio: float, unit: str, note: str) -> Row:
    return {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "note": note}


def run(quick: bool = False) -> list[Row]:
    """Measure and return one row per number; a ratio above 1 means that ours is better."""
    return [steps_row(0, quick), steps_row(2, quick), *weights_rows(quick)]


ROLES: dict[str, Any] = {f.__name__: f for f in (serve_ours, serve_pickles, hear_ours, hear_pickles)}


def main() -> None:
    """Print the table, or play a role for another process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of a minute")
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.role:
        ROLES[args.role[0]](*map(int, args.role[1:]))
        return
    print(f"{'what':<40}{'ours':>12}{'baseline':>12} {'unit':<14}{'ratio':>7}")
    for r in run(args.quick):
        print(f"{r['name']:<40}{r['value']:>12,.2f}{r['baseline']:>12,.2f} {r['unit']:<14}{r['ratio']:>7.1f}")


if __name__ == "__main__":
    main()
