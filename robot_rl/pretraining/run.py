"""Learning an encoder from logs of navigation, resumable, and the file that comes out: a frozen trunk.

What a folder of pretraining holds: `state.ckpt`, from which it goes on after a kill; `encoder.trunk`, which
`obs.encoder=` reads; `pretrain.json`, what it was learnt from and how well it tells drives that it has not seen.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl import checkpoint
from robot_rl.encoders.program import Trunk, save_trunk
from robot_rl.errors import CheckpointError, ConfigError
from robot_rl.jsonl import write_json_atomic
from robot_rl.pretraining.logs import SIDE, NavigationLog
from robot_rl.pretraining.steps import Drives, Sampler, drives_of

STATE, ENCODER, FACTS = "state.ckpt", "encoder.trunk", "pretrain.json"
KIND = "pretraining"
_HELD_OUT = 6  # one drive in so many is not learnt from
_BATCHES = 16  # on which the unseen drives are judged
_CALIBRATED = 1024  # pictures on which the spread of the features is measured

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How an encoder is learnt.

    Attributes:
        updates: How many; 0 keeps the weights as they were drawn, for comparison.
        batch_size: Steps of a batch.
        seed: Of weights and batches.
        size: Pixels of the pictures that the encoder shall read, a multiple of 64.
        save_s: Wall time between two states on disk.
    """

    updates: int = 6000
    batch_size: int = 128
    seed: int = 0
    size: int = 128
    save_s: float = 60.0

    def __post_init__(self) -> None:
        if self.updates < 0 or self.batch_size < 1 or self.seed < 0:
            raise ConfigError(
                f"updates is {self.updates}, batch_size {self.batch_size}, seed {self.seed}; allowed are 0, 1 and 0 or "
                "more"
            )
        if self.size < SIDE or self.size % SIDE:
            raise ConfigError(f"size is {self.size} pixels; allowed are multiples of {SIDE}")


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """What came out.

    Attributes:
        trunk: Its file.
        facts: Content of `pretrain.json`.
        complete: Whether all updates were done.
    """

    trunk: Path
    facts: dict[str, Any]
    complete: bool


def held_out(logs: Sequence[NavigationLog]) -> tuple[list[NavigationLog], list[NavigationLog]]:
    """Return the drives to learn from and those to judge by: every sixth, or of fewer the last; none of one alone."""
    unseen = list(logs[_HELD_OUT - 1 :: _HELD_OUT]) or list(logs[1:][-1:])
    names = {id(log) for log in unseen}
    return [log for log in logs if id(log) not in names], unseen


def pretrain(
    folder: Path, logs: Sequence[NavigationLog], config: PretrainConfig,
    stopping: Callable[[], bool] = lambda: False, progress: Progress = lambda what, done, n: None,
) -> Pretrained:  # fmt: skip
    """Learn, or go on learning, and write the encoder.

    Args:
        folder: Where to.
        logs: What is learnt from; every sixth drive only judges.
        config: How.
        stopping: Asked between updates whether to stop; the state is kept then.
        progress: Told what is done, how much of it, and of how much.

    Raises:
        CheckpointError: The folder holds the state of other settings or logs.
        EncoderError: The logs hold nothing to learn from.
        StorageError: The disk does not take it.
    """
    from robot_rl.agents.navigation import Navigation
    from robot_rl.agents.trees import export, restore

    seen, unseen = held_out(logs)
    drives, agent = drives_of(seen), Navigation()
    identity = {
        "batch_size": config.batch_size, "seed": config.seed,
        "logs": hashlib.sha256("".join(log.digest for log in logs).encode()).hexdigest(),
    }  # fmt: skip
    state, rng, seconds = agent.init(config.seed), np.random.default_rng([config.seed, 3]), 0.0
    path = folder / STATE
    if path.is_file():
        found = _found(path, identity)
        state = restore(state, found.arrays)
        rng.bit_generator.state, seconds = json.loads(found.meta["rng"]), float(found.meta["seconds"])
    sampler, info = Sampler(drives), {}
    began_s = saved_s = time.monotonic()
    done = int(state.step)
    while done < config.updates and not stopping():
        state, info = agent.update(state, sampler.sample(rng, config.batch_size))
        done += 1
        if done % 20 == 0 or done == config.updates:
            progress("learnt updates", done, config.updates)
        if time.monotonic() - saved_s > config.save_s or done == config.updates:
            saved_s = time.monotonic()
            _save(path, export(state), rng, seconds + saved_s - began_s, identity)
    if config.updates and done < config.updates:
        _save(path, export(state), rng, seconds + time.monotonic() - began_s, identity)
    facts: dict[str, Any] = {
        "updates": done, "wanted_updates": config.updates, **{k: identity[k] for k in ("batch_size", "seed")},
        "size": config.size, "drives": len(seen), "unseen_drives": len(unseen),
        "frames": sum(len(log) for log in seen), "steps": len(drives), "trouble_steps": int(drives.trouble.sum()),
        "seconds": round(seconds + time.monotonic() - began_s, 1),
        **{name: float(value) for name, value in info.items()},
    }  # fmt: skip
    if unseen:
        facts |= _judged(agent, state, drives_of(unseen), config)
    trunk = _trunk(agent, state, drives, config)
    save_trunk(trunk, folder / ENCODER)
    facts["encoder"] = trunk.source
    write_json_atomic(folder / FACTS, facts)
    return Pretrained(trunk=folder / ENCODER, facts=facts, complete=done >= config.updates)


