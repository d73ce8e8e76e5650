from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from patience import wait_until
from vesc_peer import VescPeer

from robot_rl_hardware.car.deadman import Deadman
from robot_rl_hardware.car.governor import Governor
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.vesc import Vesc, VescState
from robot_rl_hardware.car.vesc_pilot import VescGone, VescSettings
from robot_rl_hardware.car.watchdog import Watchdog


class Session:
    """A car that is governed, with a hand on the deadman, a policy and a localisation that may each fall silent."""

    def __init__(self, peer: VescPeer, car: CarSettings) -> None:
        self.peer, self.deadman, self.held, self.on = peer, Deadman(), False, {"pad", "policy", "pose"}
        self.count, self.states = 0, list[VescState]()
        self.vesc = Vesc(peer.path, car, VescSettings(connect_s=20.0))
        self.governor = Governor(self.vesc, Watchdog(self.deadman), self.poll, self.states.append)
        self.ending, self.error = threading.Event(), ""

    def poll(self, now_s: float) -> None:
        self.count += 1
        if "pad" in self.on:
            self.deadman.sample(self.held, now_s, now_s, b"%d" % self.count)

    def policy(self) -> None:
        while not self.ending.wait(0.01):
            if "pose" in self.on:
                self.governor.located(time.monotonic())
            if "policy" in self.on:
                self.governor.command(1.0, 0.1)

    def press(self) -> None:
        """Let go and press until the car drives: on a loaded machine something may be late at the first try."""

        def drives() -> bool:
            self.held = False
            time.sleep(0.06)
            self.held = True
            time.sleep(0.3)
            return self.peer.motor.erpm > 500.0

        wait_until(drives, "the car drives", timeout_s=60.0)

    def stands(self) -> bool:
        return self.peer.motor.erpm == 0.0


@pytest.fixture
def session(peer: VescPeer, f1tenth: CarSettings) -> Iterator[Session]:
    made = Session(peer, f1tenth)
    with made.vesc:
        threads = [threading.Thread(target=made.policy)]
        threads.append(threading.Thread(target=lambda: run(made)))
        for thread in threads:
            thread.start()
        try:
            yield made
        finally:
            made.ending.set()
            for thread in threads:
                thread.join()


def run(session: Session) -> None:
    try:
        session.governor.run(session.ending.is_set)
    except VescGone as e:
        session.error = str(e)


@pytest.mark.parametrize("silent", ["pad", "policy", "pose"])
def test_a_car_is_braked_when_something_falls_silent_and_needs_a_press_to_go_on(session: Session, silent: str) -> None:
    session.press()
    session.on.remove(silent)
    wait_until(session.stands, "the car stands")
    session.on.add(silent)
    time.sleep(0.3)
    assert session.stands()
    assert not session.governor.decision.drives
    session.press()
    assert session.states[-1].speed_m_s > 0.0


def test_letting_go_stops_the_car_and_a_stop_of_somebody_else_too(session: Session) -> None:
    session.press()
    session.held = False
    wait_until(session.stands, "the car stands")
    session.press()
    session.governor.stop("the car hit something")
    wait_until(session.stands, "the car stands")
    assert "the car hit something" in session.governor.decision.reason


def test_a_fault_of_the_vesc_needs_an_acknowledgement_and_a_press(session: Session) -> None:
    session.press()
    session.peer.fault = 3
    wait_until(lambda: session.vesc._pilot.faults == ("DRV",), "the fault is told")
    session.peer.fault = 0
    wait_until(lambda: "DRV" in session.governor.decision.reason, "the reason is told")
    session.vesc.acknowledge("Ada")
    time.sleep(0.3)
    assert not session.governor.decision.drives
    session.press()


def test_the_governor_ends_with_the_car_standing(session: Session) -> None:
    session.press()
    session.ending.set()
    wait_until(session.stands, "the car stands")
    assert session.governor.decision.reason == "the governor has ended"


def test_a_car_whose_plug_is_pulled_ends_the_governor_with_a_sentence(session: Session) -> None:
    session.press()
    session.peer.vanish()
    wait_until(lambda: bool(session.error), "the governor ends")
    assert "is gone, the port says" in session.error
    assert session.governor.decision.reason == "the governor has ended"
