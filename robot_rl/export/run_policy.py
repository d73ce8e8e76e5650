"""Acts with an exported policy. This file needs numpy, and onnxruntime or torch; nothing else of robot_rl.

    python run_policy.py            check the policy against its recorded examples and measure its latency on one core

In a program of your own:

    from run_policy import ExportedPolicy
    policy = ExportedPolicy("folder/of/the/export")
    action = policy.act({"position": [0.5, 0.0, 0.3], ...})    # each field in the unit that policy.json states
    policy.named(action)                                       # {"step": [0.01, 0.0, -0.02], "gripper": "close"}

The policy proposes; it limits nothing. What it says must pass whatever keeps your robot safe before it moves.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

KIND, VERSION = "robot_rl policy", 1
MOST_MOVED = 3e-3
"""Share of one observation's features that may be stored a step apart, where rounding decides between two bytes."""
RUNTIMES = {"onnx": "onnxruntime", "torch": "torch"}
CPUS = "CPUExecutionProvider"

Run = Callable[[list[Any]], "list[Any]"]


class PolicyError(Exception):
    """The export cannot be used, or what it was given does not fit; the message says what to do."""


class ExportedPolicy:
    """A policy that was exported by `robot-rl export`.

    Args:
        folder: Of the export; it holds policy.json and the file that this names.
        threads: Processor threads of one call.
        providers: Of onnxruntime, such as ["TensorrtExecutionProvider", "CPUExecutionProvider"]; the processor's own
            by default. The parity in policy.json was measured there.

    Attributes:
        description: What policy.json holds.
        version: Number of critic updates behind the weights.
        sampled: Whether the policy is meant to be sampled (a clone) rather than to act by its mode.
    """

    def __init__(self, folder: str | Path, threads: int = 1, providers: Sequence[str] = (CPUS,)) -> None:
        self.folder = Path(folder)
        self.description = _read_description(self.folder)
        self.version, self.sampled = int(self.description["policy_version"]), bool(self.description["sampled"])
        self._fields = {f["name"]: slice(f["start"], f["start"] + f["size"]) for f in self.description["state"]}
        self._size = sum(f["size"] for f in self.description["state"])
        self._cameras = {c["name"]: (c["height"], c["width"], 3) for c in self.description["images"]}
        self._outputs: list[str] = self.description["outputs"]
        self._continuous: list[dict[str, Any]] = self.description["action"]["continuous"]
        self._discrete: list[dict[str, Any]] = self.description["action"]["discrete"]
        self._c = sum(g["size"] for g in self._continuous)
        self._joint = np.asarray(self.description["action"]["joint_values"], np.float32)
        self._run = _open(self.folder / self.description["file"], self.description, threads, providers)

    def outputs(self, state: Any, images: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return everything that the program says of one observation, as float32 arrays.

        Args:
            state: The (S,) vector in physical units, or a dictionary of its fields, as policy.json lists them.
            images: Each camera's (height, width, 3) uint8 RGB picture, if the policy reads any.

        Returns:
            "action" (A,) in [-1, 1], the mode; "location" and "std" (C,) of the Gaussian before tanh, if there are
            continuous entries; "choice_logits" (K,), if there are discrete ones.

        Raises:
            PolicyError: A field or picture is missing, unknown, not finite or of another shape.
        """
        values = self._run([self._state(state), *self._pictures(images or {})])
        return dict(zip(self._outputs, values, strict=True))

    def act(
        self,
        state: Any,
        images: Mapping[str, Any] | None = None,
        rng: np.random.Generator | None = None,
        noise_scale: float = 1.0,
    ) -> Any:
        """Return the (A,) float32 action in [-1, 1]; see `outputs` for the observation.

        Args:
            state, images: The observation.
            rng: Draws the action; without it, the mode is returned.
            noise_scale: Multiplies the standard deviation of what is drawn.
        """
        told = self.outputs(state, images)
        if rng is None:
            return told["action"]
        action = told["action"].copy()
        if self._c:
            u = told["location"] + (noise_scale * told["std"]) * rng.standard_normal(self._c, np.float32)
            action[: self._c] = np.tanh(u)
        if self._discrete:
            logits = told["choice_logits"]
            action[self._c :] = self._joint[int((logits + rng.gumbel(size=len(logits))).argmax())]
        return action

    def named(self, action: Any) -> dict[str, Any]:
        """Return an action by group: numbers in the group's physical unit, or the name of a choice."""
        out: dict[str, Any] = {}
        for group in self._continuous:
            part = np.asarray(action[group["start"] : group["start"] + group["size"]], np.float32)
            out[group["name"]] = (part * np.float32(group["scale"])).tolist()
        for group in self._discrete:
            levels = len(group["choices"]) - 1
            index = round((float(action[group["start"]]) + 1.0) * 0.5 * levels)
            out[group["name"]] = group["choices"][min(max(index, 0), levels)]
        return out

    def _state(self, state: Any) -> Any:
        if isinstance(state, Mapping):
            if state.keys() != self._fields.keys():
                missing, unknown = (
                    sorted(self._fields.keys() - state.keys()),
                    sorted(state.keys() - self._fields.keys()),
                )
                raise PolicyError(f"the state lacks {missing} and has unknown {unknown}; give {list(self._fields)}")
            vector = np.empty(self._size, np.float32)
            for name, part in self._fields.items():
                value = np.asarray(state[name], np.float32).ravel()
                if len(value) != part.stop - part.start:
                    raise PolicyError(
                        f"state field '{name}' has {len(value)} numbers, the policy reads {part.stop - part.start}"
                    )
                vector[part] = value
        else:
            vector = np.ascontiguousarray(state, np.float32)
        if vector.shape != (self._size,):
            raise PolicyError(f"the policy reads states of shape ({self._size},), got {vector.shape}; see policy.json")
        if not np.isfinite(vector).all():
            bad = [name for name, part in self._fields.items() if not np.isfinite(vector[part]).all()]
            raise PolicyError(f"the state is not finite in {bad}; hold the robot until its sensors are back")
        return vector

    def _pictures(self, images: Mapping[str, Any]) -> list[Any]:
        out = []
        for name, shape in self._cameras.items():
            picture = np.asarray(images[name]) if name in images else None
            if picture is None or picture.shape != shape or picture.dtype != np.uint8:
                found = "none" if picture is None else f"{picture.dtype} of shape {picture.shape}"
                raise PolicyError(f"camera '{name}' must give a uint8 RGB picture of shape {shape}, got {found}")
            out.append(np.ascontiguousarray(picture))
        return out


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "policy.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise PolicyError(
            f"{folder} holds no exported policy (policy.json is missing); make one: robot-rl export RUN"
        ) from e
    except (OSError, ValueError) as e:
        raise PolicyError(f"{path} cannot be read ({e}); export the policy again") from e
    if not isinstance(found, dict) or found.get("kind") != KIND or found.get("format_version") != VERSION:
        raise PolicyError(f"{path} does not describe a policy of format version {VERSION}; export the policy again")
    lacking = [name for name in _NAMES if name not in found]
    if lacking or found["format"] not in RUNTIMES:
        raise PolicyError(f"{path} lacks {lacking} or has an unknown format; export the policy again")
    return found


