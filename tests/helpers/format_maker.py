"""A task for imports, and foreign data made up for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from episode_maker import PERIOD_S, SIZE, make_episode, specs

from robot_rl.episodes.folder import find_files
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import FOLDER, EpisodeRecorder
from robot_rl.formats.field_map import FieldMap, read_map
from robot_rl.formats.incoming import Goal
from robot_rl.formats.outgoing import Selection, select

SERL_MAP = """\
state:
  position: "state[0:3]"
  width: {from: "state[3]", scale: 0.001}
action:
  translation: "actions[0:3]"
  rotation: "actions[3:6]"
  gripper: {from: "actions[6]", scale: -1, hold: 0.5}
images: {wrist: wrist_1}
"""


def a_goal(*cameras: str) -> Goal:
    """Return the made up task as the goal of an import."""
    observation_spec, action_spec = specs(*cameras)
    return Goal(task="point", observation_spec=observation_spec, action_spec=action_spec, period_s=PERIOD_S)


def a_map(folder: Path, text: str, goal: Goal) -> FieldMap:
    """Return the map that a person wrote."""
    path = folder / "map.yaml"
    path.write_text(text)
    return read_map(path, goal.observation_spec, goal.action_spec)


def a_run(folder: Path, *cameras: str, episodes: int = 2, **options: Any) -> Selection:
    """Record episodes and return them as what goes out."""
    with EpisodeRecorder(folder / FOLDER) as recorder:
        for i in range(episodes):
            make_episode(recorder, **{"n": 5 + i, "seed": i, "cameras": cameras, **options})
    return select(find_files([folder]))


def read(folder: Path) -> list[Episode]:
    """Return the episodes of a run."""
    return [Episode(path) for path in find_files([folder])]


def transitions(n: int = 5, seed: int = 0, success: bool = True, done: bool = True) -> list[dict[str, Any]]:
    """Return an episode as SERL keeps it: stacks of one frame, a mask, and what an intervention leaves."""
    rng = np.random.default_rng(seed)
    seen = [
        {
            "state": rng.normal(size=(1, 4)).astype(np.float32),
            "wrist_1": rng.integers(0, 256, (1, *SIZE, 3), np.uint8),
        }
        for _ in range(n + 1)
    ]
    rows = []
    for k in range(n):
        last = done and k == n - 1
        action = rng.uniform(-1.0, 1.0, 7)
        info: dict[str, Any] = {"succeed": np.bool_(last and success), "left": False}
        if k == 1:
            info["intervene_action"] = action
        rows.append(
            {
                "observations": seen[k],
                "next_observations": seen[k + 1],
                "actions": action,
                "rewards": np.float64(last and success),
                "masks": 1.0 - last,
                "dones": last,
                "infos": info,
            }
        )
    return rows
