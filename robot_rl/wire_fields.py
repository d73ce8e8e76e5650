"""How single fields travel: each kind packs a value into what msgpack knows and checks it on the way back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import WireError

Buffer = bytes | bytearray | memoryview


class Writer:
    """Collects the frames of a message."""

    def __init__(self, inline_bytes: float) -> None:
        self.inline_bytes = inline_bytes
        self.frames: list[bytes | memoryview] = [b""]

    def data(self, raw: memoryview) -> memoryview | int:
        """Return the bytes if they are few, else the number of the frame that they became."""
        if raw.nbytes <= self.inline_bytes:
            return raw
        self.frames.append(raw)
        return len(self.frames) - 1


class Reader:
    """Gives out the frames of a message, each once."""

    def __init__(self, frames: Sequence[Buffer]) -> None:
        self.frames = frames
        self.taken = 1

    def data(self, value: Any, where: str) -> Buffer:
        """Return the bytes that `Writer.data` stood for."""
        if isinstance(value, bytes):
            return value
        if type(value) is not int or value != self.taken or value >= len(self.frames):
            raise WireError(f"{where} points at frame {value!r}, the next of {len(self.frames)} is {self.taken}")
        self.taken += 1
        return self.frames[value]


class Kind(Protocol):
    """How one field is packed into plain values and read back."""

    def pack(self, value: Any, writer: Writer, where: str) -> Any:
        """Return what msgpack shall carry."""
        ...

    def unpack(self, plain: Any, reader: Reader, where: str) -> Any:
        """Return the checked value."""
        ...


@dataclass(frozen=True)
class Plain:
    """A value of one plain type, possibly bounded below."""

    type: type
    least: int | None = None

    def pack(self, value: Any, writer: Writer, where: str) -> Any:
        """Return what msgpack shall carry."""
        value = value.item() if isinstance(value, np.generic) else value
        return self._checked(value, where)

    def unpack(self, plain: Any, reader: Reader, where: str) -> Any:
        """Return the checked value."""
        return self._checked(plain, where)

    def _checked(self, value: Any, where: str) -> Any:
        if type(value) is not self.type:
            raise WireError(f"{where} is {type(value).__name__}, expected {self.type.__name__}")
        if self.least is not None and not self.least <= value < 2**63:
            raise WireError(f"{where} is {value}, expected {self.least} or more, below 2**63")
        return value


@dataclass(frozen=True)
class Array:
    """An array of one dtype (little endian) and number of axes, or one of several; None allows any up to 8."""

    dtype: str
    ndim: int | tuple[int, ...] | None

    def pack(self, value: Any, writer: Writer, where: str) -> Any:
        """Return what msgpack shall carry."""
        array = np.asarray(value)
        if array.dtype != np.dtype(self.dtype):
            raise WireError(f"{where} has dtype {array.dtype}, the wire carries {np.dtype(self.dtype)}")
        shape = array.shape  # ascontiguousarray turns a scalar into (1,)
        flat = np.ascontiguousarray(array, self.dtype).reshape(-1).view(np.uint8)
        return [self.dtype, shape, writer.data(flat.data)]

    def unpack(self, plain: Any, reader: Reader, where: str) -> NDArray[Any]:
        """Return the checked value."""
        if type(plain) is not list or len(plain) != 3:
            raise WireError(f"{where} is not an array (expected dtype, shape, data)")
        dtype, shape, data = plain
        if dtype != self.dtype:
            raise WireError(f"{where} has dtype {str(dtype)[:20]!r}, expected {self.dtype!r}")
        if type(shape) is not list or any(type(n) is not int or n < 0 for n in shape):
            raise WireError(f"{where} has no valid shape")
        allowed = self.ndim if isinstance(self.ndim, tuple) or self.ndim is None else (self.ndim,)
        if len(shape) > 8 or (allowed is not None and len(shape) not in allowed):
            told = "at most 8" if allowed is None else " or ".join(map(str, allowed))
            raise WireError(f"{where} has {len(shape)} axes, expected {told}")
        buffer = memoryview(reader.data(data, where)).toreadonly()
        needed = math.prod(shape) * np.dtype(self.dtype).itemsize
        if buffer.nbytes != needed:
            raise WireError(f"{where} of shape {tuple(shape)} needs {needed} bytes, got {buffer.nbytes}")
        try:
            return np.frombuffer(buffer, self.dtype).reshape(shape)
        except ValueError as e:  # an axis of zero hides others beyond what numpy can index
            raise WireError(f"{where} has an impossible shape {tuple(shape)}") from e


@dataclass(frozen=True)
class Named:
    """A map from names to one kind of value."""

    kind: Kind

    def pack(self, value: Any, writer: Writer, where: str) -> Any:
        """Return what msgpack shall carry."""
        return {str(k): self.kind.pack(v, writer, f"{where}[{k}]") for k, v in value.items()}

    def unpack(self, plain: Any, reader: Reader, where: str) -> Any:
        """Return the checked value."""
        if type(plain) is not dict or not all(type(k) is str for k in plain):
            raise WireError(f"{where} is not a map with text keys")
        return {k: self.kind.unpack(v, reader, f"{where}[{k[:40]}]") for k, v in plain.items()}


@dataclass(frozen=True)
class Free:
    """Numbers, text and truth values; nested in lists and maps if `depth` is above 0."""

    depth: int = 0

    def pack(self, value: Any, writer: Writer, where: str) -> Any:
        """Return what msgpack shall carry."""
        return self._checked(value, where, self.depth)

    def unpack(self, plain: Any, reader: Reader, where: str) -> Any:
        """Return the checked value."""
        return self._checked(plain, where, self.depth)

    def _checked(self, value: Any, where: str, depth: int) -> Any:
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, Mapping | list | tuple):
            if depth == 0:
                raise WireError(f"{where} is nested too deep")
            if not isinstance(value, Mapping):
                return [self._checked(v, where, depth - 1) for v in value]
            return {str(k): self._checked(v, f"{where}[{str(k)[:40]}]", depth - 1) for k, v in value.items()}
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise WireError(f"{where} is beyond 64 bits")
        if type(value) not in (bool, int, float, str):
            raise WireError(f"{where} is {type(value).__name__}, expected a number, text or truth value")
        return value
