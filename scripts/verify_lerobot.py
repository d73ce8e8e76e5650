"""Exports recorded episodes and reads them with the real packages of LeRobot and robomimic.

    make verify-lerobot
    .venv/bin/python scripts/verify_lerobot.py --episodes 2 --python .venv-lerobot/bin/python

Records episodes of the scripted expert in the twin with two cameras, exports them as LeRobot data sets (with video, and
without loss) and as HDF5, and lets `verify_lerobot_peer.py`, in the environment that scripts/lerobot_env.sh makes,
compare what the loaders return with what was recorded, frame for frame. Imports the exact data set again and compares
that as well. Ends with status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.assisted import AssistedEnv
from robot_rl.build import make_env
from robot_rl.cli import main as robot_rl
from robot_rl.config import compose
from robot_rl.episodes.folder import episode_files
from robot_rl.episodes.practice import PracticeLog
from robot_rl.episodes.reader import Episode

CAMERAS = ("front", "wrist")
SETTINGS = ["task=pick_cube", f"robot.cameras=[{','.join(CAMERAS)}]"]
PSNR_DB = 30.0  # what video must reach at least, in the mean over the frames of a camera
PEER = Path(__file__).with_name("verify_lerobot_peer.py")


def main() -> int:
    """Run the comparison and return the exit status."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--python", default=".venv-lerobot/bin/python", help="of the environment with lerobot")
    made.add_argument("--episodes", type=int, default=3, help="how many to record (3)")
    made.add_argument("--run", default="", help="a recorded run to use instead")
    options = made.parse_args()
    if not Path(options.python).exists():
        print(f"{options.python} is missing; make it with: scripts/lerobot_env.sh", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run = Path(options.run) if options.run else record(place / "run", options.episodes)
        exports: list[list[str]] = [
            ["lerobot", "--out", str(place / "video")],
            ["lerobot", "--lossless", "--out", str(place / "exact")],
            ["hdf5", "--valid", "0.34", "--out", str(place / "demos.hdf5")],
        ]
        for words in exports:
            if robot_rl(["data", "export", words[0], str(run), *words[1:]]):
                return 1
        np.savez(place / "truth.npz", **truth(run))
        peer = [options.python, str(PEER), str(place), str(PSNR_DB)]
        read = subprocess.run(peer, check=False).returncode
        back = place / "runs" / "back"
        if robot_rl(["data", "import", "lerobot", str(place / "exact"), "--out", str(back), *SETTINGS]):
            return 1
        same = same_steps(run, back)
        print(f"{'ok  ' if same else 'FAIL'}  imported again: {'the same' if same else 'other'} steps and pictures")
        return 1 if read or not same else 0


def record(run: Path, episodes: int) -> Path:
    """Record episodes of the scripted expert in the twin."""
    settings = compose(SETTINGS).settings()
    env = make_env(settings)
    helped = AssistedEnv(env)
    expert: Any = getattr(env.task, "expert", None)
    log = PracticeLog(run, env, robot="twin")
    acts = expert(settings.expert.make())
    for number in range(episodes):
        observation, _ = helped.reset(seed=number)
        acts.reset(np.random.default_rng(number))
        log.begin(number, observation)
        ended = False
        while not ended:
            action = acts.action(env.robot_state)
            after = helped.step(action)
            log.step(after, 0)
            ended = after[2] or after[3]
        log.end()
    log.close()
    env.close()
    return run


def truth(run: Path) -> dict[str, Any]:
    """Return what was recorded, one row for each step of all episodes."""
    found: dict[str, list[Any]] = {}
    for number, path in enumerate(episode_files(run)):
        episode = Episode(path)
        steps, n = episode.steps, len(episode)
        fps = round(1.0 / episode.start.period_s)
        rows = {
            "state": steps.state,
            "next_state": steps.next_state,
            "action": steps.executed,
            "reward": steps.reward,
            "done": steps.terminated | steps.truncated,
            "terminated": steps.terminated,
            "truncated": steps.truncated,
            "success": steps.success,
            "timestamp": (np.arange(n) / fps).astype(np.float32),
            "frame": np.arange(n),
            "episode": np.full(n, number),
            **{f"image/{c}": np.stack(episode.cameras()[c, False][:n]) for c in CAMERAS},
        }
        for name, values in rows.items():
            found.setdefault(name, []).append(values)
    fields = [f"{k}:{v[0]}" for k, v in Episode(episode_files(run)[0]).start.spec["observation"]["state"].items()]
    return {**{name: np.concatenate(values) for name, values in found.items()}, "fields": np.array(fields)}


def same_steps(run: Path, back: Path) -> bool:
    """Return whether two runs hold the same steps, stamps and pictures."""
    files, others = episode_files(run), episode_files(back)
    for a, b in zip(map(Episode, files), map(Episode, others), strict=True):
        for name in ("state", "next_state", "action", "executed", "reward", "terminated", "truncated", "success",
                     "index", "policy_version", "stamp_ns", "after_ns", "log_ns"):  # fmt: skip
            if not np.array_equal(getattr(a.steps, name), getattr(b.steps, name)):
                return False
        if list(a.steps.source) != list(b.steps.source) or list(a.steps.reason) != list(b.steps.reason):
            return False
        for camera in CAMERAS:
            mine, theirs = a.cameras()[camera, False], b.cameras()[camera, False]
            if len(mine) != len(theirs) or any(not np.array_equal(mine[i], theirs[i]) for i in range(len(mine))):
                return False
    return True


if __name__ == "__main__":
    sys.exit(main())
