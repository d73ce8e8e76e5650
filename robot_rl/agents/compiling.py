"""How the agents' programs are compiled, and kept on disk if asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from robot_rl.errors import StorageError


def compile_update(update: Callable[..., Any]) -> Any:
    """Return `update` compiled, its first argument donated.

    On a CPU LLVM's first level of optimisation is asked for: the programs run as fast as with all, and compile in three
    quarters of the time. Whoever has told JAX not to optimise (`jax_disable_most_optimizations`) is obeyed.
    """
    plain = jax.default_backend() != "cpu" or jax.config.read("jax_disable_most_optimizations")
    options: dict[str, Any] | None = None if plain else {"xla_backend_optimization_level": 1}
    return jax.jit(update, donate_argnums=0, compiler_options=options)


def enable_compilation_cache(folder: Path) -> None:
    """Let JAX keep what it compiles in `folder`. It is off unless this is called, before the first update.

    Raises:
        StorageError: The folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the compilation cache {folder}: {error}. Choose another folder") from error
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
