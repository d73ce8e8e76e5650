"""Pictures for a calibration, kept in a folder, each with the arm's pose if there was an arm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robot_rl.errors import ConfigError, StorageError
from robot_rl.jsonl import read_json, write_json_atomic
from robot_rl.robot import Vector
from robot_rl_hardware.cameras.picture import load_cv2
from robot_rl_hardware.cameras.protocol import Picture

POSES = "poses.json"
Pose = tuple[Vector, Vector]


class Shots:
    """A folder of pictures NNN.png and the poses of the tool at which they were taken.

    Args:
        folder: Made with the first picture.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Return the pictures' names, in the order in which they were taken."""
        return sorted(p.name for p in self.folder.glob("*.png")) if self.folder.is_dir() else []

    def add(self, picture: Picture, pose: Pose | None) -> str:
        """Keep a picture (H, W, 3) RGB and the tool's pose, (3,) [m] and (4,) wxyz in B; returns its name.

        Raises:
            StorageError: The disk refuses.
        """
        cv2 = load_cv2("keeping a picture")
        names = self.names()
        name = f"{int(Path(names[-1]).stem) + 1 if names else 0:03d}.png"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            ok, data = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
            if not ok:
                raise StorageError(f"the picture could not be encoded as {name}")
            # The pose first: a picture without its pose would spoil a calibration, a pose without picture does not.
            poses = read_json(self.folder / POSES)
            if pose is not None:
                poses[name] = {"p_BE": pose[0].tolist(), "quat_BE": pose[1].tolist()}
                write_json_atomic(self.folder / POSES, poses)
            (self.folder / name).write_bytes(data.tobytes())
        except OSError as e:
            raise StorageError(f"the picture {self.folder / name} could not be written: {e.strerror}") from e
        return name

    def drop_last(self) -> str:
        """Remove the last picture and return its name; empty if there was none."""
        names = self.names()
        if not names:
            return ""
        (self.folder / names[-1]).unlink(missing_ok=True)
        return names[-1]

    def pictures(self) -> list[Picture]:
        """Return all pictures as (H, W, 3) RGB.

        Raises:
            ConfigError: There is none, or one is no picture.
        """
        cv2 = load_cv2("reading pictures")
        out = []
        for name in self.names():
            data = cv2.imread(str(self.folder / name), cv2.IMREAD_COLOR)
            if data is None:
                raise ConfigError(f"{self.folder / name} is no picture; remove it")
            out.append(np.ascontiguousarray(data[..., ::-1]))
        if not out:
            raise ConfigError(f"the folder {self.folder} holds no pictures (NNN.png); take some first")
        return out

    def poses(self) -> list[Pose]:
        """Return the tool's pose at each picture.

        Raises:
            ConfigError: One is missing.
        """
        known = read_json(self.folder / POSES)
        out = []
        for name in self.names():
            try:
                p, quat = (np.array(known[name][key], float) for key in ("p_BE", "quat_BE"))
            except (KeyError, TypeError, ValueError):
                p, quat = np.zeros(0), np.zeros(0)
            if p.shape != (3,) or quat.shape != (4,):
                raise ConfigError(
                    f"{self.folder / POSES} has no pose of {name}; pictures for hand-eye are taken with an arm node "
                    "running: robot-rl calibrate camera hand-eye"
                )
            out.append((p, quat))
        return out
