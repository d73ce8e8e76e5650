"""The messages of an episode file: their topics, their types, and the way from our arrays to bytes and back.

The robot's topics have the names and types of `docs/ros2.md`, so what reads a live robot reads a file. What ROS has no
message for, a step of learning, is `robot_rl/msg/Step`; its definition stands in each file, so that viewers decode it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import MissingDependency
from robot_rl.robot import RobotState

FORMAT = 1  # of the whole file; a reader refuses what it does not know
LIBRARY = "robot_rl episodes 1"

STEP = "/rl/step"
JOINTS, POSE, TWIST = "/arm/joint_states", "/arm/current_pose", "/arm/current_twist"
WRENCH, GRIPPER, OBJECTS = "/arm/wrench", "/arm/gripper/joint_states", "/arm/objects/"
CAMERAS, SMALL, FULL = "/cameras/", "/image/compressed", "/image_full/compressed"
START, END, REPAIR = "robot_rl/start", "robot_rl/end", "robot_rl/repair"  # names of metadata records
EDIT = "robot_rl/edit/"  # and a number from 1: what was changed since

STEP_TYPE = "robot_rl/msg/Step"
STEP_DEFINITION = """\
# One control period: what was observed, asked for and executed, and what came of it.
std_msgs/Header header            # stamp of the reading that the action was chosen from
builtin_interfaces/Time after     # stamp of the reading that the step led to
uint32 index                      # within the episode, from 0
string source                     # who acted: policy, human or demo
int64 policy_version              # of the weights that acted, or would have
float32[] state                   # observation before the action
float32[] action                  # asked for, in [-1, 1]
float32[] executed                # after the guard: what is learnt from
float32[] next_state              # observation after it
float32 reward
bool terminated                   # the task ended the episode
bool truncated                    # the clock or the guard ended it
bool success
string reason                     # of an end, in words
string[] guard_events             # the guard's rules that changed the action
float32 state_age_ms              # nan where nothing was measured
float32 period_ms
float32 action_latency_ms
string[] timing_names             # everything that was measured, by name
float32[] timing_ms
"""
TYPES = {
    JOINTS: "sensor_msgs/msg/JointState",
    POSE: "geometry_msgs/msg/PoseStamped",
    TWIST: "geometry_msgs/msg/TwistStamped",
    WRENCH: "geometry_msgs/msg/WrenchStamped",
    GRIPPER: "sensor_msgs/msg/JointState",
    STEP: STEP_TYPE,
}
Encoded = tuple[str, bytes]
"""Topic and CDR bytes of one message."""


def type_of(topic: str) -> str:
    """Return the message type of a topic."""
    if topic.startswith(OBJECTS):
        return "geometry_msgs/msg/PoseStamped"
    return TYPES.get(topic, "sensor_msgs/msg/CompressedImage")


def camera_of(topic: str) -> tuple[str, bool] | None:
    """Return (camera, whether its pictures are full size) of a camera's topic, or None for another topic."""
    for ending, full in ((SMALL, False), (FULL, True)):
        if topic.startswith(CAMERAS) and topic.endswith(ending):
            return topic[len(CAMERAS) : -len(ending)], full
    return None


