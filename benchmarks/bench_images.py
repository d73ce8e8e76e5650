"""What two cameras cost: updates from state, from cached features, and with the pictures encoded in every update.

All are the same agent, batch and number of updates in a call, sampling from a replay included, in turns in one run, so
that a busy machine changes the rates but hardly the ratios; the notes have the processor time, which it changes least.
The last is what SERL does: the replay holds pictures, and each update sends those of both observations through the
frozen trunk. What the cameras' heads cost lies between a state as wide as their output and the cached features. The
trunk is that of the default encoder with drawn weights, so neither torch nor its weights are needed; with both,
encoding a frame is timed too. Run `python benchmarks/bench_images.py`; `--quick` does fewer rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robot_rl.agents.config import AgentConfig
from robot_rl.agents.rlpd import Agent
from robot_rl.agents.trunk import jax_trunk
from robot_rl.encoders.networks import CHANNELS, program_of
from robot_rl.encoders.program import Conv, Trunk
from robot_rl.errors import MissingDependency
from robot_rl.messages import StepBlock
from robot_rl.replay import Replay
from robot_rl.specs import (
    ActionSpec,
    CameraField,
    ContinuousGroup,
    DiscreteGroup,
    FeatureField,
    ImageField,
    ObservationSpec,
    StateField,
)

Row = dict[str, str | float | None]

SIZE, VIEWS, CAMERAS, GROUP, STEPS = 128, 5, ("front", "wrist"), 8, 400
NUMBERS, OWN = 11, 5  # of pick_cube's state, with the cube and of the robot alone
CHUNK = 64  # pictures that the trunk is given at once
ACTION = ActionSpec(
    continuous={"arm": ContinuousGroup(size=6, unit="m", scale=0.04)},
    discrete={"gripper": DiscreteGroup(choices=("open", "close"))},
)
SIZES = {
    "SERL's size": AgentConfig(hidden=(256, 256), critics=10),
    "the default size": AgentConfig(hidden=(128, 128), critics=4, batch_size=128),
}


def drawn_trunk() -> Trunk:
    """Return the default encoder's trunk with drawn weights: as fast as with real ones."""
    rng, ops = np.random.default_rng(0), []
    for op in program_of("efficientnet_lite0", SIZE):
        if isinstance(op, Conv):
            gain = np.sqrt(2.0 / np.prod(op.weight.shape[:3]))
            op = dataclasses.replace(op, weight=(gain * rng.standard_normal(op.weight.shape)).astype(np.float32))
        ops.append(op)
    ones = np.ones(CHANNELS, np.float32)
    return Trunk(
        name="efficientnet_lite0", ops=tuple(ops), size=SIZE, input_mean=0.5 * ones[:3], input_std=0.25 * ones[:3],
        feature_mean=0.0 * ones, feature_std=ones,
    )  # fmt: skip


def replay_of(size: int, camera: CameraField | None) -> Replay:
    """Return a replay of random steps that are seen through two cameras, or of states alone."""
    rng = np.random.default_rng(0)
    images = {} if camera is None else dict.fromkeys(CAMERAS, camera)
    spec = ObservationSpec(state={"x": StateField(size=size, unit="1")}, images=images)
    replay = Replay(STEPS + 1, spec, ACTION, 0.97, 3)
    draw = lambda f, *lead: rng.integers(0, 256, (*lead, *f.shape), np.uint8)  # noqa: E731
    replay.add(
        "a",
        StepBlock(
            episode=0, start=0, states=rng.standard_normal((STEPS, size)).astype(np.float32),
            actions=np.clip(rng.standard_normal((STEPS, ACTION.size)), -1, 1).astype(np.float32),
            rewards=rng.uniform(size=STEPS).astype(np.float32), sources=np.zeros(STEPS, np.uint8),
            policy_versions=np.zeros(STEPS, np.int64), images={k: draw(f, STEPS) for k, f in images.items()},
            ended=True, final_state=np.zeros(size, np.float32), final_images={k: draw(f) for k, f in images.items()},
        ),
    )  # fmt: skip
    return replay


