"""Exports a run's policy: a folder that appears complete and checked, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import ConfigError, ExportError
from robot_rl.export import run_policy
from robot_rl.export.description import Origin, describe
from robot_rl.export.module import output_names, policy_module
from robot_rl.export.parity import OBSERVATIONS, TOLERANCE, check, deviations, numpy_answers, reference
from robot_rl.export.programs import FORMATS, OPSET, check_format, check_installed, write_program
from robot_rl.export.run_policy import ExportedPolicy, PolicyError
from robot_rl.formats.target import new_folder
from robot_rl.jsonl import write_json_atomic
from robot_rl.specs import ActionSpec, ObservationSpec

RUNNER = "run_policy.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export came to.

    Attributes:
        folder: Where it lies.
        observations: How many recorded observations it was compared on.
        deviation: Largest difference of the program to the learner's network on them.
        size_bytes: Of the program.
    """

    folder: Path
    observations: int
    deviation: float
    size_bytes: int


def export_policy(
    folder: Path,
    format_name: str,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    weights: Mapping[str, NDArray[np.float32]],
    states: NDArray[np.float32],
    origin: Origin,
) -> Exported:
    """Write a policy into a new folder, open it again by its own runner, and compare.

    Args:
        folder: What to make; it must not exist.
        format_name: "onnx" or "torch".
        observation_spec, action_spec: What the policy reads and gives.
        weights: As `Agent.policy` gives them.
        states: (n, S) recorded states, in physical units, to compare on.
        origin: Where the policy comes from.

    Raises:
        ConfigError: The format is unknown or the folder exists.
        ExportError: The program cannot be written, or does not act as the learner's network does.
        MissingDependency: torch, onnxruntime or JAX is missing.
    """
    check_format(format_name)
    check_installed(format_name)
    if folder.exists():
        raise ConfigError(
            f"{folder} exists; an export is never written over another, give another --to or move it away"
        )
    examples = reference(observation_spec, action_spec, weights, states)
    found = {"numpy": deviations(examples, action_spec, numpy_answers(observation_spec, action_spec, weights, states))}
    check("the policy that actors run", found["numpy"])
    with new_folder(folder, "an exported policy") as part:
        program = part / FORMATS[format_name]
        module = policy_module(observation_spec, action_spec, weights)
        write_program(format_name, module, [("state", states[0])], output_names(action_spec), program)
        description = describe(origin, observation_spec, action_spec) | {
            "format": format_name,
            "file": program.name,
            "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
            "opset": OPSET if format_name == "onnx" else None,
        }
        np.savez_compressed(part / "examples.npz", **examples)  # pyright: ignore[reportArgumentType]
        shutil.copyfile(run_policy.__file__, part / RUNNER)
        write_json_atomic(part / "policy.json", description)
        found["program"] = deviations(examples, action_spec, _program_answers(part, states))
        check(f"the exported program ({format_name})", found["program"])
        description["parity"] = {
            "reference": "the learner's network, JAX",
            "observations": len(states),
            "wanted": OBSERVATIONS,
            "tolerance": TOLERANCE,
            "largest_difference": found,
        }
        write_json_atomic(part / "policy.json", description)
        size_bytes = program.stat().st_size
    return Exported(
        folder=folder,
        observations=len(states),
        deviation=max(found["program"].values()),
        size_bytes=size_bytes,
    )


def _program_answers(folder: Path, states: NDArray[np.float32]) -> dict[str, Any]:
    try:
        policy = ExportedPolicy(folder)
        rows = [policy.outputs(state) for state in states]
    except PolicyError as e:
        raise ExportError(f"the exported program does not run: {e}") from e
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
