"""A session in one process, its view in another, and a person's browser in a third."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import console_rig as rig
import numpy as np
import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("cv2")

from headless_browser import Tab, find_browser, open_tab
from view_page import Page

from robot_rl.assisted import PAUSED, STOPPED
from robot_rl.console import ConsoleWriter
from robot_rl.runs import create_run

CHILD = Path(__file__).parents[1] / "helpers" / "session_child.py"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path, "demo", task="reach", seed=0)


@contextlib.contextmanager
def process(command: list[str], stop: int = signal.SIGKILL) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.send_signal(stop)
        child.communicate(timeout=60)


def session(run: Path) -> Any:
    return process([sys.executable, str(CHILD), str(run)])


@pytest.fixture
def view(run: Path) -> Iterator[str]:
    """Start `robot-rl view` and return the address that it prints; Ctrl-C ends it without a word."""
    command = [sys.executable, "-m", "robot_rl", "view", str(run), "--wait", "--port", "0"]
    with process(command, signal.SIGINT) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line.startswith("look at http://127.0.0.1:"), child.communicate(timeout=60)
        yield line.split()[2]
    assert child.returncode == 0


def row(child: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next episode that a session ended."""
    assert child.stdout is not None
    return json.loads(child.stdout.readline())


def running(page: Page, after: int = -1) -> dict[str, Any]:
    """Return a step early in an episode that came after another one."""

    def early(m: dict[str, Any]) -> bool:
        return m["status"] == "live" and m["running"] and 0 < m["step"] < 10 and m["episode"] > after

    return page.hear("step", early, seconds=300.0)


def end_of(child: subprocess.Popen[str], episode: int) -> dict[str, Any]:
    """Return how an episode ended."""
    while (ended := row(child))["episode"] < episode:  # one that ended by itself before
        pass
    assert ended["episode"] == episode
    return ended


def test_buttons_end_the_episodes_of_a_twin_with_the_right_verdict(run: Path, view: str) -> None:
    page, last = Page(view), -1
    assert page.hear("step")["status"] == "none"
    with session(run) as child:
        for button, success, reason in (
            ("success", True, "the operator said success"),
            ("failure", False, "the operator said failure"),
            ("discard", False, "discarded by the operator"),
            ("stop", False, STOPPED),
            ("pause", False, PAUSED),
        ):
            ended: dict[str, object] = {}
            for _ in range(20):  # on a machine that hangs an episode may end before the button comes
                last = running(page, last)["episode"]
                page.press(button, episode=last)
                ended = end_of(child, last)
                if ended["reason"] != "time limit":
                    break
            assert (ended["success"], ended["reason"]) == (success, reason)
            assert ended["verdict"] == (button if button in ("success", "failure", "discard") else "")
        told = page.hear("step", lambda m: m["paused"])
        assert (told["session"], told["policy_version"]) == ("eval", 7)
        assert {"s", "f", "d"} <= set(told["verdicts"])
        page.press("pause", episode=told["episode"], paused=True)
        assert (
            page.hear("step", lambda m: not m["paused"] and m["running"] and m["episode"] > last)["episode"] == last + 1
        )
    assert page.hear("step", lambda m: m["status"] == "none")  # it was killed
    with session(run):
        assert page.hear("step", lambda m: m["status"] == "live" and m["episode"] == 0, seconds=300.0)  # the next one
    page.close()


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    if not find_browser():
        pytest.skip("there is no browser; install one: apt-get install chromium")
    with open_tab() as made:
        made.look(width=1280, height=900)
        yield made


class Session:
    """A session of this process that steps until it is told to end, with two cameras."""

    def __init__(self, folder: Path) -> None:
        self.paused, self.heard, self.source, self._ended = False, list[str](), "policy", threading.Event()
        self.console: ConsoleWriter = rig.writer(folder, paused=lambda: self.paused, max_steps=lambda: 100)
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        front = np.zeros((48, 64, 3), np.uint8)
        front[:, :32] = (255, 0, 0)
        images = {"state": np.zeros(1, np.float32), "front": front, "wrist": np.full((32, 32, 3), 90, np.uint8)}
        self.console.reset(images, {"episode": 4})
        n = 0
        while not self._ended.wait(0.03):
            for button in self.console.buttons():
                self.heard.append(button)
                self.paused ^= button == "pause"
            n += 1
            info = {"source": self.source, "guard_events": ("workspace",) if n % 20 == 0 else (), "value": 0.5}
            seen = rig.seen(scalars={"classifier": float(np.sin(n / 10))}, operator_note="the gamepad is low", **info)
            self.console.step(rig.replace(seen, observation=images))

    def close(self) -> None:
        self._ended.set()
        self._thread.join(30.0)
        self.console.close()


def text(tab: Tab, selector: str) -> str:
    return str(tab.value(f"document.querySelector({selector!r}).textContent"))


