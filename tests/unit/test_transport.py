"""The link delivers every block once and in order, the newest weights, and a reason when it will not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import ConfigError, TransportError
from robot_rl.link import ActorSide, Hello, LearnerSide, LinkConfig, Received, session_spec, spec_difference, specs_of
from robot_rl.link_local import local_link
from robot_rl.link_state import Outbox, Progress
from robot_rl.messages import LearnerStatus, Policy, StepBlock
from robot_rl.specs import ActionSpec, ContinuousGroup, DiscreteGroup, ImageField, ObservationSpec, StateField
from robot_rl.transport import ActorLink, LearnerLink
from robot_rl.wire import encode

OBSERVATION = ObservationSpec(
    state={
        "tool": StateField(size=3, unit="m", scale=0.1, offset=(0.5, 0.0, 0.2)),
        "grip": StateField(size=1, unit="m"),
    },
    images={"wrist": ImageField(height=16, width=16)},
)
ACTION = ActionSpec(
    continuous={"arm": ContinuousGroup(size=3, unit="m", scale=0.01)},
    discrete={"gripper": DiscreteGroup(choices=("open", "close"))},
)
SPEC = session_spec(OBSERVATION, ACTION)
STATUS = LearnerStatus(env_steps=10, updates=40, steps_allowed=100)
WAIT_S = 20.0  # a bound on hanging, never a measurement


def block_of(number: int, state: int = 4) -> StepBlock:
    n = 2
    return StepBlock(
        episode=number,
        start=0,
        states=np.full((n, state), number, np.float32),
        actions=np.zeros((n, 4), np.float32),
        rewards=np.zeros(n, np.float32),
        sources=np.zeros(n, np.uint8),
        policy_versions=np.zeros(n, np.int64),
        images={"wrist": np.full((n, 16, 16, 3), number % 256, np.uint8)},
    )


def until(condition) -> None:
    """Wait until a condition holds that the other end's thread brings about."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


@contextmanager
def learner_at(config: LinkConfig | None = None, **kwargs) -> Iterator[tuple[LearnerLink, LinkConfig]]:
    config = config or LinkConfig(data_port=0, weights_port=0)
    learner = LearnerLink(config, SPEC, **kwargs)
    try:
        yield learner, replace(config, data_port=learner.data_port, weights_port=learner.weights_port)
    finally:
        learner.close()


@contextmanager
def actor_at(config: LinkConfig, spec: dict = SPEC, **kwargs) -> Iterator[ActorLink]:
    actor = ActorLink(config, spec, **kwargs)
    try:
        yield actor
    finally:
        actor.close()


def collect(learner: LearnerSide, n: int, acknowledge: bool = True) -> list[Received]:
    received: list[Received] = []
    deadline = time.monotonic() + WAIT_S
    while len(received) < n:
        assert time.monotonic() < deadline, f"{len(received)} of {n} blocks came"
        for stream, seq, block in learner.poll(0.05):
            received.append((stream, seq, block))
            if acknowledge:
                learner.acknowledge(stream, seq, STATUS)
    return received


# -- both implementations ------------------------------------------------------------------------------------------


@pytest.fixture(params=["zmq", "ipc", "local"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ActorSide, LearnerSide]]:
    if request.param == "local":
        yield local_link()
        return
    config = LinkConfig(data_port=0, weights_port=0)
    if request.param == "ipc":
        config = LinkConfig(address=f"ipc://{tmp_path}/link")
    with learner_at(config) as (learner, there), actor_at(there) as actor:
        until(lambda: actor.wait_learner(1.0))
        yield actor, learner


def test_blocks_arrive_once_in_order_and_are_forgotten_when_stored(ends: tuple[ActorSide, LearnerSide]) -> None:
    actor, learner = ends
    assert [actor.send(block_of(i)) for i in range(50)] == list(range(1, 51))
    received = collect(learner, 50, acknowledge=False)
    assert [(s, q, b.episode) for s, q, b in received] == [(actor.stream, i + 1, i) for i in range(50)]
    np.testing.assert_array_equal(received[7][2].images["wrist"], block_of(7).images["wrist"])
    assert actor.unacked == 50
    learner.acknowledge(actor.stream, 30, STATUS)
    until(lambda: actor.unacked == 20)
    learner.acknowledge(actor.stream, 50)
    until(lambda: actor.unacked == 0)
    assert actor.status() == STATUS
    assert actor.learner_alive
    assert actor.status_age_s < WAIT_S
    assert learner.poll(0.0) == []
    assert actor.close(drain_s=WAIT_S) == 0


