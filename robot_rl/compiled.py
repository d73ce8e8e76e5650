"""`kernel`: compile a function for the control path, with a cache on disk that can be trusted.

numba's own cache has two traps that a control law cannot afford. It notices a change in a function's file but not in
the functions it calls from other files, so a mended geometry could leave the old one running inside a controller. And
processes that compile at the same time can file one signature's code under another. Here the cache also depends on
every kernel and constant that a function reaches, and is locked while it is read and written.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, ParamSpec, TypeVar

from numba import njit
from numba.core.caching import IndexDataCacheFile

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger(__name__)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function on its first call: strict floating point (NaN is respected), division never raises."""
    compiled: Any = njit(cache=True, fastmath=False, error_model="numpy")(function)
    plain = compiled._cache._cache_file
    compiled._cache._cache_file = _CacheFile(
        plain._cache_path, plain._index_name.removesuffix(".nbi"), (plain._source_stamp, dependency_stamp(function))
    )
    return compiled


def dependency_stamp(function: Any) -> str:
    """Return a hash of what compiled code of `function` depends on: every kernel and constant it reaches."""
    found: set[str] = set()
    _collect(function, found)
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def _collect(function: FunctionType, found: set[str]) -> None:
    source = function.__code__.co_filename
    entry = f"{function.__qualname__} {source} {_stamp_of_file(source)}"
    if entry in found:
        return
    found.add(entry)
    names = set(_names(function.__code__))
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        reached = [getattr(value, n, None) for n in names] if isinstance(value, ModuleType) else [value]
        for item in reached:
            callee = getattr(item, "py_func", None)
            if isinstance(callee, FunctionType):
                _collect(callee, found)
            elif isinstance(item, int | float | tuple | str):
                found.add(f"{function.__module__}.{name} = {item!r}")


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _stamp_of_file(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:  # defined at a prompt
        return (0, 0)
    return status.st_mtime_ns, status.st_size


class _CacheFile(IndexDataCacheFile):
    """numba's cache of one function, one process at a time. Without a disk to write to, code is compiled anew."""

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(os.path.join(self._cache_path, self._index_name + ".lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self, key: Any) -> Any:
        """Return the compiled code of one signature, or None."""
        try:
            with self._locked():
                return super().load(key)
        except OSError:
            return None

    def save(self, key: Any, data: Any) -> None:
        """Keep the compiled code of one signature."""
        try:
            with self._locked():
                super().save(key, data)
        except OSError as error:
            log.warning("compiled code could not be kept in %s (%s); it is compiled anew", self._cache_path, error)
