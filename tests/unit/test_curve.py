"""The encrypted link lets in who holds a key, and nobody else hears or says anything."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq

from robot_rl.curve import load_actor_keys, load_learner_keys, make_keys
from robot_rl.errors import TransportError
from robot_rl.link import LinkConfig, session_spec
from robot_rl.messages import Policy, StepBlock
from robot_rl.specs import ActionSpec, ContinuousGroup, ObservationSpec, StateField
from robot_rl.transport import ActorLink, LearnerLink

SPEC = session_spec(
    ObservationSpec(state={"tool": StateField(size=3, unit="m")}),
    ActionSpec(continuous={"arm": ContinuousGroup(size=3, unit="m", scale=0.01)}),
)
WAIT_S = 20.0
SILENCE_S = 1.0  # how long an intruder listens; an admitted actor needs some 20 ms


def block_of(number: int) -> StepBlock:
    return StepBlock(
        episode=number,
        start=0,
        states=np.zeros((1, 3), np.float32),
        actions=np.zeros((1, 3), np.float32),
        rewards=np.zeros(1, np.float32),
        sources=np.zeros(1, np.uint8),
        policy_versions=np.zeros(1, np.int64),
    )


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys", actors=2)
    return tmp_path / "keys"


@pytest.fixture
def learner(keys: Path) -> Iterator[LearnerLink]:
    link = LearnerLink(LinkConfig(data_port=0, weights_port=0, encrypt=True, keys_dir=str(keys)), SPEC)
    link.publish(Policy(version=5, weights={"w": np.zeros(3, np.float32)}))
    yield link
    link.close()


def there(learner: LearnerLink, **kwargs: object) -> LinkConfig:
    return replace(learner.config, data_port=learner.data_port, weights_port=learner.weights_port, **kwargs)


def assert_works(learner: LearnerLink, config: LinkConfig, actor: str = "actor0") -> None:
    link = ActorLink(config, SPEC, actor=actor)
    try:
        assert link.wait_learner(WAIT_S)
        link.send(block_of(0))
        received = learner.poll(WAIT_S)
        assert [(s, b.episode) for s, _, b in received] == [(link.stream, 0)]
        learner.acknowledge(link.stream, 1)
        deadline = time.monotonic() + WAIT_S
        while link.policy() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        assert link.close(drain_s=WAIT_S) == 0


def assert_gets_nothing(learner: LearnerLink, config: LinkConfig) -> None:
    link = ActorLink(config, SPEC)
    try:
        link.send(block_of(0))
        assert not link.wait_learner(SILENCE_S)
        assert link.policy() is None
        assert not link.learner_alive
        assert learner.poll(0.0) == []
    finally:
        assert link.close() == 1


def test_authorised_actors_work(learner: LearnerLink) -> None:
    assert_works(learner, there(learner))
    assert_works(learner, there(learner), "actor1")


def test_a_client_with_its_own_unknown_key_gets_nothing(learner: LearnerLink, keys: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    make_keys(stranger)
    (stranger / "learner.key").write_bytes((keys / "learner.key").read_bytes())
    assert_gets_nothing(learner, there(learner, keys_dir=str(stranger)))
    assert_works(learner, there(learner))


def test_a_client_with_the_wrong_server_key_gets_nothing(learner: LearnerLink, keys: Path, tmp_path: Path) -> None:
    misled = tmp_path / "misled"
    make_keys(misled)
    (misled / "actor0.key_secret").unlink()
    os.link(keys / "actor0.key_secret", misled / "actor0.key_secret")
    assert_gets_nothing(learner, there(learner, keys_dir=str(misled)))
    assert_works(learner, there(learner))


def test_a_client_without_encryption_gets_nothing(learner: LearnerLink) -> None:
    assert_gets_nothing(learner, there(learner, encrypt=False))
    with zmq.Context() as context, context.socket(zmq.SUB) as raw:
        raw.linger = 0
        raw.subscribe(b"")
        raw.connect(f"tcp://127.0.0.1:{learner.weights_port}")
        assert raw.poll(SILENCE_S * 1000) == 0
    assert_works(learner, there(learner))


@pytest.mark.parametrize("address", ["tcp://0.0.0.0", "tcp://*", "tcp://192.0.2.1", "tcp://example.org"])
def test_beyond_this_machine_keys_are_required(address: str) -> None:
    config = LinkConfig(address=address, data_port=1, weights_port=2)
    with pytest.raises(TransportError, match=r"must be encrypted, but link.keys_dir is not set"):
        LearnerLink(config, SPEC)
    with pytest.raises(TransportError, match=r"must be encrypted, but link.keys_dir is not set"):
        ActorLink(config, SPEC)


def test_secrets_are_private_and_existing_keys_are_kept(tmp_path: Path) -> None:
    made = make_keys(tmp_path, actors=1)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in made) == [
        "actor0.key_secret",
        "authorized/actor0.key",
        "learner.key",
        "learner.key_secret",
    ]
    before = load_learner_keys(tmp_path)
    assert [p.name for p in make_keys(tmp_path, actors=2)] == ["actor1.key", "actor1.key_secret"]
    after = load_learner_keys(tmp_path)
    assert (after.public, after.secret) == (before.public, before.secret)
    assert after.authorized > before.authorized
    assert load_actor_keys(tmp_path, "actor1").public in after.authorized
    assert load_actor_keys(tmp_path, "actor1").learner == after.public
    for path in tmp_path.glob("*.key_secret"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert str(after.secret) not in repr(after)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["authorized"]


def test_what_is_wrong_with_keys_is_said(tmp_path: Path, keys: Path) -> None:
    with pytest.raises(TransportError, match="does not exist"):
        load_learner_keys(tmp_path / "nowhere")
    with pytest.raises(TransportError, match=r"cannot read the key .*actor7.key_secret"):
        load_actor_keys(keys, "actor7")
    (keys / "actor0.key_secret").chmod(0o644)
    with pytest.raises(TransportError, match=r"mode 644\); run: chmod 600"):
        load_actor_keys(keys, "actor0")
    (keys / "learner.key").write_text("hello")
    with pytest.raises(TransportError, match="is not a key file"):
        load_actor_keys(keys, "actor1")
    for path in (keys / "authorized").iterdir():
        path.unlink()
    with pytest.raises(TransportError, match="holds no actor's public key"):
        load_learner_keys(keys)
