"""Runs in the environment of lerobot: compares what its loader, and robomimic's, return with what was recorded.

.venv-lerobot/bin/python scripts/verify_lerobot_peer.py FOLDER PSNR_DB
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import importlib.metadata
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ["HF_HUB_OFFLINE"] = "1"
MASKS = ("train", "valid")
FAILED: list[str] = []


def row(what: str, found: str, holds: bool) -> None:
    """Print a row and remember one that does not hold."""
    print(f"{'ok  ' if holds else 'FAIL'}  {what}: {found}", flush=True)
    if not holds:
        FAILED.append(what)


def compare(folder: Path, truth: Any, bar_db: float, exact: bool) -> None:
    """Compare a data set frame for frame."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    word = "exact" if exact else "video"
    cache = folder.parent / "hf"
    os.environ["HF_DATASETS_CACHE"] = str(cache)
    data = LeRobotDataset("local/robot_rl", root=folder, video_backend="pyav")
    n = len(truth["reward"])
    row(f"{word}: frames, episodes, fps", f"{len(data)}, {data.num_episodes}, {data.fps}", len(data) == n)
    names = {
        "observation.state": "state", "action": "action", "next.reward": "reward", "next.done": "done",
        "next.truncated": "truncated", "next.success": "success", "timestamp": "timestamp", "frame_index": "frame",
        "episode_index": "episode",
    }  # fmt: skip
    frames = [data[i] for i in range(n)]
    for key, name in names.items():
        wrong = sum(not np.array_equal(f[key].numpy(), truth[name][i]) for i, f in enumerate(frames))
        row(f"{word}: {key}", f"{n - wrong} of {n} frames equal", not wrong)
    row(f"{word}: task", frames[0]["task"], frames[0]["task"] == "pick_cube")
    for camera in (k.partition("/")[2] for k in truth.files if k.startswith("image/")):
        db, wrong = [], 0
        for i, frame in enumerate(frames):
            picture = np.rint(frame[f"observation.images.{camera}"].numpy() * 255.0).astype(np.uint8).transpose(1, 2, 0)
            recorded = truth[f"image/{camera}"][i]
            error = float(np.mean((picture.astype(float) - recorded) ** 2))
            wrong += error > 0.0
            db.append(math.inf if error == 0.0 else 10.0 * math.log10(255.0**2 / error))
        if exact:
            row(f"{word}: camera {camera}", f"{n - wrong} of {n} pictures equal", not wrong)
        else:
            told = f"PSNR {np.mean(db):.1f} dB in the mean, {min(db):.1f} dB at least"
            row(f"{word}: camera {camera}", f"{told} (bar {bar_db:g} dB)", float(np.mean(db)) >= bar_db)
    mean = data.meta.stats["action"]["mean"]
    near = np.allclose(mean, truth["action"].mean(axis=0), atol=1e-5)
    row(
        f"{word}: statistics of the action",
        f"mean within {np.abs(mean - truth['action'].mean(axis=0)).max():.1e}",
        near,
    )
    window = LeRobotDataset(
        "local/robot_rl", root=folder, video_backend="pyav",
        delta_timestamps={"observation.state": [-0.1, 0.0], "action": [0.0, 0.1, 0.2]},
    )[1]  # fmt: skip
    wanted = truth["action"][1:4]
    row(f"{word}: a window of actions", f"{tuple(window['action'].shape)}", np.array_equal(window["action"], wanted))


def compare_robomimic(path: Path, truth: Any) -> None:
    """Compare the HDF5 file with what robomimic's loader returns."""
    import robomimic.utils.obs_utils as observations
    from robomimic.utils.dataset import SequenceDataset

    cameras = [k.partition("/")[2] for k in truth.files if k.startswith("image/")]
    fields = {str(f).partition(":")[0]: int(str(f).partition(":")[2]) for f in truth["fields"]}
    keys = [*fields, *(f"{c}_image" for c in cameras)]
    observations.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(fields), "rgb": keys[len(fields) :]}})
    options: dict[str, Any] = {
        "obs_keys": keys, "dataset_keys": ["actions", "rewards", "dones"], "load_next_obs": True,
        "hdf5_cache_mode": None, "hdf5_use_swmr": False, "seq_length": 1, "frame_stack": 1,
    }  # fmt: skip
    data = SequenceDataset(hdf5_path=str(path), **options)
    n = len(truth["reward"])
    row("hdf5: samples", f"{len(data)}", len(data) == n)
    wrong = 0
    for i in range(n):
        sample = data[i]
        for part, name in (("obs", "state"), ("next_obs", "next_state")):
            flat = np.concatenate([sample[part][k][0] for k in fields])
            wrong += not np.array_equal(flat, truth[name][i])
        wrong += not np.array_equal(sample["actions"][0], truth["action"][i])
        wrong += float(sample["rewards"][0]) != float(truth["reward"][i])
        wrong += bool(sample["dones"][0]) != bool(truth["terminated"][i])
        wrong += any(not np.array_equal(sample["obs"][f"{c}_image"][0], truth[f"image/{c}"][i]) for c in cameras)
    row("hdf5: robomimic's SequenceDataset", f"{wrong} differences in {n} samples", not wrong)
    counts = {
        k: len(SequenceDataset(hdf5_path=str(path), filter_by_attribute=k, **options)) for k in ("train", "valid")
    }
    row("hdf5: mask", f"{counts['train']} + {counts['valid']} samples", sum(counts.values()) == n)


def main() -> int:
    """Compare everything and return the exit status."""
    folder, bar_db = Path(sys.argv[1]), float(sys.argv[2])
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("lerobot", "torch", "av", "robomimic"))
    print(f"      {versions}, Python {sys.version.split()[0]}", flush=True)
    truth = np.load(folder / "truth.npz")
    compare(folder / "exact", truth, bar_db, exact=True)
    compare(folder / "video", truth, bar_db, exact=False)
    compare_robomimic(folder / "demos.hdf5", truth)
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
