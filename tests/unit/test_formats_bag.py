"""ROS 2 bags as episodes: the newest message at each tick, with its stamp and age."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from format_maker import a_goal, a_map, read
from rosbags.rosbag2 import StoragePlugin, Writer

from robot_rl.demos import load
from robot_rl.episodes.check_set import check_files
from robot_rl.episodes.folder import find_files
from robot_rl.episodes.schema import messages
from robot_rl.episodes.writer import encode
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.formats import bag
from robot_rl.formats.incoming import write_run

T0 = 1_700_000_000_000_000_000
MAP = """\
state: {position: "/pose:pose.position", width: "/gripper:position"}
action: {translation: "/cmd:twist.linear", rotation: "/cmd:twist.angular", gripper: {constant: -1}}
images: {wrist: /camera}
success: true
"""


def ns(ms: float) -> int:
    """Return a moment after the beginning."""
    return T0 + round(1e6 * ms)


class Bag:
    """A bag that is being written."""

    def __init__(self, path: Path, plugin: StoragePlugin = StoragePlugin.MCAP) -> None:
        self.types = messages().store.types
        self.writer = Writer(path, version=9, storage_plugin=plugin)
        self.writer.open()
        self._connections: dict[str, Any] = {}

    def add(self, topic: str, kind: str, message: Any, at_ms: float, late_ms: float = 1.0) -> None:
        """Write a message that arrived some time after its stamp."""
        store = messages().store
        if topic not in self._connections:
            self._connections[topic] = self.writer.add_connection(topic, kind, typestore=store)
        self.writer.write(self._connections[topic], ns(at_ms + late_ms), store.serialize_cdr(message, kind))

    def header(self, at_ms: float) -> Any:
        sec, nanosec = divmod(ns(at_ms), 1_000_000_000)
        stamp = self.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
        return self.types["std_msgs/msg/Header"](stamp=stamp, frame_id="base")

    def pose(self, at_ms: float) -> None:
        """The tool's height is the time in seconds."""
        t = self.types
        point = t["geometry_msgs/msg/Point"](x=0.1, y=0.2, z=1e-3 * at_ms)
        turn = t["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
        pose = t["geometry_msgs/msg/Pose"](position=point, orientation=turn)
        made = t["geometry_msgs/msg/PoseStamped"](header=self.header(at_ms), pose=pose)
        self.add("/pose", "geometry_msgs/msg/PoseStamped", made, at_ms)

    def gripper(self, at_ms: float) -> None:
        none = np.zeros(0)
        made = self.types["sensor_msgs/msg/JointState"](
            header=self.header(at_ms), name=["gripper"], position=np.array([0.04]), velocity=none, effort=none
        )
        self.add("/gripper", "sensor_msgs/msg/JointState", made, at_ms)

    def command(self, at_ms: float) -> None:
        """The first number is the time in seconds."""
        vector = self.types["geometry_msgs/msg/Vector3"]
        twist = self.types["geometry_msgs/msg/Twist"](
            linear=vector(x=1e-3 * at_ms, y=0.0, z=0.0), angular=vector(x=0.0, y=0.5, z=0.0)
        )
        made = self.types["geometry_msgs/msg/TwistStamped"](header=self.header(at_ms), twist=twist)
        self.add("/cmd", "geometry_msgs/msg/TwistStamped", made, at_ms)

    def picture(self, at_ms: float, coding: str = "png") -> None:
        """Its grey value is the time in hundredths of a second."""
        shot = np.full((12, 16, 3), round(at_ms / 10), np.uint8)
        if coding == "png":
            kind = "sensor_msgs/msg/CompressedImage"
            data = np.frombuffer(encode(shot, "png"), np.uint8)
            made = self.types[kind](header=self.header(at_ms), format="png", data=data)
        else:
            kind = "sensor_msgs/msg/Image"
            shot[..., 0] = 200  # the first of the colours in the message
            made = self.types[kind](
                header=self.header(at_ms), height=12, width=16, encoding=coding, is_bigendian=0, step=48,
                data=shot.ravel(),
            )  # fmt: skip
        self.add("/camera", kind, made, at_ms)


def make_bag(path: Path, plugin: StoragePlugin = StoragePlugin.MCAP, coding: str = "png", last_ms: int = 1000) -> Path:
    """Write a bag: poses and grippers at 50 Hz, commands at 20 Hz, pictures at 25 Hz from 100 ms on."""
    made = Bag(path, plugin)
    for at in range(0, last_ms + 1, 10):
        if at % 20 == 0:
            made.pose(at)
            made.gripper(at)
        if at % 50 == 0:
            made.command(at)
        if at >= 100 and (at - 100) % 40 == 0:
            made.picture(at, coding)
    made.writer.close()
    return path


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "sqlite3"])
def test_a_bag_is_read_at_the_control_period_with_stamps_and_ages(tmp_path: Path, plugin: StoragePlugin) -> None:
    goal = a_goal("wrist")
    path = make_bag(tmp_path / "bag", plugin)
    done = write_run(bag.episodes([path], goal, a_map(tmp_path, MAP, goal)), tmp_path / "run", goal)
    assert (done.episodes, done.steps, done.successes) == (1, 9, 1)
    episode = read(done.path)[0]
    ticks = 100 + 100 * np.arange(10)  # ms; the camera spoke last
    height = np.concatenate([episode.steps.state[:, 2], episode.steps.next_state[-1:, 2]])
    np.testing.assert_allclose(height, 1e-3 * ticks, rtol=1e-6)
    np.testing.assert_allclose(episode.steps.executed[:, 0], 1e-3 * ticks[:-1], rtol=1e-6)
    np.testing.assert_array_equal(episode.steps.executed[:, 6], -1.0)
    assert episode.steps.reward.tolist() == [0.0] * 8 + [1.0]
    frames = episode.cameras()["wrist", False]
    shot_ms = [max(s for s in range(100, 1001, 40) if s <= t) for t in ticks]
    assert [int(f[0, 0, 0]) for f in frames] == [s // 10 for s in shot_ms]
    assert frames.stamp_ns.tolist() == [ns(s) for s in shot_ms]
    assert episode.steps.after_ns.tolist() == [ns(t) for t in ticks[1:]]
    np.testing.assert_allclose(episode.steps.timing["image_age_ms/wrist"], ticks[1:] - shot_ms[1:], atol=1e-6)
    np.testing.assert_array_equal(episode.steps.timing["state_age_ms"], 0.0)
    assert episode.start.real_time
    assert "/pose" in episode.start.origin["topics"]
    assert not [f for f in check_files(find_files([done.path])) if f.problem]
    assert len(load(done.path, goal.observation_spec, goal.action_spec).blocks) == 1


@pytest.mark.parametrize("coding", ["rgb8", "bgr8"])
def test_plain_pictures_are_read_in_their_order_of_colours(tmp_path: Path, coding: Literal["rgb8", "bgr8"]) -> None:
    goal = a_goal("wrist")
    path = make_bag(tmp_path / "bag", coding=coding)
    done = write_run(bag.episodes([path], goal, a_map(tmp_path, MAP, goal)), tmp_path / "run", goal)
    picture = read(done.path)[0].cameras()["wrist", False][0]
    assert picture[0, 0].tolist() == ([200, 10, 10] if coding == "rgb8" else [10, 10, 200])


def test_a_reward_says_what_came_of_it(tmp_path: Path) -> None:
    goal = a_goal()
    made = Bag(tmp_path / "bag")
    kind = "std_msgs/msg/Float32"
    for at in range(0, 501, 20):
        made.pose(at)
        made.gripper(at)
        made.command(at)
        made.add("/reward", kind, made.types[kind](data=1.0 if at > 380 else 0.0), at, late_ms=0.0)
    made.writer.close()
    text = MAP.replace("success: true", "reward: /reward:data").replace("images: {wrist: /camera}\n", "")
    found = next(bag.episodes([tmp_path / "bag"], goal, a_map(tmp_path, text, goal)))
    assert found.rewards.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    assert found.success.tolist() == [False] * 4 + [True]
    untold = a_map(tmp_path, text.replace("reward: /reward:data\n", ""), goal)
    found = next(bag.episodes([tmp_path / "bag"], goal, untold))
    assert not found.success.any()
    assert any(u.startswith("success: neither") for u in found.start.origin["unknown"])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("/pose:pose.position", "/pos:pose.position", r"has no topic '/pos'; it has /camera \(sensor_msgs/msg/Comp"),
        ("/pose:pose.position", "/pose:pose.place", r"no field 'place' there; there are position, orientation"),
        ("/pose:pose.position", "/pose:header.frame_id", r"holds a str, which is no number"),
        ("/pose:pose.position", "/pose:pose.orientation", r"'position' of the task has 3 number\(s\), .* gives 4"),
        ("/camera", "/pose", "topic /pose of .* has no pictures"),
    ],
)
def test_a_map_of_topics_that_does_not_fit_is_refused_in_words(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    goal = a_goal("wrist")
    path = make_bag(tmp_path / "bag")
    with pytest.raises(ConfigError, match=expected):
        list(bag.episodes([path], goal, a_map(tmp_path, MAP.replace(old, new), goal)))


def test_what_is_no_bag_has_no_map_or_lasts_too_short_is_refused(tmp_path: Path) -> None:
    goal = a_goal("wrist")
    fields = a_map(tmp_path, MAP, goal)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read as a ROS 2 bag"):
        list(bag.episodes([tmp_path / "empty"], goal, fields))
    with pytest.raises(CheckpointError, match="is no folder"):
        list(bag.episodes([tmp_path / "map.yaml"], goal, fields))
    short = make_bag(tmp_path / "short", last_ms=180)
    with pytest.raises(ConfigError, match=r"holds no step: .* it lasts 0\.080 s, less than a control period of 0\.1 s"):
        list(bag.episodes([short], goal, fields))
    with pytest.raises(ConfigError, match=r"which topics of .*short the fields of task point come from: .*/cmd"):
        list(bag.episodes([short], goal, None))
    data = next(short.glob("*.mcap"))
    data.write_bytes(data.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="cannot be read as a ROS 2 bag"):
        list(bag.episodes([short], goal, fields))
