"""The car node: a governed VESC, or a twin in its place, behind the topics of F1TENTH.

In: `drive` (ackermann_msgs, where it is installed), `cmd_vel` (TwistStamped: speed and yaw rate), and the raw
`commands/motor/speed` [ERPM] and `commands/servo/position` of vesc_driver. `joy` is the deadman, `pose` the
localisation.

Out: `odom` (nav_msgs, where it is installed), `twist`, `joint_states`, `imu` in SI units,
`sensors/servo_position_command`, `executed`, `status`; of a twin also `scan`, `pose` and `true_pose`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from robot_rl.errors import ConfigError
from robot_rl_hardware.car.deadman import Deadman
from robot_rl_hardware.car.governor import Governor
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.simulated import SimulatedVesc
from robot_rl_hardware.car.vesc import VescState
from robot_rl_hardware.car.watchdog import Watchdog
from robot_rl_hardware.ros.car_receiver import CarReceiver
from robot_rl_hardware.ros.car_sender import CarDriver, CarSender
from robot_rl_hardware.ros.car_world import CarWorld
from robot_rl_hardware.ros.node import check_names, open_node

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CarNodeSettings:
    """Settings of a car node.

    Attributes:
        button: Index in `joy`'s buttons of the one that must be held; 5 is F1TENTH's, the right shoulder button.
        localisation: Whether a twin publishes `pose` too; a car of metal has a localisation of its own.
        name: Of the node.
        namespace: Before its topics.
        base_frame, odom_frame: Of what it publishes.
        domain: ROS domain; ROS_DOMAIN_ID when None.
        ros_arguments: As after `--ros-args`.
    """

    button: int = 5
    localisation: bool = True
    name: str = "car"
    namespace: str = ""
    base_frame: str = "base_link"
    odom_frame: str = "odom"
    domain: int | None = None
    ros_arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.button < 0:
            raise ConfigError(f"node.button is {self.button}; buttons of joy are counted from 0")
        check_names(self.name, self.namespace)


def run_car_node(
    car: CarSettings,
    driver: AbstractContextManager[CarDriver],
    settings: CarNodeSettings,
    stopping: Callable[[], bool],
    ready: Callable[[str], None] = log.info,
) -> None:
    """Drive a car for whoever commands it over ROS 2, until asked to stop.

    Args:
        car: Its file.
        driver: Of its VESC, or of a twin; not yet connected.
        settings: Of the node.
        stopping: Asked every period.
        ready: Told in words, once the car answers.

    Raises:
        VescError: The VESC cannot be reached, or is unplugged on the way.
    """
    with (
        driver as driven,
        open_node(settings.name, settings.namespace, settings.domain, settings.ros_arguments) as node,
    ):
        world = CarWorld(node, driven, settings.localisation) if isinstance(driven, SimulatedVesc) else None
        sender = CarSender(node, car, driven, settings.base_frame, settings.odom_frame)

        def tell(state: VescState) -> None:
            sender.state(state)
            if world:
                world.tell()

        governor = Governor(driven, Watchdog(Deadman()), sender.look, tell)
        sender.governor = governor
        receiver = sender.receiver = CarReceiver(node, car, settings.button, governor)
        ready(f"the car '{car.name}' stands: {driven.what}; commands on {', '.join(receiver.topics)}")
        governor.run(stopping)
