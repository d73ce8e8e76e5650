"""Weights of a backbone with the real command: those that fit are converted, of the others the layer is told."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from verify.bad_input import judge
from verify.children import Runner
from verify.data_mistakes import Payload
from verify.images_set import CAMERAS, ROBOT_RL
from verify.rows import Row

from robot_rl.encoders.pictures import drawn_pictures
from robot_rl.encoders.weights import packaged_weights, read_weights
from robot_rl.rewards.labels import LabelledSet

STAGE = "convert"
SECONDS = 100.0
TIMEOUT_S = 180.0
SIZE, EPISODES, FRAMES = 128, 4, 6
NETWORK = "efficientnet_lite0"
WIDE = "_blocks.3._expand_conv.weight"  # a layer in the middle, and another one
LOST = "_blocks.2._bn1.running_var"
BAR = "one sentence: the layer, what was found, what is supported; no traceback"
Arrays = dict[str, NDArray[Any]]


def measure(runner: Runner) -> list[Row]:
    """Convert weights that fit, then make every mistake once."""
    folder = runner.work / STAGE
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    frames = small_set(folder / "set")
    real = read_weights(packaged_weights(NETWORK))
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}

    def learnt(name: str, path: Path | str) -> Any:
        words = [*ROBOT_RL, "reward", "train", str(frames), "--encoder", str(path), "--steps", "20", "--folds", "2"]
        return runner.run(f"convert-{name.replace(' ', '-')}", words, TIMEOUT_S, cache)

    rows: list[Row] = []
    for name, path in good_files(folder, real).items():
        ended = learnt(name, path)
        kept = len(list((folder / "cache").rglob("*.trunk")))
        rows.append(
            Row(
                stage=STAGE,
                what=f"weights that fit, as {name}: converted, kept, and learnt from",
                measured=f"status {ended.status}, {kept} converted trunk(s) kept, {ended.seconds:.0f} s"
                if ended.status == 0
                else ended.how(),
                bar="status 0, a trunk kept",
                holds=ended.status == 0 and kept > 0,
            )
        )
    ran = folder / "made-by-a-pickle"
    for what, (path, says) in bad_files(folder, real, ran).items():
        rows.append(row(what, learnt(what, path), says, "the code in the pickle ran" if ran.exists() else ""))
    return [*rows, _refused_run(runner, folder, cache)]


def row(what: str, ended: Any, says: list[str], lost: str = "") -> Row:
    """Return the row of a mistake whose sentence must contain all that `says` has."""
    judged = judge(what, ended, says[0], lost)
    lacking = [part for part in says if part not in ended.err]
    measured = judged.measured + (f"; it does not say {', '.join(lacking)}" if lacking else "")
    return Row(stage=STAGE, what=what, measured=measured, bar=BAR, holds=bool(judged.holds) and not lacking)


def _refused_run(runner: Runner, folder: Path, cache: dict[str, str]) -> Row:
    """Begin a run with the same wide layer: it is told before anything is demonstrated."""
    runs = folder / "runs"
    words = ["train", "task=pick_cube", "obs=images", f"obs.encoder={folder / 'wide.pth'}", CAMERAS, "live=off"]
    ended = runner.run("convert-run", [*ROBOT_RL, *words, f"runs={runs}", "name=wide"], TIMEOUT_S, cache)
    begun = (runs / "wide" / "demos").exists()
    return row("robot-rl train obs.encoder=FILE of such a layer", ended, [WIDE], "it was begun" if begun else "")


def small_set(folder: Path) -> Path:
    """Write a set of pictures drawn by rule, of which those of success are bright."""
    pictures = drawn_pictures(SIZE, EPISODES * FRAMES)
    with LabelledSet(folder, "drawn", {"front": (SIZE, SIZE, 3)}, writing=True) as frames:
        for i, picture in enumerate(pictures):
            success = i % FRAMES >= FRAMES // 2
            shown = (picture // 2 + (120 if success else 0)).astype(np.uint8)
            frames.add(f"e{i // FRAMES:03d}", i % FRAMES, {"front": shown}, int(success), "twin", success)
    return folder


def good_files(folder: Path, real: Arrays) -> dict[str, Path]:
    """Write the real weights in the ways in which people keep them."""
    from safetensors.numpy import save_file  # pyright: ignore[reportMissingImports]

    wrapped, plain = folder / "wrapped.pth", folder / "plain.safetensors"
    _save_torch(wrapped, {f"module.{name}": array for name, array in real.items()}, "state_dict")
    save_file({name: np.ascontiguousarray(array) for name, array in real.items()}, plain)
    return {"a wrapped state_dict (.pth)": wrapped, "safetensors": plain}


def bad_files(folder: Path, real: Arrays, ran: Path) -> dict[str, tuple[Path | str, list[str]]]:
    """Write weights that do not fit; return by mistake the file and what must be said of it."""
    wide = real[WIDE]
    bottleneck = {"layer1.0.conv1.weight": np.zeros((64, 64, 1, 1), np.float32)}
    bottleneck["layer1.0.conv3.weight"] = np.zeros((256, 64, 1, 1), np.float32)
    vit = {"blocks.0.attn.qkv.weight": np.zeros((192, 64), np.float32)}

    def torch_file(name: str, change: Callable[[Arrays], Arrays]) -> Path:
        return _save_torch(folder / f"{name}.pth", change(dict(real)))

    broken = folder / "broken.pth"
    broken.write_bytes((folder / "wrapped.pth").read_bytes()[:100_000])
    harmful = folder / "harmful.pth"
    harmful.write_bytes(pickle.dumps({"w": Payload(ran)}, protocol=2))
    found = f"({', '.join(map(str, (wide.shape[0] - 8, *wide.shape[1:])))})"
    needed = f"({', '.join(map(str, wide.shape))})"
    supported = "Supported are checkpoints of"
    return {
        "a layer of another shape": (
            torch_file("wide", lambda a: {**a, WIDE: wide[:-8]}),
            [WIDE, found, needed, supported],
        ),
        "a layer that is missing": (
            torch_file("lost", lambda a: {k: v for k, v in a.items() if k != LOST}),
            [LOST, "have no layer", supported],
        ),
        "a layer of another name": (
            torch_file("renamed", lambda a: {k.replace("_blocks.2._bn1", "_blocks.2.norm"): v for k, v in a.items()}),
            ["_blocks.2._bn1", "have no layer", supported],
        ),
        "a ResNet with bottlenecks": (
            _save_torch(folder / "bottleneck.pth", bottleneck),
            ["layer1.0.conv3.weight", "(256, 64, 1, 1)", supported],
        ),
        "another kind of network": (
            _save_torch(folder / "vit.pth", vit),
            ["blocks.0.attn.qkv.weight", supported],
        ),
        "a misspelt name": ("efficientnet_lite", ["there is no encoder 'efficientnet_lite'", "efficientnet_lite0"]),
        "half of a file": (broken, ["broken.pth"]),
        "a pickle with code in it": (harmful, ["harmful.pth"]),
    }


def _save_torch(path: Path, arrays: Arrays, wrapped_in: str = "") -> Path:
    import torch  # pyright: ignore[reportMissingImports]

    tensors: Any = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    torch.save({wrapped_in: tensors} if wrapped_in else tensors, path)
    return path