def test_weights_are_given_once_and_only_the_newest(ends: tuple[ActorSide, LearnerSide]) -> None:
    actor, learner = ends
    for version in range(1, 30):
        learner.publish(Policy(version=version, weights={"w": np.full((3, 2), version, np.float32)}))
    seen: list[Policy] = []

    def newest() -> bool:
        policy = actor.policy()
        if policy is not None:
            seen.append(policy)
        return bool(seen) and seen[-1].version == 29

    until(newest)
    assert actor.policy() is None
    versions = [p.version for p in seen]
    assert versions == sorted(set(versions))
    np.testing.assert_array_equal(seen[-1].weights["w"], np.full((3, 2), 29))


# -- over ZMQ ------------------------------------------------------------------------------------------------------


def test_the_actor_may_start_first_and_gets_weights_that_were_published_before() -> None:
    with learner_at() as (_, config):
        pass  # its ports are free again, and known
    with actor_at(config, session="s1") as actor:
        actor.send(block_of(0))
        assert not actor.learner_alive
        with learner_at(config) as (learner, _):
            learner.publish(Policy(version=7, weights={}))
            assert collect(learner, 1)[0][:2] == ("actor0/s1", 1)
            until(lambda: actor.policy() is not None)
            until(lambda: actor.unacked == 0)
            with actor_at(config, actor="actor1") as late:
                until(lambda: late.policy() is not None)


def test_actors_interleave_and_a_new_session_begins_at_one() -> None:
    with learner_at(last_seq={"actor0/old": 500}) as (learner, config):
        with actor_at(config, session="new") as a, actor_at(config, actor="actor1") as b:
            for i in range(20):
                a.send(block_of(i))
                b.send(block_of(100 + i))
            received = collect(learner, 40)
            for actor, first in ((a, 0), (b, 100)):
                mine = [(q, block.episode) for s, q, block in received if s == actor.stream]
                assert mine == [(i + 1, first + i) for i in range(20)]
            assert set(learner.actors) == {a.stream, b.stream}
        with actor_at(config, session="newer") as again:
            again.send(block_of(3))
            assert collect(learner, 1)[0][:2] == ("actor0/newer", 1)


def test_a_restarted_learner_takes_only_what_its_log_lacks() -> None:
    with learner_at() as (learner, config):
        actor = ActorLink(config, SPEC, session="s")
        for i in range(10):
            actor.send(block_of(i))
        collect(learner, 10, acknowledge=False)
        learner.acknowledge(actor.stream, 4)
        until(lambda: actor.unacked == 6)
    actor.send(block_of(10))
    with learner_at(config, last_seq={"actor0/s": 6}) as (learner, _):  # it had stored two more than it had said
        received = collect(learner, 5)
        assert [(q, b.episode) for _, q, b in received] == [(i + 1, i) for i in range(6, 11)]
        assert actor.close(drain_s=WAIT_S) == 0


def test_a_learner_without_its_log_goes_on_behind_what_the_actor_has_forgotten() -> None:
    with learner_at() as (learner, config), actor_at(config) as actor:
        for i in range(5):
            actor.send(block_of(i))
        collect(learner, 5)
        until(lambda: actor.unacked == 0)
        learner.close()
        actor.send(block_of(5))
        with learner_at(config) as (other, _):
            assert [q for _, q, _ in collect(other, 1)] == [6]
            assert other.counts["lost"] == 5


def test_a_full_buffer_makes_the_actor_wait_until_the_learner_has_stored() -> None:
    size = sum(len(f) for f in encode(block_of(0)))
    with learner_at() as (learner, config), actor_at(replace(config, buffer_mb=3.5 * size / 1e6)) as actor:
        while actor.wait_room(0.0):
            actor.send(block_of(0))
        assert actor.unacked == 4
        with pytest.raises(TransportError, match="wait_room"):
            actor.send(block_of(0))
        collect(learner, 4)
        assert actor.wait_room(WAIT_S)
        actor.send(block_of(0))


def test_a_learner_that_does_not_poll_holds_a_bounded_amount_and_loses_nothing() -> None:
    config = LinkConfig(data_port=0, weights_port=0, buffer_mb=0.01)
    with learner_at(config) as (learner, there), actor_at(replace(there, buffer_mb=512.0)) as actor:
        for i in range(400):
            actor.send(block_of(i))
        until(lambda: learner._inbox_full())
        assert [b.episode for _, _, b in collect(learner, 400)] == list(range(400))


