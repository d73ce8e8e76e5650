"""CRISP's own client class as a program of its own: it moves an arm node 3 cm up and says how far it came.

Python crisp_client.py FOLDER_OF_CRISP NAMESPACE. The client's unused halves import messages of ros2_control and tf2,
for which no wheels exist (it switches controllers and homes through them); empty stand-ins take their place.
"""

from __future__ import annotations

import sys
import types


def stand_in(name: str, **members: object) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class NoClient:
    def __init__(self, *_: object, **__: object) -> None:
        pass


def main(folder: str, namespace: str) -> None:
    sys.path.insert(0, folder)
    from geometry_msgs.msg import TransformStamped

    stand_in("tf2_ros", TransformStamped=TransformStamped)
    stand_in("tf2_ros.buffer", Buffer=NoClient)
    stand_in("tf2_ros.transform_listener", TransformListener=NoClient)
    stand_in("control_msgs")
    stand_in("crisp_py.control.controller_switcher", ControllerSwitcherClient=NoClient)
    stand_in("crisp_py.control.joint_trajectory_controller_client", JointTrajectoryControllerClient=NoClient)

    import numpy as np
    import rclpy
    from crisp_py.robot import FrankaConfig, Robot  # pyright: ignore[reportMissingImports]
    from rclpy.utilities import try_shutdown

    rclpy.init()
    robot = Robot(namespace=namespace, robot_config=FrankaConfig(), spin_node=False)
    import threading

    from rclpy.executors import SingleThreadedExecutor

    executor = SingleThreadedExecutor()
    executor.add_node(robot.node)
    spinner = threading.Thread(target=executor.spin)
    spinner.start()
    try:
        robot.wait_until_ready(timeout=60.0)
        stiffness = robot.cartesian_controller_parameters_client
        stiffness.wait_until_ready(60.0)
        stiffness.set_parameters([("task.k_pos_x", 900.0), ("task.k_pos_z", 900.0)])
        tell("stiffness", *stiffness.get_parameters(["task.k_pos_x", "task.k_pos_z"]))
        tell("joints", len(robot.joint_values), "speed", robot.end_effector_twist.linear.shape)
        before = robot.end_effector_pose.position
        robot.move_to(position=before + np.array([0.0, 0.0, 0.03]), speed=0.05)
        rate, moved = robot.node.create_rate(20.0), np.zeros(3)
        for _ in range(400):
            moved = robot.end_effector_pose.position - before
            if abs(moved[2] - 0.03) < 0.004:
                break
            rate.sleep()
        tell("moved", *(f"{1e3 * v:.2f}" for v in moved), "mm")
    finally:
        executor.shutdown(timeout_sec=2)
        spinner.join()
        robot.node.destroy_node()
        try_shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