def _found(path: Path, identity: dict[str, Any]) -> checkpoint.Checkpoint:
    found = checkpoint.load(path)
    theirs = {name: found.meta.get(name) for name in identity}
    if found.meta.get("kind") != KIND or theirs != identity:
        odd = [name for name in identity if theirs[name] != identity[name]]
        raise CheckpointError(
            f"{path} was learnt with other {' and '.join(odd) or 'things'} than now; go on with what it was begun "
            "with, or give another folder with --out"
        )
    return found


def _save(path: Path, arrays: Any, rng: np.random.Generator, seconds: float, identity: dict[str, Any]) -> None:
    meta = {"kind": KIND, **identity, "seconds": seconds, "rng": json.dumps(rng.bit_generator.state)}
    checkpoint.save(path, arrays, meta)


def _judged(agent: Any, state: Any, drives: Drives, config: PretrainConfig) -> dict[str, float]:
    """Return how well V tells unseen drives, with their pictures and with those of other moments."""
    rng, sampler = np.random.default_rng([config.seed, 4]), Sampler(drives, shift=False)
    own, other = [], []
    for _ in range(_BATCHES):
        batch = sampler.sample(rng, config.batch_size)
        order = rng.permutation(config.batch_size)
        own.append(agent.value_error(state, batch))
        mixed = {"picture": batch["picture"][order], "next_picture": batch["next_picture"][order]}
        other.append(agent.value_error(state, {**batch, **mixed}))
    return {"unseen_error": float(np.mean(own)), "unseen_error_other_pictures": float(np.mean(other))}


def _trunk(agent: Any, state: Any, drives: Drives, config: PretrainConfig) -> Trunk:
    """Return the encoder, its features' spread measured on pictures of the logs."""
    from robot_rl.agents.navigation import MEAN, STD, trunk_features

    ops = agent.trunk(state, config.size)
    rng = np.random.default_rng([config.seed, 5])
    chosen = rng.choice(len(drives.pictures), min(_CALIBRATED, len(drives.pictures)), replace=False)
    parts = [
        trunk_features(state.params["trunk"], drives.pictures[part]) for part in np.array_split(chosen, 16) if len(part)
    ]
    features = np.concatenate([np.asarray(part, np.float64) for part in parts])
    mean, std = features.mean(axis=(0, 1, 2)), features.std(axis=(0, 1, 2))
    std = np.maximum(std, 1e-3 * max(float(std.max()), 1e-6))  # of a channel that is never active
    digest = hashlib.sha256()
    for op in ops:
        for name in ("weight", "bias"):
            if hasattr(op, name):
                digest.update(np.ascontiguousarray(getattr(op, name)).tobytes())
    return Trunk(
        name="navigation" if int(state.step) else "drawn", ops=ops, size=config.size, source=digest.hexdigest(),
        input_mean=np.full(3, MEAN, np.float32), input_std=np.full(3, STD, np.float32),
        feature_mean=mean.astype(np.float32), feature_std=std.astype(np.float32),
    )  # fmt: skip
