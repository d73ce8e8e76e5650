"""`robot-rl calibrate camera`: from pictures in a folder, and taken one by one from a camera's topic in a terminal."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.cell import Cell
from robot_rl.cell_file import load_cell, save_cell
from robot_rl.cli import main
from robot_rl.geometry import matrix_to_quat, quat_from_rotvec, quat_to_matrix
from robot_rl_hardware.cameras.boards import Board, draw_board
from robot_rl_hardware.operator.shots import Shots

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install 'robot-rl[camera]'")

# ROS imports an old parser, which imports modules that Python has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_.*:DeprecationWarning")

BOARD = Board()
K = np.array([[600.0, 0.0, 320.0], [0.0, 600.0, 240.0], [0.0, 0.0, 1.0]])
PIXELS = 60
X_EC = np.eye(4)
X_EC[:3, :3] = quat_to_matrix(quat_from_rotvec(np.array([0.05, -0.1, 0.3])))
X_EC[:3, 3] = (0.05, -0.02, 0.03)


def photograph(X_CT: np.ndarray) -> np.ndarray:
    """Return what a camera without distortion sees of the board."""
    scale = BOARD.square_m / PIXELS
    H = K @ np.column_stack([X_CT[:3, 0] * scale, X_CT[:3, 1] * scale, X_CT[:3, 3]])
    # A pixel's centre is half a pixel inside of its corner.
    shift = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    grey = cv2.warpPerspective(
        draw_board(BOARD, PIXELS), H @ shift, (640, 480), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT,
        borderValue=200,
    )  # fmt: skip
    return np.repeat(cv2.GaussianBlur(grey, (3, 3), 0.6)[..., None], 3, axis=2)


def views(count: int) -> Iterator[np.ndarray]:
    """Yield poses X_CT of the board, tilted to all sides."""
    rng = np.random.default_rng(0)
    middle = np.array([BOARD.columns * BOARD.square_m / 2, BOARD.rows * BOARD.square_m / 2, 0.0])
    for i in range(count):
        angle = 2.0 * np.pi * i / count
        tilt = np.array([0.4 * np.cos(angle), 0.4 * np.sin(angle), rng.uniform(-0.3, 0.3)])
        X = np.eye(4)
        X[:3, :3] = quat_to_matrix(quat_from_rotvec(tilt))
        at = np.array([*rng.uniform(-0.03, 0.03, 2), rng.uniform(0.4, 0.5)])
        X[:3, 3] = at - X[:3, :3] @ middle
        yield X


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    path = tmp_path / "my_cell.yaml"
    save_cell(path, Cell(name="bench", cameras={"wrist": {"kind": "opencv", "device": 0}}))
    return path


def calibrate(cell: Path, kind: str, *more: str) -> int:
    return main(["calibrate", "camera", kind, "wrist", "--cell", str(cell), *more])


def test_a_lens_then_a_place_are_found_from_folders(
    cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shots = Shots(tmp_path / "shots")
    X_BT = np.eye(4)
    X_BT[:3, 3] = (0.5, 0.0, 0.0)
    for X_CT in views(14):
        X_BE = X_BT @ np.linalg.inv(X_CT) @ np.linalg.inv(X_EC)
        shots.add(photograph(X_CT), (X_BE[:3, 3], matrix_to_quat(X_BE[:3, :3])))
    folder = str(tmp_path / "shots")
    assert calibrate(cell, "hand-eye", "--from", folder) == 2
    assert "do first: robot-rl calibrate camera intrinsics wrist" in capsys.readouterr().err
    assert calibrate(cell, "intrinsics", "--from", folder) == 0
    assert calibrate(cell, "hand-eye", "--from", folder) == 0
    said = capsys.readouterr().out
    assert said.count("(good)") == 2, said
    settings = load_cell(cell).cameras["wrist"]
    assert settings["device"] == 0
    lens, place = settings["calibration"]["intrinsics"], settings["calibration"]["hand_eye"]
    assert lens["fx"] == pytest.approx(600.0, rel=0.01)
    assert place["position"] == pytest.approx(X_EC[:3, 3], abs=0.004)
    assert place["mount"] == "hand"


def test_mistakes_are_named_before_the_work(cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["intrinsic", "wrist", "--cell", str(cell)], "Did you mean 'intrinsics'"),
        (["intrinsics", "wirst", "--cell", str(cell)], "Did you mean 'wrist'"),
        (["intrinsics", "wrist"], "--cell my_cell.yaml"),
        (["intrinsics", "wrist", "--cell", str(cell), "--board", "charco"], "Did you mean 'charuco'"),
        (["intrinsics", "wrist", "--cell", str(cell), "--from", str(tmp_path / "none")], "holds no pictures"),
    ):
        assert main(["calibrate", "camera", *words]) == 2
        assert told in capsys.readouterr().err


def test_a_board_is_drawn_to_be_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "board.png"
    assert main(["calibrate", "board", "--to", str(path), "--columns", "9"]) == 0
    assert "270 x 180 mm" in capsys.readouterr().out
    assert cv2.imread(str(path)).shape[1] == 9 * 120


def test_pictures_without_poses_are_no_hand_eye(tmp_path: Path) -> None:
    from robot_rl.errors import ConfigError

    shots = Shots(tmp_path)
    shots.add(np.zeros((8, 8, 3), np.uint8), (np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])))
    assert len(shots.poses()) == 1
    shots.add(np.zeros((8, 8, 3), np.uint8), None)
    with pytest.raises(ConfigError, match=r"no pose of 001\.png"):
        shots.poses()
    assert shots.drop_last() == "001.png"
    assert len(shots.poses()) == 1


def test_pictures_are_taken_from_a_cameras_topic(terminal: Any, cell: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'robot-rl[ros]'")
    from robot_rl_hardware.ros import messages, qos
    from robot_rl_hardware.ros.environment import free_domain
    from robot_rl_hardware.ros.node import open_node

    domain = free_domain(first=1 + zlib.crc32(f"camera {os.getpid()}".encode()) % 100)
    pictures = [np.full((480, 640, 3), 90, np.uint8), *map(photograph, views(6))]
    shown, ended = [pictures[0]], threading.Event()
    with open_node("camera", domain=domain) as node:
        from sensor_msgs.msg import CompressedImage

        publisher = node.create_publisher(CompressedImage, "/cameras/wrist/image_full/compressed", qos.newest())

        def publish() -> None:
            while not ended.wait(0.05):
                stamp = node.get_clock().now().nanoseconds
                publisher.publish(messages.to_compressed(stamp, shown[0], "wrist"))

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            command = ["calibrate", "camera", "intrinsics", "wrist", "--cell", str(cell), "--domain", str(domain)]
            taking = terminal([*command, "--wait", "60"])
            taking.expect("no board is seen")
            taking.type("\r")
            taking.expect("not taken: the picture does not show the board")
            for i, picture in enumerate(pictures[1:]):
                shown[0] = picture
                taking.expect("the board is seen")
                taking.type("\r")
                taking.expect(f"took {i:03d}.png")
            taking.type("S")
            assert taking.wait() == 0
        finally:
            ended.set()
            thread.join(20.0)
    assert "lens of 'wrist'" in taking.look()
    assert load_cell(cell).cameras["wrist"]["calibration"]["intrinsics"]["views"] == 6
