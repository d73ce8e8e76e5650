"""How fast the replay stores and samples, and what a step takes, beside one that stores obs and next_obs apart.

The baseline is the plain way (SERL's `ReplayBuffer`): one transition at a time into a dictionary of arrays, both
observations each time, and a fancy index a key to sample. The two take turns. Run `python benchmarks/bench_replay.py`;
`--quick` takes a few seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.messages import StepBlock
from robot_rl.replay import Mixed, Replay
from robot_rl.specs import ActionSpec, ContinuousGroup, ImageField, ObservationSpec, StateField

Row = dict[str, str | float | None]

STATE, ACTION, SIDE, BLOCK, GROUPS, BATCH, GAMMA = 32, 7, 128, 30, 8, 256, 0.99
ACTION_SPEC = ActionSpec(continuous={"arm": ContinuousGroup(size=ACTION, unit="m", scale=0.01)})


def observation_spec(cameras: int) -> ObservationSpec:
    """Return 32 numbers and `cameras` images of 128x128."""
    images = {f"camera{i}": ImageField(height=SIDE, width=SIDE) for i in range(cameras)}
    return ObservationSpec(state={"state": StateField(size=STATE, unit="1")}, images=images)


def block_of(cameras: int, start: int = 0, ended: bool = False) -> StepBlock:
    """Return 30 random steps."""
    rng = np.random.default_rng(start)
    frames = {f"camera{i}": rng.integers(0, 256, (BLOCK, SIDE, SIDE, 3)).astype(np.uint8) for i in range(cameras)}
    return StepBlock(
        episode=0,
        start=start,
        states=rng.standard_normal((BLOCK, STATE)).astype(np.float32),
        actions=rng.uniform(-1, 1, (BLOCK, ACTION)).astype(np.float32),
        rewards=np.zeros(BLOCK, np.float32),
        sources=np.zeros(BLOCK, np.uint8),
        policy_versions=np.zeros(BLOCK, np.int64),
        images=frames,
        ended=ended,
        final_state=np.zeros(STATE if ended else 0, np.float32),
        final_images={k: v[0] for k, v in frames.items()} if ended else {},
    )


def transitions(cameras: int) -> list[dict[str, Any]]:
    """Return the same steps as a list of (s, a, r, s') dictionaries, as SERL's actor collects them."""
    block = block_of(cameras, ended=True)

    def seen(i: int) -> dict[str, NDArray[Any]]:
        last = i == BLOCK
        images = {k: block.final_images[k] if last else v[i] for k, v in block.images.items()}
        return {"state": block.final_state if last else block.states[i], **images}

    return [
        {
            "observations": seen(i),
            "next_observations": seen(i + 1),
            "actions": block.actions[i],
            "rewards": block.rewards[i],
            "masks": np.float32(1.0),
            "dones": i == BLOCK - 1,
        }
        for i in range(BLOCK)
    ]


class PlainReplay:
    """The baseline: every transition whole, one at a time."""

    def __init__(self, capacity: int, cameras: int) -> None:
        self.capacity, self.size, self.at = capacity, 0, 0
        spec = observation_spec(cameras)

        def frames() -> dict[str, NDArray[Any]]:
            images = {k: np.zeros((capacity, *f.shape), np.uint8) for k, f in spec.images.items()}
            return {"state": np.zeros((capacity, STATE), np.float32), **images}

        self.data: dict[str, Any] = {
            "observations": frames(),
            "next_observations": frames(),
            "actions": np.zeros((capacity, ACTION), np.float32),
            "rewards": np.zeros(capacity, np.float32),
            "masks": np.zeros(capacity, np.float32),
            "dones": np.zeros(capacity, np.bool_),
        }

    def insert(self, transition: dict[str, Any]) -> None:
        """Store one transition."""
        self._insert(self.data, transition)
        self.at = (self.at + 1) % self.capacity
        self.size = min(self.size + 1, self.capacity)

    def _insert(self, into: dict[str, Any], values: dict[str, Any]) -> None:
        for key, store in into.items():
            if isinstance(store, dict):
                self._insert(store, values[key])
            else:
                store[self.at] = values[key]

    def sample(self, rng: np.random.Generator, n: int) -> dict[str, Any]:
        """Draw one batch."""
        index = rng.integers(self.size, size=n)
        return self._take(self.data, index)

    def _take(self, data: dict[str, Any], index: NDArray[np.int64]) -> dict[str, Any]:
        return {k: self._take(v, index) if isinstance(v, dict) else v[index] for k, v in data.items()}

    @property
    def nbytes_per_step(self) -> float:
        """Bytes that one transition takes."""
        obs, rest = self.data["observations"], ("actions", "rewards", "masks", "dones")
        return (2 * sum(a.nbytes for a in obs.values()) + sum(self.data[k].nbytes for k in rest)) / self.capacity


def rate(work: Callable[[], int], seconds: float) -> float:
    """Return how many items a second `work` handles."""
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        done += work()
    return done / (time.perf_counter() - begin)


def in_turns(ours: Callable[[], int], theirs: Callable[[], int], seconds: float) -> tuple[float, float]:
    """Return the median rates of both over five turns each."""
    pairs = [(rate(ours, seconds / 5), rate(theirs, seconds / 5)) for _ in range(5)]
    a, b = np.median(np.array(pairs), axis=0)
    return float(a), float(b)


def fill(replay: Replay, cameras: int, steps: int) -> None:
    """Add episodes of 90 steps."""
    blocks = [block_of(cameras, start, ended=start == 2 * BLOCK) for start in (0, BLOCK, 2 * BLOCK)]
    while replay.steps_total < steps:
        for block in blocks:
            replay.add("actor0", block)


def run(quick: bool = False) -> list[Row]:
    """Measure and return one row per number."""
    seconds = 0.5 if quick else 3.0
    rng = np.random.default_rng(0)
    rows: list[Row] = []

    def row(name: str, value: float, baseline: float, unit: str, note: str, ratio: float | None = None) -> None:
        ratio = value / baseline if ratio is None else ratio
        rows.append({"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "note": note})

    for cameras, capacity in ((0, 20_000 if quick else 200_000), (2, 600 if quick else 3000)):
        what = "state" if cameras == 0 else "two 128x128 cameras"
        plain = PlainReplay(capacity, cameras)
        few = transitions(cameras)
        while plain.size < capacity:
            for t in few:
                plain.insert(t)
        for n_step in (1, 3):
            replay = Replay(capacity, observation_spec(cameras), ACTION_SPEC, GAMMA, n_step)
            fill(replay, cameras, capacity)
            groups, batch = (GROUPS, BATCH) if cameras == 0 else (1, 64)

            def ours(replay: Replay = replay, groups: int = groups, batch: int = batch) -> int:
                replay.sample_groups(rng, groups, batch)
                return groups * batch

            def theirs(plain: PlainReplay = plain, batch: int = batch) -> int:
                plain.sample(rng, batch)
                return batch

            value, baseline = in_turns(ours, theirs, seconds)
            name = f"replay sample, {what}, {n_step}-step"
            row(name, value, baseline, "transitions/s", f"{groups} x {batch} a call; baseline is always 1-step")
            if cameras == 0 and n_step == 1:
                mixed = Mixed(replay, replay)

                def halves(mixed: Mixed = mixed) -> int:
                    mixed.sample_groups(rng, GROUPS, BATCH)
                    return GROUPS * BATCH

                value, baseline = in_turns(halves, theirs, seconds)
                row("replay sample, state, half demonstrations", value, baseline, "transitions/s", "8 x 256 a call")
        replay = Replay(capacity, observation_spec(cameras), ACTION_SPEC, GAMMA)
        block = block_of(cameras, ended=True)

        def add(replay: Replay = replay, block: StepBlock = block) -> int:
            replay.add("actor0", block)
            return BLOCK

        def insert(plain: PlainReplay = plain, few: list[dict[str, Any]] = few) -> int:
            for t in few:
                plain.insert(t)
            return BLOCK

        value, baseline = in_turns(add, insert, seconds)
        row(f"replay add, {what}", value, baseline, "transitions/s", "30 a block")
        used, plain_used = replay.nbytes_per_step, plain.nbytes_per_step
        note = "raw images, obs shared with the next step; an episode takes one row more than steps"
        row(f"replay memory, {what}", used, plain_used, "bytes/step", note, plain_used / used)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of a minute")
    print(f"{'what':<46}{'ours':>12}{'baseline':>12} {'unit':<14}{'ratio':>7}")
    for r in run(parser.parse_args().quick):
        print(f"{r['name']:<46}{r['value']:>12,.0f}{r['baseline']:>12,.0f} {r['unit']:<14}{r['ratio']:>7.2f}")


if __name__ == "__main__":
    main()