_NAMES = ("format", "file", "sha256", "policy_version", "sampled", "state", "images", "outputs", "action")


def _open(path: Path, description: Mapping[str, Any], threads: int, providers: Sequence[str]) -> Run:
    """Return a function from the list of inputs to the list of outputs, after a check of every byte of the file."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as e:
        raise PolicyError(f"the policy {path} cannot be read ({e.strerror or e}); export it again") from e
    if digest != description["sha256"]:
        raise PolicyError(f"the policy {path} is not the one that policy.json describes; copy the whole folder again")
    runtime = RUNTIMES[description["format"]]
    try:
        module = importlib.import_module(runtime)
    except ImportError as e:
        raise PolicyError(f"{runtime} is not installed, and {path.name} needs it; pip install {runtime}") from e
    try:
        return _open_onnx(module, path, threads, providers) if runtime == "onnxruntime" else _open_torch(path, threads)
    except Exception as e:  # each runtime has errors of its own; here it is one: the file does not open
        raise PolicyError(f"{runtime} {module.__version__} does not open {path}: {str(e).splitlines()[0]}") from e


def _open_onnx(onnxruntime: Any, path: Path, threads: int, providers: Sequence[str]) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    names = [i.name for i in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))


def _open_torch(path: Path, threads: int) -> Run:
    import torch  # pyright: ignore[reportMissingImports]
    import torch.export  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    module = torch.export.load(path).module()

    def run(inputs: list[Any]) -> list[Any]:
        with torch.inference_mode():
            return [out.numpy() for out in module(*map(torch.from_numpy, inputs))]

    return run


def check_examples(policy: ExportedPolicy) -> tuple[int, float]:
    """Return how many recorded examples there are and the largest difference to the answers of the original.

    Where two choices are so close that rounding decides between them, the chosen one is not compared; nor is an example
    whose pictures come to a stored byte one step apart, which then is not counted.
    """
    tolerance = float(policy.description["parity"]["tolerance"])
    path = policy.folder / "examples.npz"
    try:
        with np.load(path, allow_pickle=False) as found:
            examples = {name: found[name] for name in found.files}
    except (OSError, ValueError) as e:
        raise PolicyError(f"{path} cannot be read ({e}); copy the whole folder again, or export it again") from e
    worst, c, moved = 0.0, policy._c, 0
    for i, state in enumerate(examples["state"]):
        told = policy.outputs(state, {name: examples[f"image.{name}"][i] for name in policy._cameras})
        if policy._cameras:
            apart = np.abs(examples["stored"][i].astype(np.int16) - told["stored"])
            if apart.max() > 1 or apart.sum() > MOST_MOVED * apart.size:
                raise PolicyError(
                    f"this machine's runtime sees otherwise than the original did: {int((apart > 0).sum())} of "
                    f"{apart.size} features differ, by up to {int(apart.max())} steps; do not use it"
                )
            if apart.any():  # rounding has decided, and the answer is that of another picture
                moved += 1
                continue
        if c:
            worst = max(worst, float(np.abs(told["action"][:c] - examples["action"][i, :c]).max()))
            worst = max(worst, float(np.abs(told["std"] - examples["std"][i]).max()))
        if policy._discrete:
            worst = max(worst, float(np.abs(_softmax(told["choice_logits"]) - examples["choice"][i]).max()))
            best = np.sort(examples["choice"][i])
            if best[-1] - best[-2] > 2.0 * tolerance:
                worst = max(worst, float(np.abs(told["action"][c:] - examples["action"][i, c:]).max()))
    if moved == len(examples["state"]):
        raise PolicyError("in every example rounding moves a feature on this machine, so none can be compared")
    return len(examples["state"]) - moved, worst


def measure_latency(policy: ExportedPolicy, calls: int) -> Any:
    """Return the sorted seconds that each of `calls` actions took, over the recorded examples in turn."""
    with np.load(policy.folder / "examples.npz", allow_pickle=False) as found:
        states = found["state"]
        images = {name: found[f"image.{name}"] for name in policy._cameras}
    taken_s = np.empty(calls)
    for i in range(-20, calls):  # the first calls load and allocate
        j = i % len(states)
        picture = {name: of[j] for name, of in images.items()}
        begun = time.perf_counter()
        policy.act(states[j], picture)
        if i >= 0:
            taken_s[i] = time.perf_counter() - begun
    return np.sort(taken_s)


def _softmax(logits: Any) -> Any:
    e = np.exp(logits - logits.max())
    return e / e.sum()


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the export in a folder and measure it; return 0 if it agrees with its recorded examples."""
    parser = argparse.ArgumentParser(description="Check an exported policy and measure its latency on one core.")
    parser.add_argument("folder", nargs="?", default=str(Path(__file__).parent), help="of the export; this file's own")
    parser.add_argument("-n", "--calls", type=int, default=2000, help="actions to time (2000)")
    options = parser.parse_args(arguments)
    if options.calls < 1:
        parser.error(f"--calls is {options.calls}; it must be at least 1")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        policy = ExportedPolicy(options.folder)
        count, worst = check_examples(policy)
        taken_ms = 1e3 * measure_latency(policy, options.calls)
    except PolicyError as e:
        sys.stderr.write(f"run_policy: {e}\n")
        return 2
    tolerance = policy.description["parity"]["tolerance"]
    p50, p99 = (float(np.quantile(taken_ms, q)) for q in (0.5, 0.99))
    sys.stdout.write(
        f"{policy.description['task']}, {policy.description['format']}: "
        f"largest difference {worst:.1e} on {count} recorded observations (allowed {tolerance:.0e})\n"
        f"latency on one core: p50 {p50:.3f} ms, p99 {p99:.3f} ms, n {options.calls}\n"
    )
    if worst > tolerance:
        sys.stderr.write("run_policy: this machine's runtime does not act as the original did; do not use it\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
