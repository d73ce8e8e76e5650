"""Reads pickles of arrays as data: an interpreter of the format that cannot call anything, whatever stands in the file.

A pickle is a program for a stack machine, and Python's own reader lets it call any function there is. This one knows
the opcodes, builds numbers, texts and plain containers itself, and knows a handful of names, all of numpy's arrays, for
which it builds the array from checked parts. Any other name refuses the file in a sentence.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from robot_rl.errors import CheckpointError, WireError
from robot_rl.formats.pickled_arrays import (
    ALLOWED,
    Name,
    PickledArray,
    PickledDtype,
    array_of,
    key_of,
    plain,
    reduce,
    refuse,
    set_dtype,
)

_MARK = object()


def load(path: Path) -> Any:
    """Return what a file of one pickle holds, as numbers, texts, plain containers and arrays.

    Raises:
        CheckpointError: It cannot be read, is damaged, or names anything that is not data.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise CheckpointError(f"{path} cannot be read: {e.strerror or e}") from e
    try:
        return loads(data)
    except WireError as e:
        raise CheckpointError(f"{path} {e}") from e


def loads(data: bytes) -> Any:
    """Return what a pickle holds.

    Raises:
        WireError: It is damaged, or names anything that is not data; the sentence begins with a verb.
    """
    try:
        return plain(_Machine(data).run(), {}, 0)
    except WireError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        MemoryError,
        RecursionError,
        struct.error,
    ) as e:
        raise WireError(f"is no pickle that can be read ({type(e).__name__}: {e})") from e


class _Machine:
    """The stack machine."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._handlers = _HANDLERS

    def run(self) -> Any:
        """Return the one value that the program leaves."""
        while True:
            code = self.take(1)[0]
            if code == ord("."):
                return self.pop()
            handler = self._handlers.get(code)
            if handler is None:
                raise WireError(f"is no pickle that can be read (opcode {code:#04x} at byte {self._at - 1})")
            handler(self)

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if size < 0 or self._at + size > len(self._data):
            raise WireError("is no pickle, or was cut")
        self._at += size
        return self._data[self._at - size : self._at]

    def sized(self, width: int) -> bytes:
        """Return bytes that their little-endian length of some width stands before."""
        return self.take(self.unsigned(width))

    def unsigned(self, width: int) -> int:
        """Return a little-endian number."""
        return int.from_bytes(self.take(width), "little")

    def line(self) -> str:
        """Return the text up to the end of the line."""
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise WireError("is no pickle, or was cut")
        return self.take(end + 1 - self._at)[:-1].decode("latin-1")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take the value on top."""
        value = self._stack.pop()
        if value is _MARK:
            raise WireError("is no pickle that can be read (a mark stands where a value should)")
        return value

    def top(self) -> Any:
        """Return the value on top."""
        return self._stack[-1]

    def since_mark(self) -> list[Any]:
        """Take everything down to the last mark, which goes as well."""
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is _MARK:
                found = self._stack[i + 1 :]
                del self._stack[i:]
                return found
        raise WireError("is no pickle that can be read (a mark is missing)")

    def drop(self) -> None:
        """Drop the value on top, or a mark."""
        self._stack.pop()

    def remember(self, key: int) -> None:
        """Keep the value on top under a number."""
        if self._stack[-1] is _MARK:
            raise WireError("is no pickle that can be read (a mark is kept)")
        self._memo[key] = self._stack[-1]

    def next_memo(self) -> int:
        """Return the number that comes next."""
        return len(self._memo)

    def recall(self, key: int) -> None:
        """Push what was kept under a number."""
        self.push(self._memo[key])

    def extend(self, values: list[Any]) -> None:
        """Append values to the list on top."""
        if type(self.top()) is not list:
            refuse(f"a {type(self.top()).__name__} that is filled like a list")
        self.top().extend(values)

    def update(self, values: list[Any]) -> None:
        """Set keys and values, which take turns, in the dictionary on top."""
        self.top_dict().update(_pairs(values))

    def top_dict(self) -> dict[Any, Any]:
        """Return the dictionary on top."""
        if type(self.top()) is not dict:
            refuse(f"a {type(self.top()).__name__} that is filled like a dictionary")
        return self.top()

    def name(self, module: str, name: str) -> None:
        """Push a name, if it is one of numpy's arrays."""
        known = ALLOWED.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            refuse(f"'{str(module)[:80]}.{str(name)[:80]}'")
        self.push(Name(known))

    def reduce(self) -> None:
        """Replace a name and its arguments by what they make."""
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, Name) or type(arguments) is not tuple:
            refuse(f"a call of a {type(name).__name__}")
        self.push(reduce(name, arguments))

    def build(self) -> None:
        """Give the array or type on top its state."""
        state, made = self.pop(), self.top()
        if type(state) is not tuple or not isinstance(made, PickledArray | PickledDtype):
            refuse(f"a {type(made).__name__} with a state of its own")
        if isinstance(made, PickledDtype):
            set_dtype(made, state)
        else:
            _, shape, kind, fortran, data = state
            made.value = array_of(data, kind, shape, "F" if fortran else "C")


