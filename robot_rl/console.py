"""The control process's half of the view: tells what happens, hears the buttons, and never waits for either.

Nothing is encoded while nobody looks. A viewer that is slow, stopped or dead loses messages: each queue holds a few and
drops the rest. Everything a message counts, it counts since the session began, so a lost one leaves no gap.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from robot_rl.assisted import PAUSED, STOPPED, AssistedEnv, StepSeen
from robot_rl.console_file import ConsoleAddress, publish_address, withdraw_address
from robot_rl.console_messages import ConsolePictures, ConsolePress, ConsoleStep
from robot_rl.errors import StorageError, WireError
from robot_rl.operator import Button
from robot_rl.wire import WireLimits, decode, encode

if TYPE_CHECKING:
    import zmq

log = logging.getLogger(__name__)

PRESS_LIMITS = WireLimits(total_bytes=1024, frames=1, items=16, text=64)
STALE_S = 3.0
"""A press that comes later than this is not what the person wants any more; a stop always is."""
_STEP_S, _PICTURE_S = 0.03, 0.06  # twins in lock-step take hundreds of steps a second, more than anyone sees
_STEP_QUEUE, _PICTURE_QUEUE, _PRESS_QUEUE = 64, 2, 16
_VERDICTS = 50
_TEXT = 300
_NEVER = 10**6
_POLLIN = 1  # zmq.POLLIN


class ConsoleWriter:
    """A `robot_rl.assisted.Watcher` that publishes on sockets in a private folder, and says in the run where they are.

    Args:
        folder: The run.
        session: What is being done: "train", "record", "eval".
        period_s: Control period, seconds of the robot's time.
        max_steps: Asked how many steps end an episode; 0 where nothing limits them.
        paused: Asked whether a person has asked to wait, in a view or elsewhere.
        clock: For tests.

    Raises:
        StorageError: The sockets could not be made, or the run has a session that is shown already.
    """

    def __init__(
        self,
        folder: Path,
        *,
        session: str,
        period_s: float,
        max_steps: Callable[[], int],
        paused: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import zmq

        self._folder, self._session, self._clock, self._is_paused = folder, session, clock, paused
        self._period_s, self._max_steps = float(period_s), max_steps
        self.address: ConsoleAddress = publish_address(folder, session)
        self._again, self._ready, self._now = zmq.Again, zmq.EVENTS, zmq.NOBLOCK
        self._context: zmq.Context[Any] = zmq.Context()
        self._sockets: list[zmq.Socket[bytes]] = []
        try:
            self._steps = self._bind(zmq.XPUB, "steps", _STEP_QUEUE)
            self._pictures = self._bind(zmq.XPUB, "pictures", _PICTURE_QUEUE)
            self._presses = self._bind(zmq.PULL, "presses", _PRESS_QUEUE)
        except zmq.ZMQError as e:
            self.close()
            raise StorageError(f"the session cannot be shown: no socket in {self.address.sockets} ({e})") from e
        self._step_viewers = self._picture_viewers = 0
        self._told_s = self._pictured_s = -1e9
        self._untold: deque[str] = deque(maxlen=32)  # events since the last message
        self._guard: Counter[str] = Counter()
        self._verdicts: deque[str] = deque(maxlen=_VERDICTS)
        self._finished = self._succeeded = 0
        self._begun, self._paused = -1, False
        self.refused = 0  # presses that were malformed, late, or meant for another episode
        self._at: dict[str, Any] = _start(0)

    def _bind(self, kind: int, which: str, queue: int) -> zmq.Socket[bytes]:
        import zmq

        socket: zmq.Socket[bytes] = self._context.socket(kind)
        self._sockets.append(socket)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, queue)
        socket.setsockopt(zmq.RCVHWM, queue)
        socket.setsockopt(zmq.MAXMSGSIZE, PRESS_LIMITS.total_bytes)
        socket.bind(self.address.address(which))
        return socket

    def reset(self, observation: Any, facts: Mapping[str, Any]) -> None:
        """Tell of an episode that begins."""
        self._begun += 1
        episode = facts.get("episode", self._begun)
        self._at = {**_start(episode if type(episode) is int and episode >= 0 else self._begun), "paused": self._paused}
        self._tell(observation, urgent=True)

    def step(self, seen: StepSeen) -> None:
        """Tell of a control period."""
        at, info = self._at, seen.info
        at["step"] += 1
        at["reward"], at["returned"] = seen.reward, at["returned"] + seen.reward
        at["source"], at["policy_version"], at["success"] = seen.source, seen.policy_version, bool(info.get("success"))
        at["note"], at["reason"] = str(info.get("operator_note", ""))[:_TEXT], str(info.get("reason", ""))[:_TEXT]
        at["scalars"] = _scalars(seen)
        events = info.get("guard_events", ())
        if events:
            self._guard.update(events)
            self._untold.extend(events)
        ended = seen.terminated or seen.truncated
        if ended:
            at["running"] = False
            letter = _letter(at["success"], info)
            self._verdicts.append(letter)
            self._finished += letter != "d"
            self._succeeded += letter == "s"
        self._tell(seen.observation, urgent=ended)

    def note(self, text: str) -> None:
        """Tell something to whoever looks while nothing steps, such as what a person is asked to do."""
        self._at["note"] = text[:_TEXT]
        self._tell(None, urgent=True)

    def buttons(self) -> tuple[Button, ...]:
        """Return what was pressed in the views since the last call, oldest first. Never waits."""
        paused = self._is_paused()
        if paused != self._paused or self._came(self._steps):
            # Someone came, or a person went away: while nothing steps, this is all that tells of it.
            self._paused = self._at["paused"] = paused
            self._tell(None, urgent=True)
        if not self._came(self._presses):
            return ()
        found: list[Button] = []
        for _ in range(_PRESS_QUEUE):
            try:
                frames = self._presses.recv_multipart(self._now)
            except self._again:
                break
            try:
                press = decode(frames, (ConsolePress,), PRESS_LIMITS)
            except WireError as e:
                self.refused += 1
                log.debug("a press is ignored: %s", e)
                continue
            if self._counts(press):
                found.append(cast(Button, press.button))
            else:
                self.refused += 1
        return tuple(found)

    def _counts(self, press: ConsolePress) -> bool:
        """Return whether a press still means what the person meant."""
        if press.button == "stop":
            return True
        if not -STALE_S < self._clock() - press.stamp_s < STALE_S:
            return False
        if press.button == "pause":
            return press.paused == self._paused
        return press.episode == self._at["episode"]  # its end may wait for the word

    def _tell(self, observation: Any, urgent: bool) -> None:
        """Publish the state and the pictures to whoever looks; `urgent` however short ago the last were."""
        now_s = self._clock()
        if not urgent and now_s - self._told_s < _STEP_S:
            return
        self._step_viewers += self._joined(self._steps)
        if self._step_viewers:
            self._told_s = now_s
            self._send(self._steps, self._message(now_s))
        self._untold.clear()
        self._picture_viewers += self._joined(self._pictures)
        if self._picture_viewers and isinstance(observation, Mapping):
            if not urgent and now_s - self._pictured_s < _PICTURE_S:
                return
            self._pictured_s = now_s
            images = {name: image for name, image in observation.items() if name != "state"}
            self._send(self._pictures, ConsolePictures(images=images))

    def _came(self, socket: zmq.Socket[bytes]) -> bool:
        """Return whether there is something to receive."""
        return bool(int(socket.get(self._ready)) & _POLLIN)

    def _joined(self, socket: zmq.Socket[bytes]) -> int:
        """Return how many more viewers there are than when this was last asked."""
        change = 0
        while self._came(socket):
            try:
                first = socket.recv(self._now)[:1]
            except self._again:
                break
            change += {b"\x01": 1, b"\x00": -1}.get(first, 0)
        return change

    def _send(self, socket: zmq.Socket[bytes], message: object) -> None:
        try:
            # Pictures are not copied: a reading never changes after it was taken.
            socket.send_multipart(encode(message), self._now, copy=False)
        except self._again:
            return  # whoever looks is slow
        except WireError as e:  # what a task or a device gave cannot be told; the session goes on
            log.warning("a viewer is not told of a step: %s", e)

    def _message(self, now_s: float) -> ConsoleStep:
        limit = self._max_steps()
        return ConsoleStep(
            session=self._session,
            stamp_s=now_s,
            max_steps=limit if 0 < limit < _NEVER else 0,
            period_s=self._period_s,
            verdicts="".join(self._verdicts),
            episodes=self._finished,
            successes=self._succeeded,
            events=list(self._untold),
            guard=dict(self._guard),
            **self._at,
        )

    def close(self) -> None:
        """End the session for its viewers. Safe to call twice."""
        sockets, self._sockets = self._sockets, []
        for socket in sockets:
            socket.close(linger=0)
        if sockets:
            self._context.term()
        withdraw_address(self._folder, self.address)


def show_session(env: AssistedEnv, folder: Path, session: str) -> None:
    """Let a session be seen: add what tells of it to what watches its environment, which also closes it.

    Where that is not possible a person is told, and the session goes on unseen.

    Args:
        env: The environment that the session steps.
        folder: The run.
        session: What is being done: "train", "record", "eval".
    """
    inner = env.env
    try:
        console = ConsoleWriter(
            folder,
            session=session,
            period_s=inner.period_s,
            max_steps=lambda: inner.task.max_steps,
            paused=lambda: env.paused,
        )
    except StorageError as e:
        log.warning("robot-rl view cannot show this session: %s", e)
        return
    env.watchers, env.attended = (*env.watchers, console), True


def _start(episode: int) -> dict[str, Any]:
    """Return what a message says of an episode that has just begun."""
    return {
        "episode": episode, "step": 0, "running": True, "paused": False, "source": "policy", "policy_version": -1,
        "reward": 0.0, "returned": 0.0, "success": False, "reason": "", "scalars": {}, "note": "",
    }  # fmt: skip


def _scalars(seen: StepSeen) -> dict[str, float]:
    """Return the numbers of a step that are worth a curve: a task's own (`info["scalars"]`), the value, the period."""
    found = {str(name)[:40]: float(value) for name, value in _mapping(seen, "scalars").items()}
    if seen.value == seen.value:
        found["value"] = float(seen.value)
    if "period_ms" in (timing := _mapping(seen, "timing")):
        found["period_ms"] = float(timing["period_ms"])
    return found


def _mapping(seen: StepSeen, name: str) -> Mapping[str, Any]:
    """Return a map in a step's info; an empty one where there is none."""
    found = seen.info.get(name)
    return found if isinstance(found, Mapping) else {}


def _letter(success: bool, info: Mapping[str, Any]) -> str:
    """Return how an episode counts: s and f for success and failure, d for neither."""
    verdict = info.get("verdict") or ""
    if verdict == "discard" or (not verdict and not success and info.get("reason") in (PAUSED, STOPPED)):
        return "d"
    return "s" if success else "f"
