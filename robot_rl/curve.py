"""Keys for the encrypted link: one pair for the learner, one for each actor.

The folder holds:

* `learner.key`: public key of the learner, which every actor needs;
* `learner.key_secret`: stays on the learner's machine;
* `authorized/actor0.key`: public keys of the actors that the learner lets in;
* `actor0.key_secret`: goes to that actor's machine, together with `learner.key`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from robot_rl.errors import StorageError, TransportError

AUTHORIZED = "authorized"


@dataclass(frozen=True, kw_only=True)
class LearnerKeys:
    """The learner's pair and the public keys that it lets in."""

    public: bytes
    secret: bytes = field(repr=False)
    authorized: frozenset[bytes]

    def callback(self, domain: str, key: bytes) -> bool:
        """Tell ZMQ's authenticator whether a client may connect."""
        return key in self.authorized


@dataclass(frozen=True, kw_only=True)
class ActorKeys:
    """An actor's pair and the learner's public key."""

    public: bytes
    secret: bytes = field(repr=False)
    learner: bytes


def make_keys(folder: str | Path, actors: int = 1) -> list[Path]:
    """Make the keys of a learner and of actor0, actor1, ...; those that exist are kept.

    Returns:
        The files that were made.
    """
    if actors < 1:
        raise TransportError(f"keys for {actors} actors were asked for; at least one is needed")
    folder = Path(folder)
    made: list[Path] = []
    try:
        (folder / AUTHORIZED).mkdir(parents=True, exist_ok=True)
        for name in ["learner", *(f"actor{i}" for i in range(actors))]:
            public = folder / f"{name}.key" if name == "learner" else folder / AUTHORIZED / f"{name}.key"
            secret = folder / f"{name}.key_secret"
            if not secret.exists():
                _make_pair(folder, name, public, secret)
                made += [public, secret]
    except OSError as e:
        raise StorageError(f"cannot write keys to {folder}: {e.strerror or e}") from e
    return made


def load_learner_keys(folder: str | Path) -> LearnerKeys:
    """Load what the learner needs, or raise `TransportError` that says what is missing."""
    folder = _existing(folder)
    public, secret = _load_secret(folder / "learner.key_secret")
    files = sorted((folder / AUTHORIZED).glob("*.key"))
    if not files:
        raise TransportError(f"{folder / AUTHORIZED} holds no actor's public key (*.key), so that nobody could connect")
    return LearnerKeys(public=public, secret=secret, authorized=frozenset(_load(f)[0] for f in files))


def load_actor_keys(folder: str | Path, actor: str) -> ActorKeys:
    """Load what an actor needs, or raise `TransportError` that says what is missing."""
    folder = _existing(folder)
    public, secret = _load_secret(folder / f"{actor}.key_secret")
    return ActorKeys(public=public, secret=secret, learner=_load(folder / "learner.key")[0])


def _make_pair(folder: Path, name: str, public: Path, secret: Path) -> None:
    import zmq.auth

    # A private folder first: zmq writes the secret with the default permissions.
    with tempfile.TemporaryDirectory(dir=folder) as private:
        made_public, made_secret = zmq.auth.create_certificates(private, name)
        os.chmod(made_secret, 0o600)
        shutil.move(made_public, public)
        shutil.move(made_secret, secret)


def _existing(folder: str | Path) -> Path:
    if not str(folder):
        raise TransportError(
            "the link leaves this machine, so it must be encrypted, but link.keys_dir is not set. "
            "Make keys with: robot-rl keys DIR, and copy each actor its own, "
            "or set link.address to tcp://127.0.0.1"
        )
    folder = Path(folder)
    if not folder.is_dir():
        raise TransportError(f"link.keys_dir {folder} does not exist; make keys with: robot-rl keys {folder}")
    return folder


def _load_secret(path: Path) -> tuple[bytes, bytes]:
    public, secret = _load(path)
    if secret is None:
        raise TransportError(f"{path} holds no secret key; copy it again from where the keys were made")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise TransportError(f"{path} can be read by others (mode {mode:03o}); run: chmod 600 {path}")
    return public, secret


def _load(path: Path) -> tuple[bytes, bytes | None]:
    import zmq.auth

    try:
        return zmq.auth.load_certificate(path)
    except OSError as e:
        raise TransportError(
            f"cannot read the key {path}: {e.strerror or 'it does not exist'}. link.keys_dir must hold it; "
            "make keys with robot-rl keys, or copy it from where they were made"
        ) from e
    except ValueError as e:
        raise TransportError(f"{path} is not a key file: {e}") from e