def test_the_page_in_a_browser_shows_a_session_and_its_buttons_are_heard(run: Path, view: str, tab: Tab) -> None:
    tab.open(view)
    tab.wait("document.querySelector('#status').textContent === 'no session'")
    assert tab.value("[...document.querySelectorAll('[data-press]')].every((b) => b.disabled)")
    made = Session(run)
    try:
        tab.wait("document.querySelector('#status').textContent === 'live'")
        tab.wait("[...document.querySelectorAll('canvas')].filter((c) => c.dataset.shown > 1).length === 2")
        pixel = "[...document.querySelector('canvas').getContext('2d').getImageData(8, 24, 1, 1).data]"
        red, green, blue, _ = tab.value(pixel)
        assert red > 200
        assert max(green, blue) < 60
        assert text(tab, "#run") == "demo"
        assert text(tab, "#session") == "recording"
        assert text(tab, "#episode") == "Episode 4"
        assert "the gamepad is low" in text(tab, "#note")
        made.source = "human"
        tab.wait("document.querySelector('#who').textContent === 'a person acts'")
        tab.wait("document.querySelector('#guard').textContent.includes('workspace')")
        tab.wait("[...document.querySelectorAll('#live .plot')].some((p) => p.textContent.includes('classifier'))")
        points = "document.querySelector('#live polyline').getAttribute('points').split(' ').length"
        tab.wait(f"{points} > 10")
        tab.wait("/\\d+\\.\\d s left/.test(document.querySelector('#left').textContent)")
        for button in ("success", "failure", "discard", "pause"):
            tab.click(f"[data-press={button}]")
            tab.wait(f"document.querySelector('#said').textContent === '{button} was pressed'")
            rig.wait(lambda button=button: button in made.heard)
        tab.wait("document.querySelector('#status').textContent === 'paused'")
        assert text(tab, "[data-press=pause]") == "Go on"
        assert tab.value("document.querySelector('[data-press=success]').disabled")
        tab.click("[data-press=pause]")
        tab.wait("document.querySelector('#status').textContent === 'live'")
        tab.click("[data-press=stop]")
        rig.wait(lambda: "stop" in made.heard)
        assert made.heard == ["success", "failure", "discard", "pause", "pause", "stop"]
    finally:
        made.close()
    tab.wait("document.querySelector('#status').textContent === 'no session'")
    assert tab.value(
        "document.querySelector('#cameras').className.includes('old')"
    )  # no old picture looks like a new one
    assert not tab.complaints


def test_a_browser_without_the_key_sees_nothing_and_is_told_what_to_open(run: Path, view: str, tab: Tab) -> None:
    made = Session(run)
    try:
        tab.open("about:blank")
        tab.open(view.partition("#")[0])
        tab.wait("document.querySelector('#note').textContent.includes('open the whole address')")
        tab.open("about:blank")
        tab.open(view.partition("#")[0] + "#wrong")
        tab.wait("document.querySelector('#note').textContent.includes('of an earlier view')")
        assert tab.value("document.querySelectorAll('canvas').length") == 0
    finally:
        made.close()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["view", "nothing"], "there is no run 'nothing' in runs"),
        (["view"], "the following arguments are required: RUN"),
        (
            ["view", "demo"],
            r"nothing runs in runs/demo at the moment; start it (robot-rl train resume=runs/demo), or add",
        ),
        (["view", "demo", "--wait", "--host", "0.0.0.0"], "the view would listen on 0.0.0.0, where others could see"),
        (["view", "demo", "--wait", "--port", "70000"], "the port of the view is 70000; it must lie in 0 to 65535"),
        (["view", "demo", "port=1"], "robot-rl view does not know what to do with 'port=1'"),
        (["train", "task=reach", "view.port=70000"], "view.port is 70000; it must lie in 0 to 65535, or be null"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(tmp_path: Path, words: list[str], sentence: str) -> None:
    create_run(tmp_path / "runs", "demo", task="reach", seed=0)
    done = subprocess.run(
        [sys.executable, "-m", "robot_rl", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said_before_a_run_begins(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "robot_rl", "train", "task=reach", f"view.port={port}", "name=mine"],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"robot-rl: the view cannot listen on port {port} of 127.0.0.1 (")
    assert not (tmp_path / "runs").exists()


TINY = (
    "task=reach", "demos=2", "live=off", "agent.hidden=[16,16]", "agent.critics=2", "agent.batch_size=16",
    "agent.updates_per_actor_update=1", "learner.updates_per_call=4", "learner.updates_per_step=1",
    "learner.clone_updates=20", "learner.hold_steps=0", "evaluation.episodes=0", "evaluation.clone_episodes=0",
    "metrics.sinks=[jsonl]", "learner.total_env_steps=1000000",
)  # fmt: skip


@pytest.mark.slow
def test_training_serves_its_page_and_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "robot_rl", "train", *TINY, f"runs={tmp_path}", "name=seen", "view.port=0"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    cleanup = contextlib.ExitStack()
    try:
        assert child.stdout is not None
        url = next(line.split()[2] for line in child.stdout if line.startswith("look at "))
        page = cleanup.enter_context(contextlib.closing(Page(url)))
        step = page.hear("step", lambda m: m["status"] == "live" and m["running"] and m["step"] > 0, seconds=300.0)
        assert step["session"] == "train"
        page.hear("run", lambda m: m["episodes"] > 0, seconds=300.0)
        page.press("pause", episode=0)
        page.hear("step", lambda m: m["paused"], seconds=300.0)
        page.press("pause", episode=0, paused=True)
        page.hear("step", lambda m: not m["paused"], seconds=300.0)
        child.send_signal(signal.SIGINT)
        assert page.closed() is not None
    finally:
        cleanup.close()
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    port = int(url.split(":")[2].split("/")[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert not (tmp_path / "seen" / "console.json").exists()
    assert not [p for p in os.listdir("/proc") if p.isdecimal() and _serves(p, str(tmp_path))]


def _serves(pid: str, folder: str) -> bool:
    with contextlib.suppress(OSError):
        return folder in Path(f"/proc/{pid}/cmdline").read_text() and int(pid) != os.getpid()
    return False
