"""What of numpy may stand in a pickle, and how its arrays are built from checked parts."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np

from robot_rl.errors import WireError

# What may be named, by its last word; numpy 2 calls numpy.core numpy._core.
_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_BUILTIN = ("set", "frozenset", "bytes", "bytearray")
ALLOWED: dict[tuple[str, str], str] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    **{(module, "_reconstruct"): "reconstruct" for module in _CORE},
    **{(module, "scalar"): "scalar" for module in _CORE},
    **{(module, "_frombuffer"): "frombuffer" for module in _NUMERIC},
    ("collections", "OrderedDict"): "dict",
    **{
        (module, name): name
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "bytes", "bytearray")
    },
    ("_codecs", "encode"): "encode",  # how a pickle of protocol 2 spells bytes
}
_KINDS = "biufcSU"  # bool, integers, floats, complex, bytes, text: nothing that holds objects
_DEEPEST = 200
_OPEN = object()


class Name(str):
    """A name that may stand in a pickle: a value of `ALLOWED`, which only `reduce` understands."""

    __slots__ = ()


class PickledArray:
    """An array that is being put together; it is one when it has data."""

    __slots__ = ("value",)

    def __init__(self, value: Any = None) -> None:
        self.value = value


class PickledDtype:
    """A type of numbers that is being put together."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="

    def made(self) -> np.dtype[Any]:
        """Return the type."""
        return np.dtype(self.code).newbyteorder(self.order)  # pyright: ignore[reportArgumentType]


def refuse(what: str) -> NoReturn:
    """Refuse a pickle for something in it that is no plain data."""
    raise WireError(
        f"is refused, and nothing in it was run: it holds {what}, and only numpy arrays, numbers, texts and plain "
        "containers are read from a pickle. Write the data again as numpy arrays"
    )


def reduce(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return what an allowed name makes of its arguments."""
    if name == "dtype":
        code = arguments[0]
        if type(code) is not str or np.dtype(code).kind not in _KINDS or np.dtype(code).fields:
            refuse(f"numbers of type {code!r}")
        return PickledDtype(code)
    if name == "reconstruct":
        if arguments[0] != "ndarray" or not isinstance(arguments[0], Name):
            refuse("an array of another class")
        return PickledArray()
    if name == "frombuffer":
        data, kind, shape, order = arguments
        return PickledArray(array_of(data, kind, shape, order))
    if name == "scalar":
        kind, data = arguments
        return PickledArray(array_of(data, kind, (), "C")[()])
    if name == "dict":
        return {} if not arguments else dict(_pair(p) for p in arguments[0])
    if name in ("set", "frozenset"):
        return {"set": set, "frozenset": frozenset}[name](key_of(item) for item in (arguments[0] if arguments else ()))
    if name in ("bytes", "bytearray"):
        data = arguments[0] if arguments else b""
        if type(data) is not bytes:
            refuse("bytes made of something else")
        return data
    if name == "encode":
        text, coding = arguments
        if type(text) is not str or coding not in ("latin1", "latin-1"):
            refuse(f"text in the coding {coding!r}")
        return text.encode("latin-1")
    refuse(f"a call of {name}")


def set_dtype(made: PickledDtype, state: tuple[Any, ...]) -> None:
    """Take the byte order from (version, order, subtype, names, fields, size, alignment, flags)."""
    order, subtype, names, fields = state[1:5]
    if order not in ("<", ">", "=", "|") or subtype is not None or names is not None or fields is not None:
        refuse("numbers of a type that is made of others")
    made.order = order


def array_of(data: Any, kind: Any, shape: Any, order: Any) -> Any:
    """Return an array of checked parts: the bytes must be as many as the shape says."""
    if not isinstance(kind, PickledDtype):
        refuse("an array of no type of numbers")
    dtype = kind.made()
    raw = data.encode("latin-1") if type(data) is str else data
    sizes = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 32
    if not isinstance(raw, bytes | bytearray) or not sizes or order not in ("C", "F"):
        refuse("an array whose parts do not fit")
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise WireError(f"is damaged: an array of shape {shape} and type {dtype} has {len(raw)} bytes")
    if not raw:
        return np.zeros(shape, dtype)
    return np.frombuffer(bytes(raw), dtype).reshape(shape, order=order)


def _pair(value: Any) -> tuple[Any, Any]:
    key, content = value
    return key_of(key), content


def key_of(value: Any) -> Any:
    """Return a key of a dictionary or member of a set: a plain value, as deep ones could overflow while hashed."""
    if type(value) not in (str, int, float, bool, bytes, type(None)):
        refuse(f"a {type(value).__name__} as a key")
    return value


def plain(value: Any, done: dict[int, Any], depth: int) -> Any:
    """Return a value with whole arrays in the place of those that were put together; shared parts stay shared."""
    if isinstance(value, PickledArray):
        if value.value is None:
            raise WireError("is damaged: an array in it has no data")
        return value.value
    if isinstance(value, Name | PickledDtype):
        refuse("the name of a class as a value")
    if type(value) not in (list, tuple, dict, set, frozenset):
        return value
    if depth > _DEEPEST:
        raise WireError(f"is refused: it is nested deeper than {_DEEPEST} levels")
    if id(value) in done:
        found = done[id(value)]
        if found is _OPEN:
            raise WireError("is refused: something in it holds itself")
        return found
    done[id(value)] = _OPEN
    if type(value) is dict:
        made: Any = {plain(k, done, depth + 1): plain(v, done, depth + 1) for k, v in value.items()}
    else:
        made = type(value)(plain(v, done, depth + 1) for v in value)
    done[id(value)] = made
    return made
