"""What the choice of the encoder is worth to a car that learns from its camera: one run for each, and one table.

    robot-rl pretrain --out encoders/navigation
    python benchmarks/bench_car_encoders.py --navigation encoders/navigation [--seeds 100] [--steps 12000]

Every row is `robot-rl train task=lap obs=images` with another frozen trunk: the one learnt by navigation, the same
network with its weights as they were drawn, and EfficientNet-Lite0 of ImageNet. Two more show what pictures are worth:
"blind" has the same numbers and no picture, "state" the course's numbers in its place. "scratch" has no trunk: every
update trains convolutions too, as many as the others do but of half the batch (an hour on one busy core). Runs lie
under `--runs` and go on when the benchmark is started again; `--only` picks some. "First lap" is driving time,
recoveries included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.laps import laps_of, summarise
from robot_rl.metrics import EPISODES_FILE

HZ = 10.0
ROWS = ("navigation", "drawn", "imagenet", "scratch", "blind", "state")
COMMON = (
    "task=lap", "mode=single", "live=off", "evaluation.episodes=5", "evaluation.clone_episodes=0",
    "evaluation.video_episodes=0",
)  # fmt: skip


def robot_rl(*words: str) -> None:
    """Run a command of this installation; what it says goes to the terminal."""
    done = subprocess.run([sys.executable, "-m", "robot_rl", *words], check=False, env=dict(os.environ))
    if done.returncode:
        raise SystemExit(f"robot-rl {' '.join(words)} ended with status {done.returncode}; see above")


def drawn(navigation: Path, folder: Path) -> Path:
    """Return the trunk of the same network with weights as they were drawn, made if it is missing."""
    if not (folder / "encoder.trunk").is_file():
        logs, facts = navigation / "logs", read_json(navigation / "pretrain.json")
        words = ("--minutes", "0", "--logs", str(logs), "--updates", "0", "--size", str(facts["size"]))
        robot_rl("pretrain", "--out", str(folder), *words, "--seed", str(facts["seed"]))
    return folder / "encoder.trunk"


def trained(name: str, runs: Path, settings: Sequence[str]) -> Path:
    """Return the folder of a complete run, after training it or what is left of it."""
    folder = runs / name
    if not (folder / "summary.json").is_file():
        if (folder / "run.json").is_file():
            robot_rl("train", f"resume={name}", f"runs={runs}")
        else:
            robot_rl("train", *COMMON, f"runs={runs}", f"name={name}", *settings)
    return folder


def row(name: str, folder: Path) -> dict[str, Any]:
    """Return what a run came to."""
    episodes = read_jsonl(folder / EPISODES_FILE)
    laps, found = laps_of(episodes), summarise(episodes)
    board = read_json(folder / "leaderboard.json").get("rows", [{}])
    seconds = read_json(folder / "summary.json").get("seconds", {})
    return {
        "encoder": name, "first_lap_s": laps[0].driven_s if laps else float("nan"),
        "first_clean_s": found.first_clean_s, "laps": found.laps, "clean": found.clean_laps,
        "median_s": found.median_s, "best_s": found.best_s,
        "crashes_km": found.per_km(found.crashes), "race_s": board[0].get("median_s"),
        "steps": int(read_json(folder / "summary.json").get("env_steps", 0)), "wall_s": seconds.get("training"),
    }  # fmt: skip


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--navigation", type=Path, required=True, help="folder that robot-rl pretrain wrote")
    parser.add_argument("--runs", type=Path, default=Path("runs/encoders"), help="where the runs lie (runs/encoders)")
    parser.add_argument("--seeds", default="100", help="of the runs, by commas (100)")
    parser.add_argument("--steps", type=int, default=12000, help="of each run (12000: 20 minutes of driving)")
    parser.add_argument("--course", default="oval", help="what is raced on (oval)")
    parser.add_argument("--only", default="", help="the rows wanted, by commas (all)")
    given = parser.parse_args()
    wanted = given.only.split(",") if given.only else list(ROWS)
    if unknown := [name for name in wanted if name not in ROWS]:
        raise SystemExit(f"--only names {', '.join(unknown)}; there are {', '.join(ROWS)}")
    size = int(read_json(given.navigation / "pretrain.json")["size"])
    random = drawn(given.navigation, given.runs / "drawn-encoder") if "drawn" in wanted else ""
    images = ("obs=images", f"robot.image_size={size}")
    choices = {
        "navigation": (*images, f"obs.encoder={given.navigation / 'encoder.trunk'}"),
        "drawn": (*images, f"obs.encoder={random}"),
        "imagenet": (*images, "obs.encoder=efficientnet_lite0"),
        "scratch": (*images, "obs.encoder=cnn", "agent.batch_size=64"),
        "blind": ("obs=state", "task.object_state=false"),
        "state": ("obs=state",),
    }
    rows = []
    for seed in (int(s) for s in given.seeds.split(",")):
        for name in wanted:
            settings = choices[name]
            more = (f"task.course={given.course}", f"seed={seed}", f"learner.total_env_steps={given.steps}")
            rows.append(row(f"{name}, seed {seed}", trained(f"{name}-{seed}", given.runs, (*settings, *more))))
    print(f"{'encoder':22} first lap  clean  laps clean  median   best  race  crashes/km  driving  wall")
    for r in rows:
        race = f"{r['race_s']:5.2f}" if r["race_s"] is not None else "    –"
        print(
            f"{r['encoder']:22} {r['first_lap_s']:7.0f} s {r['first_clean_s']:4.0f} s {r['laps']:5d} {r['clean']:5d}"
            f" {r['median_s']:5.2f} s {r['best_s']:5.2f} {race} {r['crashes_km']:8.2f} {r['steps'] / HZ / 60:8.1f} min"
            f" {r['wall_s'] or float('nan'):5.0f} s"
        )


if __name__ == "__main__":
    main()
