"""The learner's end of the ZMQ link."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from robot_rl.curve import LearnerKeys, load_learner_keys
from robot_rl.errors import SpecError, TransportError, WireError
from robot_rl.link import (
    Ack,
    Data,
    Heartbeat,
    Hello,
    LinkConfig,
    Received,
    Refused,
    Welcome,
    Who,
    spec_difference,
    specs_of,
)
from robot_rl.link_io import LinkThread, Socket, encrypted, endpoint
from robot_rl.link_state import Progress
from robot_rl.messages import LearnerStatus, Policy, StepBlock
from robot_rl.replay import check_block
from robot_rl.wire import WireVersionError, decode, encode, encode_one

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MOST_PEERS = 1024
_MOST_AT_ONCE = 64  # messages between two looks at what is to be sent
_MOST_REASON = 2000
_RESEND_EVERY_S = 0.1
_FORGET_AFTER_S = 60.0


@dataclass(slots=True)
class _Peer:
    """A connection: whose it is, when it was heard, and what goes out to it when."""

    stream: str
    heard_s: float
    ack_due_s: float
    resend_s: float = 0.0


class LearnerLink(LinkThread):
    """Receives blocks and sends weights; see `robot_rl.link.LearnerSide`.

    Args:
        config: Settings; with port 0 a free one is picked, see `data_port` and `weights_port`.
        spec: `session_spec` of the task; actors with another are refused with the difference.
        last_seq: Newest stored block of each stream, from the replay log; older ones are not taken again.
    """

    def __init__(self, config: LinkConfig, spec: Mapping[str, Any], last_seq: Mapping[str, int] | None = None) -> None:
        self._spec = dict(spec)
        self._observation_spec, self._action_spec = specs_of(spec)
        self._keys = load_learner_keys(config.keys_dir) if encrypted(config) else None
        super().__init__(config, "link of the learner")
        self._progress = {stream: Progress(seq, seq) for stream, seq in (last_seq or {}).items()}
        self._peers: dict[bytes, _Peer] = {}
        self._inbox: deque[Received] = deque()
        self._inbox_bytes = 0
        self._acks: set[str] = set()
        self._status: LearnerStatus | None = None
        self._weights_out: bytes | None = None
        self._weights_kept = b""
        self._authenticator: ThreadAuthenticator | None = None
        try:
            self._authenticate(self._keys)
            self._data = self._bind(zmq.ROUTER, "data")
            self._weights = self._bind(zmq.XPUB, "weights")
        except BaseException:
            self.close()
            raise
        self._thread.start()

    @property
    def data_port(self) -> int:
        """Port that actors connect to for data; 0 for ipc."""
        return _port(self._data)

    @property
    def weights_port(self) -> int:
        """Port that actors connect to for weights; 0 for ipc."""
        return _port(self._weights)

    @property
    def actors(self) -> dict[str, float]:
        """Connected streams, and seconds since each was heard."""
        now_s = time.monotonic()
        with self._lock:
            return {p.stream: now_s - p.heard_s for p in self._peers.values()}

    def poll(self, timeout_s: float) -> list[Received]:
        """Return the blocks that arrived, waiting up to `timeout_s` for the first; in order and once per stream."""
        with self._lock:
            self._lock.wait_for(lambda: self._inbox or self._failure or self._stopping, timeout_s)
            self._check()
            received = list(self._inbox)
            self._inbox.clear()
            was_full = self._inbox_full()
            self._inbox_bytes = 0
            if was_full:
                self._wake()
        return received

    def acknowledge(self, stream: str, seq: int, status: LearnerStatus | None = None) -> None:
        """Confirm that every block of `stream` up to `seq` is stored durably; the actor forgets them."""
        with self._lock:
            self._check()
            if stream in self._progress:
                self._progress[stream].confirm(seq)
                self._acks.add(stream)
            if status is not None:
                self._status = status
            self._wake()

    def publish(self, policy: Policy) -> None:
        """Send weights to every actor, now and to those that join later, without waiting."""
        frame = encode_one(policy)
        with self._lock:
            self._check()
            self._weights_out = frame
            self._wake()

    def set_status(self, status: LearnerStatus) -> None:
        """Set what goes out with acknowledgements and heartbeats."""
        with self._lock:
            self._check()
            self._status = status

    def close(self) -> None:
        """Close the end. Safe to call twice."""
        authenticator, self._authenticator = self._authenticator, None
        if authenticator is not None:
            authenticator.stop()
        self._shutdown()

    def _authenticate(self, keys: LearnerKeys | None) -> None:
        if keys is not None:
            self._authenticator = ThreadAuthenticator(self._context)
            self._authenticator.start()
            self._authenticator.configure_curve_callback(domain="*", credentials_provider=keys)

    def _bind(self, kind: int, which: Any) -> Socket:
        socket = self._socket(kind)
        if kind == zmq.ROUTER:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an error for a gone peer, instead of silence
            socket.setsockopt(zmq.RCVHWM, 64)
        else:
            socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # hear of every actor that joins
            socket.setsockopt(zmq.SNDHWM, 4)
        if self._keys is not None:
            socket.curve_server = True
            socket.curve_publickey, socket.curve_secretkey = self._keys.public, self._keys.secret
        address = endpoint(self.config, which, bind=True)
        try:
            socket.bind(address)
        except zmq.ZMQError as e:
            key = "link.address" if address.startswith("ipc") or e.errno != errno.EADDRINUSE else f"link.{which}_port"
            raise TransportError(
                f"cannot listen on {address}: {e}. Is another learner running? Stop it, or change {key}"
                f"{' (0 picks a free port)' if key.endswith('port') else ''}"
            ) from e
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _inbox_full(self) -> bool:
        return self._inbox_bytes >= self.config.buffer_mb * 1e6

    def _tick(self, now_s: float) -> float:
        with self._lock:
            # A full inbox is left to the network: the senders' queues fill and they wait.
            self._poller.modify(self._data, 0 if self._inbox_full() else zmq.POLLIN)
            weights, self._weights_out = self._weights_out, None
            acks, self._acks = self._acks, set()
            due: list[tuple[bytes, _Peer, Ack]] = []
            for identity, peer in self._peers.items():
                if peer.stream in acks or now_s >= peer.ack_due_s:
                    p = self._progress[peer.stream]
                    due.append((identity, peer, Ack(received=p.received, stored=p.stored, status=self._status)))
        if weights is not None:
            self._weights_kept = weights
            self._send_weights()
        for identity, peer, ack in due:
            peer.ack_due_s = now_s + self.config.heartbeat_s
            self._reply(identity, ack)
            if now_s - peer.heard_s > _FORGET_AFTER_S:
                self._forget(identity)
        return max(min((p.ack_due_s for p in self._peers.values()), default=now_s + 1.0) - now_s, 0.0)

    def _handle(self, events: dict[Any, int], now_s: float) -> None:
        if events.get(self._weights, 0) & zmq.POLLIN:
            with contextlib.suppress(zmq.Again):
                if self._weights.recv(zmq.NOBLOCK)[:1] == b"\x01":
                    self._send_weights()  # an actor joined: it shall not wait for the next version
        if not events.get(self._data, 0) & zmq.POLLIN:
            return
        for _ in range(_MOST_AT_ONCE):
            if self._inbox_full():
                return
            try:
                parts = self._data.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            identity, frames = parts[0].bytes, [part.buffer for part in parts[1:]]
            try:
                message = decode(frames, (Data, Heartbeat, Hello), self._limits)
            except WireVersionError as e:
                self._refuse(identity, "an actor of another release", str(e))
                continue
            except WireError as e:
                self._count("malformed")
                log.warning("dropped a message: %s", e)
                continue
            if isinstance(message, Hello):
                self._meet(identity, message, now_s)
            elif identity not in self._peers:
                self._reply(identity, Who())
            else:
                self._peers[identity].heard_s = now_s
                if isinstance(message, Data):
                    self._take(identity, message, sum(len(f) for f in frames), now_s)

    def _meet(self, identity: bytes, hello: Hello, now_s: float) -> None:
        reason = spec_difference(self._spec, hello.spec)
        if not (_NAME.fullmatch(hello.actor) and _NAME.fullmatch(hello.session)):
            reason = f"actor and session may hold letters, digits, '_', '.' and '-', got {hello.actor[:40]!r}"
        elif identity not in self._peers and len(self._peers) >= _MOST_PEERS:
            reason = f"{_MOST_PEERS} actors are connected, the most allowed"
        if reason:
            self._refuse(identity, f"{hello.actor[:40]}/{hello.session[:40]}", reason)
            return
        stream = f"{hello.actor}/{hello.session}"
        with self._lock:
            new = identity not in self._peers
            for other in [i for i, p in self._peers.items() if p.stream == stream]:
                del self._peers[other]
            self._peers[identity] = _Peer(stream, now_s, now_s)
            p = self._progress.setdefault(stream, Progress(0, 0))
            lost = hello.oldest - 1 - p.received
            if lost > 0:  # they were confirmed by a learner whose log this one does not have
                p.received = p.stored = hello.oldest - 1
        if lost > 0:
            log.warning("%s no longer has its blocks up to %d; going on behind them", stream, hello.oldest - 1)
            self._count("lost", lost)
        if new:
            log.info("%s joined", stream)
        self._reply(identity, Welcome(received=p.received, stored=p.stored))

    def _take(self, identity: bytes, data: Data, nbytes: int, now_s: float) -> None:
        peer = self._peers[identity]
        try:
            check_block(data.block, self._observation_spec, self._action_spec)
        except SpecError as e:
            self._refuse(identity, peer.stream, str(e))
            return
        with self._lock:
            p = self._progress[peer.stream]
            verdict = p.offer(data.seq)
            if verdict == "next":
                self._enqueue(peer.stream, data.seq, data.block, nbytes)
        if verdict == "gap" and now_s - peer.resend_s >= _RESEND_EVERY_S:
            peer.resend_s = now_s
            self._reply(identity, Ack(received=p.received, stored=p.stored, resend=True))
        if verdict != "next":
            self._count("duplicates" if verdict == "duplicate" else "gaps")

    def _enqueue(self, stream: str, seq: int, block: StepBlock, nbytes: int) -> None:
        self._inbox.append((stream, seq, block))
        self._inbox_bytes += nbytes
        self._lock.notify_all()

    def _refuse(self, identity: bytes, who: str, reason: str) -> None:
        log.warning("refused %s: %s", who, reason)
        self._count("refused")
        self._reply(identity, Refused(reason=reason[:_MOST_REASON]))
        self._forget(identity)

    def _forget(self, identity: bytes) -> None:
        with self._lock:
            self._peers.pop(identity, None)

    def _reply(self, identity: bytes, message: object) -> None:
        try:
            self._data.send_multipart([identity, *encode(message)], zmq.NOBLOCK)
        except zmq.Again:  # it does not read; the next heartbeat says the same
            self._count("unsent")
        except zmq.ZMQError as e:
            if e.errno != errno.EHOSTUNREACH:
                raise
            self._forget(identity)

    def _send_weights(self) -> None:
        if self._weights_kept:
            self._weights.send(self._weights_kept, zmq.NOBLOCK, copy=False)

    def _count(self, what: str, n: int = 1) -> None:
        with self._lock:
            self._counts[what] += n


def _port(socket: Socket) -> int:
    address = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    return int(address.rsplit(":", 1)[1]) if address.startswith("tcp") else 0
