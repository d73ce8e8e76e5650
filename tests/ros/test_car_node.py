"""The car's node from another node, with a VESC on a pseudo-terminal."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cars import F1TENTH
from ros_rig import own_domain, wait_for
from vesc_peer import VescPeer

pytest.importorskip("rclpy")

from robot_rl_hardware.car.vesc import Vesc
from robot_rl_hardware.car.vesc_pilot import VescSettings
from robot_rl_hardware.ros import messages, qos
from robot_rl_hardware.ros.car_node import CarNodeSettings, run_car_node
from robot_rl_hardware.ros.node import open_node

pytestmark = pytest.mark.ros


class Driver:
    """A policy, a localisation and a joystick in one node, each of which may fall silent; and what the car tells."""

    def __init__(self, node: Any, peer: VescPeer) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped
        from sensor_msgs.msg import Imu, Joy
        from std_msgs.msg import Float64, String

        self.node, self.peer, self.held, self.on, self.count = node, peer, False, {"policy", "pose", "joy", "life"}, 0
        self.twist, self.erpm, self.age_s = (1.0, 0.5), None, 0.0
        self.newest: dict[str, Any] = {}
        self.out = {
            "cmd_vel": node.create_publisher(TwistStamped, "cmd_vel", qos.request(10)),
            "pose": node.create_publisher(PoseStamped, "pose", qos.request(10)),
            "joy": node.create_publisher(Joy, "joy", qos.request(10)),
            "speed": node.create_publisher(Float64, "commands/motor/speed", qos.request(10)),
            "servo": node.create_publisher(Float64, "commands/servo/position", qos.request(10)),
        }
        for kind, topic in ((TwistStamped, "twist"), (Imu, "imu"), (Float64, "sensors/servo_position_command")):
            node.create_subscription(kind, topic, lambda m, t=topic: self.newest.update({t: m}), qos.request(10))
        node.create_subscription(String, "status", self._on_status, qos.latched())
        self.status: dict[str, Any] = {}
        self.ending = threading.Event()

    def _on_status(self, message: Any) -> None:
        self.status = messages.from_text(message)

    def run(self) -> None:
        from geometry_msgs.msg import PoseStamped, TwistStamped
        from sensor_msgs.msg import Joy
        from std_msgs.msg import Float64

        while not self.ending.wait(0.01):
            self.count += 1
            now = self.node.get_clock().now().nanoseconds
            if "pose" in self.on:
                self.out["pose"].publish(PoseStamped(header=messages.header(now)))
            if "joy" in self.on:
                axes = [float(self.count if "life" in self.on else 0), 0.0]
                buttons = [0, 0, 0, 0, 0, int(self.held), 0]
                self.out["joy"].publish(Joy(header=messages.header(now), axes=axes, buttons=buttons))
            if self.erpm is not None:
                self.out["servo"].publish(Float64(data=0.45))
                self.out["speed"].publish(Float64(data=float(self.erpm)))
            elif "policy" in self.on:
                message = TwistStamped(header=messages.header(now - round(1e9 * self.age_s)))
                message.twist.linear.x, message.twist.angular.z = self.twist
                self.out["cmd_vel"].publish(message)

    def press(self) -> None:
        def drives() -> bool:
            self.held = False
            time.sleep(0.08)
            self.held = True
            time.sleep(0.4)
            return abs(self.peer.motor.erpm) > 500.0

        wait_for(drives, "the car drives")

    def stands(self) -> bool:
        return self.peer.motor.erpm == 0.0


@pytest.fixture
def driver(peer: VescPeer) -> Iterator[Driver]:
    with own_domain() as domain, open_node("driver", domain=domain) as node:
        made, said = Driver(node, peer), []
        vesc = Vesc(peer.path, F1TENTH, VescSettings(connect_s=20.0, imu=True))
        settings = CarNodeSettings(domain=domain)
        threads = [
            threading.Thread(target=run_car_node, args=(F1TENTH, vesc, settings, made.ending.is_set, said.append)),
            threading.Thread(target=made.run),
        ]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: bool(made.status), "a status")
            assert "VESC VESC_6_MK5, firmware 6.05; commands on /cmd_vel" in said[0]
            yield made
        finally:
            made.ending.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def peer() -> Iterator[VescPeer]:
    with VescPeer() as made:
        yield made


def test_it_drives_on_a_twist_and_tells_speed_servo_and_imu(driver: Driver) -> None:
    assert not driver.status["drives"]
    driver.press()
    wait_for(lambda: driver.newest["twist"].twist.linear.x > 0.9, "the car drives 1 m/s")
    steering = math.atan(F1TENTH.wheelbase_m * 0.5 / 1.0)
    assert driver.newest["sensors/servo_position_command"].data == pytest.approx(F1TENTH.servo_of(steering), abs=1e-3)
    assert driver.newest["imu"].linear_acceleration.z == pytest.approx(9.80665, abs=1e-3)
    assert driver.newest["imu"].angular_velocity.z == pytest.approx(math.pi, abs=1e-4)
    assert driver.newest["imu"].header.frame_id == "base_link"
    wait_for(lambda: driver.status["drives"], "the status says so")


@pytest.mark.parametrize("silent", ["policy", "pose", "joy", "life"])
def test_it_stops_for_what_falls_silent_and_needs_a_press(driver: Driver, silent: str) -> None:
    driver.press()
    driver.on.remove(silent)
    wait_for(driver.stands, "the car stands")
    driver.on.add(silent)
    time.sleep(0.4)
    assert driver.stands()
    wait_for(lambda: "let go and pressed again" in driver.status["reason"], "the status says why")
    driver.press()


def test_the_topics_of_vesc_driver_are_governed_too(driver: Driver) -> None:
    driver.erpm = -2307.0
    driver.press()
    wait_for(lambda: driver.peer.motor.erpm < -2000.0, "the car drives backward")
    assert driver.peer.motor.servo == pytest.approx(0.45, abs=1e-3)
    driver.erpm = 1e9
    wait_for(lambda: driver.peer.motor.erpm > 4614 * 2.9, "the car drives")
    assert driver.peer.motor.number <= 4614 * F1TENTH.max_speed_m_s


def test_a_vesc_that_falls_silent_is_told_in_the_status(driver: Driver) -> None:
    driver.press()
    driver.peer.silent = True
    wait_for(driver.stands, "the car stands")
    wait_for(lambda: not driver.status["drives"] and driver.status["age_s"] > 0.5, "the status tells the silence")
    assert driver.status["reason"].startswith("the car's VESC is ")
    assert driver.status["stops"] > 0
    assert driver.status["stop_after_s"] > 0.0


def test_commands_that_are_old_when_they_come_are_not_followed(driver: Driver) -> None:
    driver.press()
    driver.age_s = 0.5
    wait_for(driver.stands, "the car stands")
    driver.held = False
    time.sleep(0.1)
    driver.held = True
    time.sleep(0.4)
    assert driver.stands()