# -- refusals ------------------------------------------------------------------------------------------------------


def other(**state: StateField) -> dict:
    fields = dict(OBSERVATION.state) | state
    return session_spec(ObservationSpec(state=fields, images=OBSERVATION.images), ACTION)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (other(grip=StateField(size=6, unit="m")), "learner expects state grip size 1, actor sends 6"),
        (other(tool=StateField(size=3, unit="mm")), "learner expects state tool unit m, actor sends mm"),
        (other(force=StateField(size=3, unit="N")), "actor sends state force, learner does not know it"),
        (
            session_spec(ObservationSpec(state=OBSERVATION.state), ACTION),
            "learner expects image wrist, actor does not send it",
        ),
        (
            session_spec(
                ObservationSpec(state=dict(reversed(list(OBSERVATION.state.items()))), images=OBSERVATION.images),
                ACTION,
            ),
            "learner expects the order tool, grip of observation state, actor sends grip, tool",
        ),
        (
            session_spec(
                OBSERVATION,
                ActionSpec(continuous=ACTION.continuous, discrete={"gripper": DiscreteGroup(choices=("a", "b", "c"))}),
            ),
            "learner expects discrete action gripper to be ['open', 'close'], actor sends ['a', 'b', 'c']",
        ),
        ({"observation": 3}, "the actor's spec has no observation state"),
    ],
)
def test_a_difference_in_specs_is_said_in_words(spec: dict, words: str) -> None:
    assert spec_difference(SPEC, spec) == words


def test_equal_specs_agree_and_can_be_rebuilt() -> None:
    assert spec_difference(SPEC, SPEC) is None
    assert session_spec(*specs_of(SPEC)) == SPEC


def test_an_actor_of_another_task_is_refused_with_the_difference() -> None:
    with learner_at() as (learner, config), actor_at(config, spec=other(grip=StateField(size=6, unit="m"))) as actor:
        with pytest.raises(TransportError, match="refused actor0: learner expects state grip size 1, actor sends 6"):
            until(lambda: actor.wait_learner(1.0))
        with pytest.raises(TransportError, match="refused"):
            actor.send(block_of(0))
        assert learner.poll(0.0) == []


def test_a_block_that_does_not_fit_the_spec_is_refused_and_never_reaches_the_learner() -> None:
    with learner_at() as (learner, config), actor_at(config) as actor:
        actor.send(block_of(0))
        actor.send(block_of(1, state=5))
        actor.send(block_of(2))
        assert [b.episode for _, _, b in collect(learner, 1)] == [0]
        with pytest.raises(TransportError, match=r"states of episode 1 has shape \(2, 5\), expected \(2, 4\)"):
            until(lambda: actor.wait_room(0.0) and False)
        assert learner.poll(0.0) == []


def test_a_port_in_use_names_the_address_and_the_setting() -> None:
    with learner_at() as (learner, config):
        with pytest.raises(TransportError, match=rf"127.0.0.1:{learner.data_port}.*link.data_port \(0 picks"):
            LearnerLink(config, SPEC)
        with pytest.raises(TransportError, match=r"link\.weights_port"):
            LearnerLink(replace(config, data_port=0), SPEC)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"link\.address"):
        LinkConfig(address="udp://x")
    with pytest.raises(ConfigError, match=r"link\.data_port is 70000"):
        LinkConfig(data_port=70000)
    with pytest.raises(ConfigError, match="two heartbeats"):
        LinkConfig(heartbeat_s=1.0, dead_after_s=1.0)
    with pytest.raises(TransportError, match="data_port is 0 at the actor"):
        ActorLink(LinkConfig(data_port=0), SPEC)


# -- hostile input -------------------------------------------------------------------------------------------------


def hostile_frames() -> list[list[bytes]]:
    rng = np.random.default_rng(0)
    good = [bytes(f) for f in encode(Hello(actor="x", session="y", spec=SPEC, oldest=1), 0)]
    out = [[b""], [b"", b""], [b"\xc1"], [b"\x93\x01\xa5Hello\x80"], [b"\x93\x02\xa5Hello\x80"], good * 300]
    out += [[rng.bytes(int(n))] for n in rng.integers(1, 200, 50)]
    for _ in range(50):
        bad = bytearray(good[0])
        bad[rng.integers(len(bad))] ^= int(rng.integers(1, 256))
        out.append([bytes(bad)])
    out.append([bytes(f) for f in encode(Hello(actor="../../etc", session="", spec={}, oldest=1))])
    out.append([bytes(f) for f in encode(Policy(version=1, weights={}))])
    return out


