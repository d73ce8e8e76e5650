"""Writes an episode anew from the messages of another. The old file stays as it is until the new one is on the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from robot_rl.episodes.part import sync_folder
from robot_rl.episodes.scan import Message, Scan, scan
from robot_rl.episodes.schema import LIBRARY, START
from robot_rl.errors import StorageError

Metadata = Mapping[str, Mapping[str, str]]


def rewrite(
    path: Path, into: Path, metadata: Metadata, change: Callable[[Message], Message | None] = lambda message: message
) -> None:
    """Copy every whole message into a new file, one chunk for each old one, and force it to the disk.

    Args:
        path: The episode.
        into: The new file.
        metadata: All records of facts that it shall hold; that of the start comes before the messages.
        change: Returns what becomes of a message; None leaves it out.
    """
    from mcap.writer import Writer  # reading has told whether it is there

    with open(into, "wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2", library=LIBRARY)
        if START in metadata:
            writer.add_metadata(START, dict(metadata[START]))
        found = Scan()
        schemas: dict[str, int] = {}
        channels: dict[str, int] = {}
        chunk = -1
        for old in scan(path, found):
            message = change(old)
            if message is None:
                continue
            if message.chunk != chunk:
                writer.flush()
                chunk = message.chunk
            channel = channels.get(message.topic)
            if channel is None:
                kind = message.type_name
                if kind not in schemas:
                    text = next(s.data for s in found.schemas.values() if s.name == kind)
                    schemas[kind] = writer.register_schema(kind, "ros2msg", text)
                channel = channels[message.topic] = writer.register_channel(message.topic, "cdr", schemas[kind])
            writer.add_message(channel, message.log_ns, message.data, message.publish_ns, message.sequence)
        writer.flush()
        for name, facts in metadata.items():
            if name != START:
                writer.add_metadata(name, dict(facts))
        writer.finish()
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary file beside `target`, which takes its place in one step when the block ends without an error.

    Raises:
        StorageError: The disk does not take it; what was there is as it was.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as e:
        raise StorageError(f"could not write {target}: {e.strerror or e}. The episode is left as it is") from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