class Course:
    """One way to learn: a replay, an agent, and what lies between them."""

    def __init__(self, replay: Replay, config: AgentConfig, encode: Trunk | None = None) -> None:
        import jax

        self._jax, self.replay, self._batch = jax, replay, config.batch_size
        spec = replay.observation_spec
        self._encode = None if encode is None else jax.jit(jax_trunk(encode))
        if encode is not None:
            height, width, channels = encode.output
            seen = FeatureField(views=1, height=height, width=width, channels=channels)
            spec = dataclasses.replace(spec, images=dict.fromkeys(CAMERAS, seen))
            self._trunk = encode
        self._agent = Agent(spec, ACTION, config)
        self._state, self._rng = self._agent.init(0), np.random.default_rng(1)

    def compile(self) -> None:
        """Do what is done once: trace and compile, for as few pictures as that takes."""
        groups = GROUP if self._encode is None else 1
        if self._encode is not None:
            np.asarray(self._encode(np.zeros((CHUNK, SIZE, SIZE, 3), np.uint8)))
        batches = self.replay.sample_groups(self._rng, groups, self._batch)
        if self._encode is not None:
            made = np.zeros((groups, self._batch, *self._trunk.output), np.uint8)
            batches = {k: made if "image/" in k else v for k, v in batches.items()}
        self._learn(batches)

    def update(self, groups: int = GROUP) -> None:
        """Do one call of updates and wait for it."""
        batches = self.replay.sample_groups(self._rng, groups, self._batch)
        if self._encode is not None:
            batches = {k: self._features(v) if "image/" in k else v for k, v in batches.items()}
        self._learn(batches)

    def _learn(self, batches: dict[str, Any]) -> None:
        self._state, _ = self._agent.update(self._state, batches, {"bc_weight": 1.0})
        self._jax.block_until_ready(self._state)

    def _features(self, pictures: np.ndarray) -> np.ndarray:
        flat = pictures.reshape(-1, *pictures.shape[2:])
        assert self._encode is not None
        made = [np.asarray(self._encode(flat[i : i + CHUNK])) for i in range(0, len(flat), CHUNK)]
        stored = self._trunk.quantise(np.concatenate(made))
        return stored.reshape(*pictures.shape[:2], *stored.shape[1:])


