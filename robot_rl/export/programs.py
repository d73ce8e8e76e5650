"""Writes a policy's module as a program: an ONNX graph, or torch's own ExportedProgram."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_rl.errors import ConfigError, ExportError, MissingDependency, nearest
from robot_rl.export.module import EXTRA, import_torch

FORMATS: Mapping[str, str] = {"onnx": "policy.onnx", "torch": "policy.pt2"}
OPSET = 18
"""Of ONNX's operators: the oldest that the exporter writes without translating, so that old runtimes read it too."""
_NEEDS = {"onnx": ("torch", "onnx", "onnxscript", "onnxruntime"), "torch": ("torch",)}


def check_format(name: str) -> None:
    """Raise `ConfigError` for an unknown format."""
    if name not in FORMATS:
        raise ConfigError(
            f"there is no format '{name}' to export to; allowed: {', '.join(FORMATS)}.{nearest(name, FORMATS)}"
        )


def check_installed(name: str) -> None:
    """Raise `MissingDependency` if something is missing to write a format and to open it again."""
    for module in _NEEDS[name]:
        if importlib.util.find_spec(module) is None:
            raise MissingDependency(module, f"robot-rl export --format {name}", EXTRA)


def write_program(
    name: str, module: Any, inputs: Sequence[tuple[str, Any]], outputs: Sequence[str], path: Path
) -> None:
    """Trace a module and write it.

    Args:
        name: Of the format.
        module: The `nn.Module`.
        inputs: Name and an example array of each input.
        outputs: Names of what it gives.
        path: The file.

    Raises:
        ExportError: torch cannot trace or write it.
    """
    torch = import_torch()
    examples = tuple(torch.tensor(array) for _, array in inputs)
    try:
        with _quiet():
            program = torch.export.export(module, examples)
            if name == "torch":
                torch.export.save(program, path)
                return
            graph = torch.onnx.export(
                program, (), dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
                input_names=[n for n, _ in inputs], output_names=list(outputs),
            )  # fmt: skip
            graph.save(path)
    except Exception as e:  # the exporter has many errors of its own, none of which a user can mend by code
        first = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise ExportError(
            f"torch {torch.__version__} could not write the policy as {name}: {first}. Nothing was exported; "
            f"install the versions that are known to work: {EXTRA}"
        ) from e


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's advice to its own developers away from a terminal."""
    loggers = [
        logging.getLogger(name) for name in ("torch.export", "torch.onnx", "torch._export", "onnxscript", "onnx_ir")
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
