"""`policy.json`: what an exported policy reads and gives, where it comes from, and how well it was checked."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

from robot_rl.export.module import output_names
from robot_rl.export.run_policy import KIND, VERSION
from robot_rl.runs import git_commit, versions
from robot_rl.specs import ActionSpec, ImageField, ObservationSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a policy comes from.

    Attributes:
        task: Name of the task.
        control_hz: Rate at which it acts.
        run: Name of the run.
        policy: Which of the run's, "final" or "clone".
        version: Number of critic updates behind it.
        sampled: Whether it is meant to be sampled.
        run_commit: Of the code that trained it, if known.
    """

    task: str
    control_hz: float
    run: str
    policy: str
    version: int
    sampled: bool
    run_commit: str | None = None


def describe(origin: Origin, observation_spec: ObservationSpec, action_spec: ActionSpec) -> dict[str, Any]:
    """Return what can be said before the program is written; the writer adds file, digest and parity."""
    return {
        "kind": KIND,
        "format_version": VERSION,
        "task": origin.task,
        "control_hz": origin.control_hz,
        "run": origin.run,
        "policy": origin.policy,
        "policy_version": origin.version,
        "sampled": origin.sampled,
        "state": _state(observation_spec),
        "images": [
            {"name": name, "height": image.height, "width": image.width}
            for name, image in observation_spec.images.items()
            if isinstance(image, ImageField)
        ],
        "outputs": output_names(action_spec, bool(observation_spec.images)),
        "action": {
            "continuous": [
                {
                    "name": name, "start": action_spec.slices[name].start, "size": group.size,
                    "unit": group.unit, "scale": group.scale, "doc": group.doc,
                }
                for name, group in action_spec.continuous.items()
            ],
            "discrete": [
                {
                    "name": name, "start": action_spec.slices[name].start, "choices": list(group.choices),
                    "values": [group.value(i) for i in range(len(group.choices))], "doc": group.doc,
                }
                for name, group in action_spec.discrete.items()
            ],
            "joint_values": action_spec.joint_values.tolist(),
        },
        "made": {
            "at": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "commit": git_commit(),
            "run_commit": origin.run_commit,
            "versions": versions(),
        },
    }  # fmt: skip


def spec_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `robot_rl.link.session_spec` says of the specifications that were described."""
    action = description["action"]
    return {
        "observation": {
            "state": {f["name"]: [f["size"], f["unit"], f["scale"], f["offset"]] for f in description["state"]},
            "images": {c["name"]: [c["height"], c["width"], 3] for c in description["images"]},
        },
        "action": {
            "continuous": {g["name"]: [g["size"], g["unit"], g["scale"]] for g in action["continuous"]},
            "discrete": {g["name"]: g["choices"] for g in action["discrete"]},
        },
    }


def _state(observation_spec: ObservationSpec) -> list[dict[str, Any]]:
    return [
        {
            "name": name, "start": observation_spec.slices[name].start, "size": field.size, "unit": field.unit,
            "scale": field.scale, "offset": list(field.offset), "doc": field.doc,
        }
        for name, field in observation_spec.state.items()
    ]  # fmt: skip
