"""What the choice of the encoder is worth to a car that learns from its camera: one run for each, and one table.

    robot-rl pretrain --out encoders/navigation
    python benchmarks/bench_car_encoders.py --navigation encoders/navigation [--seeds 100] [--steps 12000]

Every row is `robot-rl train task=lap obs=images` with another frozen trunk: the one learnt by navigation, the same
network with its weights as they were drawn, and EfficientNet-Lite0 of ImageNet. Two more show what pictures are worth:
"blind" has the same numbers and no picture, "state" the course's numbers in its place. Runs lie under `--runs` and go
on when the benchmark is started again. "First lap" is driving time, recoveries included. Training the trunk too in
every update is not run: what an update would then cost is measured (the row "from scratch").
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.jsonl import read_json, read_jsonl
from robot_rl.laps import laps_of, summarise
from robot_rl.metrics import EPISODES_FILE

HZ = 10.0
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


def from_scratch(updates: int = 20) -> tuple[float, float]:
    """Return the milliseconds of an update from features, and of one that also trains the trunk on both pictures."""
    import jax
    import jax.numpy as jnp

    from robot_rl.agents.navigation import SIDE, Navigation, trunk_features
    from robot_rl.agents.rlpd import Agent
    from robot_rl.build import observed
    from robot_rl.config import compose
    from robot_rl.specs import FeatureField

    settings = compose(["task=lap", "obs=images"]).settings()
    task = settings.task.make()
    field = FeatureField(views=1, height=8, width=8, channels=32)
    spec = dataclasses.replace(observed(settings, task), images={"front": field})
    agent, rows = Agent(spec, task.action_spec, settings.agent), settings.agent.batch_size
    rng, group = np.random.default_rng(0), settings.learner.updates_per_call
    draw = lambda *shape: rng.standard_normal((group, rows, *shape)).astype(np.float32)  # noqa: E731
    batches = {
        "state": draw(spec.size), "next_state": draw(spec.size), "action": np.tanh(draw(2)), "reward": draw(),
        "discount": np.full((group, rows), 0.97, np.float32), "demo": np.zeros((group, rows), np.float32),
        **{k: rng.integers(0, 256, (group, rows, 8, 8, 32), np.uint8) for k in ("image/front", "next_image/front")},
    }  # fmt: skip
    state = agent.init(0)
    state, _ = agent.update(state, batches, {})
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(max(updates // group, 1)):
        state, _ = agent.update(state, batches, {})
    jax.block_until_ready(state)
    features_ms = 1e3 * (time.perf_counter() - start) / (max(updates // group, 1) * group)

    def loss(trunk: Any, picture: Any, following: Any) -> Any:
        # As dear as what trains it would be: forward and backward for one picture, forward for the one that follows.
        return jnp.square(trunk_features(trunk, picture)).mean() + jax.lax.stop_gradient(
            trunk_features(trunk, following).mean()
        )

    trunk = Navigation().init(0).params["trunk"]
    pictures = rng.integers(0, 256, (2, rows, SIDE, SIDE, 3), np.uint8)
    gradient = jax.jit(jax.value_and_grad(loss))
    jax.block_until_ready(gradient(trunk, *pictures))
    start = time.perf_counter()
    for _ in range(updates):
        jax.block_until_ready(gradient(trunk, *pictures))
    return features_ms, features_ms + 1e3 * (time.perf_counter() - start) / updates


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--navigation", type=Path, required=True, help="folder that robot-rl pretrain wrote")
    parser.add_argument("--runs", type=Path, default=Path("runs/encoders"), help="where the runs lie (runs/encoders)")
    parser.add_argument("--seeds", default="100", help="of the runs, by commas (100)")
    parser.add_argument("--steps", type=int, default=12000, help="of each run (12000: 20 minutes of driving)")
    parser.add_argument("--course", default="oval", help="what is raced on (oval)")
    given = parser.parse_args()
    size = int(read_json(given.navigation / "pretrain.json")["size"])
    images = ("obs=images", f"robot.image_size={size}")
    choices = {
        "navigation": (*images, f"obs.encoder={given.navigation / 'encoder.trunk'}"),
        "drawn": (*images, f"obs.encoder={drawn(given.navigation, given.runs / 'drawn-encoder')}"),
        "imagenet": (*images, "obs.encoder=efficientnet_lite0"),
        "blind": ("obs=state", "task.object_state=false"),
        "state": ("obs=state",),
    }
    rows = []
    for seed in (int(s) for s in given.seeds.split(",")):
        for name, settings in choices.items():
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
    features_ms, whole_ms = from_scratch()
    print(
        f"from scratch: an update of the agent takes {features_ms:.1f} ms from features and {whole_ms:.1f} ms with the "
        f"trunk trained in it (x{whole_ms / features_ms:.1f})"
    )


if __name__ == "__main__":
    main()
