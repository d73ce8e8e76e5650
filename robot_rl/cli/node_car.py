"""`robot-rl node car`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from robot_rl.cli.camera_settings import hardware
from robot_rl.cli.common import parse, parser, say, stop_on_signals, take
from robot_rl.cli.node import split_ros
from robot_rl.errors import ConfigError

WHAT = """\
Drive an RC car for whoever commands it on F1TENTH's ROS topics (docs/car_hardware.md). Behind them stands a VESC or
a twin in real time, with the same deadman, watchdog and limits in front. The car drives only while the deadman's
button is held and commands, localisation and VESC are fresh. On Ctrl-C it stops, and the node leaves. What follows
--ros-args goes to ROS."""
EXAMPLES = """\
  robot-rl node car driver=twin car=my_car.yaml driver.twin.course=oval
  robot-rl node car driver=vesc car=my_car.yaml driver.port=/dev/serial/by-id/usb-STMicroelectronics_ChibiOS
  robot-rl node car driver=twin car=my_car.yaml --ros-args -r pose:=/pf/pose
"""
SETTINGS = """\
  car        the car's file, such as my_car.yaml: its conversions, limits and lags
  driver     twin or vesc; each has settings of its own: driver.NAME=...
  node       button (of joy), localisation (of the twin), base_frame, odom_frame
"""


def node_car(arguments: Sequence[str]) -> int:
    """Start a car's driver and be its node until Ctrl-C."""
    own, ros_arguments = split_ros(arguments)
    made = parser("node car", WHAT, EXAMPLES, SETTINGS)
    made.add_argument("--namespace", default="", metavar="NAME", help="of the topics; none as F1TENTH has them")
    made.add_argument("--domain", type=int, metavar="N", help="ROS domain, 0 to 101 (ROS_DOMAIN_ID)")
    options, settings = parse(made, own)
    from robot_rl.config import compose
    from robot_rl.typed import build, target_of

    car = car_of(settings)
    nodes, environment = hardware("ros.car_node"), hardware("ros.environment")
    environment.domain_of(options.domain)
    environment.prepare()
    try:
        composed = compose(of_cars(settings), "car_node", options.config_dir)
    except ConfigError as e:
        raise ConfigError(str(e).replace("car_driver", "driver")) from e
    values = {
        **composed.values["node"], "namespace": options.namespace, "domain": options.domain,
        "ros_arguments": ros_arguments,
    }  # fmt: skip
    config = build(nodes.CarNodeSettings, values, "node")
    logging.getLogger("robot_rl_hardware").setLevel(logging.INFO)
    driver = target_of(composed.values["driver"], "driver").make(car)
    with stop_on_signals("the car stops; the node ends") as stopping:
        nodes.run_car_node(car, driver, config, stopping, say)
    return 0


def car_of(settings: list[str]) -> object:
    """Remove `car=FILE` from the settings and return the car in it.

    Raises:
        ConfigError: No file is named, or it does not hold a car.
    """
    path = take(settings, "car")
    if not path:
        raise ConfigError("which car? Name its file: car=my_car.yaml (docs/car_hardware.md shows one)")
    return hardware("car.file").load_car(path)


def of_cars(settings: Sequence[str]) -> list[str]:
    """Return settings in which `driver=NAME` chooses among the drivers of cars, not of arms."""
    return [f"car_{text}" if text.startswith("driver=") else text for text in settings]
