"""Logs of navigation as files: what a robot saw on its way, and where it was. One `.npz` for each drive.

| array | shape | what |
|---|---|---|
| `pictures` | (n, H, H, 3) uint8 | RGB, square, H a multiple of 64 |
| `stamp_s` | (n,) | when each was taken, rising |
| `p_W` | (n, 2) | position [m] at that moment, in any fixed frame |
| `yaw_rad` | (n,) | heading: the angle from x of that frame to where the robot looks, to the left |
| `trouble` | (n,) bool, may be left out | whether the robot had met something between the frame before and this one |

No speed and no commands are asked for: both are read from the poses, so logs of any robot that rolls fit. A file is
read without running anything that it holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import EncoderError, StorageError

SIDE = 64
"""Pixels of the pictures as they are kept: larger ones are averaged."""
SUFFIX = ".npz"
NEEDED = ("pictures", "stamp_s", "p_W", "yaw_rad")
FASTEST_M_S = 15.0
"""Poses that jump faster than this are no motion of a robot."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NavigationLog:
    """One drive.

    Attributes:
        name: Of the file.
        pictures: (n, 64, 64, 3) uint8.
        stamp_s: (n,) rising.
        p_W: (n, 2) positions [m].
        yaw_rad: (n,) headings.
        trouble: (n,) bool.
        digest: SHA-256 of the file.
    """

    name: str
    pictures: NDArray[np.uint8]
    stamp_s: NDArray[np.float64]
    p_W: NDArray[np.float64]
    yaw_rad: NDArray[np.float64]
    trouble: NDArray[np.bool_]
    digest: str = ""

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.stamp_s)


def save_log(path: Path, **arrays: Any) -> Path:
    """Write the arrays of a drive, by their names, as one file: whole or not at all.

    Raises:
        StorageError: The disk does not take it.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(temporary, **arrays)
        os.replace(temporary, path)
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(f"the log {path} cannot be written: {e.strerror or e}; free some space") from e
    return path


def read_logs(folder: Path) -> list[NavigationLog]:
    """Return every drive of a folder, by the names of the files.

    Raises:
        EncoderError: There is none, or one does not hold what a log holds: says which array and what is allowed.
    """
    paths = sorted(p for p in folder.glob(f"*{SUFFIX}") if not p.name.startswith("."))
    if not paths:
        raise EncoderError(
            f"{folder} holds no logs of navigation (*{SUFFIX}); give a folder of drives with pictures, stamp_s, p_W "
            "and yaw_rad, as docs/car_learning.md lists them"
        )
    return [read_log(path) for path in paths]


def read_log(path: Path) -> NavigationLog:
    """Return one drive, checked, its pictures averaged to 64 by 64; raises `EncoderError` as `read_logs` does."""
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            found: Any = np.load(file, allow_pickle=False)
            names = getattr(found, "files", [])  # of a lone array there are none
            arrays = {name: np.asarray(found[name]) for name in (*NEEDED, "trouble") if name in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise EncoderError(f"the log {path} cannot be read as plain arrays ({e}); write it with numpy.savez") from e
    for name in NEEDED:
        if name not in arrays:
            raise _refused(path, f"it has no array '{name}'", "pictures, stamp_s, p_W and yaw_rad are")
    pictures, n = arrays["pictures"], len(arrays["stamp_s"])
    side = pictures.shape[1] if pictures.ndim == 4 else 0
    if pictures.dtype != np.uint8 or pictures.shape != (n, side, side, 3) or side < SIDE or side % SIDE:
        raise _refused(
            path, f"its pictures are {pictures.dtype} of shape {pictures.shape}",
            f"uint8 of shape ({n}, H, H, 3) with H a multiple of {SIDE} is (cut and resize them)",
        )  # fmt: skip
    numbers: dict[str, NDArray[np.float64]] = {}
    for name, shape in (("stamp_s", (n,)), ("p_W", (n, 2)), ("yaw_rad", (n,))):
        value = arrays[name]
        if value.dtype.kind not in "fiu" or value.shape != shape or not np.isfinite(value).all():
            raise _refused(path, f"its {name} is {value.dtype} of shape {value.shape}", f"{shape} finite numbers are")
        numbers[name] = value.astype(np.float64)
    if n < 2 or not (np.diff(numbers["stamp_s"]) > 0.0).all():
        raise _refused(path, f"its {n} moments do not rise", "two frames or more, each later than the last, are")
    met = arrays.get("trouble", np.zeros(n, np.bool_))
    if met.shape != (n,) or met.dtype.kind not in "biu":
        raise _refused(path, f"its trouble is {met.dtype} of shape {met.shape}", f"{n} truth values are")
    return NavigationLog(
        name=path.stem, pictures=averaged(pictures), trouble=met.astype(np.bool_), digest=digest, **numbers
    )


def averaged(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (n, H, H, 3) pictures with their blocks of pixels averaged to (n, 64, 64, 3)."""
    n, side = pictures.shape[:2]
    block = side // SIDE
    if block == 1:
        return pictures
    out = np.empty((n, SIDE, SIDE, 3), np.uint8)
    for picture, made in zip(pictures, out, strict=True):
        made[:] = np.rint(picture.reshape(SIDE, block, SIDE, block, 3).mean(axis=(1, 3)))
    return out


def _refused(path: Path, found: str, allowed: str) -> EncoderError:
    return EncoderError(f"the log {path} does not fit: {found}; {allowed} what a log of navigation holds")
