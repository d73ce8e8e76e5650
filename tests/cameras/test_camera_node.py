"""The camera node as a process of its own, seen over DDS by whoever subscribes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import RobotRLError
from robot_rl_sim.gl import require_gl
from robot_rl_sim.mirror import SceneMirror
from robot_rl_tasks.pick_cube import PickCube

pytest.importorskip("rclpy")
pytest.importorskip("cv2")

from robot_rl_hardware.ros import qos
from robot_rl_hardware.ros.messages import (
    ARM_JOINTS,
    from_image,
    from_text,
    stamp_ns,
    to_image,
    to_joints,
    to_pose,
)
from robot_rl_hardware.ros.node import open_node

try:
    require_gl()
    REASON = ""
except RobotRLError as error:
    REASON = str(error)
needs_gl = pytest.mark.skipif(bool(REASON), reason=REASON)
Wait = Callable[..., None]


@contextmanager
def camera_node(domain: int, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run `robot-rl node camera` and end it as Ctrl-C does; its end must be clean."""
    command = [sys.executable, "-m", "robot_rl", "node", "camera", "--domain", str(domain), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("camera "), line + (process.communicate(timeout=30)[1] if not line else "")
            yield process
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
        finally:
            process.kill()


class Watcher:
    """Keeps what a camera publishes."""

    def __init__(self, node: Any, name: str, full: bool = False) -> None:
        from sensor_msgs.msg import Image
        from std_msgs.msg import String

        self.images: list[Any] = []
        self.full: list[Any] = []
        self.ages_s: list[float] = []
        self.status: list[dict[str, Any]] = []
        self._clock = node.get_clock()
        node.create_subscription(Image, f"/cameras/{name}/image", self._image, qos.newest())
        node.create_subscription(
            String, f"/cameras/{name}/status", lambda m: self.status.append(from_text(m)), qos.latched()
        )
        if full:
            node.create_subscription(Image, f"/cameras/{name}/image_full", self.full.append, qos.newest())

    def _image(self, message: Any) -> None:
        self.ages_s.append((self._clock.now().nanoseconds - stamp_ns(message)) * 1e-9)
        self.images.append(message)

    def well(self) -> bool:
        return bool(self.status) and self.status[-1]["ok"]


def test_a_film_is_published_for_the_policy_and_for_the_log(domain: int, film: Path, wait: Wait) -> None:
    words = ("camera=opencv", f"camera.device={film}", "camera.loop=true", "camera.size=16", "camera.late_s=30.0")
    with camera_node(domain, *words, "names=[front]"), open_node("watcher", domain=domain) as node:
        front = Watcher(node, "front", full=True)
        wait(lambda: len(front.images) >= 40 and len(front.full) >= 5, "pictures")
        wait(front.well, "a good word")
        for message in front.images:
            assert message.header.frame_id == "front"
            assert from_image(message).shape == (16, 16, 3)
        assert from_image(front.full[-1]).shape == (48, 64, 3)
        stamps = [stamp_ns(message) for message in front.images]
        assert stamps == sorted(set(stamps))
        assert min(front.ages_s) >= 0.0
        assert float(np.median(front.ages_s)) < 1.0, "a stamp is the time of its picture"
        greys = {round(float(from_image(message).mean()), -1) for message in front.images}
        assert len(greys) >= 10, "the film moves"
        last = front.status[-1]
        assert set(last) >= {"ok", "reason", "fps", "age_s", "frozen", "drops"}
        assert last["fps"] > 1.0


def test_a_frozen_camera_falls_silent_and_says_why(domain: int, tmp_path: Path, wait: Wait) -> None:
    import cv2

    path = tmp_path / "still.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 40, (64, 48))
    for k in range(30):
        writer.write(np.full((48, 64, 3), 10 * min(k, 8), np.uint8))  # moves, then stands still for half a second
    writer.release()
    words = ("camera=opencv", f"camera.device={path}", "camera.loop=true", "camera.frozen_s=0.2", "camera.late_s=30.0")
    with camera_node(domain, *words), open_node("watcher", domain=domain) as node:
        front = Watcher(node, "front")
        wait(lambda: any(one["frozen"] for one in front.status), "frozen")
        wait(lambda: front.status[-1]["ok"], "the film to move again")
        frozen = next(one for one in front.status if one["frozen"])
        assert not frozen["ok"]
        assert "frozen" in frozen["reason"]


class Arm:
    """Publishes what an arm node would, at 100 Hz, and keeps what it said under which stamp."""

    def __init__(self, node: Any) -> None:
        from geometry_msgs.msg import PoseStamped
        from sensor_msgs.msg import JointState

        self._node = node
        self._joints = node.create_publisher(JointState, "/arm/joint_states", qos.newest())
        self._gripper = node.create_publisher(JointState, "/arm/gripper/joint_states", qos.newest())
        self._cube = node.create_publisher(PoseStamped, "/arm/objects/cube", qos.newest())
        self.said: dict[int, tuple[np.ndarray, float, np.ndarray]] = {}
        self.running, self._stop = threading.Event(), threading.Event()
        self.running.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        from robot_rl_sim.fr3 import HOME_Q

        k = 0
        while not self._stop.wait(0.01):
            if not self.running.is_set():
                continue
            k += 1
            q = np.array(HOME_Q) + 0.3 * np.sin(0.02 * k)
            width = 0.04 + 0.04 * np.sin(0.05 * k)
            cube = np.array([0.5, 0.1 * np.sin(0.03 * k), 0.025, 1.0, 0, 0, 0])
            now = self._node.get_clock().now().nanoseconds
            self.said[now] = (q, width, cube)
            # Joints come first, as an arm node has it: the picture must wait for the rest of the instant.
            self._joints.publish(to_joints(now, ARM_JOINTS, q))
            self._gripper.publish(to_joints(now, ["gripper"], [width]))
            self._cube.publish(to_pose(now, cube[:3], cube[3:]))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def arm(domain: int) -> Iterator[Arm]:
    with open_node("arm", domain=domain) as node:
        made = Arm(node)
        try:
            yield made
        finally:
            made.close()


@needs_gl
@pytest.mark.gl
def test_the_twin_s_cameras_draw_the_reading_whose_stamp_they_carry(domain: int, arm: Arm, wait: Wait) -> None:
    words = ("camera=twin", "names=[front,wrist]", "task=pick_cube", "camera.size=64", "camera.width=64")
    with (
        camera_node(domain, *words, "camera.height=64", "camera.late_s=30.0"),
        open_node("watcher", domain=domain) as node,
    ):
        cameras = {name: Watcher(node, name) for name in ("front", "wrist")}
        wait(lambda: all(len(one.images) >= 30 and one.well() for one in cameras.values()), "pictures of the twin")
        mirror = SceneMirror(PickCube())
        exact = total = 0
        for name, one in cameras.items():
            stamps = [stamp_ns(message) for message in one.images]
            assert stamps == sorted(set(stamps)), "each picture is of a new reading"
            for message in one.images:
                q, width, cube = arm.said[stamp_ns(message)]
                mirror.show(q, width, {"cube": cube})
                exact += int((from_image(message) == mirror.render(name, 64, 64)).all())
                total += 1
        mirror.close()
        # A message lost on the way (best effort) lets the gripper or the cube be of the instant before.
        assert exact >= 0.8 * total


@needs_gl
@pytest.mark.gl
def test_without_its_arm_the_twin_s_camera_is_late_and_comes_back(domain: int, arm: Arm, wait: Wait) -> None:
    with (
        camera_node(domain, "camera=twin", "names=[front]", "camera.late_s=1.0"),
        open_node("watcher", domain=domain) as node,
    ):
        front = Watcher(node, "front")
        wait(front.well, "a good word")
        arm.running.clear()
        wait(lambda: not front.well(), "the camera to be late")
        seen = len(front.images)
        wait(lambda: front.status[-1]["age_s"] > 2.0, "its age to grow")
        assert len(front.images) <= seen + 1
        assert "old" in front.status[-1]["reason"]
        arm.running.set()
        wait(front.well, "the camera to be well again")
        assert len(front.images) > seen


def test_images_of_another_node_keep_their_stamps(domain: int, wait: Wait) -> None:
    from sensor_msgs.msg import Image

    with open_node("driver", domain=domain) as node:
        publisher = node.create_publisher(Image, "/usb_cam/image_raw", 10)
        given: list[int] = []
        stop = threading.Event()

        def publish() -> None:
            rng = np.random.default_rng(0)
            while not stop.wait(0.03):
                picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
                picture[:, 8:56] = (200, 100, 50)
                given.append(node.get_clock().now().nanoseconds)
                message = to_image(given[-1], picture[..., ::-1], "usb")
                message.encoding = "bgr8"
                publisher.publish(message)

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            words = ("camera=topic", "camera.device=/usb_cam/image_raw", "camera.size=16", "camera.late_s=30.0")
            with camera_node(domain, *words, "names=[side]"), open_node("watcher", domain=domain) as other:
                side = Watcher(other, "side")
                wait(lambda: len(side.images) >= 10 and side.well(), "pictures")
                for message in side.images:
                    assert stamp_ns(message) in given
                    assert (from_image(message) == (200, 100, 50)).all()
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["camera=opencv", "camera.device=/dev/video99"], "there is no /dev/video99"),
        (["camera=realsense", "camera.device='1'"], "RealSense 1 is not connected"),
        (["camera=topic"], "needs a topic as its device"),
        (["names=[a-b]"], "'a-b' cannot name a camera"),
        (["camera=twn"], "Did you mean 'twin'"),
        (["camera.cropp=1"], "Did you mean 'camera.crop'"),
        (["node.namespace=cameras"], "cannot be a ROS namespace"),
        (["--domain", "500"], "allowed: a whole number from 0 to 101"),
        (["names=[front]", "cell=missing.yaml"], "there is no cell file missing.yaml"),
    ],
)
def test_bad_input_gets_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], domain: int
) -> None:
    from robot_rl.cli import main

    if "1 is not" in sentence:
        pytest.importorskip("pyrealsense2", exc_type=ImportError)
    given = words if "--domain" in words else ["--domain", str(domain), *words]
    assert main(["node", "camera", *given]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len([line for line in error.splitlines() if line.startswith("robot-rl:")]) == 1


def test_the_yaml_of_each_kind_says_what_the_code_says(tmp_path: Path) -> None:
    from robot_rl.cli.camera_settings import cameras_of, compose_cameras
    from robot_rl_hardware.cameras.settings import OF_KIND, camera_settings

    for kind in OF_KIND:
        words = [f"camera={kind}"]
        assert cameras_of(compose_cameras(words, []), words) == {"front": camera_settings({"kind": kind})}
    cell = tmp_path / "cell.yaml"
    cell.write_text(
        json.dumps({"cameras": {"a": {"kind": "realsense", "serial": "01"}, "b": {"kind": "opencv", "device": 2}}})
    )
    words = [f"cell={cell}", "camera.fps=15"]
    made = cameras_of(compose_cameras(words, []), words)
    assert list(made) == ["a", "b"]
    assert (made["a"].device, made["a"].kind, made["a"].fps) == ("01", "realsense", 15)
    assert (made["b"].device, made["b"].fps, made["b"].width) == (2, 15, 640)
    words = [f"cell={cell}", "names=[b]"]
    assert list(cameras_of(compose_cameras(words, []), words)) == ["b"]
