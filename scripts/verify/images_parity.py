"""An export beside JAX alone: the same pictures through JAX's trunk, rounded to bytes, and JAX's actor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_rl import config
from robot_rl.build import observed
from robot_rl.encoders.convert import find_trunk
from robot_rl.encoders.torch_trunk import TorchTrunk
from robot_rl.evaluate import read_policy
from robot_rl.export.module import STORED
from robot_rl.export.parity import moved_bytes, reference
from robot_rl.export.run_policy import ExportedPolicy
from robot_rl.train import policy_path

CHUNK = 20  # pictures at once


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What was found.

    Attributes:
        action: (n,) largest difference of an action's entries, of each observation; where JAX's two likeliest choices
            are closer than rounding, of the continuous entries alone.
        feature: Largest difference of torch's features and JAX's, before they are rounded to bytes, as they come out.
        reach: Largest of these features.
        bytes, moved: Stored bytes of the export, and those that JAX's trunk stores one step apart.
        same: (n,) whether no byte of an observation differs.
    """

    action: NDArray[np.float64]
    feature: float
    reach: float
    bytes: int
    moved: int
    same: NDArray[np.bool_]


def through_jax(run: Path, export: Path) -> Compared:
    """Compare an export with JAX on the pictures that it keeps as examples.

    Args:
        run: Of the policy.
        export: Its folder.

    Raises:
        ExportError: A stored byte lies more than one step from JAX's, or too many lie one step from it.
    """
    import jax

    from robot_rl.agents.trunk import jax_trunk

    chosen = config.compose_run(run, []).settings()
    task = chosen.task.make()
    saved = read_policy(policy_path(run, "final"), observed(chosen, task), task.action_spec)
    with np.load(export / "examples.npz") as kept:
        states = kept["state"]
        pictures = {n.removeprefix("image."): kept[n] for n in kept.files if n.startswith("image.")}
    size = next(iter(pictures.values())).shape[1]
    trunk = find_trunk(chosen.obs.encoder, size)
    by_torch, by_jax = TorchTrunk(trunk), jax.jit(jax_trunk(trunk))
    features, difference, reach = dict[str, NDArray[np.uint8]](), 0.0, 0.0
    for name, shots in pictures.items():
        chunks = [shots[i : i + CHUNK] for i in range(0, len(shots), CHUNK)]
        ours = np.concatenate([np.asarray(by_jax(part)) for part in chunks])
        theirs = np.concatenate([by_torch(part) for part in chunks])
        difference, reach = max(difference, float(np.abs(ours - theirs).max())), max(reach, float(np.abs(ours).max()))
        features[name] = trunk.quantise(ours)
    told = reference(saved.observation_spec, task.action_spec, saved.weights, states, features)
    policy = ExportedPolicy(export)
    answers = [policy.outputs(s, {n: shots[i] for n, shots in pictures.items()}) for i, s in enumerate(states)]
    stored = np.stack([answer[STORED] for answer in answers])
    moved_bytes(f"the export {export.name}", features, stored)
    differs = np.stack(list(features.values()), axis=1) != stored
    apart = np.abs(np.stack([answer["action"] for answer in answers]) - told["action"]).astype(np.float64)
    if "choice" in told:
        best = np.sort(told["choice"], axis=1)
        apart[best[:, -1] - best[:, -2] <= 1e-3, task.action_spec.continuous_size :] = 0.0
    return Compared(
        action=apart.max(axis=1), feature=difference, reach=reach, bytes=differs.size, moved=int(differs.sum()),
        same=~differs.reshape(len(differs), -1).any(axis=1),
    )  # fmt: skip
