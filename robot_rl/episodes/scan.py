"""Reads the records of an MCAP file one after the other, as far as they are whole.

Nothing here needs the index at the file's end, so a cut file is read like any other. A record that is not whole ends
the file; a chunk whose checksum does not match is left out and told of.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from robot_rl.errors import CheckpointError, MissingDependency

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _CHUNK, _METADATA, _DATA_END = 1, 2, 3, 4, 6, 12, 15
_LAST_OPCODE = 15
_LARGEST = 2**31  # no record of ours comes near; a longer one is garbage


class Message(NamedTuple):
    """One message: where it lies (offset of its chunk and place in it), its topic and type, and what the file says."""

    chunk: int
    place: int
    topic: str
    type_name: str
    sequence: int
    log_ns: int
    publish_ns: int
    data: bytes


@dataclass
class Scan:
    """What a file turned out to be, filled in while its messages are read.

    Attributes:
        size: Bytes of the file.
        good: Bytes up to which its records are whole.
        whole: Whether it ends as a complete file does.
        metadata: Content of each metadata record, by name; the last one of a name.
        schemas, channels: Records of the data section by id.
        damaged: Offsets of records whose content does not fit, such as a chunk with another checksum.
        header: The profile, once it was read.
    """

    size: int = 0
    good: int = 0
    whole: bool = False
    metadata: dict[str, Mapping[str, str]] = field(default_factory=dict)
    schemas: dict[int, Any] = field(default_factory=dict)
    channels: dict[int, Any] = field(default_factory=dict)
    damaged: list[int] = field(default_factory=list)
    header: str | None = None


class _Record(NamedTuple):
    offset: int
    opcode: int
    data: bytes


def scan(path: Path, into: Scan) -> Iterator[Message]:
    """Yield the messages of a file as far as it is whole, and fill in what is known of it.

    Raises:
        CheckpointError: There is no such file, or it is no MCAP file.
    """
    mcap = _library()
    finished = False
    for record in _records(path, into):
        if record.opcode == _DATA_END:
            finished = True  # what follows repeats what came before
        if finished:
            continue
        try:
            found = _parse(mcap, record, into)
        except Exception:  # whatever a decompressor or a parser says of damaged data
            into.damaged.append(record.offset)
            continue
        for place, message in enumerate(found):
            channel = into.channels.get(message.channel_id)
            schema = into.schemas.get(channel.schema_id) if channel is not None else None
            if channel is not None and schema is not None:  # else they were in a chunk that is damaged
                yield Message(
                    record.offset, place, channel.topic, schema.name, message.sequence, message.log_time,
                    message.publish_time, message.data,
                )  # fmt: skip


def read_chunk(path: Path, offset: int) -> list[bytes]:
    """Return the data of the messages in a chunk again, from where `scan` found it."""
    mcap = _library()
    with open(path, "rb") as file:
        file.seek(offset + 1)
        length = int.from_bytes(file.read(8), "little")
        chunk = mcap.read(mcap.records.Chunk, file.read(length))
    return [r.data for r in mcap.breakup(chunk, True) if isinstance(r, mcap.records.Message)]


def _parse(mcap: _Library, record: _Record, into: Scan) -> list[Any]:
    """Return the messages of a chunk, none of other records, and remember what says what they mean."""
    records = mcap.records
    inside: list[Any] = []
    if record.opcode == _HEADER:
        into.header = mcap.read(records.Header, record.data).profile
    elif record.opcode == _METADATA:
        found = mcap.read(records.Metadata, record.data)
        # Facts carry no checksum, and a power cut may leave zeros in the place of their end: none are ever written.
        if not all(found.metadata) or any("\0" in text for pair in found.metadata.items() for text in pair):
            raise ValueError("the record is filled up with zeros")
        into.metadata[found.name] = found.metadata
    elif record.opcode == _SCHEMA:
        inside = [mcap.read(records.Schema, record.data)]
    elif record.opcode == _CHANNEL:
        inside = [mcap.read(records.Channel, record.data)]
    elif record.opcode == _CHUNK:
        inside = mcap.breakup(mcap.read(records.Chunk, record.data), True)
    for found in inside:
        if isinstance(found, records.Schema):
            into.schemas[found.id] = found
        elif isinstance(found, records.Channel):
            into.channels[found.id] = found
    return [found for found in inside if isinstance(found, records.Message)]


def _records(path: Path, into: Scan) -> Iterator[_Record]:
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below; the generator may be left early)
    except OSError as e:
        raise CheckpointError(f"the episode {path} cannot be read: {e.strerror or e}") from e
    with file:
        into.size = os.fstat(file.fileno()).st_size
        begin = file.read(len(MAGIC))
        if begin != MAGIC:
            if MAGIC.startswith(begin) or not begin.strip(b"\0"):
                return  # cut within its first bytes
            raise CheckpointError(f"{path} is no MCAP file; episodes are files such as episodes/000123.mcap")
        offset = into.good = len(MAGIC)
        while True:
            head = file.read(9)
            if len(head) < 9 or not 1 <= head[0] <= _LAST_OPCODE:
                return
            length = int.from_bytes(head[1:], "little")
            if length > min(_LARGEST, into.size - offset - 9):
                return
            data = file.read(length)
            if len(data) < length:
                return
            yield _Record(offset, head[0], data)
            offset = into.good = offset + 9 + length
            if head[0] == _FOOTER:
                into.whole = file.read(len(MAGIC)) == MAGIC
                into.good += len(MAGIC) if into.whole else 0
                return


class _Library(NamedTuple):
    """What of the package `mcap` is used here."""

    records: Any
    stream: Any
    breakup: Any

    def read(self, kind: Any, data: bytes) -> Any:
        """Return a record of one kind from its bytes."""
        return kind.read(self.stream(io.BytesIO(data)))


@functools.cache
def _library() -> _Library:
    try:
        from mcap import records
        from mcap.data_stream import ReadDataStream
        from mcap.stream_reader import breakup_chunk
    except ModuleNotFoundError as e:
        raise MissingDependency("the package 'mcap'", "reading episodes", "pip install 'robot-rl[data]'") from e
    return _Library(records, ReadDataStream, breakup_chunk)
