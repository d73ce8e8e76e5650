"""The two ends of the actor-learner link: what each offers, its settings, its messages and the handshake's comparison.

`robot_rl.transport` implements the ends over ZMQ, `robot_rl.link_local` within one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from robot_rl.errors import ConfigError, SpecError
from robot_rl.messages import LearnerStatus, Policy, StepBlock
from robot_rl.specs import (
    ActionSpec,
    CameraField,
    ContinuousGroup,
    DiscreteGroup,
    FeatureField,
    ImageField,
    ObservationSpec,
    StateField,
)

Received = tuple[str, int, StepBlock]
"""Stream, sequence number within it (rising from 1 without gaps), block."""


class ActorSide(Protocol):
    """The actor's end: blocks go out, weights and status come in. No call waits for the network unless it says so."""

    @property
    def stream(self) -> str:
        """`actor/session`: what the learner files this end's blocks under."""
        ...

    @property
    def unacked(self) -> int:
        """Blocks that the learner has not confirmed to have stored."""
        ...

    @property
    def learner_alive(self) -> bool:
        """Whether the learner was heard within the last `dead_after_s`."""
        ...

    @property
    def status_age_s(self) -> float:
        """Seconds since the newest status arrived; infinite before the first."""
        ...

    def send(self, block: StepBlock) -> int:
        """Hand over a block, which must not change afterwards, and return its sequence number.

        Raises:
            TransportError: The learner refused this actor, or the buffer is full (see `wait_room`).
        """
        ...

    def wait_room(self, timeout_s: float) -> bool:
        """Wait until `send` has room and return whether it has."""
        ...

    def policy(self) -> Policy | None:
        """Return the newest weights that this method has not returned yet."""
        ...

    def status(self) -> LearnerStatus | None:
        """Return the newest status of the learner."""
        ...

    def close(self, drain_s: float = 0.0) -> int:
        """Wait up to `drain_s` for the learner to store everything, close, and return how many blocks are left."""
        ...


