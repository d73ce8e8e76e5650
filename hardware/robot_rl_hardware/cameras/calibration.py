"""Calibrating a camera: its lens from pictures of a board, and where it sits on the arm or in the cell.

Frames: B the robot's base, E the tool centre point, C the camera (OpenCV's: x right, y down, z forward), T the board.
A camera on the hand has a constant X_EC and sees a board that lies still in B; a camera in the cell has a constant X_BC
and sees a board in the hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CameraError
from robot_rl.geometry import matrix_to_quat, quat_from_rotvec, quat_mul, rotvec_from_quat
from robot_rl.robot import Vector
from robot_rl_hardware.cameras.boards import Board, Sight, find_board
from robot_rl_hardware.cameras.hand_eye import Matrix, inverse, pose_of, solve_hand_eye
from robot_rl_hardware.cameras.picture import load_cv2
from robot_rl_hardware.cameras.protocol import Picture

FEWEST_VIEWS = 5
FEWEST_POSES = 5
_SMALLEST_TURN_RAD = 0.2
"""Poses that differ by less in orientation, or about one axis alone, leave a camera's place undetermined."""


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """The lens of a camera, for whole pictures of this size that were not turned.

    Attributes:
        width, height: Of the pictures.
        fx, fy, cx, cy: Focal lengths and principal point [pixels].
        distortion: k1, k2, p1, p2, k3 of OpenCV.
        error_px: Root mean square distance between corners seen and predicted.
        views: How many pictures it is from.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)
    error_px: float = 0.0
    views: int = 0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The (3, 3) camera matrix."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def values(self) -> dict[str, Any]:
        """Return plain values for a cell file."""
        return {**asdict(self), "distortion": list(self.distortion)}


@dataclass(frozen=True, kw_only=True)
class HandEye:
    """Where a camera sits.

    Attributes:
        mount: "hand": the pose is X_EC; "cell": it is X_BC.
        position, orientation: (3,) [m] and (4,) quaternion wxyz of the camera.
        error_px: Root mean square distance between corners seen and predicted from the arm's poses.
        board_spread_m: How far the board seems to wander between the poses, root mean square; it does not in truth.
        views: How many poses it is from.
    """

    mount: Literal["hand", "cell"]
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    error_px: float
    board_spread_m: float
    views: int

    def values(self) -> dict[str, Any]:
        """Return plain values for a cell file."""
        return {**asdict(self), "position": list(self.position), "orientation": list(self.orientation)}


def calibrate_intrinsics(images: Sequence[Picture], board: Board) -> Intrinsics:
    """Return the lens that explains pictures of a board, held at many angles and all over the picture.

    Args:
        images: (H, W, 3) RGB, all of one size.
        board: What they show.

    Raises:
        CameraError: The pictures differ in size, or too few show the board.
    """
    cv2 = load_cv2("calibrating a camera")
    height, width = _one_size(images)
    sights = [sight for image in images if (sight := find_board(image, board)) is not None]
    if len(sights) < FEWEST_VIEWS:
        raise CameraError(
            f"{len(sights)} of {len(images)} pictures show a {board.kind} board of {board.columns}x{board.rows} "
            f"squares; at least {FEWEST_VIEWS} are needed. Check the board's settings, light and focus"
        )
    error, K, distortion, _, _ = cv2.calibrateCamera(
        [sight.p_T.astype(np.float32) for sight in sights],
        [sight.pixels.astype(np.float32) for sight in sights],
        (width, height), None, None,
    )  # fmt: skip
    k1, k2, p1, p2, k3 = (float(k) for k in np.ravel(distortion)[:5])
    return Intrinsics(
        width=width, height=height, fx=float(K[0, 0]), fy=float(K[1, 1]), cx=float(K[0, 2]), cy=float(K[1, 2]),
        distortion=(k1, k2, p1, p2, k3), error_px=float(error), views=len(sights),
    )  # fmt: skip


def board_pose(sight: Sight, intrinsics: Intrinsics) -> Matrix:
    """Return X_CT, the (4, 4) pose of a board in the camera that sees it."""
    cv2 = load_cv2("finding a board's pose")
    ok, rotation, translation = cv2.solvePnP(
        sight.p_T, sight.pixels, intrinsics.matrix, np.array(intrinsics.distortion), flags=cv2.SOLVEPNP_IPPE
    )
    if not ok:
        raise CameraError("the pose of the board does not follow from the corners that were seen; use another picture")
    rotation, translation = cv2.solvePnPRefineLM(
        sight.p_T, sight.pixels, intrinsics.matrix, np.array(intrinsics.distortion), rotation, translation
    )
    return pose_of(np.ravel(translation), quat_from_rotvec(np.ravel(rotation)))


def calibrate_hand_eye(
    poses: Sequence[tuple[Vector, Vector]],
    images: Sequence[Picture],
    board: Board,
    intrinsics: Intrinsics,
    mount: Literal["hand", "cell"] = "hand",
) -> HandEye:
    """Return where a camera sits, from pictures of a board at known poses of the arm.

    A closed form gives a first answer; then all corners together, through lens and arm, refine camera and board.

    Args:
        poses: p_BE (3,) [m] and quat_BE (4,) wxyz, one for each picture.
        images: (H, W, 3) RGB; those that do not show the board are passed over.
        board: What they show: fixed in the cell for a camera on the hand, fixed to the hand for one in the cell.
        intrinsics: The camera's lens.
        mount: Where the camera is.

    Raises:
        CameraError: Numbers differ, too few pictures show the board, or the poses are too much alike.
    """
    if len(poses) != len(images):
        raise CameraError(f"{len(poses)} poses and {len(images)} pictures were given; each picture needs its pose")
    if _one_size(images) != (intrinsics.height, intrinsics.width):
        raise CameraError(
            f"the lens was calibrated for pictures of {intrinsics.width}x{intrinsics.height}; "
            f"these are {_one_size(images)[1]}x{_one_size(images)[0]}"
        )
    seen = [(pose, sight) for pose, image in zip(poses, images, strict=True) if (sight := find_board(image, board))]
    if len(seen) < FEWEST_POSES:
        raise CameraError(
            f"{len(seen)} of {len(images)} pictures show the board; at least {FEWEST_POSES} are needed, from poses "
            "that look at it from all sides"
        )
    sights = [sight for _, sight in seen]
    # X_AE: of the hand in what the board is fixed to (hand camera), or of the base in the hand (cell camera).
    arm = [pose_of(np.asarray(p, float), np.asarray(quat, float)) for (p, quat), _ in seen]
    if mount == "cell":
        arm = [inverse(X) for X in arm]
    _check_turns(arm)
    camera = solve_hand_eye(arm, [board_pose(sight, intrinsics) for sight in sights])
    camera, fixed, error = _refine(arm, sights, intrinsics, camera)
    wander = np.array([(X @ camera @ board_pose(s, intrinsics))[:3, 3] for X, s in zip(arm, sights, strict=True)])
    p, quat = camera[:3, 3], matrix_to_quat(camera[:3, :3])
    return HandEye(
        mount=mount, position=(float(p[0]), float(p[1]), float(p[2])),
        orientation=(float(quat[0]), float(quat[1]), float(quat[2]), float(quat[3])), error_px=error,
        board_spread_m=float(np.sqrt(((wander - fixed[:3, 3]) ** 2).sum(axis=1).mean())), views=len(seen),
    )  # fmt: skip


def intrinsics_from(values: Mapping[str, Any]) -> Intrinsics:
    """Return the lens in a cell file's values, as `Intrinsics.values` wrote them."""
    from robot_rl.typed import build

    return build(Intrinsics, values, "calibration.intrinsics")


