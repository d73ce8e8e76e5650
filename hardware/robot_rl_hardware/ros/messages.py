"""Between numpy and ROS messages. Poses are position [m] and quaternion wxyz here, xyzw in messages.

Every number goes in as a Python float or int and every picture as an `array.array`: the type checks that Humble always
makes refuse numpy's own scalars, and take 55 ms to look at a picture's bytes one by one.
"""

from __future__ import annotations

import array
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import StorageError, WireError
from robot_rl.robot import Executed, Vector

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticStatus
    from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
    from sensor_msgs.msg import CompressedImage, Image, JointState
    from std_msgs.msg import Header, String

BASE_FRAME = "base"
ARM_JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
GRIPPER = "gripper"
_NS = 1_000_000_000
_LARGEST_JSON = 64 * 1024


def to_time(stamp_ns: int) -> Time:
    """Return a time stamp of nanoseconds as a message."""
    from builtin_interfaces.msg import Time

    seconds, nanoseconds = divmod(int(stamp_ns), _NS)
    return Time(sec=seconds, nanosec=nanoseconds)


def stamp_ns(message: Any) -> int:
    """Return the stamp of a message with a header, in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def header(stamp_ns: int, frame: str = BASE_FRAME) -> Header:
    """Return a header."""
    from std_msgs.msg import Header

    return Header(stamp=to_time(stamp_ns), frame_id=frame)


def to_pose(stamp_ns: int, p: Vector, quat: Vector, frame: str = BASE_FRAME) -> PoseStamped:
    """Return a pose, (3,) [m] and (4,) wxyz, as a message."""
    from geometry_msgs.msg import PoseStamped

    message = PoseStamped(header=header(stamp_ns, frame))
    position, orientation = message.pose.position, message.pose.orientation
    position.x, position.y, position.z = float(p[0]), float(p[1]), float(p[2])
    orientation.w, orientation.x = float(quat[0]), float(quat[1])
    orientation.y, orientation.z = float(quat[2]), float(quat[3])
    return message


def from_pose(message: PoseStamped) -> tuple[Vector, Vector]:
    """Return position (3,) [m] and quaternion (4,) wxyz of a message, as they are: perhaps no numbers, no rotation."""
    p, o = message.pose.position, message.pose.orientation
    return np.array([p.x, p.y, p.z]), np.array([o.w, o.x, o.y, o.z])


def to_twist(stamp_ns: int, V: Vector) -> TwistStamped:
    """Return a twist, (6,) v [m/s] then omega [rad/s] in B, as a message."""
    from geometry_msgs.msg import TwistStamped

    message = TwistStamped(header=header(stamp_ns))
    _fill(message.twist.linear, message.twist.angular, V)
    return message


def from_twist(message: TwistStamped) -> Vector:
    """Return a twist (6,)."""
    return _six(message.twist.linear, message.twist.angular)


def to_wrench(stamp_ns: int, F: Vector) -> WrenchStamped:
    """Return a wrench, (6,) force [N] then torque [N m] in B, as a message."""
    from geometry_msgs.msg import WrenchStamped

    message = WrenchStamped(header=header(stamp_ns))
    _fill(message.wrench.force, message.wrench.torque, F)
    return message


def from_wrench(message: WrenchStamped) -> Vector:
    """Return a wrench (6,)."""
    return _six(message.wrench.force, message.wrench.torque)


def _fill(first: Any, second: Any, six: Vector) -> None:
    first.x, first.y, first.z = float(six[0]), float(six[1]), float(six[2])
    second.x, second.y, second.z = float(six[3]), float(six[4]), float(six[5])


def _six(first: Any, second: Any) -> Vector:
    return np.array([first.x, first.y, first.z, second.x, second.y, second.z])


def to_joints(
    stamp_ns: int,
    names: Sequence[str],
    position: Iterable[float],
    velocity: Iterable[float] = (),
    effort: Iterable[float] = (),
) -> JointState:
    """Return joints as a message."""
    from sensor_msgs.msg import JointState

    return JointState(
        header=header(stamp_ns),
        name=list(names),
        position=[float(v) for v in position],
        velocity=[float(v) for v in velocity],
        effort=[float(v) for v in effort],
    )


def from_joints(message: JointState, names: Sequence[str]) -> tuple[Vector, Vector]:
    """Return positions and velocities of the named joints, whatever the order and company they come in.

    Raises:
        WireError: One of them is missing.
    """
    at = {str(name): i for i, name in enumerate(message.name)}
    missing = [name for name in names if name not in at or at[name] >= len(message.position)]
    if missing:
        raise WireError(f"a JointState has no position of {missing}; it names {sorted(at)}")
    indices = [at[name] for name in names]
    velocity = message.velocity
    moving = [velocity[i] if i < len(velocity) else 0.0 for i in indices]
    return np.array([message.position[i] for i in indices]), np.array(moving)


def to_image(stamp_ns: int, image: NDArray[np.uint8], frame: str) -> Image:
    """Return an (H, W, 3) uint8 RGB picture as a message."""
    from sensor_msgs.msg import Image

    height, width, _ = image.shape
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(image).data)
    message = Image(header=header(stamp_ns, frame), height=height, width=width, encoding="rgb8", step=3 * width)
    message.data = data
    return message


def from_image(message: Image) -> NDArray[np.uint8]:
    """Return a picture as (H, W, 3) uint8 RGB, a copy.

    Raises:
        WireError: The encoding is none of rgb8, bgr8, mono8, or the data do not fit the size.
    """
    channels = {"rgb8": 3, "bgr8": 3, "mono8": 1}.get(message.encoding, 0)
    height, width, step = int(message.height), int(message.width), int(message.step)
    if not channels:
        raise WireError(f"a picture is encoded as '{message.encoding}'; allowed: rgb8, bgr8, mono8")
    if not height or not width or step < channels * width or len(message.data) < step * height:
        raise WireError(
            f"a picture says {width}x{height} {message.encoding}, {step} bytes a row, and has {len(message.data)} bytes"
        )
    rows = np.frombuffer(message.data, np.uint8)[: step * height].reshape(height, step)[:, : channels * width]
    pixels = rows.reshape(height, width, channels)
    if message.encoding == "bgr8":
        pixels = pixels[..., ::-1]
    return np.repeat(pixels, 3, axis=2) if channels == 1 else np.array(pixels)


def is_compressed(topic: str) -> bool:
    """Return whether a topic carries compressed pictures, by the custom of image_transport."""
    return topic.endswith("/compressed")


def to_compressed(stamp_ns: int, image: NDArray[np.uint8], frame: str) -> CompressedImage:
    """Return an (H, W, 3) uint8 RGB picture as a message that holds a JPEG file."""
    from sensor_msgs.msg import CompressedImage

    from robot_rl.episodes.writer import encode

    return CompressedImage(header=header(stamp_ns, frame), format="jpeg", data=array.array("B", encode(image, "jpeg")))


def from_compressed(message: CompressedImage) -> NDArray[np.uint8]:
    """Return the picture of a JPEG or PNG file in a message as (H, W, 3) uint8 RGB.

    Raises:
        WireError: It is neither, or broken.
    """
    from robot_rl.episodes.writer import decode_picture

    try:
        return decode_picture(np.frombuffer(message.data, np.uint8))
    except StorageError as e:
        raise WireError(
            f"a picture says it is '{message.format}', and its {len(message.data)} bytes cannot be decoded; allowed: "
            "JPEG or PNG files"
        ) from e


def to_text(values: Mapping[str, Any]) -> String:
    """Return plain values as JSON in a message; what JSON cannot say (no number, infinite) becomes null."""
    from std_msgs.msg import String

    return String(data=json.dumps(_plain(values), separators=(",", ":"), allow_nan=False))


def from_text(message: String) -> dict[str, Any]:
    """Return the values of a JSON message.

    Raises:
        WireError: It is no JSON object, or a very long one.
    """
    if len(message.data) > _LARGEST_JSON:
        raise WireError(f"a JSON message has {len(message.data)} characters; allowed: {_LARGEST_JSON}")
    try:
        values = json.loads(message.data)
    except (ValueError, RecursionError) as e:
        raise WireError(f"a message is no JSON ({e}): {message.data[:80]!r}") from e
    if not isinstance(values, dict):
        raise WireError(f"a message is a JSON {type(values).__name__}, not an object: {message.data[:80]!r}")
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value if value is None else str(value)


def executed_to_text(stamp_ns: int, executed: Executed) -> String:
    """Return what the guard made of the request with this stamp."""
    return to_text(
        {
            "stamp_ns": stamp_ns,
            "p_BE": executed.p_BE,
            "quat_BE": executed.quat_BE,
            "close_gripper": executed.close_gripper,
            "events": list(executed.events),
            "stopped": executed.stopped,
            "reason": executed.reason,
        }
    )


def executed_from_text(message: String) -> tuple[int, Executed]:
    """Return the stamp [ns] of a request and what the guard made of it.

    Raises:
        WireError: Something is missing or of another kind.
    """
    values = from_text(message)
    try:
        p, quat = np.array(values["p_BE"], float), np.array(values["quat_BE"], float)
        executed = Executed(
            p, quat, bool(values["close_gripper"]), tuple(map(str, values["events"])), bool(values["stopped"]),
            str(values["reason"]),
        )  # fmt: skip
        number = int(values["stamp_ns"])
    except (KeyError, TypeError, ValueError) as e:
        raise WireError(f"an answer of the arm node cannot be read ({type(e).__name__}: {e})") from e
    if p.shape != (3,) or quat.shape != (4,):
        raise WireError(f"an answer of the arm node has a pose of shapes {p.shape} and {quat.shape}")
    return number, executed


def to_diagnostics(level: int, name: str, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    """Return an entry for /diagnostics; `level` is 0 ok, 1 warning, 2 error, 3 stale."""
    from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

    return DiagnosticStatus(
        level=bytes([level]),
        name=name,
        message=message,
        hardware_id=name,
        values=[KeyValue(key=str(k), value=str(v)) for k, v in values.items()],
    )
