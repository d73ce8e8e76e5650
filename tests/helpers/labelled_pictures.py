"""Labelled pictures made up for tests: a bright patch climbs, and a success is when it is high up."""

from __future__ import annotations

import numpy as np

from robot_rl.rewards.labels import LabelledSet

SIZE = 32
CAMERAS = {"front": (SIZE, SIZE, 3), "wrist": (SIZE, SIZE, 3)}


def pictures(height: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return pictures of a patch at a height in 0 to 1 and a place of its own, over noise."""
    out = {}
    for camera, shape in CAMERAS.items():
        picture = rng.integers(60, 90, shape, np.uint8)
        row, column = round((1.0 - height) * (SIZE - 10)), int(rng.integers(4, SIZE - 12))
        picture[row : row + 8, column : column + 8] = (200, 60, 40)
        out[camera] = picture
    return out


def fill(frames: LabelledSet, episodes: int = 12, steps: int = 12, seed: int = 0) -> None:
    """Add episodes in which the patch climbs; a success is above 0.7, and nothing lies between 0.6 and 0.8."""
    rng = np.random.default_rng(seed)
    for episode in range(episodes):
        for step in range(steps):
            height = float(rng.uniform(0.8, 1.0) if step >= steps - 3 else rng.uniform(0.0, 0.6))
            success = height > 0.7
            frames.add(f"e{episode:03d}", step, pictures(height, rng), int(success), "twin", success)
