"""For tests over ROS 2: a domain of one's own, and programs that are ended whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from robot_rl_hardware.ros.environment import LARGEST_DOMAIN, participants_on

PATIENCE_S = 120.0
POINT_ARM = Path(__file__).with_name("point_arm.py")


def wait_for(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until something holds; a failure names it."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain for {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """Yield a ROS domain that no other test and nobody else on this machine uses."""
    folder = Path(tempfile.gettempdir()) / f"robot_rl_test_domains_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    first = os.getpid() % LARGEST_DOMAIN
    for step in range(LARGEST_DOMAIN):
        domain = (first + step) % LARGEST_DOMAIN + 1
        with (folder / str(domain)).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            if participants_on(domain) == 0:
                yield domain
                return
    raise AssertionError("all ROS domains are in use")


def ros_environ(domain: int, **more: str) -> dict[str, str]:
    """Return an environment for a program of a test: this machine only, with the type checks that Humble makes."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_PYTHON_CHECK_FIELDS": "1",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


class Program:
    """A program beside the test.

    Attributes:
        domain: The ROS domain that it is in.
    """

    def __init__(self, command: Sequence[str], domain: int, **environ: str) -> None:
        self.domain = domain
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log", delete=False)  # noqa: SIM115, closed in `end`
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env=ros_environ(domain, **environ),
            start_new_session=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def said(self) -> str:
        """Return all that the program has printed."""
        return Path(self._log.name).read_text()

    def wait_for_words(self, words: str) -> None:
        """Wait until the program prints something."""

        def there() -> bool:
            assert words in self.said() or self._process.poll() is None, f"ended early: {self.said()}"
            return words in self.said()

        wait_for(there, f"'{words}' from {self._process.args}")

    def send(self, number: int) -> None:
        """Send a signal to the program itself."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return the exit status."""
        return self._process.wait(PATIENCE_S)

    def end(self) -> None:
        """End it and all its children, politely first."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        Path(self._log.name).unlink(missing_ok=True)


@contextlib.contextmanager
def program(command: Sequence[str], domain: int, **environ: str) -> Iterator[Program]:
    """Yield a running program; it and its children are ended afterwards."""
    started = Program(command, domain, **environ)
    try:
        yield started
    finally:
        started.end()


@contextlib.contextmanager
def arm_node(driver: str, task: str, domain: int = 0, namespace: str = "/arm") -> Iterator[Program]:
    """Yield an arm node that is ready, in a domain of its own unless one is given.

    Args:
        driver: "point" for the smallest arm, or a driver of `robot-rl node arm`.
        task: What the arm is for.
        domain, namespace: Where.
    """
    with contextlib.ExitStack() as stack:
        domain = domain or stack.enter_context(own_domain())
        if driver == "point":
            command = [sys.executable, str(POINT_ARM), task, str(domain), namespace]
        else:
            words = ["node", "arm", f"task={task}", f"driver={driver}", "--namespace", namespace]
            command = [sys.executable, "-m", "robot_rl", *words]
        node = stack.enter_context(program(command, domain))
        node.wait_for_words("is ready")
        yield node