class Messages:
    """Encodes and decodes the messages of an episode. Make it once: it takes some tenths of a second."""

    def __init__(self) -> None:
        try:
            from rosbags.typesys import Stores, get_types_from_msg, get_typestore
        except ModuleNotFoundError as e:
            raise MissingDependency(
                "the package 'rosbags'", "the record of episodes", "pip install 'robot-rl[data]'"
            ) from e
        self.store = get_typestore(Stores.ROS2_JAZZY)  # the messages used here are the same from Humble on
        self.store.register(get_types_from_msg(STEP_DEFINITION, STEP_TYPE))
        types = self.store.types
        self._time, self._header = types["builtin_interfaces/msg/Time"], types["std_msgs/msg/Header"]
        self._joints, self._image = types["sensor_msgs/msg/JointState"], types["sensor_msgs/msg/CompressedImage"]
        self._pose_stamped, self._pose = types["geometry_msgs/msg/PoseStamped"], types["geometry_msgs/msg/Pose"]
        self._point, self._quaternion = types["geometry_msgs/msg/Point"], types["geometry_msgs/msg/Quaternion"]
        self._twist_stamped, self._twist = types["geometry_msgs/msg/TwistStamped"], types["geometry_msgs/msg/Twist"]
        self._wrench_stamped, self._wrench = types["geometry_msgs/msg/WrenchStamped"], types["geometry_msgs/msg/Wrench"]
        self._vector, self._step = types["geometry_msgs/msg/Vector3"], types[STEP_TYPE]
        self._none = np.zeros(0)
        self._definitions = {kind: self._define(kind) for kind in {*TYPES.values(), *map(type_of, ("", OBJECTS))}}
        self._warm_up()

    def definition(self, type_name: str) -> bytes:
        """Return the text of a type and of all types in it, as the file holds it."""
        return self._definitions[type_name]

    def _define(self, type_name: str) -> bytes:
        text, _ = self.store.generate_msgdef(type_name, ros_version=2)
        return (STEP_DEFINITION + text[text.index("====") :] if type_name == STEP_TYPE else text).encode()

    def _warm_up(self) -> None:
        """Encode one message of each kind: rosbags compiles the code for it, which no other thread can interrupt."""
        three, quat, six, none = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(6), np.zeros(0, np.float32)
        self.robot(RobotState(0.0, six, six, three, quat, six, six, 0.0, False, {"any": np.zeros(7)}), 0, [])
        self.image("any", False, b"", "png", 0)
        arrays = dict.fromkeys(("state", "action", "executed", "next_state", "timing_ms"), none)
        numbers = dict.fromkeys(("reward", "state_age_ms", "period_ms", "action_latency_ms"), 0.0)
        words: dict[str, Any] = {"source": "", "reason": "", "guard_events": [], "timing_names": []}
        flags = dict.fromkeys(("terminated", "truncated", "success"), False)
        self.step({"index": 0, "policy_version": 0, **arrays, **numbers, **words, **flags}, 0, 0)

    def decode(self, type_name: str, data: bytes) -> Any:
        """Return a message as an object with the fields of its type."""
        return self.store.deserialize_cdr(data, type_name)

    def encode(self, type_name: str, message: Any) -> bytes:
        """Return a decoded message, or a changed copy of one, as bytes again."""
        return self._bytes(message, type_name)

    def robot(self, state: RobotState, stamp_ns: int, joint_names: Sequence[str]) -> list[Encoded]:
        """Return one reading of a robot as messages of the same stamp [ns of Unix time]."""
        header = self._stamped(stamp_ns, "base")
        width = np.array([state.gripper_width_m])
        told = np.array([1.0 if state.gripper_closing else 0.0])
        twist = self._twist(**self._vectors("linear angular", state.V_BE))
        wrench = self._wrench(**self._vectors("force torque", state.F_BE))
        q, dq, none = np.asarray(state.q, float), np.asarray(state.dq, float), self._none
        made: list[tuple[str, Any]] = [
            (JOINTS, self._joints(header=header, name=list(joint_names), position=q, velocity=dq, effort=none)),
            (POSE, self._posed(header, state.p_BE, state.quat_BE)),
            (TWIST, self._twist_stamped(header=header, twist=twist)),
            (WRENCH, self._wrench_stamped(header=header, wrench=wrench)),
            (GRIPPER, self._joints(header=header, name=["gripper"], position=width, velocity=none, effort=told)),
        ]  # fmt: skip
        made += [(OBJECTS + name, self._posed(header, X[:3], X[3:])) for name, X in state.objects.items()]
        return [(topic, self._bytes(message, type_of(topic))) for topic, message in made]

    def image(self, camera: str, full: bool, data: bytes, kind: str, stamp_ns: int) -> Encoded:
        """Return one compressed picture; `kind` is "png" or "jpeg"."""
        topic = CAMERAS + camera + (FULL if full else SMALL)
        message = self._image(header=self._stamped(stamp_ns, camera), format=kind, data=np.frombuffer(data, np.uint8))
        return topic, self._bytes(message, type_of(topic))

    def step(self, fields: Mapping[str, Any], stamp_ns: int, after_ns: int) -> Encoded:
        """Return one step; `fields` are those of the definition but the stamps, arrays as float32."""
        message = self._step(header=self._stamped(stamp_ns, "base"), after=self._moment(after_ns), **fields)
        return STEP, self._bytes(message, STEP_TYPE)

    def _moment(self, ns: int) -> Any:
        sec, nanosec = divmod(ns, 1_000_000_000)
        return self._time(sec=sec, nanosec=nanosec)

    def _stamped(self, ns: int, frame: str) -> Any:
        return self._header(stamp=self._moment(ns), frame_id=frame)

    def _posed(self, header: Any, p: NDArray[np.float64], quat: NDArray[np.float64]) -> Any:
        w, x, y, z = (float(v) for v in quat)
        px, py, pz = (float(v) for v in p)
        pose = self._pose(position=self._point(x=px, y=py, z=pz), orientation=self._quaternion(x=x, y=y, z=z, w=w))
        return self._pose_stamped(header=header, pose=pose)

    def _vectors(self, names: str, six: NDArray[np.float64]) -> dict[str, Any]:
        a, b, c, d, e, f = (float(v) for v in six)
        first, second = names.split()
        return {first: self._vector(x=a, y=b, z=c), second: self._vector(x=d, y=e, z=f)}

    def _bytes(self, message: Any, type_name: str) -> bytes:
        return bytes(self.store.serialize_cdr(message, type_name))


