"""`robot-rl calibrate car`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_rl.cell_file import SUFFIXES
from robot_rl.cli.camera_settings import hardware
from robot_rl.cli.common import no_settings, parse, parser, say, stop_on_signals, take
from robot_rl.errors import ConfigError, MissingDependency, RobotError

WHAT = """\
Measure an RC car by one scripted drive of a minute: gain and offset of its speed and of its steering, latency, lag,
friction. It goes through the car's node (robot-rl node car), so the deadman must be held, and the localisation must
come from something that is not the wheels. Wheelbase and limits are taken from the car file, which is written anew
with what was measured; the file of before is kept. The drive is kept too, and can be fitted again with --from.
The same car file makes the twin."""
EXAMPLES = """\
  robot-rl calibrate car car=my_car.yaml --speed 3 --room 14,8,9,9
  robot-rl calibrate car car=my_car.yaml --from my_car.drive.npz
"""
SETTINGS = """\
  car        the car's file, such as my_car.yaml; the car's node must drive by the same one
"""


def calibrate_car(arguments: Sequence[str]) -> int:
    """Drive, fit, and write the car file."""
    made = parser("calibrate car", WHAT, EXAMPLES, SETTINGS, takes_settings=False)
    made.add_argument("--speed", type=float, default=3.0, metavar="M_S", help="highest speed of the drive (3)")
    made.add_argument(
        "--room", default="", metavar="A,B,L,R", help="free metres ahead of the car, behind, to its left, to its right"
    )
    made.add_argument("--from", dest="source", default="", metavar="FILE", help="fit a drive of before; nothing moves")
    made.add_argument("--no-friction", action="store_true", help="there is no room to slide: leave friction as it is")
    made.add_argument("--namespace", default="", metavar="NAME", help="of the car's node; none as F1TENTH has it")
    made.add_argument("--domain", type=int, metavar="N", help="ROS domain, 0 to 101 (ROS_DOMAIN_ID)")
    options, settings = parse(made, arguments)
    path = Path(take(settings, "car"))
    no_settings(made, settings)
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"which car? Name its file: car=my_car.yaml, and not '{path}'")
    car, calibrated = hardware("car.file").load_car(path), hardware("car.calibrated")
    recording = calibrated.load_recording(Path(options.source)) if options.source else _drive(car, path, options)
    parts = [p for p in hardware("car.calibration").PARTS if p != "friction" or not options.no_friction]
    found, notes = calibrated.fit_car(recording, car, parts)
    fitted = found.apply(car)
    for line in (*calibrated.table(car, found), *notes):
        say(line)
    picture = path.with_suffix(".png")
    try:
        calibrated.draw(picture, recording, fitted)
    except MissingDependency as e:
        say(f"There is no picture: {e}")
    else:
        say(f"The picture is {picture}.")
    backup = hardware("car.file").save_car(path, fitted)
    say(f"{path} holds what was measured{f'; what it held before is in {backup}' if backup else ''}.")
    return 0


def _drive(car: Any, path: Path, options: Any) -> Any:
    """Drive, keep the drive on disk, and return it."""
    scripted, client = hardware("car.scripted_drive"), hardware("ros.car_client")
    room = room_of(options.room, scripted, car, options.speed)
    config = client.RosCarConfig(
        namespace=options.namespace, domain=options.domain, control_hz=scripted.RATE_HZ, person_s=300.0
    )
    robot = client.RosCar(config)
    with stop_on_signals("the car stops") as stopping:
        try:
            start = scripted.here(robot)
            robot.check_file(car)
            say("Look that the floor is free, then let the deadman's button go, press it and hold it.")
            robot.reset(start)
            drive = scripted.drive(robot, car, options.speed, room, tell=say, stopping=stopping)
        finally:
            robot.close()
    if drive.problem:
        raise RobotError(f"the drive ended early: {drive.problem}. {path} is as it was; drive again")
    recording = drive.recording()
    kept = path.with_suffix(".drive.npz")
    hardware("car.calibrated").save_recording(kept, recording)
    say(f"The drive is kept in {kept}.")
    return recording


def room_of(text: str, scripted: Any, car: Any, top_m_s: float) -> Any:
    """Return the room that an option tells.

    Raises:
        ConfigError: It does not tell any; the sentence says how much the drive takes.
    """
    takes = scripted.needed(car, top_m_s).words()
    numbers = text.split(",")
    try:
        ahead, behind, left, right = map(float, numbers)
    except ValueError:
        found = f"--room is '{text}'" if text else "--room is missing"
        raise ConfigError(
            f"{found}; give four distances in metres from where the car stands: --room AHEAD,BEHIND,LEFT,RIGHT. At "
            f"{top_m_s:g} m/s the drive takes {takes}"
        ) from None
    return scripted.Room(ahead_m=ahead, behind_m=behind, left_m=left, right_m=right)
