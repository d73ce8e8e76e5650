"""A session without a robot and a viewer without a page, for the tests of what is between them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zmq

from robot_rl.assisted import StepSeen
from robot_rl.console import ConsoleWriter
from robot_rl.console_file import ConsoleAddress
from robot_rl.console_messages import ConsolePictures, ConsolePress, ConsoleStep
from robot_rl.wire import decode, encode_one

__all__ = ["Viewer", "observation", "open_files", "replace", "seen", "wait", "writer"]

T = TypeVar("T")


def wait(what: Callable[[], T], seconds: float = 60.0) -> T:
    """Wait until something is true and return it."""
    until_s = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until_s, f"nothing came within {seconds:.0f} s"
        time.sleep(0.01)
    return found


def observation(shade: int = 0, size: int = 8) -> dict[str, Any]:
    """Return an observation with one camera."""
    return {"state": np.zeros(3, np.float32), "front": np.full((size, size, 3), shade, np.uint8)}


def seen(shade: int = 0, *, ended: bool = False, size: int = 8, **more: Any) -> StepSeen:
    """Return a step; what is not a field of `StepSeen` goes into its info."""
    fields = {name: more.pop(name) for name in ("source", "policy_version", "value", "reward") if name in more}
    info = {"executed_action": np.zeros(2), "success": False, "guard_events": (), "reason": "", **more}
    zero = np.zeros(2, np.float32)
    return StepSeen(
        observation=observation(shade, size), requested=zero, executed=zero, reward=fields.pop("reward", 0.0),
        terminated=ended, truncated=False, info=info, **fields,
    )  # fmt: skip


def writer(folder: Path, **more: Any) -> ConsoleWriter:
    """Return the control process's half, for episodes of ten steps."""
    return ConsoleWriter(folder, **{"session": "record", "period_s": 0.1, "max_steps": lambda: 10, **more})


class Viewer:
    """The sockets of a view. Slow on purpose: it takes a message only when asked."""

    def __init__(self, address: ConsoleAddress, queue: int = 1000) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.steps, self.pictures = (
            self._subscribe(address, "steps", queue),
            self._subscribe(address, "pictures", queue),
        )
        self.presses: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        self.presses.setsockopt(zmq.LINGER, 1000)
        self.presses.connect(address.address("presses"))

    def _subscribe(self, address: ConsoleAddress, which: str, queue: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, queue)
        socket.subscribe(b"")
        socket.connect(address.address(which))
        return socket

    def step(self) -> ConsoleStep:
        """Return the next message."""
        return decode(self._next(self.steps), (ConsoleStep,))

    def picture(self) -> ConsolePictures:
        """Return the next pictures."""
        return decode(self._next(self.pictures), (ConsolePictures,))

    def _next(self, socket: zmq.Socket[bytes]) -> list[bytes]:
        assert socket.poll(60_000), "nothing was told"
        return socket.recv_multipart()

    def press(self, button: str, episode: int = 0, paused: bool = False, stamp_s: float | None = None) -> None:
        """Press a button as the page does."""
        stamp_s = time.monotonic() if stamp_s is None else stamp_s
        self.send(encode_one(ConsolePress(button=button, stamp_s=stamp_s, episode=episode, paused=paused)))

    def send(self, *frames: bytes) -> None:
        """Send whatever is given where presses are taken."""
        self.presses.send_multipart(frames)

    def close(self) -> None:
        """Go away."""
        self._context.destroy(linger=0)


def open_files() -> int:
    """Return how many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))