def _pairs(values: list[Any]) -> Iterator[tuple[Any, Any]]:
    if len(values) % 2:
        raise WireError("is no pickle that can be read (a key has no value)")
    return ((key_of(k), v) for k, v in zip(values[::2], values[1::2], strict=True))


def _number(text: str) -> Any:
    if text in ("00", "01"):
        return text == "01"
    return int(text.removesuffix("L"))


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _add_items(m: _Machine) -> None:
    values = m.since_mark()
    if type(m.top()) is not set:
        refuse(f"a {type(m.top()).__name__} that is filled like a set")
    m.top().update(map(key_of, values))


def _refuses(what: str) -> Callable[[_Machine], None]:
    return lambda m: refuse(what)


def _stack_global(m: _Machine) -> None:
    name, module = m.pop(), m.pop()
    m.name(module, name)


def _new_object(m: _Machine) -> None:
    _, name = m.pop(), m.pop()
    refuse(f"an object of the class {name}")


def _tuple_of(n: int) -> Callable[[_Machine], None]:
    return lambda m: m.push(tuple(reversed([m.pop() for _ in range(n)])))


def _swapped(m: _Machine) -> list[Any]:
    value, key = m.pop(), m.pop()
    return [key, value]


_HANDLERS: dict[int, Callable[[_Machine], object]] = {
    ord("("): lambda m: m.push(_MARK),
    ord("0"): lambda m: m.drop(),
    ord("1"): lambda m: m.since_mark(),
    ord("2"): lambda m: m.push(m.top()),
    ord("F"): lambda m: m.push(float(m.line())),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    ord("I"): lambda m: m.push(_number(m.line())),
    ord("L"): lambda m: m.push(_number(m.line())),
    ord("J"): lambda m: m.push(_signed(m.take(4))),
    ord("K"): lambda m: m.push(m.unsigned(1)),
    ord("M"): lambda m: m.push(m.unsigned(2)),
    0x8A: lambda m: m.push(_signed(m.sized(1))),
    0x8B: lambda m: m.push(_signed(m.sized(4))),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("T"): lambda m: m.push(m.sized(4).decode("latin-1")),
    ord("U"): lambda m: m.push(m.sized(1).decode("latin-1")),
    ord("V"): lambda m: m.push(m.line().encode("latin-1").decode("raw_unicode_escape")),
    ord("X"): lambda m: m.push(m.sized(4).decode("utf-8", "surrogatepass")),
    0x8C: lambda m: m.push(m.sized(1).decode("utf-8", "surrogatepass")),
    0x8D: lambda m: m.push(m.sized(8).decode("utf-8", "surrogatepass")),
    ord("B"): lambda m: m.push(m.sized(4)),
    ord("C"): lambda m: m.push(m.sized(1)),
    0x8E: lambda m: m.push(m.sized(8)),
    0x96: lambda m: m.push(m.sized(8)),
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.since_mark()),
    ord("a"): lambda m: m.extend([m.pop()]),
    ord("e"): lambda m: m.extend(m.since_mark()),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    0x85: _tuple_of(1),
    0x86: _tuple_of(2),
    0x87: _tuple_of(3),
    ord("}"): lambda m: m.push({}),
    ord("d"): lambda m: m.push(dict(_pairs(m.since_mark()))),
    ord("s"): lambda m: m.update(_swapped(m)),
    ord("u"): lambda m: m.update(m.since_mark()),
    0x8F: lambda m: m.push(set()),
    0x90: _add_items,
    0x91: lambda m: m.push(frozenset(map(key_of, m.since_mark()))),
    ord("p"): lambda m: m.remember(int(m.line())),
    ord("q"): lambda m: m.remember(m.unsigned(1)),
    ord("r"): lambda m: m.remember(m.unsigned(4)),
    0x94: lambda m: m.remember(m.next_memo()),
    ord("g"): lambda m: m.recall(int(m.line())),
    ord("h"): lambda m: m.recall(m.unsigned(1)),
    ord("j"): lambda m: m.recall(m.unsigned(4)),
    0x80: lambda m: m.take(1),
    0x95: lambda m: m.take(8),
    ord("c"): lambda m: m.name(m.line(), m.line()),
    0x93: _stack_global,
    ord("R"): lambda m: m.reduce(),
    ord("b"): lambda m: m.build(),
    ord("i"): lambda m: refuse(f"an object of the class '{m.line()}.{m.line()}'"),
    ord("o"): _refuses("an object of a class"),
    0x81: _new_object,
    0x92: _refuses("an object of a class"),
    ord("P"): _refuses("a reference to something outside of it"),
    ord("Q"): _refuses("a reference to something outside of it"),
    0x82: _refuses("a registered class"),
    0x83: _refuses("a registered class"),
    0x84: _refuses("a registered class"),
    0x97: _refuses("data that lie outside of it"),
    0x98: lambda m: None,
}
