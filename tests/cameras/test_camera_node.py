"""The camera node as a process of its own, seen over DDS by whoever subscribes."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("cv2")

from robot_rl_hardware.ros.messages import from_compressed, from_image, stamp_ns, to_compressed, to_image
from robot_rl_hardware.ros.node import open_node

pytestmark = pytest.mark.ros

Wait = Callable[..., None]


def test_a_film_is_published_for_the_policy_and_for_the_log(
    domain: int, film: Path, wait: Wait, camera_node: Any, watch: Any
) -> None:
    words = ("camera=opencv", f"camera.device={film}", "camera.loop=true", "camera.size=16", "camera.late_s=30.0")
    with camera_node(domain, *words, "names=[front]"), open_node("watcher", domain=domain) as node:
        front = watch(node, "front", full=True)
        wait(lambda: len(front.images) >= 40 and len(front.full) >= 5, "pictures")
        wait(front.well, "a good word")
        for message in front.images:
            assert message.header.frame_id == "front"
            assert from_image(message).shape == (16, 16, 3)
        assert from_compressed(front.full[-1]).shape == (48, 64, 3)
        stamps = [stamp_ns(message) for message in front.images]
        assert stamps == sorted(set(stamps))
        assert min(front.ages_s) >= 0.0
        assert float(np.median(front.ages_s)) < 1.0, "a stamp is the time of its picture"
        greys = {round(float(from_image(message).mean()), -1) for message in front.images}
        assert len(greys) >= 10, "the film moves"
        last = front.status[-1]
        assert set(last) >= {"ok", "reason", "fps", "age_s", "frozen", "drops"}
        assert last["fps"] > 1.0


def test_a_frozen_camera_falls_silent_and_says_why(
    domain: int, tmp_path: Path, wait: Wait, camera_node: Any, watch: Any
) -> None:
    import cv2

    path = tmp_path / "still.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 40, (64, 48))
    for k in range(30):
        writer.write(np.full((48, 64, 3), 10 * min(k, 8), np.uint8))  # moves, then stands still for half a second
    writer.release()
    words = ("camera=opencv", f"camera.device={path}", "camera.loop=true", "camera.frozen_s=0.2", "camera.late_s=30.0")
    with camera_node(domain, *words), open_node("watcher", domain=domain) as node:
        front = watch(node, "front")
        wait(lambda: any(one["frozen"] for one in front.status), "frozen")
        wait(lambda: front.status[-1]["ok"], "the film to move again")
        frozen = next(one for one in front.status if one["frozen"])
        assert not frozen["ok"]
        assert "frozen" in frozen["reason"]


@pytest.mark.parametrize("topic", ["/usb_cam/image_raw", "/usb_cam/image_raw/compressed"])
def test_images_of_another_node_keep_their_stamps(
    domain: int, wait: Wait, camera_node: Any, watch: Any, topic: str
) -> None:
    from sensor_msgs.msg import CompressedImage, Image

    with open_node("driver", domain=domain) as node:
        publisher = node.create_publisher(CompressedImage if topic.endswith("compressed") else Image, topic, 10)
        given: list[int] = []
        stop = threading.Event()

        def publish() -> None:
            rng = np.random.default_rng(0)
            while not stop.wait(0.03):
                picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
                picture[:, 8:56] = (200, 100, 50)
                given.append(node.get_clock().now().nanoseconds)
                if topic.endswith("compressed"):
                    publisher.publish(to_compressed(given[-1], picture, "usb"))
                    continue
                message = to_image(given[-1], picture[..., ::-1], "usb")
                message.encoding = "bgr8"
                publisher.publish(message)

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            words = ("camera=topic", f"camera.device={topic}", "camera.size=16", "camera.late_s=30.0")
            with camera_node(domain, *words, "names=[side]"), open_node("watcher", domain=domain) as other:
                side = watch(other, "side")
                wait(lambda: len(side.images) >= 10 and side.well(), "pictures")
                for message in side.images:
                    assert stamp_ns(message) in given
                    seen = from_image(message).reshape(-1, 3).astype(int)
                    if topic.endswith("compressed"):  # what lies beside the patch bleeds into its edge
                        seen = np.median(seen, axis=0)
                    assert np.abs(seen - (200, 100, 50)).max() <= 3 * topic.endswith("compressed")
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

    if "1 is not" in sentence and importlib.util.find_spec("pyrealsense2") is None:
        pytest.skip("there is no wheel of pyrealsense2 for this machine")
    given = words if "--domain" in words else ["--domain", str(domain), *words]
    assert main(["node", "camera", *given]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len([line for line in error.splitlines() if line.startswith("robot-rl:")]) == 1
