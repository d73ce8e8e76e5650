"""Follows the session of a run, through its end, its death and the next one, and hands on what people press."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from robot_rl.console_file import ConsoleAddress, find_session
from robot_rl.console_messages import ConsolePictures, ConsolePress, ConsoleStep
from robot_rl.errors import RobotRLError, WireError
from robot_rl.view.curves import Curves
from robot_rl.wire import WireLimits, decode, encode_one

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often to look whether the session is still there, or there at last."""
_LIMITS = WireLimits(total_bytes=64_000_000, frames=64, items=512, text=4096)
_EVENTS = 100
_PRESSES = 32  # more than anyone presses before a busy machine has carried the first one over

M = TypeVar("M")


class Feed:
    """The newest of what a session tells.

    Args:
        folder: The run.

    Attributes:
        step: The newest message; None before the first of a session.
        heard_s: When it came, monotonic.
        why: Why there is no session, if that is more than that none runs.
        images, pictures: The newest pictures, and how often there were new ones.
        events: (number, step's time, episode, rule) of the guard's newest events.
        curves: Numbers of the session over its time.
        malformed: Messages that were ignored.
    """

    def __init__(self, folder: Path) -> None:
        import zmq

        self.folder = folder
        self.address: ConsoleAddress | None = None
        self.why = ""
        self.step: ConsoleStep | None = None
        self.heard_s = 0.0
        self.number = 0  # of messages
        self.images: dict[str, NDArray[np.uint8]] = {}
        self.pictures = 0
        self.events: deque[tuple[int, float, int, str]] = deque(maxlen=_EVENTS)
        self.curves = Curves()
        self.malformed = 0
        self._began_s = time.monotonic()
        self._zmq = zmq
        self._context: Any = None
        self._looking = 0  # viewers that want pictures
        self._watching = False  # whether the session was asked for pictures
        self._steps: Any = None
        self._pictures: Any = None
        self._presses: Any = None

    @property
    def live(self) -> bool:
        """Whether there is a session."""
        return self.address is not None

    @contextlib.contextmanager
    def looking(self) -> Any:
        """Ask the session for pictures while anyone looks."""
        self._looking += 1
        try:
            self._ask_for_pictures()
            yield
        finally:
            self._looking -= 1
            self._ask_for_pictures()

    def press(self, button: str, episode: int, paused: bool) -> str:
        """Hand a button on and return why that was not possible; empty if it was."""
        if self._presses is None:
            return "no session runs, so nothing was pressed"
        press = ConsolePress(button=button, stamp_s=time.monotonic(), episode=episode, paused=paused)
        try:
            # The socket's own send, not asyncio's: the answer must be known now.
            self._zmq.Socket.shadow(self._presses.underlying).send(encode_one(press), self._zmq.NOBLOCK)
        except self._zmq.Again:
            return "the session does not take buttons at the moment; for a robot use its own stop"
        except WireError as e:
            return str(e)
        return ""

    async def run(self) -> None:
        """Follow the run until cancelled."""
        import zmq.asyncio

        self._context = zmq.asyncio.Context()
        try:
            while True:
                try:
                    found, self.why = find_session(self.folder), ""
                except RobotRLError as e:
                    found, self.why = None, str(e)
                if found is None:
                    await asyncio.sleep(LOOK_S)
                    continue
                self._attach(found)
                await self._follow(found)
                self._detach()
        finally:
            self._detach()
            self._context.term()

    def _attach(self, found: ConsoleAddress) -> None:
        zmq = self._zmq
        self._steps = self._open(zmq.SUB, found.address("steps"), 64)
        self._steps.subscribe(b"")
        self._pictures = self._open(zmq.SUB, found.address("pictures"), 2)
        self._presses = self._open(zmq.PUSH, found.address("presses"), _PRESSES)
        self.address, self.step, self._watching = found, None, False
        self.images, self.heard_s = {}, time.monotonic()
        self.curves, self._began_s = Curves(), time.monotonic()
        self._ask_for_pictures()

    def _open(self, kind: int, address: str, queue: int) -> Any:
        socket = self._context.socket(kind)
        socket.setsockopt(self._zmq.LINGER, 0)
        socket.setsockopt(self._zmq.RCVHWM, queue)
        socket.setsockopt(self._zmq.SNDHWM, queue)
        socket.setsockopt(self._zmq.MAXMSGSIZE, _LIMITS.total_bytes)
        socket.setsockopt(self._zmq.IMMEDIATE, 1)  # a button is for the session that is there, not for a later one
        socket.connect(address)
        return socket

    def _detach(self) -> None:
        self.address = None
        for socket in (self._steps, self._pictures, self._presses):
            if socket is not None:
                socket.close(linger=0)
        self._steps = self._pictures = self._presses = None

    def _ask_for_pictures(self) -> None:
        if self._pictures is None or self._watching == (self._looking > 0):
            return
        self._watching = self._looking > 0
        option = self._zmq.SUBSCRIBE if self._watching else self._zmq.UNSUBSCRIBE
        self._pictures.setsockopt(option, b"")
        if not self._watching:
            self.images = {}  # the next to come must not be shown old ones

    async def _follow(self, found: ConsoleAddress) -> None:
        """Take what the session tells until it ends or another takes its place."""
        import zmq.asyncio

        poller = zmq.asyncio.Poller()
        poller.register(self._steps, zmq.POLLIN)
        poller.register(self._pictures, zmq.POLLIN)
        looked_s = time.monotonic()
        while True:
            ready = dict(await poller.poll(round(1e3 * LOOK_S)))
            if self._steps in ready and (step := self._take(await self._steps.recv_multipart(), ConsoleStep)):
                self._told(step)
            if self._pictures in ready:
                pictures = self._take(await self._pictures.recv_multipart(), ConsolePictures)
                if pictures is not None and self._watching:
                    self.images, self.pictures = dict(pictures.images), self.pictures + 1
            if time.monotonic() - looked_s >= LOOK_S:
                looked_s = time.monotonic()
                with contextlib.suppress(RobotRLError):
                    if find_session(self.folder) == found:
                        continue
                return

    def _take(self, frames: list[bytes], kind: type[M]) -> M | None:
        try:
            return decode(frames, (kind,), _LIMITS)
        except WireError as e:
            self.malformed += 1
            log.debug("a message of the session is ignored: %s", e)
            return None

    def _told(self, step: ConsoleStep) -> None:
        self.step, self.heard_s, self.number = step, time.monotonic(), self.number + 1
        t_s = self.heard_s - self._began_s
        for rule in step.events:
            number = self.events[-1][0] + 1 if self.events else 1
            self.events.append((number, step.step * step.period_s, step.episode, rule))
        self.curves.add(t_s, {"reward": step.reward, **step.scalars} if step.step else step.scalars)