def head_flop(config: AgentConfig, output: tuple[int, int, int]) -> float:
    """Count the operations of the products in the cameras' heads in one critic update and its share of an actor update.

    The critics' head goes there and back (no gradient of its inputs is needed), the target's and the actor's see the
    next frame; an actor update sees the frame with the critics' head and goes there and back with the actor's.
    """
    height, width, channels = output
    product = 2.0 * config.batch_size * height * width * channels * config.eye_width
    return len(CAMERAS) * product * (2 + 2 + 3 / config.updates_per_actor_update)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that `work` takes, by the clock and of all processors."""
    begin, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - used


@dataclasses.dataclass(frozen=True, kw_only=True)
class Took:
    """Medians of one update, seconds: by the clock, and of all processors."""

    wall_s: float
    cpu_s: float


def measure(config: AgentConfig, trunk: Trunk, rounds: int, encodes: int) -> dict[str, Took]:
    """Return what one update of each course takes."""
    height, width, channels = trunk.output
    features = FeatureField(views=VIEWS, height=height, width=width, channels=channels)
    courses = {
        "state": Course(replay_of(NUMBERS, None), config),
        "wide": Course(replay_of(OWN + len(CAMERAS) * config.eye_width, None), config),
        "cached": Course(replay_of(OWN, features), config),
    }
    if encodes:
        courses["encoding"] = Course(replay_of(OWN, ImageField(height=SIZE, width=SIZE)), config, trunk)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in courses}
    for course in courses.values():
        course.compile()
    for i in range(rounds):
        for name, course in courses.items():
            groups = 1 if name == "encoding" else GROUP
            if groups == GROUP or i < encodes:
                wall_s, cpu_s = timed(lambda course=course, groups=groups: course.update(groups))
                seconds[name].append((wall_s / groups, cpu_s / groups))
    middle = {name: np.median(values, axis=0) for name, values in seconds.items()}
    return {name: Took(wall_s=float(m[0]), cpu_s=float(m[1])) for name, m in middle.items()}


def encoding_ms() -> float | None:
    """Return the median milliseconds of one frame of one camera in all views, or None without torch or the weights."""
    from robot_rl.encoders.encoder import load_encoder

    try:
        encoder = load_encoder("efficientnet_lite0", SIZE, VIEWS)
    except MissingDependency:
        return None
    picture = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
    encoder.encode(picture)
    return 1e3 * float(np.median([timed(lambda: encoder.encode(picture))[0] for _ in range(30)]))


def row(name: str, value: float, unit: str, baseline: float | None, note: str) -> Row:
    """Return one line of the table."""
    ratio = None if baseline is None else value / baseline
    return {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "note": note}


def run(quick: bool = False) -> list[Row]:
    """Measure and return one row per number."""
    trunk, rows = drawn_trunk(), list[Row]()
    height, width, channels = trunk.output
    for name, config in SIZES.items():
        first = name == "SERL's size"
        took = measure(config, trunk, 8 if quick else 30, (1 if quick else 3) if first else 0)
        rate = {k: 1.0 / v.wall_s for k, v in took.items()}
        used = {k: f"{1e3 * v.cpu_s:.1f} ms of CPU" for k, v in took.items()}
        head = head_flop(config, trunk.output) / 1e9
        note = f"batch {config.batch_size}; {used['state']}"
        rows.append(row(f"updates from state, {name}", rate["state"], "1/s", None, note))
        wide = OWN + len(CAMERAS) * config.eye_width
        note = f"{wide} numbers, as with what the heads make; baseline: from state; {used['wide']}"
        rows.append(row(f"updates from a wide state, {name}", rate["wide"], "1/s", rate["state"], note))
        share = took["state"].cpu_s / took["cached"].cpu_s
        note = f"two cameras; baseline: from state; {used['cached']}: {share:.2f}; heads {head:.2f} GFLOP an update"
        rows.append(row(f"updates from cached features, {name}", rate["cached"], "1/s", rate["state"], note))
        if "encoding" in rate:
            pictures = 2 * len(CAMERAS) * config.batch_size
            note = f"baseline: {pictures} pictures encoded in each, {pictures * trunk.flops / 1e9:.0f} GFLOP"
            rows.append(row(f"the same, against encoding, {name}", rate["cached"], "1/s", rate["encoding"], note))
    features = FeatureField(views=VIEWS, height=height, width=width, channels=channels)
    kept = replay_of(OWN, features).nbytes_per_step
    raw = replay_of(OWN, ImageField(height=SIZE, width=SIZE)).nbytes_per_step
    rows.append(row("a step in the replay", kept, "bytes", raw, f"{VIEWS} views of two cameras; baseline: pictures"))
    rows.append(row("trunk", trunk.flops / 1e6, "MFLOP", None, f"one {SIZE}x{SIZE} picture"))
    one_ms = encoding_ms()
    if one_ms is not None:
        rows.append(row("encoding", one_ms, "ms", None, f"one frame of one camera in {VIEWS} views, torch, one thread"))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    for r in run(parser.parse_args().quick):
        baseline = "" if r["baseline"] is None else f"{r['baseline']:10.2f}"
        ratio = "" if r["ratio"] is None else f"{r['ratio']:6.2f}x"
        print(f"{r['name']:52} {r['value']:10.2f} {r['unit']:8} {baseline:>10} {ratio:>7}  {r['note']}")


if __name__ == "__main__":
    main()
