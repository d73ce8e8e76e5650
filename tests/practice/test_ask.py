"""Asking a person: in a real terminal, by a webhook to a real server, in the browser's note, and when it goes wrong."""

from __future__ import annotations

import http.server
import io
import json
import os
import pty
import threading
from collections.abc import Iterator
from typing import Any, TextIO

import pytest
from operator_rig import Clock, reading

from robot_rl.assisted import AssistedEnv, StepSeen
from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.errors import ConfigError
from robot_rl.operator import Button
from robot_rl.practice.ask import Asker, Browser, Question, SaysPerson, Scripted, Terminal, Webhook
from robot_rl.practice.graph import AskConfig
from robot_rl.practice.predicates import Seen
from robot_rl_tasks.bin_relocate import BinRelocate

QUESTION = Question(run="run", node="forward", trouble="lost", text="the cube is gone. Put it into the left bin")


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO, TextIO]]:
    """Return a person's end of a terminal, and the streams of a program in it."""
    ours, theirs = pty.openpty()
    with open(theirs, "w") as out, open(os.dup(theirs)) as keyboard:
        yield ours, out, keyboard
    os.close(ours)


def shown(ours: int) -> str:
    return os.read(ours, 4096).decode()


def test_a_terminal_rings_and_takes_enter_as_the_answer(terminal: tuple[int, TextIO, TextIO]) -> None:
    ours, out, keyboard = terminal
    os.write(ours, b"\n")  # long before anything was asked
    channel = Terminal(out, keyboard)
    channel.tell(QUESTION)
    text = ""
    while "then press Enter" not in text:  # the echo of what was typed may come alone
        text += shown(ours)
    assert "\a" in text
    assert "the cube is gone. Put it into the left bin, then press Enter" in text
    assert not channel.answered(), "what was typed before answers nothing"
    os.write(ours, b"x")
    assert not channel.answered()
    os.write(ours, b"\n")
    assert channel.answered()
    assert not channel.answered(), "once"


def test_an_asker_waits_for_a_key_that_comes_later(terminal: tuple[int, TextIO, TextIO]) -> None:
    ours, out, keyboard = terminal
    pressed = iter([False, False, True])

    def sleep(_: float) -> None:
        if next(pressed, False):
            os.write(ours, b"\n")

    clock = Clock()
    asker = Asker([Terminal(out, keyboard)], AskConfig(), clock=clock, sleep=sleep)
    assert asker.ask(QUESTION)
    assert next(pressed, "all") == "all", "not before it was pressed"


def test_a_terminal_that_is_gone_is_no_answer_and_no_error() -> None:
    closed = io.StringIO()
    closed.close()
    silent = Terminal(closed)
    silent.tell(QUESTION)
    assert not silent.answered()
    read, write = os.pipe()
    os.close(write)
    with open(read) as ended:
        channel = Terminal(io.StringIO(), ended)
        channel.tell(QUESTION)
        assert not channel.answered(), "a closed keyboard answers nothing"
        assert not channel.answered()


class _Server(http.server.BaseHTTPRequestHandler):
    answer = 200
    got: list[dict[str, Any]] = []  # noqa: RUF012 (each test has a class of its own)

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))) | {"path": self.path})
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Server]]]:
    handler = type("Handler", (_Server,), {"got": []})
    made = http.server.HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}", handler
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_webhook_is_told_once_for_each_question(server: tuple[str, type[_Server]]) -> None:
    url, handler = server
    hook = Webhook(f"{url}/cell/7?key=1", 5.0)
    assert Asker([hook, Scripted()], AskConfig()).ask(QUESTION)
    (got,) = handler.got
    assert got["path"] == "/cell/7?key=1"
    assert (got["run"], got["node"], got["trouble"]) == ("run", "forward", "lost")
    assert got["text"] == "run needs a person: the cube is gone. Put it into the left bin"
    assert hook.failures == 0
    assert not hook.answered()


def test_a_webhook_that_fails_or_is_not_there_stops_nothing(
    server: tuple[str, type[_Server]], caplog: pytest.LogCaptureFixture
) -> None:
    url, handler = server
    handler.answer = 503
    gone = Webhook("http://127.0.0.1:9/x", 0.5)
    refuses = Webhook(url, 5.0)
    assert Asker([gone, refuses, Scripted()], AskConfig()).ask(QUESTION)
    assert (gone.failures, refuses.failures) == (1, 1)
    assert "answered 503" in caplog.text
    for wrong in ("http://", "http://127.0.0.1:x/", "file:///etc/passwd"):
        with pytest.raises(ConfigError, match=r"practice\.ask\.webhook"):
            Webhook(wrong, 1.0)


class Page:
    """A view that shows a note and has a button."""

    def __init__(self) -> None:
        self.notes, self.pressed = list[str](), list[Button]()

    def note(self, text: str) -> None:
        self.notes.append(text)

    def buttons(self) -> tuple[Button, ...]:
        pressed, self.pressed = tuple(self.pressed), []
        return pressed

    def reset(self, observation: Any, facts: Any) -> None: ...

    def step(self, seen: StepSeen) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("begun", [False, True])
def test_the_browser_shows_the_question_and_its_button_answers(begun: bool) -> None:
    page = Page()
    env = AssistedEnv(make_env(compose(["task=reach"]).settings()), watchers=[page])
    if begun:
        env.reset(seed=0)
    looks = iter(range(3))

    def sleep(_: float) -> None:
        assert env.paused
        if next(looks) == 2:
            page.pressed.append("pause")

    assert Asker([Browser(env)], AskConfig(), clock=Clock(), sleep=sleep).ask(QUESTION)
    assert page.notes == [QUESTION.text, ""]
    assert not env.paused, "practice goes on"
    env.close()


def test_nobody_is_waited_for_so_long_and_reminded_meanwhile() -> None:
    clock, nobody = Clock(), Scripted(answers=0)

    def sleep(seconds: float) -> None:
        clock.now_s += 10.0

    assert not Asker([nobody], AskConfig(patience_s=100.0, remind_s=25.0), clock=clock, sleep=sleep).ask(QUESTION)
    assert clock.now_s == pytest.approx(100.0 + 110.0)
    assert 4 <= len(nobody.questions) <= 5


def test_a_run_that_is_stopped_waits_for_nobody() -> None:
    turns = iter(range(100))
    asker = Asker([Scripted(answers=0)], AskConfig(), stopping=lambda: next(turns) > 3, sleep=lambda _: None)
    assert not asker.ask(QUESTION)


@pytest.mark.parametrize(("typed", "holds"), [("what?\ny\n", True), ("n\n", False), ("YES\n", True), ("", False)])
def test_a_person_may_be_a_predicate(typed: str, holds: bool) -> None:
    out = io.StringIO()
    says = SaysPerson(BinRelocate(), "Is the cube on the left?", out, io.StringIO(typed))
    assert says(Seen(state=reading())) is holds
    assert "Is the cube on the left? [y/n]" in out.getvalue()
    assert says.looks, "a person looks when the arm is out of the way"
