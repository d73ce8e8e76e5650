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

from robot_rl.encoders.encoder import Encoder
from robot_rl.encoders.raw import RawEncoder
from robot_rl.errors import ConfigError, ExportError
from robot_rl.export import run_policy
from robot_rl.export.description import Origin, describe
from robot_rl.export.eyes import eyes_module
from robot_rl.export.module import STORED, output_names, policy_module
from robot_rl.export.parity import TOLERANCE, check, deviations, moved_bytes, numpy_answers, reference
from robot_rl.export.programs import FORMATS, OPSET, check_format, check_installed, write_program
from robot_rl.export.recorded import Observations
from robot_rl.export.run_policy import ExportedPolicy, PolicyError
from robot_rl.formats.target import new_folder
from robot_rl.jsonl import write_json_atomic
from robot_rl.specs import ActionSpec, FeatureField, ImageField, ObservationSpec

RUNNER = "run_policy.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export came to.

    Attributes:
        folder: Where it lies.
        observations: How many observations it was compared on, and what they are.
        deviation: Largest difference of the program to the learner's network on them.
        size_bytes: Of the program.
    """

    folder: Path
    observations: str
    deviation: float
    size_bytes: int


def export_policy(
    folder: Path,
    format_name: str,
    observation_spec: ObservationSpec,
    action_spec: ActionSpec,
    weights: Mapping[str, NDArray[np.float32]],
    observations: Observations,
    origin: Origin,
    encoder: Encoder | RawEncoder | None = None,
) -> Exported:
    """Write a policy into a new folder, open it again by its own runner, and compare.

    Args:
        folder: What to make; it must not exist.
        format_name: "onnx" or "torch".
        observation_spec, action_spec: What the policy reads and gives.
        weights: As `Agent.policy` gives them.
        observations: What a robot has seen, to compare on.
        origin: Where the policy comes from.
        encoder: Of a policy that reads what is stored of pictures; the program then reads pictures.

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
    states, pictures = observations.states, observations.images
    # Without an encoder no policy reads pictures, even if its task has some.
    seen_spec, eyes, features = dataclasses.replace(observation_spec, images={}), None, {}
    if encoder is not None:
        seen_spec, eyes, features = _seeing(observation_spec, weights, pictures, encoder)
    examples = reference(observation_spec, action_spec, weights, states, features)
    acted = numpy_answers(observation_spec, action_spec, weights, states, features)
    found = {"numpy": deviations(examples, action_spec, acted)}
    check("the policy that actors run", found["numpy"])
    with new_folder(folder, "an exported policy") as part:
        program = part / FORMATS[format_name]
        module = policy_module(observation_spec, action_spec, weights, eyes)
        inputs = [("state", states[0]), *((name, shots[0]) for name, shots in pictures.items())]
        write_program(format_name, module, inputs, output_names(action_spec, bool(pictures)), program)
        description = describe(origin, seen_spec, action_spec) | {
            "encoder": None if encoder is None else encoder.field.encoder,
            "format": format_name,
            "file": program.name,
            "sha256": hashlib.sha256(program.read_bytes()).hexdigest(),
            "opset": OPSET if format_name == "onnx" else None,
        }
        shots = {f"image.{name}": images for name, images in pictures.items()}
        stored = {STORED: np.stack(list(features.values()), axis=1)} if features else {}
        np.savez_compressed(part / "examples.npz", **examples, **shots, **stored)  # pyright: ignore[reportArgumentType]
        shutil.copyfile(run_policy.__file__, part / RUNNER)
        write_json_atomic(part / "policy.json", description)
        answers = _program_answers(part, observations)
        moved = None
        wanted = examples
        if encoder is not None:  # of the very features that the program has made; those are compared by themselves
            moved = moved_bytes(f"the exported program ({format_name})", features, answers[STORED])
            own = {name: answers[STORED][:, i] for i, name in enumerate(features)}
            wanted = reference(observation_spec, action_spec, weights, states, own)
        found["program"] = deviations(wanted, action_spec, answers)
        check(f"the exported program ({format_name})", found["program"])
        description["parity"] = {
            "reference": "the learner's network, JAX",
            "observations": len(states),
            "source": observations.source,
            "tolerance": TOLERANCE,
            "largest_difference": found,
            **({} if moved is None else {"bytes": {"compared": answers[STORED].size, "one_step_apart": moved}}),
        }
        write_json_atomic(part / "policy.json", description)
        size_bytes = program.stat().st_size
    return Exported(
        folder=folder,
        observations=f"{len(states)} {observations.source}",
        deviation=max(found["program"].values()),
        size_bytes=size_bytes,
    )


def _seeing(
    observation_spec: ObservationSpec,
    weights: Mapping[str, NDArray[np.float32]],
    pictures: Mapping[str, NDArray[np.uint8]],
    encoder: Encoder | RawEncoder,
) -> tuple[ObservationSpec, Any, dict[str, NDArray[np.uint8]]]:
    """Return what the program is shown, its eyes, and the features that an actor's encoder makes of the pictures."""
    cameras = {k: f for k, f in observation_spec.images.items() if isinstance(f, FeatureField)}
    # All cameras of a moment at once, as practice does.
    moments = [encoder.encode_centre(np.stack(shots)) for shots in zip(*pictures.values(), strict=True)]
    features = {name: np.stack([moment[i] for moment in moments]) for i, name in enumerate(pictures)}
    images = dict.fromkeys(cameras, ImageField(height=encoder.size, width=encoder.size))
    return dataclasses.replace(observation_spec, images=images), eyes_module(cameras, weights, encoder), features


def _program_answers(folder: Path, observations: Observations) -> dict[str, Any]:
    try:
        policy = ExportedPolicy(folder)
        rows = [
            policy.outputs(state, {name: shots[i] for name, shots in observations.images.items()})
            for i, state in enumerate(observations.states)
        ]
    except PolicyError as e:
        raise ExportError(f"the exported program does not run: {e}") from e
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