def _one_size(images: Sequence[Picture]) -> tuple[int, int]:
    sizes = {(image.shape[0], image.shape[1]) for image in images}
    if len(sizes) != 1:
        found = ", ".join(f"{width}x{height}" for height, width in sorted(sizes)) or "no pictures"
        raise CameraError(f"the pictures must all have one size, got {found}")
    return sizes.pop()


def _check_turns(arm: Sequence[Matrix]) -> None:
    """Raise `CameraError` unless the poses turn about two axes at least, without which the answer is not unique."""
    turns = [rotvec_from_quat(matrix_to_quat(arm[0][:3, :3].T @ X[:3, :3])) for X in arm[1:]]
    sizes = np.linalg.svd(np.array(turns), compute_uv=False) / np.sqrt(len(turns))
    if sizes[1] < _SMALLEST_TURN_RAD:
        raise CameraError(
            "the poses turn the hand too little, or about one axis alone, to tell where the camera is; tilt it by 20 "
            "to 40 degrees about several axes"
        )


def _refine(
    arm: Sequence[Matrix], sights: Sequence[Sight], intrinsics: Intrinsics, camera: Matrix
) -> tuple[Matrix, Matrix, float]:
    """Return camera and board that predict all corners best, and the remaining error [pixels]."""
    from scipy.optimize import least_squares

    cv2 = load_cv2("calibrating a camera")
    K, distortion = intrinsics.matrix, np.array(intrinsics.distortion)
    first = arm[0] @ camera @ board_pose(sights[0], intrinsics)

    def moved(X: Matrix, change: Vector) -> Matrix:
        quat = quat_mul(quat_from_rotvec(change[3:]), matrix_to_quat(X[:3, :3]))
        return pose_of(X[:3, 3] + change[:3], quat)

    def misses(change: Vector) -> Vector:
        X_AC, X_WT = moved(camera, change[:6]), moved(first, change[6:])
        out = []
        for X, sight in zip(arm, sights, strict=True):
            X_CT = inverse(X @ X_AC) @ X_WT
            rotation = rotvec_from_quat(matrix_to_quat(X_CT[:3, :3]))
            predicted, _ = cv2.projectPoints(sight.p_T, rotation, X_CT[:3, 3], K, distortion)
            out.append((predicted.reshape(-1, 2) - sight.pixels).ravel())
        return np.concatenate(out)

    best = least_squares(misses, np.zeros(12), x_scale="jac", loss="soft_l1")
    corners = misses(best.x).reshape(-1, 2)
    error = float(np.sqrt((corners**2).sum(axis=1).mean()))
    return moved(camera, best.x[:6]), moved(first, best.x[6:]), error