@functools.cache
def messages() -> Messages:
    """Return the one instance of this process."""
    return Messages()


def step_difference(definition: bytes) -> str:
    """Return how the definition of a step in a file differs from ours, in words; empty if it does not."""
    ours, theirs = _fields_of(STEP_DEFINITION), _fields_of(definition.decode(errors="replace").partition("====")[0])
    for name, kind in theirs.items():
        if name not in ours:
            return f"a field '{name}' ({kind}) that is not known here"
        if ours[name] != kind:
            return f"'{name}' as {kind}, here it is {ours[name]}"
    missing = next((name for name in ours if name not in theirs), "")
    if missing:
        return f"no field '{missing}'"
    return "" if list(ours) == list(theirs) else "the fields in another order"


def _fields_of(definition: str) -> dict[str, str]:
    """Return the type of each field by name, in order; comments and space do not count."""
    lines = (line.partition("#")[0].split() for line in definition.splitlines())
    return {words[1]: words[0] for words in lines if len(words) == 2}


def nanoseconds(stamp: Any) -> int:
    """Return a decoded `builtin_interfaces/Time` in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def state_of(found: Mapping[str, Any], stamp_s: float) -> RobotState:
    """Return the reading that decoded messages of one stamp, by topic, were made of."""
    pose, twist, wrench = found[POSE].pose, found[TWIST].twist, found[WRENCH].wrench
    gripper = found[GRIPPER]
    return RobotState(
        stamp_s=stamp_s,
        q=np.array(found[JOINTS].position, float),
        dq=np.array(found[JOINTS].velocity, float),
        p_BE=_three(pose.position),
        quat_BE=_wxyz(pose.orientation),
        V_BE=np.concatenate([_three(twist.linear), _three(twist.angular)]),
        F_BE=np.concatenate([_three(wrench.force), _three(wrench.torque)]),
        gripper_width_m=float(gripper.position[0]),
        gripper_closing=bool(gripper.effort[0] > 0.5),
        objects={
            topic.removeprefix(OBJECTS): np.concatenate([_three(m.pose.position), _wxyz(m.pose.orientation)])
            for topic, m in found.items()
            if topic.startswith(OBJECTS)
        },
    )


def _three(v: Any) -> NDArray[np.float64]:
    return np.array([v.x, v.y, v.z])


def _wxyz(q: Any) -> NDArray[np.float64]:
    return np.array([q.w, q.x, q.y, q.z])
