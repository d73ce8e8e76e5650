"""Messages to bytes and back: a msgpack header, and large arrays as raw frames after it.

The header is [version, type name, fields]. An array is [dtype, shape, data], where data is its bytes or the number of
the frame that holds them. Every type has a schema below; whatever does not fit it, or exceeds the limits, is refused
with a `WireError` that names the field. Nothing is ever executed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgpack

from robot_rl.console_messages import ConsolePictures, ConsolePress, ConsoleStep
from robot_rl.errors import WireError
from robot_rl.link import Ack, Data, Heartbeat, Hello, Refused, Welcome, Who
from robot_rl.messages import SOURCES, LearnerStatus, Policy, StepBlock
from robot_rl.operator import BUTTONS
from robot_rl.wire_fields import Array, Buffer, Free, Kind, Named, Plain, Reader, Writer

WIRE_VERSION = 1
INLINE_BYTES = 4096  # smaller arrays travel in the header: a frame costs more than copying them

M = TypeVar("M")


class WireVersionError(WireError):
    """The other end speaks another version of the wire."""


@dataclass(frozen=True, kw_only=True)
class WireLimits:
    """What a receiver accepts.

    Attributes:
        total_bytes: Size of a message over all frames.
        frames: Number of frames.
        items: Entries of any list or map.
        text: Characters of any string.
    """

    total_bytes: int = 128_000_000
    frames: int = 256
    items: int = 4096
    text: int = 65_536


DEFAULT_LIMITS = WireLimits()


@dataclass(frozen=True)
class _Nested:
    """A message within a message."""

    type: type
    optional: bool = False

    def pack(self, value: Any, writer: Writer, where: str) -> Any:
        """Return what msgpack shall carry."""
        if value is None and self.optional:
            return None
        return _pack_fields(value, self.type, writer)

    def unpack(self, plain: Any, reader: Reader, where: str) -> Any:
        """Return the checked value."""
        if plain is None and self.optional:
            return None
        return _unpack_fields(plain, self.type, reader)


@dataclass(frozen=True)
class _Schema:
    fields: Mapping[str, Kind]
    check: Callable[[Any], None] | None = None


def _check_step_block(block: StepBlock) -> None:
    n = block.steps
    for name in ("states", "actions", "sources", "policy_versions"):
        if len(getattr(block, name)) != n:
            raise WireError(f"StepBlock.{name} has {len(getattr(block, name))} steps, rewards has {n}")
    for name, frames in block.images.items():
        if len(frames) != n:
            raise WireError(f"StepBlock.images[{name}] has {len(frames)} steps, rewards has {n}")
    if n and block.sources.max() >= len(SOURCES):
        raise WireError(f"StepBlock.sources holds {block.sources.max()}, known are 0 to {len(SOURCES) - 1}")
    if not block.ended and (block.terminated or block.final_state.size or block.final_images):
        raise WireError("StepBlock has an end (terminated, final_state or final_images) but ended is false")


def _check_console_step(step: ConsoleStep) -> None:
    if isinstance(step.events, str | Mapping) or not all(type(e) is str for e in cast(Sequence[Any], step.events)):
        raise WireError("ConsoleStep.events is not a list of names")


def _check_console_pictures(pictures: ConsolePictures) -> None:
    for name, image in pictures.images.items():
        if image.shape[2] != 3 or not image.size:
            raise WireError(f"ConsolePictures.images[{name[:40]}] has shape {image.shape}, expected (H, W, 3)")


def _check_console_press(press: ConsolePress) -> None:
    if press.button not in BUTTONS:
        raise WireError(f"ConsolePress.button is {press.button[:40]!r}, known are {', '.join(BUTTONS)}")


_COUNT = Plain(int, 0)
_SCHEMAS: dict[type, _Schema] = {
    StepBlock: _Schema(
        {
            "episode": _COUNT,
            "start": _COUNT,
            "states": Array("<f4", 2),
            "actions": Array("<f4", 2),
            "rewards": Array("<f4", 1),
            "sources": Array("|u1", 1),
            "policy_versions": Array("<i8", 1),
            "images": Named(Array("|u1", (4, 5))),  # pictures, or their features in several views
            "ended": Plain(bool),
            "terminated": Plain(bool),
            "final_state": Array("<f4", 1),
            "final_images": Named(Array("|u1", (3, 4))),
            "info": Named(Free()),
        },
        _check_step_block,
    ),
    Policy: _Schema({"version": _COUNT, "weights": Named(Array("<f4", None))}),
    LearnerStatus: _Schema(
        {
            "env_steps": _COUNT,
            "updates": _COUNT,
            "steps_allowed": _COUNT,
            "finished": Plain(bool),
            "policy_version": _COUNT,
        }
    ),
    Hello: _Schema({"actor": Plain(str), "session": Plain(str), "spec": Named(Free(depth=4)), "oldest": Plain(int, 1)}),
    Welcome: _Schema({"received": _COUNT, "stored": _COUNT}),
    Refused: _Schema({"reason": Plain(str)}),
    Who: _Schema({}),
    Data: _Schema({"seq": Plain(int, 1), "block": _Nested(StepBlock)}),
    Ack: _Schema(
        {"received": _COUNT, "stored": _COUNT, "status": _Nested(LearnerStatus, optional=True), "resend": Plain(bool)}
    ),
    Heartbeat: _Schema({}),
    ConsoleStep: _Schema(
        {
            "session": Plain(str),
            "stamp_s": Plain(float),
            "episode": _COUNT,
            "step": _COUNT,
            "max_steps": _COUNT,
            "period_s": Plain(float),
            "running": Plain(bool),
            "paused": Plain(bool),
            "source": Plain(str),
            "policy_version": Plain(int, -1),
            "reward": Plain(float),
            "returned": Plain(float),
            "success": Plain(bool),
            "reason": Plain(str),
            "verdicts": Plain(str),
            "episodes": _COUNT,
            "successes": _COUNT,
            "events": Free(depth=1),
            "guard": Named(_COUNT),
            "scalars": Named(Plain(float)),
            "note": Plain(str),
        },
        _check_console_step,
    ),
    ConsolePictures: _Schema({"images": Named(Array("|u1", 3))}, _check_console_pictures),
    ConsolePress: _Schema(
        {"button": Plain(str), "stamp_s": Plain(float), "episode": _COUNT, "paused": Plain(bool)}, _check_console_press
    ),
}
_BY_NAME = {t.__name__: t for t in _SCHEMAS}


def encode(message: object, inline_bytes: float = INLINE_BYTES) -> list[bytes | memoryview]:
    """Return the frames of a message. Large arrays are not copied, so they must not change until they are sent.

    Args:
        message: One of the types with a schema.
        inline_bytes: Arrays up to this size are copied into the header.
    """
    kind = type(message)
    if kind not in _SCHEMAS:
        raise WireError(f"{kind.__name__} is not a message; messages are {', '.join(_BY_NAME)}")
    writer = Writer(inline_bytes)
    fields = _pack_fields(message, kind, writer)
    writer.frames[0] = cast(bytes, msgpack.packb([WIRE_VERSION, kind.__name__, fields], use_bin_type=True))
    return writer.frames


def encode_one(message: object) -> bytes:
    """Return a message as a single frame, arrays copied into it."""
    return bytes(encode(message, math.inf)[0])


def decode(frames: Sequence[Buffer], allowed: tuple[type[M], ...], limits: WireLimits = DEFAULT_LIMITS) -> M:
    """Return the message in `frames`; its arrays are read-only views of them.

    Args:
        frames: As `encode` made them.
        allowed: Types that may come here.
        limits: What to refuse.

    Raises:
        WireError: For anything else than a well-formed message of an allowed type.
    """
    if not 1 <= len(frames) <= limits.frames:
        raise WireError(f"message has {len(frames)} frames, allowed are 1 to {limits.frames}")
    total = sum(len(f) for f in frames)
    if total > limits.total_bytes:
        raise WireError(f"message has {total} bytes, allowed are {limits.total_bytes}")
    try:
        header = msgpack.unpackb(
            frames[0],
            raw=False,
            strict_map_key=True,
            max_str_len=limits.text,
            max_bin_len=limits.total_bytes,
            max_array_len=limits.items,
            max_map_len=limits.items,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as e:
        raise WireError(f"header is not valid msgpack within the limits: {type(e).__name__}") from e
    if type(header) is not list or len(header) != 3 or type(header[0]) is not int or type(header[1]) is not str:
        raise WireError("header is not [version, type, fields]")
    version, name, fields = header
    if version != WIRE_VERSION:
        raise WireVersionError(
            f"message has wire version {version}, this end speaks {WIRE_VERSION}; install the same release on both ends"
        )
    kind = _BY_NAME.get(name)
    if kind is None or kind not in allowed:
        raise WireError(f"message is a {name[:40]!r}, allowed here: {', '.join(t.__name__ for t in allowed)}")
    reader = Reader(frames)
    message = _unpack_fields(fields, kind, reader)
    if reader.taken != len(frames):
        raise WireError(f"message has {len(frames)} frames, {kind.__name__} uses {reader.taken}")
    return cast(M, message)


def _pack_fields(message: Any, kind: type, writer: Writer) -> dict[str, Any]:
    if type(message) is not kind:
        raise WireError(f"expected {kind.__name__}, got {type(message).__name__}")
    schema = _SCHEMAS[kind]
    fields = {
        name: k.pack(getattr(message, name), writer, f"{kind.__name__}.{name}") for name, k in schema.fields.items()
    }
    if schema.check:
        schema.check(message)
    return fields


def _unpack_fields(plain: Any, kind: type, reader: Reader) -> Any:
    schema = _SCHEMAS[kind]
    if type(plain) is not dict:
        raise WireError(f"{kind.__name__} is {type(plain).__name__}, expected a map of fields")
    for name in plain:
        if name not in schema.fields:
            raise WireError(f"{kind.__name__} has an unknown field {str(name)[:40]!r}")
    for name in schema.fields:
        if name not in plain:
            raise WireError(f"{kind.__name__} lacks the field {name!r}")
    # In the order of the schema, which is the order in which frames were written.
    values = {name: k.unpack(plain[name], reader, f"{kind.__name__}.{name}") for name, k in schema.fields.items()}
    message = kind(**values)
    if schema.check:
        schema.check(message)
    return message