class LearnerSide(Protocol):
    """The learner's end: blocks come in, weights and status go out."""

    def poll(self, timeout_s: float) -> list[Received]:
        """Return the blocks that arrived, waiting up to `timeout_s` for the first; in order and once per stream."""
        ...

    def acknowledge(self, stream: str, seq: int, status: LearnerStatus | None = None) -> None:
        """Confirm that every block of `stream` up to `seq` is stored durably; the actor forgets them."""
        ...

    def publish(self, policy: Policy) -> None:
        """Send weights to every actor, now and to those that join later, without waiting."""
        ...

    def set_status(self, status: LearnerStatus) -> None:
        """Set what goes out with acknowledgements and heartbeats."""
        ...

    def close(self) -> None:
        """Close the end. Safe to call twice."""
        ...


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """Settings of the ZMQ link; both ends take the same.

    Attributes:
        address: "tcp://HOST", where the learner listens and the actor finds it, or "ipc://PATH" on one machine.
        data_port, weights_port: TCP ports; 0 lets the learner pick one.
        keys_dir: Folder of CURVE keys (`robot_rl.curve.make_keys`); needed beyond this machine.
        encrypt: Use CURVE on this machine as well.
        heartbeat_s: How often the ends show that they live.
        dead_after_s: Silence after which the other end counts as gone.
        buffer_mb: Unconfirmed data that the actor keeps, and unread data that the learner keeps, in megabytes.
        message_mb: Largest message accepted, in megabytes.
    """

    address: str = "tcp://127.0.0.1"
    data_port: int = 5570
    weights_port: int = 5571
    keys_dir: str = ""
    encrypt: bool = False
    heartbeat_s: float = 0.2
    dead_after_s: float = 2.0
    buffer_mb: float = 512.0
    message_mb: float = 128.0

    def __post_init__(self) -> None:
        if not self.address.startswith(("tcp://", "ipc://")):
            raise ConfigError(f"link.address is '{self.address}'; it must be tcp://HOST or ipc://PATH")
        for key in ("data_port", "weights_port"):
            port = getattr(self, key)
            if not 0 <= port <= 65535:
                raise ConfigError(f"link.{key} is {port}; it must lie in 0 to 65535 (0 picks a free port)")
        for key in ("heartbeat_s", "dead_after_s", "buffer_mb", "message_mb"):
            value = getattr(self, key)
            if not value > 0.0:
                raise ConfigError(f"link.{key} is {value}; it must be positive")
        if self.dead_after_s < 2.0 * self.heartbeat_s:
            raise ConfigError(
                f"link.dead_after_s is {self.dead_after_s} and heartbeat_s {self.heartbeat_s}; "
                "allow at least two heartbeats before the other end counts as gone"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """An actor introduces itself.

    Attributes:
        actor, session: Who; a restarted actor has a new session.
        spec: `session_spec` of its task.
        oldest: Lowest sequence number that it can still send.
    """

    actor: str
    session: str
    spec: Mapping[str, Any]
    oldest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The learner takes the actor in: blocks up to `received` have arrived, those up to `stored` are safe."""

    received: int
    stored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The learner does not take the actor in, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The learner does not know the sender (it restarted); say Hello again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One block with its sequence number."""

    seq: int
    block: StepBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The learner's heartbeat: how far it has received and stored this actor's blocks, and its status.

    `resend` says that a block is missing: go back to the one after `received`.
    """

    received: int
    stored: int
    status: LearnerStatus | None = None
    resend: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The actor lives."""


def session_spec(observation_spec: ObservationSpec, action_spec: ActionSpec) -> dict[str, Any]:
    """Return what both ends must agree on, as plain values."""
    return {"observation": observation_spec.describe(), "action": action_spec.describe()}


def specs_of(spec: Mapping[str, Any]) -> tuple[ObservationSpec, ActionSpec]:
    """Rebuild the specs from `session_spec`."""
    try:
        state = {
            k: StateField(size=size, unit=unit, scale=scale, offset=tuple(offset))
            for k, (size, unit, scale, offset) in spec["observation"]["state"].items()
        }
        images = {k: _camera_field(v) for k, v in spec["observation"]["images"].items()}
        continuous = {
            k: ContinuousGroup(size=size, unit=unit, scale=scale)
            for k, (size, unit, scale) in spec["action"]["continuous"].items()
        }
        discrete = {k: DiscreteGroup(choices=tuple(v)) for k, v in spec["action"]["discrete"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise SpecError(f"this is not a session spec ({e!r}); make it with robot_rl.link.session_spec") from e
    return ObservationSpec(state=state, images=images), ActionSpec(continuous=continuous, discrete=discrete)


def _camera_field(shape: Sequence[Any]) -> CameraField:
    if len(shape) == 3:
        return ImageField(height=shape[0], width=shape[1])
    views, height, width, channels, encoder = shape
    return FeatureField(views=views, height=height, width=width, channels=channels, encoder=encoder)


_FEATURES = ("views", "height", "width", "channels", "encoder")
_PARTS = {
    ("observation", "state"): ("state", ("size", "unit", "scale", "offset")),
    ("observation", "images"): ("image", ("height", "width", "channels")),
    ("action", "continuous"): ("action", ("size", "unit", "scale")),
    ("action", "discrete"): ("discrete action", None),
}


def spec_difference(learner: Mapping[str, Any], actor: Mapping[str, Any]) -> str | None:
    """Return the first difference between two session specs in words, or None if they agree."""
    for (part, section), (word, columns) in _PARTS.items():
        ours, theirs = learner.get(part, {}).get(section, {}), _section(actor, part, section)
        if theirs is None:
            return f"the actor's spec has no {part} {section}"
        for name in ours:
            if name not in theirs:
                return f"learner expects {word} {name}, actor does not send it"
        for name in theirs:
            if name not in ours:
                return f"actor sends {word} {name}, learner does not know it"
        if list(ours) != list(theirs):
            return f"learner expects the order {', '.join(ours)} of {part} {section}, actor sends {', '.join(theirs)}"
        for name, value in ours.items():
            mine, other = list(value), list(theirs[name]) if isinstance(theirs[name], list | tuple) else [theirs[name]]
            if mine == other:
                continue
            named = _FEATURES if word == "image" and len(mine) == len(_FEATURES) else columns
            if named is None or len(mine) != len(other):
                return f"learner expects {word} {name} to be {mine}, actor sends {other}"
            column, a, b = next((c, a, b) for c, a, b in zip(named, mine, other, strict=True) if a != b)
            return f"learner expects {word} {name} {column} {a}, actor sends {b}"
    return None


def _section(spec: Mapping[str, Any], part: str, section: str) -> Mapping[str, Any] | None:
    inner = spec.get(part)
    found = inner.get(section) if isinstance(inner, Mapping) else None
    return found if isinstance(found, Mapping) else None
