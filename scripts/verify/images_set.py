"""A labelled set of pictures of the twin, as the stages share it: collected once, then copied, poisoned and judged."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from verify.children import Finished, Runner

from robot_rl.rewards.labels import LabelledSet

SUCCESSES, FAILURES = 200, 1000
POISON = 0.1
TIMEOUT_S = 1200.0
ROBOT_RL = [sys.executable, "-m", "robot_rl"]
CAMERAS = "robot.cameras=[front,wrist]"
# Near its border, at a lift of 6 to 12 cm where 10 cm is a success, a classifier is unsure: of 16 demonstrations it
# claimed eleven up to five steps too early at a threshold of 0.5 in two frames, and two, by a step, at 0.98 in four
# (set of seed 100).
CLAIMS = ("reward.confirm=[4,4]", "reward.threshold=0.98")
FRESH = 500  # added to the seed of a set that only tests


def collect(runner: Runner, seed: int, successes: int = SUCCESSES, failures: int = FAILURES) -> tuple[Path, Finished]:
    """Return a set of near misses and successes with the twin's labels; one that is there already is gone on with."""
    folder = runner.work / "sets" / f"cube-{seed}-{successes}"
    words = ["reward", "collect", str(folder), "task=pick_cube", CAMERAS, "operator=near_misses", f"seed={seed}"]
    words += ["--labels", "truth", "--every", "3", "--most", "10"]
    words += ["--successes", str(successes), "--failures", str(failures)]
    return folder, runner.run(f"collect-{seed}-{successes}", [*ROBOT_RL, *words], TIMEOUT_S)


def train(runner: Runner, folder: Path) -> tuple[Path, Finished]:
    """Return the classifier of a set, with the threshold for at most 1 % false positives."""
    ended = runner.run(f"classifier-{folder.name}", [*ROBOT_RL, "reward", "train", str(folder)], TIMEOUT_S)
    return folder / "classifier.ckpt", ended


def poison(folder: Path, into: Path, share: float, seed: int) -> set[str]:
    """Copy a set and turn the labels of some of its frames round; return their names.

    Args:
        folder: The set; its features are copied too, so that nothing is encoded twice.
        into: The copy; replaced if it is there.
        share: Of the frames, drawn evenly.
        seed: Of the draw.
    """
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(folder, into)
    with LabelledSet(into, writing=True) as frames:
        rng = np.random.default_rng([seed, 3])
        every = [frame for frame in frames.frames if frame.label is not None]
        drawn = rng.choice(len(every), round(share * len(every)), replace=False)
        chosen = [every[i] for i in sorted(drawn)]
        for label in (0, 1):
            frames.relabel([f.name for f in chosen if f.label == label], 1 - label, "poison")
    return {frame.name for frame in chosen}


def classifier(runner: Runner) -> tuple[Path | None, str]:
    """Return the classifier of the verification's own set, made now if no stage has made it, or None and why not."""
    folder, ended = collect(runner, runner.seed)
    if ended.status != 0:
        return None, f"collecting ended with {ended.how()}"
    path = folder / "classifier.ckpt"
    if not path.is_file():
        path, ended = train(runner, folder)
    return (path, "") if ended.status == 0 else (None, f"reward train ended with {ended.how()}")
