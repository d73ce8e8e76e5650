"""Programs that are not ours, against our arm's node: CRISP's own client, and another distribution of ROS."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from ros_rig import arm_node, program, ros_environ

pytest.importorskip("rclpy")

from robot_rl_hardware.ros.environment import UDP, child_environment

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "tests" / "helpers" / "crisp_client.py"
CRISP, KILTED = ROOT / ".peers" / "crisp", ROOT / ".peers" / "kilted" / "bin" / "python"

READER = """
import os, sys, time
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

rclpy.init()
node = rclpy.create_node("reader", namespace="/arm")
best = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
seen = {}
node.create_subscription(PoseStamped, "current_pose", lambda m: seen.__setitem__("pose", m), best)
node.create_subscription(JointState, "joint_states", lambda m: seen.__setitem__("joints", m), best)
node.create_subscription(String, "status", lambda m: seen.__setitem__("status", m), latched)
stop = node.create_client(Trigger, "stop")
executor = SingleThreadedExecutor()
executor.add_node(node)
until = time.monotonic() + 90
future = None
while time.monotonic() < until and not (future is not None and future.done()):
    executor.spin_once(timeout_sec=0.1)
    if len(seen) == 3 and future is None and stop.service_is_ready():
        future = stop.call_async(Trigger.Request())
print("read", sorted(seen), seen["pose"].header.frame_id, len(seen["joints"].name), future.result().success, flush=True)
executor.shutdown(timeout_sec=2)
node.destroy_node()
rclpy.try_shutdown()
"""


@pytest.mark.slow
@pytest.mark.skipif(not CRISP.is_dir(), reason="CRISP's client is not here; scripts/crisp_peer.sh fetches it")
@pytest.mark.parametrize("driver", ["point", "twin"])
def test_crisps_own_client_class_moves_our_arm(driver: str) -> None:
    with arm_node(driver, "reach") as node:
        # The checks of field types, which Humble makes, stop CRISP's own messages.
        with program(
            [sys.executable, str(CLIENT), str(CRISP), "arm"], node.domain, ROS_PYTHON_CHECK_FIELDS=""
        ) as client:
            status = client.wait()
            told = client.said()
        assert status == 0, told
        assert "stiffness 900.0 900.0" in told
        found = re.search(r"moved (\S+) (\S+) (\S+) mm", told)
        assert found is not None, told
        assert float(found[3]) == pytest.approx(30.0, abs=5.0)
        assert abs(float(found[1])) + abs(float(found[2])) < 5.0


@pytest.mark.slow
@pytest.mark.skipif(not KILTED.exists(), reason="ROS 2 Kilted is not here; scripts/kilted_peer.sh installs it")
def test_another_distribution_reads_our_topics_and_calls_our_services() -> None:
    with arm_node("point", "reach") as node:
        environ = child_environment(ros_environ(node.domain, FASTRTPS_DEFAULT_PROFILES_FILE=str(UDP)))
        absent = {
            name: "" for name in os.environ if name not in environ
        }  # `program` adds to ours: these were taken out
        with program([str(KILTED), "-c", READER], node.domain, **{**environ, **absent}) as reader:
            status = reader.wait()
            told = reader.said()
        assert status == 0, told
        assert "read ['joints', 'pose', 'status'] base 7 True" in told
