"""Calls MuJoCo's C functions from compiled code, so that control and physics share one loop without Python between."""

from __future__ import annotations

import ctypes
import functools
import logging
import pathlib
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from robot_rl.errors import MissingDependency

log = logging.getLogger(__name__)


@functools.cache
def log_warnings() -> None:
    """Send MuJoCo's warnings to our log, instead of to stderr and a file MUJOCO_LOG.TXT in the working directory."""
    import mujoco

    mujoco.set_mju_user_warning(lambda message: log.warning("MuJoCo: %s", message))


@functools.cache
def _library() -> ctypes.CDLL:
    import mujoco

    folder = pathlib.Path(mujoco.__file__).parent
    # mujoco 4 moved the library to the folder of mujoco-core; a glob finds either.
    found = sorted([*folder.glob("libmujoco*"), *folder.parent.glob("mujoco_core/libmujoco*")])
    if not found:
        raise MissingDependency("libmujoco", "the twin's compiled loop", "pip install --force-reinstall mujoco")
    return ctypes.CDLL(str(found[0]))


def address_of(name: str) -> int:
    """Return the address of a MuJoCo C function, to be passed to `call_mj`."""
    try:
        address = ctypes.cast(getattr(_library(), name), ctypes.c_void_p).value
    except AttributeError:
        address = None
    if not address:
        raise MissingDependency(f"MuJoCo's function {name}", "the twin's compiled loop", "pip install -U mujoco")
    return address


@intrinsic
def call_mj(typing_context: Any, function: Any, model: Any, data: Any) -> Any:
    """Call `void function(const mjModel*, mjData*)` given three addresses. Usable in compiled code only.

    The address travels as an argument and not as a global, because numba cannot cache code with embedded pointers.
    """
    signature = types.void(types.intp, types.intp, types.intp)

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        word = context.get_value_type(types.intp)
        kind = ir.FunctionType(ir.VoidType(), [word, word])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1], args[2]])
        return context.get_dummy_value()

    return signature, generate
