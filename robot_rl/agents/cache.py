"""Keeping compiled programs on disk, so that a restarted learner need not compile them again."""

from __future__ import annotations

from pathlib import Path

import jax

from robot_rl.errors import StorageError


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
