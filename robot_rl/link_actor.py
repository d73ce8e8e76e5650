"""The actor's end of the ZMQ link."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Mapping
from typing import Any

import zmq

from robot_rl.curve import load_actor_keys
from robot_rl.errors import TransportError, WireError
from robot_rl.link import Ack, Data, Heartbeat, Hello, LinkConfig, Refused, Welcome, Who
from robot_rl.link_io import LinkThread, Socket, encrypted, endpoint
from robot_rl.link_state import Frames, Outbox
from robot_rl.messages import LearnerStatus, Policy, StepBlock
from robot_rl.wire import WireVersionError, decode, encode

log = logging.getLogger(__name__)

_HELLO_EVERY_S = 0.1
_MOST_AT_ONCE = 64  # messages between two looks at what is to be sent


class ActorLink(LinkThread):
    """Sends blocks and receives weights; see `robot_rl.link.ActorSide`.

    Blocks are kept until the learner confirms that they are stored, and sent again after it restarts. It may start
    before the learner does.

    Args:
        config: Settings; ports must be set.
        spec: `session_spec` of the task; the learner refuses another than its own.
        actor: Name of this actor, also of its key.
        session: Name of this run of it; never reused. Random by default.
    """

    def __init__(
        self, config: LinkConfig, spec: Mapping[str, Any], actor: str = "actor0", session: str | None = None
    ) -> None:
        super().__init__(config, f"link of {actor}")
        self._actor, self._session = actor, session or uuid.uuid4().hex[:12]
        self._spec = dict(spec)
        self._outbox = Outbox()
        self._refused = ""
        self._welcome = False  # the learner knows this connection
        self._admitted = False  # it has agreed to the spec at least once
        self._hello_due_s = 0.0
        self._heartbeat_due_s = 0.0
        self._heard_s = -math.inf
        self._policy: Policy | None = None
        self._status: LearnerStatus | None = None
        self._status_s = -math.inf
        try:
            self._data = self._connect(zmq.DEALER, endpoint(config, "data", bind=False))
            self._weights = self._connect(zmq.SUB, endpoint(config, "weights", bind=False))
        except BaseException:
            self._shutdown()
            raise
        self._thread.start()

    @property
    def stream(self) -> str:
        """`actor/session`."""
        return f"{self._actor}/{self._session}"

    @property
    def unacked(self) -> int:
        """Blocks that the learner has not confirmed to have stored."""
        with self._lock:
            return len(self._outbox)

    @property
    def learner_alive(self) -> bool:
        """Whether the learner was heard within the last `dead_after_s`."""
        return time.monotonic() - self._heard_s < self.config.dead_after_s

    @property
    def status_age_s(self) -> float:
        """Seconds since the newest status arrived; infinite before the first."""
        return time.monotonic() - self._status_s

    def send(self, block: StepBlock) -> int:
        """Queue a block, which must not change afterwards, and return its sequence number."""
        with self._lock:
            self._check_refused()
            if not self._has_room():
                raise TransportError(
                    f"the learner has not confirmed {self._outbox.nbytes / 1e6:.0f} MB of data "
                    f"(link.buffer_mb is {self.config.buffer_mb:g}); call wait_room before send, or see why it is slow"
                )
            seq = self._outbox.following
            self._outbox.append(encode(Data(seq=seq, block=block)))
            self._wake()
        return seq

    def wait_room(self, timeout_s: float) -> bool:
        """Wait until `send` has room and return whether it has."""
        with self._lock:
            self._lock.wait_for(lambda: self._has_room() or self._refused or self._failure, timeout_s)
            self._check_refused()
            return self._has_room()

    def wait_learner(self, timeout_s: float) -> bool:
        """Wait for the learner's welcome and return whether it came.

        Raises:
            TransportError: The learner refused this actor.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._welcome or self._refused or self._failure, timeout_s)
            self._check_refused()
            return self._welcome

    def policy(self) -> Policy | None:
        """Return the newest weights that this method has not returned yet."""
        with self._lock:
            self._check_refused()
            if not self._admitted:  # weights of another task must not act
                return None
            policy, self._policy = self._policy, None
            return policy

    def status(self) -> LearnerStatus | None:
        """Return the newest status of the learner."""
        with self._lock:
            self._check_refused()
            return self._status

    def close(self, drain_s: float = 0.0) -> int:
        """Wait up to `drain_s` for the learner to store everything, close, and return how many blocks are left."""
        with self._lock:
            if not self._stopping:
                self._lock.wait_for(lambda: not len(self._outbox) or self._refused or self._failure, drain_s)
        self._shutdown()
        return len(self._outbox)

    def _has_room(self) -> bool:
        return self._outbox.nbytes < self.config.buffer_mb * 1e6

    def _check_refused(self) -> None:
        self._check()
        if self._refused:
            raise TransportError(f"the learner refused {self._actor}: {self._refused}")

    def _connect(self, kind: int, address: str) -> Socket:
        socket = self._socket(kind)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.CONFLATE, 1)  # only the newest weights
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        else:
            socket.setsockopt(zmq.IMMEDIATE, 1)  # queue nothing for a connection that does not stand
            socket.setsockopt(zmq.SNDHWM, 64)
        if encrypted(self.config):
            keys = load_actor_keys(self.config.keys_dir, self._actor)
            socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
            socket.curve_serverkey = keys.learner
        try:
            socket.connect(address)
        except zmq.ZMQError as e:
            raise TransportError(f"cannot connect to {address}: {e}. Check link.address") from e
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _tick(self, now_s: float) -> float:
        with self._lock:
            if self._refused:
                return self.config.dead_after_s
            if self._welcome and now_s - self._heard_s > self.config.dead_after_s:
                log.warning("%s has not heard the learner for %.1f s", self._actor, now_s - self._heard_s)
                self._welcome = False
            if not self._welcome:
                self._poller.modify(self._data, zmq.POLLIN)
                if now_s >= self._hello_due_s:
                    hello = Hello(actor=self._actor, session=self._session, spec=self._spec, oldest=self._outbox.oldest)
                    self._transmit(encode(hello))
                    self._hello_due_s = now_s + _HELLO_EVERY_S
                return self._hello_due_s - now_s
            if self._outbox.overdue(now_s):
                self._counts["resends"] += 1
                self._outbox.rewind(self._outbox.received, now_s)
            if now_s >= self._heartbeat_due_s:
                self._transmit(encode(Heartbeat()))
                self._heartbeat_due_s = now_s + self.config.heartbeat_s
            blocked = False
            while not blocked and (frames := self._outbox.peek()) is not None:
                blocked = not self._transmit(frames)
                if not blocked:
                    self._outbox.transmitted(now_s)
            self._poller.modify(self._data, zmq.POLLIN | (zmq.POLLOUT if blocked else 0))
            return max(self._heartbeat_due_s - now_s, 0.0)

    def _transmit(self, frames: Frames) -> bool:
        try:
            self._data.send_multipart(frames, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        return True

    def _handle(self, events: dict[Any, int], now_s: float) -> None:
        if events.get(self._weights, 0) & zmq.POLLIN:
            self._take_weights()
        if events.get(self._data, 0) & zmq.POLLIN:
            for _ in range(_MOST_AT_ONCE):
                try:
                    frames = self._data.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    return
                try:
                    message = decode(frames, (Welcome, Ack, Who, Refused), self._limits)
                except WireVersionError as e:
                    message = Refused(reason=str(e))
                except WireError as e:
                    self._malformed(e)
                    continue
                with self._lock:
                    self._heard_s = now_s
                    self._take(message, now_s)
                    self._lock.notify_all()

    def _take(self, message: object, now_s: float) -> None:
        match message:
            case Welcome(received=received, stored=stored):
                self._outbox.confirmed(received, stored, now_s)
                self._outbox.rewind(received, now_s)
                self._welcome = self._admitted = True
            case Ack(received=received, stored=stored, status=status, resend=resend):
                if self._welcome:
                    self._outbox.confirmed(received, stored, now_s)
                    if resend:
                        self._counts["resends"] += 1
                        self._outbox.rewind(received, now_s)
                if status is not None:
                    self._status, self._status_s = status, now_s
            case Who():
                self._welcome, self._hello_due_s = False, now_s if self._welcome else self._hello_due_s
            case Refused(reason=reason):
                self._refused = self._refused or reason

    def _take_weights(self) -> None:
        try:
            frame = self._weights.recv(zmq.NOBLOCK)
        except zmq.Again:
            return
        try:
            policy = decode([frame], (Policy,), self._limits)
        except WireError as e:
            self._malformed(e)
            return
        with self._lock:
            self._policy = policy

    def _malformed(self, e: WireError) -> None:
        with self._lock:
            self._counts["malformed"] += 1
        log.warning("%s dropped a message: %s", self._actor, e)
