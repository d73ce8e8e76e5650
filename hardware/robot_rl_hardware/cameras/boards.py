"""Boards to calibrate by: a checkerboard or a ChArUco board, and where a picture shows its corners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, nearest
from robot_rl_hardware.cameras.picture import load_cv2
from robot_rl_hardware.cameras.protocol import Picture

BoardKind = Literal["checkerboard", "charuco"]
_FEWEST_CORNERS = 6


@dataclass(frozen=True, kw_only=True)
class Board:
    """A flat board with a pattern of squares. Its frame T lies in the pattern, x along the columns, z into it.

    Attributes:
        kind: A checkerboard must be seen whole; of a ChArUco board a part is enough, and it cannot be taken for its
            own mirror image, so it is the better one.
        columns, rows: How many squares it has, black and white.
        square_m: Side of a square, measured on the print: printers scale.
        marker_m: Side of a marker in a ChArUco board.
        dictionary: OpenCV's name for the markers' set.
    """

    kind: BoardKind = "charuco"
    columns: int = 8
    rows: int = 6
    square_m: float = 0.03
    marker_m: float = 0.022
    dictionary: str = "DICT_4X4_50"

    def __post_init__(self) -> None:
        if self.kind not in get_args(BoardKind):
            kinds = list(get_args(BoardKind))
            raise ConfigError(f"a board's kind must be one of {kinds}, got '{self.kind}'.{nearest(self.kind, kinds)}")
        if min(self.columns, self.rows) < 4:
            raise ConfigError(f"a board needs at least 4 squares a side, got {self.columns}x{self.rows}")
        if not 0.0 < self.square_m < 1.0:
            raise ConfigError(f"a board's square_m is the side of a square in metres, got {self.square_m}")
        if self.kind == "charuco" and not 0.0 < self.marker_m < self.square_m:
            raise ConfigError(
                f"a board's marker_m must be above 0 and below square_m ({self.square_m}), got {self.marker_m}"
            )
        if self.kind == "checkerboard" and (self.columns - self.rows) % 2 == 0:
            raise ConfigError(
                f"a checkerboard of {self.columns}x{self.rows} squares looks the same turned by half, so its pose is "
                "ambiguous; use an odd by an even number of squares, or a ChArUco board"
            )


@dataclass(frozen=True)
class Sight:
    """What a picture shows of a board.

    Attributes:
        p_T: (n, 3) corners in the board's frame [m].
        pixels: (n, 2) where they are in the picture.
    """

    p_T: NDArray[np.float64]
    pixels: NDArray[np.float64]


def find_board(image: Picture, board: Board) -> Sight | None:
    """Return where a picture (H, W, 3) RGB shows a board, to a fraction of a pixel; None if it does not."""
    cv2 = load_cv2("calibrating a camera")
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    return _charuco(cv2, grey, board) if board.kind == "charuco" else _checkerboard(cv2, grey, board)


def charuco_board(cv2: Any, board: Board) -> Any:
    """Return OpenCV's own object of a ChArUco board.

    Raises:
        ConfigError: OpenCV has no such dictionary.
    """
    number = getattr(cv2.aruco, board.dictionary, None)
    if number is None or not board.dictionary.startswith("DICT_"):
        have = [name for name in dir(cv2.aruco) if name.startswith("DICT_")]
        raise ConfigError(
            f"OpenCV has no markers '{board.dictionary}'; it has {', '.join(have)}.{nearest(board.dictionary, have)}"
        )
    markers = cv2.aruco.getPredefinedDictionary(number)
    return cv2.aruco.CharucoBoard((board.columns, board.rows), board.square_m, board.marker_m, markers)


def draw_board(board: Board, pixels_per_square: int) -> NDArray[np.uint8]:
    """Return a board as a grey picture to be printed, without a margin."""
    cv2 = load_cv2("drawing a board")
    size = board.columns * pixels_per_square, board.rows * pixels_per_square
    if board.kind == "charuco":
        return charuco_board(cv2, board).generateImage(size)
    squares = np.indices((board.rows, board.columns)).sum(axis=0) % 2 == 1
    return np.kron(squares, np.ones((pixels_per_square, pixels_per_square), bool)).astype(np.uint8) * 255


def _checkerboard(cv2: Any, grey: NDArray[np.uint8], board: Board) -> Sight | None:
    inner = board.columns - 1, board.rows - 1
    found, corners = cv2.findChessboardCornersSB(grey, inner, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    if not found:
        return None
    grid = np.mgrid[1 : board.columns, 1 : board.rows].transpose(2, 1, 0).reshape(-1, 2)
    p_T = np.column_stack([grid * board.square_m, np.zeros(len(grid))])
    pixels = np.asarray(corners, float).reshape(-1, 2)
    return Sight(p_T, pixels if _begins_black(cv2, grey, board, p_T, pixels) else pixels[::-1])


def _begins_black(
    cv2: Any, grey: NDArray[np.uint8], board: Board, p_T: NDArray[np.float64], pixels: NDArray[np.float64]
) -> bool:
    """Return whether the corners begin beside the black corner square, at the origin; OpenCV may begin at the other."""
    H, _ = cv2.findHomography(p_T[:, :2], pixels)
    ends = np.array([[[0.5, 0.5], [board.columns - 0.5, board.rows - 0.5]]]) * board.square_m
    patches = [
        cv2.getRectSubPix(grey, (5, 5), (float(x), float(y))) for x, y in cv2.perspectiveTransform(ends, H)[0]
    ]  # fmt: skip
    return float(patches[0].mean()) < float(patches[1].mean())


def _charuco(cv2: Any, grey: NDArray[np.uint8], board: Board) -> Sight | None:
    of_cv2 = charuco_board(cv2, board)
    corners, numbers, _, _ = cv2.aruco.CharucoDetector(of_cv2).detectBoard(grey)
    if numbers is None or len(numbers) < _FEWEST_CORNERS:
        return None
    p_T = np.asarray(of_cv2.getChessboardCorners(), float)[np.asarray(numbers).ravel()]
    if np.linalg.matrix_rank(p_T - p_T.mean(axis=0), tol=1e-6) < 2:  # all on one line: no pose follows
        return None
    return Sight(p_T, np.asarray(corners, float).reshape(-1, 2))
