"""Asking a person: on the terminal, in the browser, by a webhook. Nothing that goes wrong here ends the run.

A question is told on every channel, and the first answer on any of them counts. A webhook only tells: it reaches the
phone of somebody who then walks to the robot.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import select
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TextIO
from urllib.parse import urlsplit

from robot_rl.assisted import AssistedEnv
from robot_rl.errors import ConfigError
from robot_rl.practice.graph import AskConfig
from robot_rl.practice.predicates import Seen
from robot_rl.task import Task

log = logging.getLogger(__name__)

BELL = "\a"
POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is asked to do.

    Attributes:
        run: Name of the run.
        node: Which node shall begin.
        trouble: Kind of the trouble.
        text: What is wrong, and what to do.
    """

    run: str
    node: str
    trouble: str
    text: str


class Channel(Protocol):
    """A way to reach a person."""

    def tell(self, question: Question) -> None:
        """Tell the question. Never raises for the world, and takes seconds at most."""
        ...

    def answered(self) -> bool:
        """Return whether somebody said that it is done. Never waits."""
        ...

    def close(self) -> None:
        """Take the question back: somebody answered, or nobody will."""
        ...


class Terminal:
    """A bell and a line; Enter answers, if there is a keyboard.

    Args:
        out: Where the line goes.
        keyboard: What is read; None where nobody can type, or where the keys drive the robot.
    """

    def __init__(self, out: TextIO, keyboard: TextIO | None = None) -> None:
        self._out, self._keyboard = out, keyboard

    def tell(self, question: Question) -> None:
        """Ring and write the line. What was typed before is forgotten: it answered nothing."""
        if self._keyboard is not None:
            with _unharmed("the keyboard"):
                termios.tcflush(self._keyboard.fileno(), termios.TCIFLUSH)
        how = ", then press Enter" if self._keyboard is not None else ""
        with _unharmed("the terminal"):
            self._out.write(f"{BELL}\n{question.run} needs a person: {question.text}{how}\n")
            self._out.flush()

    def answered(self) -> bool:
        """Return whether Enter was pressed since the question was told."""
        if self._keyboard is None:
            return False
        try:
            if not select.select([self._keyboard], [], [], 0.0)[0]:
                return False
            typed = os.read(self._keyboard.fileno(), 1024)
        except (OSError, ValueError) as e:
            log.warning("the keyboard cannot be read any more: %s", e)
            self._keyboard = None
            return False
        if not typed:  # closed, as by Ctrl-D: that is no answer, and it would come again at once
            self._keyboard = None
        return b"\n" in typed or b"\r" in typed

    def close(self) -> None:
        """Nothing to take back: the line stays."""


class Browser:
    """The page of `robot-rl view`: the question as its note, and its button to go on as the answer.

    Args:
        env: Whose watchers show it; a pause button of the operator's own device answers too.
    """

    def __init__(self, env: AssistedEnv) -> None:
        self._env = env
        self._asking = False

    def tell(self, question: Question) -> None:
        """Pause, and show why."""
        self._env.paused = self._asking = True
        self._note(question.text)

    def answered(self) -> bool:
        """Return whether somebody let practice go on."""
        if not self._asking:
            return False
        self._env.poll()
        return not self._env.paused

    def close(self) -> None:
        """Go on, and take the note away."""
        if self._asking:
            self._env.paused = self._asking = False
            self._note("")

    def _note(self, text: str) -> None:
        for watcher in self._env.watchers:
            note = getattr(watcher, "note", None)
            if note is not None:
                note(text)


class Webhook:
    """A POST of the question as JSON, to whatever forwards it to people.

    Args:
        url: http or https.
        timeout_s: How long to wait for it.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        try:
            self._port = parts.port
        except ValueError as e:
            raise ConfigError(f"practice.ask.webhook is '{url}'; its port must be a number") from e
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"practice.ask.webhook is '{url}'; it must be http://HOST/... or https://HOST/...")
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._timeout_s = parts.hostname, timeout_s
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.failures = 0

    def tell(self, question: Question) -> None:
        """Send it once."""
        # "text" is what the hooks of chat programs show.
        body = json.dumps({**asdict(question), "text": f"{question.run} needs a person: {question.text}"})
        connection = self._kind(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request("POST", self._path, body.encode(), {"Content-Type": "application/json"})
            status = connection.getresponse().status
            if status >= 300:
                raise http.client.HTTPException(f"it answered {status}")
        except (OSError, http.client.HTTPException) as e:
            self.failures += 1
            log.warning("the webhook at %s was not told that a person is needed: %s", self._host, e)
        finally:
            connection.close()

    def answered(self) -> bool:
        """A webhook only tells."""
        return False

    def close(self) -> None:
        """What was told stays told."""


class Scripted:
    """Answers at once: a person who is always there, for twins and tests.

    Args:
        answers: How many questions are answered; the ones after that are not.
    """

    def __init__(self, answers: float = float("inf")) -> None:
        self._left = answers
        self.questions: list[Question] = []

    def tell(self, question: Question) -> None:
        """Note the question."""
        self.questions.append(question)

    def answered(self) -> bool:
        """Answer, as long as there are answers left."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def close(self) -> None:
        """Nothing to take back."""


class Asker:
    """Asks on every channel and waits for one answer.

    Args:
        channels: Ways to reach people.
        config: For how long, and how often to remind.
        stopping: Asked often whether to give up.
        clock, sleep: For tests.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        config: AskConfig,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._channels, self._config, self._stopping = tuple(channels), config, stopping
        self._clock, self._sleep = clock, sleep

    def ask(self, question: Question) -> bool:
        """Ask and wait; return whether somebody answered."""
        log.warning("a person is needed: %s", question.text)
        began_s = told_s = self._clock()
        try:
            for channel in self._channels:
                channel.tell(question)
            while not self._stopping():
                if any([channel.answered() for channel in self._channels]):
                    return True
                now_s = self._clock()
                if now_s - began_s > self._config.patience_s:
                    log.warning("nobody answered within %.0f s (practice.ask.patience_s)", self._config.patience_s)
                    return False
                if now_s - told_s > self._config.remind_s:
                    told_s = now_s
                    for channel in self._channels:
                        channel.tell(question)
                self._sleep(POLL_S)
            return False
        finally:
            for channel in self._channels:
                channel.close()


class SaysPerson:
    """A predicate that a person answers on the terminal, with y or n and Enter.

    Args:
        task: As for every predicate.
        question: What is asked.
        out, keyboard: Streams; those of the process by default.
    """

    looks = True

    def __init__(self, task: Task, question: str, out: TextIO | None = None, keyboard: TextIO | None = None) -> None:
        self.name, self._question = "person", question
        self._out, self._keyboard = out or sys.stderr, keyboard or sys.stdin
        del task

    def __call__(self, seen: Seen) -> bool:
        """Ask until the answer is y or n. Nobody there to answer means no."""
        while True:
            self._out.write(f"{BELL}{self._question} [y/n] ")
            self._out.flush()
            typed = self._keyboard.readline()
            if not typed:
                return False
            word = typed.strip().lower()
            if word in ("y", "yes", "n", "no"):
                return word.startswith("y")


@contextlib.contextmanager
def _unharmed(what: str) -> Iterator[None]:
    """Let what is wrong with a person's device be a warning."""
    try:
        yield
    except (OSError, ValueError, termios.error) as e:
        log.warning("%s cannot be used to ask: %s", what, e)
