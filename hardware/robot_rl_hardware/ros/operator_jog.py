"""`robot-rl jog` and `robot-rl watch`: keys in a terminal, an arm node on the other side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from robot_rl.errors import RobotError
from robot_rl_hardware.operator.gamepad import StopButton
from robot_rl_hardware.operator.jog import KEYS, JogConfig, Jogger
from robot_rl_hardware.operator.keyboard import Keyboard, KeyboardGone
from robot_rl_hardware.operator.stopping import StopRequest
from robot_rl_hardware.operator.view import ArmView, Panel
from robot_rl_hardware.ros.operator_client import ArmClient, open_client, wait_for_arm

JOG_HZ = 20.0
WATCH_S = 0.05
QUIET_S = 3.0
STOPPED_BY_US = 3
"""Exit status when the arm was stopped because the operator's tool went away."""

HELP = "SPACE stop    R recover from a hold    A acknowledge a stop (you have looked at the cell)    q leave"


class Operator:
    """What jogging and watching share: the stop, acknowledging, messages that stay for a while."""

    def __init__(self, client: ArmClient) -> None:
        self.client = client
        self.stop = StopRequest(client.stop)
        self._said, self._said_s = "", 0.0

    def take(self, key: str, now_s: float) -> bool:
        """Act on a key that every tool knows, and return whether it was one."""
        if key == "space":
            self.stop.press("operator's key", now_s)
        elif key == "A":
            self.say("acknowledged", now_s)
            self.client.ask("acknowledge")
        elif key == "R":
            self.say("recovery asked for", now_s)
            self.client.ask("recover")
        else:
            return False
        return True

    def say(self, text: str, now_s: float) -> None:
        """Show a sentence for some seconds."""
        self._said, self._said_s = text, now_s

    def message(self, view: ArmView, now_s: float) -> str:
        """Return what to tell the operator now; keeps asking for a stop that is not confirmed."""
        for sentence in self.client.heard():
            self.say(sentence, now_s)
        standing = self.stop.tick(view.told_mode, now_s)
        return standing or (self._said if now_s - self._said_s < QUIET_S else "")


def run_jog(namespace: str, domain: int | None, config: JogConfig, ended: Callable[[], bool], patience_s: float) -> int:
    """Jog an arm until the operator leaves.

    Args:
        namespace: Of the arm node.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        config: How to move.
        ended: Whether a signal asks to leave.
        patience_s: How long to look for the arm.

    Raises:
        RobotError: There is no terminal or no arm, or another program commands it.
    """
    with Keyboard() as keyboard, Panel() as panel, open_client("jog", namespace, domain, commands=True) as client:
        wait_for_arm(client, patience_s)
        jogging(client, keyboard, panel, Jogger(config), ended)
    return 0


def jogging(client: ArmClient, keyboard: Keyboard, panel: Panel, jogger: Jogger, ended: Callable[[], bool]) -> None:
    """Turn keys into commands until `q`, a signal or the end of the terminal; then send nothing more: the arm holds."""
    operator, driving = Operator(client), Driving(client, jogger)
    for view, keys in ticks(client, keyboard, ended):
        now_s = time.monotonic()
        if view.others:
            raise RobotError(
                f"{view.others} other program(s) publish target_pose on {view.where}: two cannot command one arm. End "
                "the other one (an actor, a second jog) and try again"
            )
        for key in keys:
            if key == "q":
                return
            if operator.take(key, now_s):
                jogger.forget()
            else:
                jogger.press(key, now_s)
        driving.step(view, now_s)
        said = operator.message(view, now_s) or ("moving" if jogger.moving(now_s) else "still: hold a key to move")
        speed = f"{1e3 * jogger.fraction * jogger.config.speed_m_s:.1f} mm/s"
        panel.show(
            [*view.lines(), f"{said}   [{speed}]", *KEYS.splitlines(), HELP], f"{view.mode} {view.reason}".strip()
        )


