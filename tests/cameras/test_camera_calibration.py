"""Calibration against pictures whose truth is known: a board drawn through a lens with distortion, pixel by pixel."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import CameraError, ConfigError
from robot_rl.geometry import matrix_to_quat, quat_angle, quat_from_rotvec
from robot_rl_hardware.cameras.boards import Board, draw_board, find_board
from robot_rl_hardware.cameras.calibration import (
    Intrinsics,
    board_pose,
    calibrate_hand_eye,
    calibrate_intrinsics,
    intrinsics_from,
)
from robot_rl_hardware.cameras.hand_eye import Matrix, inverse, pose_of, solve_hand_eye

cv2 = pytest.importorskip("cv2")

LENS = Intrinsics(
    width=480, height=360, fx=420.0, fy=425.0, cx=250.0, cy=172.0, distortion=(-0.12, 0.05, 0.001, -0.0015, 0.0)
)
BOARDS = [Board(kind="charuco"), Board(kind="checkerboard", columns=9, rows=6)]
DOWN = np.array([0.0, 1.0, 0.0, 0.0])  # a tool or camera that looks straight down


@cache
def rays() -> np.ndarray:
    """Return (H, W, 2): where the ray of each pixel meets the plane one metre ahead, twice as fine a grid."""
    u, v = np.meshgrid((np.arange(2 * LENS.width) - 0.5) / 2, (np.arange(2 * LENS.height) - 0.5) / 2)
    pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2)
    plain = cv2.undistortPoints(pixels, LENS.matrix, np.array(LENS.distortion))
    return plain.reshape(2 * LENS.height, 2 * LENS.width, 2)


@cache
def print_of(board: Board) -> np.ndarray:
    """Return the board with a white margin of one square, 40 pixels a square."""
    return np.pad(draw_board(board, 40), 40, constant_values=255)


def photograph(board: Board, X_CT: Matrix, noise: float = 2.0, seed: int = 0) -> np.ndarray:
    """Return what the lens sees of a board at a pose: each ray is followed to the plane of the board."""
    directions = np.concatenate([rays(), np.ones((*rays().shape[:2], 1))], axis=-1)
    X_TC = inverse(X_CT)
    along = directions @ X_TC[:3, :3].T
    distance = -X_TC[2, 3] / along[..., 2]
    p_T = X_TC[:3, 3] + distance[..., None] * along
    x = (p_T[..., 0] / board.square_m + 1.0) * 40 - 0.5
    y = (p_T[..., 1] / board.square_m + 1.0) * 40 - 0.5
    fine = cv2.remap(
        print_of(board), x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        borderValue=120,
    )  # fmt: skip
    grey = cv2.resize(fine, (LENS.width, LENS.height), interpolation=cv2.INTER_AREA).astype(float)
    grey += np.random.default_rng(seed).normal(0.0, noise, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def centre(board: Board) -> np.ndarray:
    return np.array([0.5 * board.columns * board.square_m, 0.5 * board.rows * board.square_m, 0.0])


def in_front(board: Board, tilt: np.ndarray, offset: np.ndarray, distance_m: float) -> Matrix:
    """Return X_CT of a board whose middle is ahead of the camera."""
    X = pose_of(np.zeros(3), quat_from_rotvec(tilt))
    X[:3, 3] = np.array([offset[0], offset[1], distance_m]) - X[:3, :3] @ centre(board)
    return X


def views(board: Board, n: int, seed: int = 0) -> list[Matrix]:
    rng = np.random.default_rng(seed)
    width_m = board.columns * board.square_m
    return [
        in_front(board, rng.uniform(-0.5, 0.5, 3), rng.uniform(-0.06, 0.06, 2), width_m * rng.uniform(1.7, 2.3))
        for _ in range(n)
    ]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.kind)
def test_corners_are_found_to_a_fraction_of_a_pixel(board: Board) -> None:
    for X_CT in views(board, 4):
        sight = find_board(photograph(board, X_CT), board)
        assert sight is not None
        rotation, _ = cv2.Rodrigues(X_CT[:3, :3])
        wanted, _ = cv2.projectPoints(sight.p_T, rotation, X_CT[:3, 3], LENS.matrix, np.array(LENS.distortion))
        assert np.abs(wanted.reshape(-1, 2) - sight.pixels).max() < 0.5
        made = board_pose(sight, LENS)
        np.testing.assert_allclose(made[:3, 3], X_CT[:3, 3], atol=2e-3)
        assert quat_angle(matrix_to_quat(made[:3, :3]), matrix_to_quat(X_CT[:3, :3])) < 0.01


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.kind)
def test_a_lens_is_known_again(board: Board) -> None:
    images = [photograph(board, X, seed=k) for k, X in enumerate(views(board, 12))]
    made = calibrate_intrinsics([*images, np.zeros_like(images[0])], board)
    assert made.views == 12, "a picture without the board is passed over"
    assert made.error_px < 0.3
    assert made.fx == pytest.approx(LENS.fx, rel=0.01)
    assert made.fy == pytest.approx(LENS.fy, rel=0.01)
    assert made.cx == pytest.approx(LENS.cx, abs=4.0)
    assert made.cy == pytest.approx(LENS.cy, abs=4.0)
    assert made.distortion[0] == pytest.approx(LENS.distortion[0], abs=0.05)
    assert intrinsics_from(made.values()) == made


def test_part_of_a_charuco_board_is_enough() -> None:
    board = BOARDS[0]
    sight = find_board(photograph(board, in_front(board, np.array([0.2, 0.1, 0]), np.array([0.12, 0.0]), 0.3)), board)
    assert sight is not None
    assert 6 <= len(sight.p_T) < (board.columns - 1) * (board.rows - 1)


@pytest.mark.parametrize("mount", ["hand", "cell"])
def test_a_camera_is_found_where_it_is(mount: str) -> None:
    board, rng = BOARDS[0], np.random.default_rng(1)
    X_EC = pose_of(np.array([0.07, 0.01, -0.05]), quat_from_rotvec(np.array([0.1, -0.2, 0.3])))
    X_BC = pose_of(np.array([0.9, 0.1, 0.6]), DOWN)
    poses, images = [], []
    for k, X_CT in enumerate(views(board, 10, seed=2)):
        if mount == "hand":  # the board lies still in B, so the hand is wherever the camera sees it so
            X_BT = pose_of(np.array([0.5, -0.1, 0.0]), quat_from_rotvec(np.array([0.0, 0.0, 0.4])))
            X_BE = X_BT @ inverse(X_EC @ X_CT)
        else:  # the board is fixed to the hand
            X_ET = pose_of(np.array([0.02, -0.05, 0.08]), quat_from_rotvec(np.array([0.3, 0.0, 0.1])))
            X_BE = X_BC @ X_CT @ inverse(X_ET)
        poses.append((X_BE[:3, 3], matrix_to_quat(X_BE[:3, :3])))
        images.append(photograph(board, X_CT, seed=k))
    order = rng.permutation(len(poses))
    made = calibrate_hand_eye([poses[i] for i in order], [images[i] for i in order], board, LENS, mount)
    truth = X_EC if mount == "hand" else X_BC
    assert np.abs(np.array(made.position) - truth[:3, 3]).max() < 0.002
    assert quat_angle(np.array(made.orientation), matrix_to_quat(truth[:3, :3])) < 0.005
    assert made.error_px < 0.4
    assert made.board_spread_m < 0.002
    assert made.views == 10
    assert made.values()["mount"] == mount


ANGLES = st.lists(st.floats(-1.2, 1.2), min_size=3, max_size=3).map(np.array)
PLACES = st.lists(st.floats(-1.0, 1.0), min_size=3, max_size=3).map(np.array)


@settings(max_examples=50, deadline=None)
@given(ANGLES, PLACES, ANGLES, PLACES, st.integers(0, 2**16))
def test_the_closed_form_is_exact_without_noise(
    turn: np.ndarray, place: np.ndarray, turn_board: np.ndarray, place_board: np.ndarray, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    X_EC, X_WT = pose_of(place, quat_from_rotvec(turn)), pose_of(place_board, quat_from_rotvec(turn_board))
    X_WE = [pose_of(rng.uniform(-1, 1, 3), quat_from_rotvec(rng.uniform(-0.8, 0.8, 3))) for _ in range(6)]
    made = solve_hand_eye(X_WE, [inverse(X @ X_EC) @ X_WT for X in X_WE])
    np.testing.assert_allclose(made, X_EC, atol=1e-6)


def test_poses_that_tell_too_little_are_refused() -> None:
    board = BOARDS[0]
    seen = [in_front(board, np.array([0.0, 0.0, 0.08 * k]), np.zeros(2), 0.35) for k in range(6)]
    poses = [(X[:3, 3], matrix_to_quat(X[:3, :3])) for X in map(inverse, seen)]
    images = [photograph(board, X) for X in seen]
    with pytest.raises(CameraError, match="about one axis alone"):
        calibrate_hand_eye(poses, images, board, LENS)
    with pytest.raises(CameraError, match=r"4 of 4 pictures show the board; at least 5"):
        calibrate_hand_eye(poses[:4], images[:4], board, LENS)
    with pytest.raises(CameraError, match="each picture needs its pose"):
        calibrate_hand_eye(poses[:4], images, board, LENS)


def test_pictures_that_do_not_fit_are_refused() -> None:
    black = np.zeros((360, 480, 3), np.uint8)
    with pytest.raises(CameraError, match=r"0 of 2 pictures show a charuco board of 8x6"):
        calibrate_intrinsics([black, black], BOARDS[0])
    with pytest.raises(CameraError, match=r"one size, got 480x360, 48x36|one size, got 48x36, 480x360"):
        calibrate_intrinsics([black, black[:36, :48]], BOARDS[0])
    with pytest.raises(CameraError, match=r"calibrated for pictures of 480x360; these are 48x36"):
        calibrate_hand_eye([(np.zeros(3), DOWN)], [black[:36, :48]], BOARDS[0], LENS)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "chess"}, "one of ['checkerboard', 'charuco']"),
        ({"columns": 2}, "at least 4 squares"),
        ({"square_m": 30.0}, "in metres"),
        ({"marker_m": 0.05}, "below square_m"),
        ({"kind": "checkerboard", "columns": 8, "rows": 6}, "looks the same turned by half"),
    ],
)
def test_a_board_that_is_none_is_refused(values: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Board(**values)
    assert sentence in str(raised.value)


def test_markers_that_opencv_does_not_know_are_named() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'DICT_4X4_50'"):
        find_board(np.zeros((36, 48, 3), np.uint8), Board(dictionary="DICT_4X4_5O"))
