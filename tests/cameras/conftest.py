"""What the tests of cameras share: sources of frames under a test's control, films, and ROS domains of their own."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Before anything imports rclpy: discovery on this machine only, and the log of nodes out of the home folder.
os.environ.update(ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST", ROS_LOCALHOST_ONLY="1", ROS_PYTHON_CHECK_FIELDS="1")

PATIENCE_S = 60.0


class Waiting:
    """Waiting for what shall come, with a limit that only a fault reaches."""

    def __call__(self, condition: Callable[[], object], what: str = "it") -> None:
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until, f"waited {PATIENCE_S:g} s in vain for {what}"
            time.sleep(0.005)


class Source:
    """A camera whose frames a test hands out one by one."""

    def __init__(self, height: int = 48, width: int = 64) -> None:
        self.height, self.width = height, width
        self.frames: deque[object] = deque()
        self.starts = self.closes = 0
        self.start_errors: deque[Exception] = deque()
        self.threads: set[int] = set()
        self.hang = threading.Event()
        self.hanging = threading.Event()

    def start(self) -> object:
        from robot_rl_hardware.cameras.protocol import CameraInfo

        self.starts += 1
        self.threads.add(threading.get_ident())
        if self.start_errors:
            raise self.start_errors.popleft()
        return CameraInfo(what="source", width=self.width, height=self.height, fps=100.0)

    def read(self, timeout_s: float) -> object:
        from robot_rl_hardware.cameras.protocol import CameraTimeout

        self.threads.add(threading.get_ident())
        if self.hang.is_set():
            self.hanging.set()
            while self.hang.is_set():
                time.sleep(0.005)
        until = time.monotonic() + min(timeout_s, 0.02)
        while not self.frames:
            if time.monotonic() > until:
                raise CameraTimeout("the source is silent")
            time.sleep(0.001)
        frame = self.frames.popleft()
        if isinstance(frame, Exception):
            raise frame
        return frame

    def close(self) -> None:
        self.closes += 1
        self.threads.add(threading.get_ident())

    def give(self, number: int, value: int | None = None, stamp_s: float | None = None) -> None:
        """Hand out a frame: of one value, or of noise that no two frames share."""
        from robot_rl_hardware.cameras.protocol import Frame

        shape = (self.height, self.width, 3)
        if value is None:
            image = np.random.default_rng(number).integers(0, 256, shape, np.uint8)
        else:
            image = np.full(shape, value, np.uint8)
        self.frames.append(Frame(image, time.monotonic() if stamp_s is None else stamp_s, number))


@pytest.fixture
def wait() -> Waiting:
    return Waiting()


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of 20 pictures at 40 Hz, each of one grey that grows by ten."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path_factory.mktemp("film") / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 40, (64, 48))
    for k in range(20):
        writer.write(np.full((48, 64, 3), 10 * k, np.uint8))
    writer.release()
    return path


@pytest.fixture
def domain(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS domain that no other test uses at the moment."""
    pytest.importorskip("rclpy")
    from robot_rl_hardware.ros.environment import free_domain

    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "ros"))
    words = f"{os.environ.get('PYTEST_XDIST_WORKER', '')} {request.node.nodeid} {os.getpid()}"
    first = int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big") % 101 + 1
    return free_domain(first=first)


@contextmanager
def _camera_node(domain: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `robot-rl node camera` and end it as Ctrl-C does; its end must be clean."""
    command = [
        sys.executable,
        "-X",
        "faulthandler",
        "-m",
        "robot_rl",
        "node",
        "camera",
        "--domain",
        str(domain),
        *words,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("camera "), line + (process.communicate(timeout=30)[1] if not line else "")
            yield process
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
        finally:
            process.kill()


class _Watcher:
    """Keeps what a camera publishes."""

    def __init__(self, node: Any, name: str, full: bool = False) -> None:
        from sensor_msgs.msg import CompressedImage, Image
        from std_msgs.msg import String

        from robot_rl_hardware.ros import qos
        from robot_rl_hardware.ros.messages import from_text, stamp_ns

        self.images: list[Any] = []
        self.full: list[Any] = []
        self.ages_s: list[float] = []
        self.status: list[dict[str, Any]] = []
        self._stamp_ns = stamp_ns
        self._clock = node.get_clock()
        node.create_subscription(Image, f"/cameras/{name}/image", self._image, qos.newest())
        node.create_subscription(
            String, f"/cameras/{name}/status", lambda m: self.status.append(from_text(m)), qos.latched()
        )
        if full:
            node.create_subscription(
                CompressedImage, f"/cameras/{name}/image_full/compressed", self.full.append, qos.newest()
            )

    def _image(self, message: Any) -> None:
        self.ages_s.append((self._clock.now().nanoseconds - self._stamp_ns(message)) * 1e-9)
        self.images.append(message)

    def well(self) -> bool:
        return bool(self.status) and self.status[-1]["ok"]


@pytest.fixture
def camera_node() -> Callable[..., Any]:
    """Return what runs `robot-rl node camera` in a process of its own: camera_node(domain, *words)."""
    return _camera_node


@pytest.fixture
def watch() -> Callable[..., Any]:
    """Return what follows a camera's topics: watch(node, name, full=False)."""
    return _Watcher
