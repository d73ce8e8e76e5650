"""What both ends of the ZMQ link share: the thread that owns the sockets, addresses and socket options."""

from __future__ import annotations

import ipaddress
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from typing import Any, Literal
from urllib.parse import urlsplit

import zmq

from robot_rl.errors import TransportError
from robot_rl.link import LinkConfig
from robot_rl.wire import WireLimits

log = logging.getLogger(__name__)

Socket = zmq.Socket[bytes]


class LinkThread(ABC):
    """A daemon thread that alone touches the sockets; the owner's calls only change state under `_lock` and wake it."""

    def __init__(self, config: LinkConfig, name: str) -> None:
        self.config = config
        self._name = name
        self._limits = WireLimits(total_bytes=int(config.message_mb * 1e6))
        self._lock = threading.Condition()
        self._counts: Counter[str] = Counter()
        self._failure = ""
        self._stopping = False
        self._context = zmq.Context()
        self._sockets: list[Socket] = []
        self._poller = zmq.Poller()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller.register(self._wake_fd, zmq.POLLIN)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def counts(self) -> dict[str, int]:
        """How often something unusual happened: malformed, duplicates, gaps, resends, ..."""
        with self._lock:
            return dict(self._counts)

    @abstractmethod
    def _tick(self, now_s: float) -> float:
        """Send what is due and return how long to wait for events at most, seconds."""

    @abstractmethod
    def _handle(self, events: dict[Any, int], now_s: float) -> None:
        """Receive from the sockets that are ready."""

    def _socket(self, kind: int) -> Socket:
        """Make a socket. Options are set before it connects or binds, since later ones would not apply."""
        socket = self._context.socket(kind)
        self._sockets.append(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, self._limits.total_bytes)
        socket.setsockopt(zmq.IPV6, int("[" in self.config.address))
        # A pulled cable ends the connection within seconds instead of the hours that TCP would take.
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        return socket

    def _wake(self) -> None:
        if not self._stopping:
            os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        try:
            while not self._stopping:
                wait_s = self._tick(time.monotonic())
                events: dict[Any, int] = dict(self._poller.poll(max(0, round(wait_s * 1e3))))
                if events.pop(self._wake_fd, 0):
                    os.eventfd_read(self._wake_fd)
                self._handle(events, time.monotonic())
        except Exception as e:  # a fault of ours, which the owner must hear of
            log.exception("%s stopped", self._name)
            with self._lock:
                self._failure = f"the link's thread stopped: {e!r}; restart this process and report the log above"
                self._lock.notify_all()

    def _check(self) -> None:
        """Raise what went wrong in the thread, with the lock held."""
        if self._failure:
            raise TransportError(self._failure)
        if self._stopping:
            raise TransportError("the link is closed")

    def _shutdown(self) -> None:
        """Stop the thread and close everything. Safe to call twice and before the thread was started."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            os.eventfd_write(self._wake_fd, 1)
            self._lock.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        for socket in self._sockets:
            socket.close(linger=0)
        self._context.term()
        os.close(self._wake_fd)


def endpoint(config: LinkConfig, which: Literal["data", "weights"], bind: bool) -> str:
    """Return the ZMQ address of one of the two channels."""
    if config.address.startswith("ipc://"):
        return f"{config.address}.{which}"
    port = config.data_port if which == "data" else config.weights_port
    if port == 0 and not bind:
        raise TransportError(f"link.{which}_port is 0 at the actor; set it to the port that the learner shows")
    return f"{config.address}:{port if port else '*'}"


def encrypted(config: LinkConfig) -> bool:
    """Return whether the link uses CURVE: when told to, and always beyond this machine."""
    return config.encrypt or not _is_local(config.address)


def _is_local(address: str) -> bool:
    if address.startswith("ipc://"):
        return True
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
