"""What runs beside a car's node, each as a program that can be killed: policy, joystick, localisation, link.

    python car_programs.py KIND DOMAIN [TOPIC]

A joystick holds its button from SIGUSR1 on and lets it go at SIGUSR2; its axes move, as those of a hand do, but for a
while after SIGALRM: then it tells the same again and again with fresh stamps, as the receiver of a dead pad may.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

CAR_FILE = "car.yaml"
SPEED_M_S = 1.0
STUCK_S = 2.0


def policy(node, over, topic="cmd_vel"):
    """Command a speed, 40 times a second."""
    from geometry_msgs.msg import TwistStamped

    from robot_rl_hardware.ros import messages, qos

    publisher = node.create_publisher(TwistStamped, topic, qos.request())
    while not over.wait(0.025):
        message = TwistStamped(header=messages.header(node.get_clock().now().nanoseconds))
        message.twist.linear.x, message.twist.angular.z = SPEED_M_S, SPEED_M_S / 3.0
        publisher.publish(message)


def joystick(node, over):
    """Tell a button and an axis, 50 times a second."""
    from sensor_msgs.msg import Joy

    from robot_rl_hardware.ros import messages, qos

    publisher, held, count = node.create_publisher(Joy, "joy", qos.request()), threading.Event(), 0
    stuck_until_s = 0.0

    def stick(*_):
        nonlocal stuck_until_s
        stuck_until_s = time.monotonic() + STUCK_S

    signal.signal(signal.SIGUSR1, lambda *_: held.set())
    signal.signal(signal.SIGUSR2, lambda *_: held.clear())
    signal.signal(signal.SIGALRM, stick)
    print("joystick ready", flush=True)  # noqa: T201, its only way to tell
    while not over.wait(0.02):
        count += time.monotonic() > stuck_until_s
        header = messages.header(node.get_clock().now().nanoseconds)
        publisher.publish(Joy(header=header, axes=[float(count)], buttons=[0, 0, 0, 0, 0, int(held.is_set())]))


def localisation(node, over):
    """Pass on where the twin really is."""
    from geometry_msgs.msg import PoseStamped

    from robot_rl_hardware.ros import qos

    publisher = node.create_publisher(PoseStamped, "pose", qos.request())
    node.create_subscription(PoseStamped, "true_pose", publisher.publish, qos.newest())
    over.wait()


def link(node, over):
    """Pass on what a policy on another machine commands."""
    from geometry_msgs.msg import TwistStamped

    from robot_rl_hardware.ros import qos

    publisher = node.create_publisher(TwistStamped, "cmd_vel", qos.request())
    node.create_subscription(TwistStamped, "far/cmd_vel", publisher.publish, qos.newest())
    over.wait()


def command(kind: str, domain: int, *words: str) -> list[str]:
    """Return the command line of one of them."""
    return [sys.executable, str(Path(__file__)), kind, str(domain), *words]


if __name__ == "__main__":
    from robot_rl_hardware.ros.node import open_node

    kind, domain, *words = sys.argv[1:]
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with open_node(f"{kind}_program", domain=int(domain)) as opened:
        globals()[kind](opened, ended, *words)
