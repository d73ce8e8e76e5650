"""What reproduces the beginning of an episode: where the reset was asked to go, and a twin's whole state after it.

The actor seeds its first reset alone and goes on with its generator, so a seed does not tell how an episode began. And
a twin that drives to its start, as hardware does, never stands there twice in the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_rl.env import RobotEnv
from robot_rl.episodes.facts import EpisodeStart
from robot_rl.errors import CheckpointError
from robot_rl.robot import ResetRequest, RobotState
from robot_rl.task import Task


def beginning_of(env: RobotEnv) -> dict[str, Any]:
    """Return what reproduces the beginning of an episode, right after `env.reset`; {} before any."""
    request = env.request
    if request is None:
        return {}
    made: dict[str, Any] = {
        "request": {
            "p_BE": np.asarray(request.p_BE, float).tolist(),
            "quat_BE": np.asarray(request.quat_BE, float).tolist(),
            "gripper_width_m": float(request.gripper_width_m),
            "objects": {name: np.asarray(pose, float).tolist() for name, pose in request.objects.items()},
            "keep_scene": request.keep_scene,
        }
    }
    snapshot = getattr(env.robot, "snapshot", None)
    if snapshot is not None:
        made["snapshot"] = snapshot()
    return made


def request_of(start: EpisodeStart) -> ResetRequest | None:
    """Return the request that an episode began with, or None where that was not recorded.

    Raises:
        CheckpointError: What was recorded is no request.
    """
    found = start.reset.get("request")
    if found is None:
        return None
    try:
        objects: Mapping[str, Any] = found["objects"]
        made = ResetRequest(
            p_BE=np.array(found["p_BE"], float),
            quat_BE=np.array(found["quat_BE"], float),
            gripper_width_m=float(found["gripper_width_m"]),
            objects={str(name): np.array(pose, float) for name, pose in objects.items()},
            keep_scene=bool(found.get("keep_scene", False)),
        )
        shapes = (made.p_BE.shape, made.quat_BE.shape, *(pose.shape for pose in made.objects.values()))
        if shapes != ((3,), (4,), *((7,) for _ in made.objects)):
            raise ValueError(f"arrays of shapes {shapes}")
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise CheckpointError(f"the recorded start of the episode cannot be used ({e!r}); the file is damaged") from e
    return made


def request_like(state: RobotState, task: Task) -> ResetRequest:
    """Return a request that leads near a first reading, for an episode without a recorded one."""
    movable = {name for name, thing in task.scene.items() if thing.motion in ("free", "placed")}
    return ResetRequest(
        p_BE=state.p_BE,
        quat_BE=state.quat_BE,
        gripper_width_m=state.gripper_width_m,
        objects={name: pose for name, pose in state.objects.items() if name in movable},
    )