class Driving:
    """Sends where the arm shall be, from the first key on and as long as it runs."""

    def __init__(self, client: ArmClient, jogger: Jogger) -> None:
        self.client, self.jogger = client, jogger
        self._first_ns = 0

    def step(self, view: ArmView, now_s: float) -> None:
        """Send the target of now, if the arm may run and its readings are new."""
        if not view.fresh or view.told_mode != "RUN" or view.p_BE is None or view.quat_BE is None:
            self.jogger.forget()
            return
        if not self.jogger.asked:  # another program may command the arm, and be discovered only later
            self.jogger.close_gripper = view.closing
            return
        fresh_start = not self.jogger.synchronised
        if not fresh_start and (newest := self.client.newest_answer()) is not None:
            stamp_ns, answer = newest
            # Answers to requests from before, ours or of others, say nothing about this motion.
            if stamp_ns >= self._first_ns and answer.events and not answer.stopped:
                self.jogger.executed(answer.p_BE, answer.quat_BE)
        sent_ns = self.client.send(self.jogger.target(view.p_BE, view.quat_BE, now_s))
        if fresh_start:
            self._first_ns = sent_ns


def ticks(client: ArmClient, keyboard: Keyboard, ended: Callable[[], bool]) -> Iterator[tuple[ArmView, list[str]]]:
    """Yield the newest view and the keys since the last one, at the rate of jogging."""
    next_s = time.monotonic()
    while not ended():
        next_s = max(next_s + 1.0 / JOG_HZ, time.monotonic())
        keys = keyboard.read()  # also when the loop is late: the key that stops is heard in every tick
        while "space" not in keys and (left_s := next_s - time.monotonic()) > 0.0:
            keys += keyboard.read(left_s)
        yield client.view(), keys


def run_watch(namespace: str, domain: int | None, gamepad: str, button: int | None, ended: Callable[[], bool]) -> int:
    """Show an arm, and stop it on SPACE, a gamepad's button, Ctrl-C or the loss of any of them, until `q`.

    Args:
        namespace: Of the arm node.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        gamepad: Device file of a gamepad; empty for none.
        button: Which of its buttons stops; None lets any.
        ended: Whether a signal, such as that of a closed terminal, asks to leave.

    Returns:
        0 after `q`, STOPPED_BY_US when the arm was stopped because the watch ended in another way.
    """
    with contextlib.ExitStack() as stack:
        pad = stack.enter_context(StopButton(gamepad, button)) if gamepad else None
        keyboard, panel = stack.enter_context(Keyboard()), stack.enter_context(Panel())
        client = stack.enter_context(open_client("watch", namespace, domain))
        try:
            why = watching(client, keyboard, panel, pad, ended)
        except BaseException:
            insist(client, "the operator's watch failed")
            raise
        if why:
            insist(client, why)
        return STOPPED_BY_US if why else 0


def watching(
    client: ArmClient, keyboard: Keyboard, panel: Panel, pad: StopButton | None, ended: Callable[[], bool]
) -> str:
    """Show and stop until `q`; returns why the watch ended otherwise."""
    operator = Operator(client)
    while not ended():
        now_s = time.monotonic()
        reason = pad.pressed() if pad is not None else ""
        if reason:
            operator.stop.press(reason, now_s)
        try:
            keys = keyboard.read(WATCH_S)
        except KeyboardGone:
            return "the terminal of the operator's watch was closed"
        for key in keys:
            if key == "q":
                return ""
            if not operator.take(key, now_s):
                operator.say(f"'{key}' does nothing here", now_s)
        view = client.view()
        said = operator.message(view, now_s)
        gone = [pad.gone] if pad is not None and pad.gone else []
        panel.show([*view.lines(), *gone, said, HELP], f"{view.mode} {view.reason} {said}".strip())
    return "the operator's watch was ended"


def insist(client: ArmClient, reason: str, patience_s: float = 2.0) -> None:
    """Ask for a stop until it is confirmed or `patience_s` is over."""
    stop, end_s = StopRequest(client.stop), time.monotonic() + patience_s
    stop.press(reason, time.monotonic())
    while stop.pending and time.monotonic() < end_s:
        stop.tick(client.view().told_mode, time.monotonic())
        time.sleep(0.02)