def test_garbage_from_a_raw_socket_is_counted_and_the_link_goes_on() -> None:
    with learner_at() as (learner, config), actor_at(config) as actor, zmq.Context() as context:
        for kind, port in (
            (zmq.DEALER, config.data_port),
            (zmq.SUB, config.data_port),
            (zmq.XSUB, config.weights_port),
        ):
            with context.socket(kind) as raw:
                raw.linger = 0
                raw.connect(f"tcp://127.0.0.1:{port}")
                for frames in hostile_frames() if kind != zmq.SUB else []:
                    raw.send_multipart(frames)
                if kind == zmq.DEALER:
                    until(lambda: learner.counts.get("malformed", 0) > 60)
        for i in range(5):
            actor.send(block_of(i))
        assert [b.episode for s, _, b in collect(learner, 5) if s == actor.stream] == list(range(5))


def test_garbage_from_a_false_learner_is_counted_and_the_actor_goes_on() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as data, context.socket(zmq.PUB) as weights:
        data.linger = weights.linger = 0
        ports = [s.bind_to_random_port("tcp://127.0.0.1") for s in (data, weights)]
        with actor_at(LinkConfig(data_port=ports[0], weights_port=ports[1])) as actor:
            identity = data.recv_multipart()[0]

            def garbage() -> bool:
                for frames in hostile_frames():
                    with suppress(zmq.Again):
                        data.send_multipart([identity, *frames[:200]], zmq.NOBLOCK)
                        weights.send(frames[0], zmq.NOBLOCK)
                return actor.counts.get("malformed", 0) > 150

            until(garbage)
            with pytest.raises(TransportError, match="wire version 2, this end speaks 1"):
                until(lambda: actor.wait_learner(0.1))


def test_a_process_that_forgets_to_close_still_ends() -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from robot_rl.transport import ActorLink, LearnerLink, LinkConfig
learner = LearnerLink(LinkConfig(data_port=0, weights_port=0), {SPEC!r})
config = LinkConfig(data_port=learner.data_port, weights_port=learner.weights_port)
actor = ActorLink(config, {SPEC!r})
sys.exit(0 if actor.wait_learner({WAIT_S}) else 3)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=3 * WAIT_S, check=False).returncode == 0


# -- the numbering, without sockets --------------------------------------------------------------------------------


class Channel:
    """Both state machines, joined by a channel that may drop, and a learner that may forget what it had not stored."""

    def __init__(self) -> None:
        self.outbox, self.progress, self.now_s = Outbox(), Progress(0, 0), 0.0
        self.appended = 0
        self.arrived: list[int] = []
        self.stored: list[int] = []

    def append(self) -> None:
        self.appended += 1
        self.outbox.append([str(self.appended).encode()])

    def lose(self) -> bytes:
        frames = self.outbox.peek()
        if frames is None:
            return b""
        self.outbox.transmitted(self.now_s)
        return bytes(frames[0])

    def send(self) -> None:
        frame = self.lose()
        if frame and self.progress.offer(int(frame)) == "next":
            self.arrived.append(int(frame))

    def store(self) -> None:
        if self.arrived:
            self.stored.append(self.arrived.pop(0))
            self.progress.confirm(self.stored[-1])

    def ack(self) -> None:
        self.outbox.confirmed(self.progress.received, self.progress.stored, self.now_s)

    def welcome(self) -> None:
        self.ack()
        self.outbox.rewind(self.progress.received, self.now_s)

    def restart(self) -> None:
        self.arrived.clear()
        self.progress = Progress(len(self.stored), len(self.stored))

    def wait(self) -> None:
        self.now_s += 100.0
        self.ack()
        if self.outbox.overdue(self.now_s):
            self.outbox.rewind(self.outbox.received, self.now_s)


STEPS = ["append", "append", "send", "send", "lose", "store", "store", "ack", "welcome", "restart", "wait"]


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(st.sampled_from(STEPS), max_size=60))
def test_any_mix_of_loss_restart_and_acknowledgement_ends_with_each_block_stored_once(steps: list[str]) -> None:
    channel = Channel()
    for step in steps:
        getattr(channel, step)()
    for _ in range(10 * channel.appended + 10):  # then the channel is good, and only time passes
        for step in ("wait", "send", "store"):
            getattr(channel, step)()
    assert channel.stored == list(range(1, channel.appended + 1))
    assert len(channel.outbox) == 0
    assert channel.outbox.nbytes == 0
