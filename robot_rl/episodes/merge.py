"""Puts the episodes of several runs of one task into one folder, numbered anew, each once."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_rl.episodes.edit import note, open_complete
from robot_rl.episodes.part import sync_folder
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import FOLDER
from robot_rl.episodes.rewrite import rewrite
from robot_rl.episodes.scan import Scan, scan
from robot_rl.errors import CheckpointError, ConfigError, StorageError
from robot_rl.link import spec_difference


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What came of a merge.

    Attributes:
        folder: The new folder of episodes.
        taken: The new file and the one it is of.
        doubles: A file that was left out, and the one of the same content.
    """

    folder: Path
    taken: Sequence[tuple[Path, Path]]
    doubles: Sequence[tuple[Path, Path]]


def merge(files: Sequence[Path], out: Path, progress: Callable[[Path], None] = lambda path: None) -> Merged:
    """Copy episodes into the new folder `out`/episodes, which appears when all of them are in it.

    Args:
        files: The episodes, in their new order.
        out: A folder that does not exist yet, or is empty.
        progress: Told each file before it is copied.

    Raises:
        ConfigError: The folder holds something.
        CheckpointError: An episode is not complete, or of another task, other data or another control period.
        StorageError: The disk does not take them. In each case nothing is left of the new folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists already and is never overwritten; choose another --out")
    model: Episode | None = None
    seen: dict[bytes, Path] = {}
    doubles: list[tuple[Path, Path]] = []
    chosen: list[Path] = []
    for path in files:  # all of them before the first is copied
        episode = open_complete(path)
        model = model or episode
        _check_same(model, episode)
        content = digest(path)
        if content in seen:
            doubles.append((path, seen[content]))
        else:
            seen[content] = path
            chosen.append(path)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    taken: list[tuple[Path, Path]] = []
    try:
        (temporary / FOLDER).mkdir(parents=True)
        for number, path in enumerate(chosen, 1):
            progress(path)
            episode, name = Episode(path), f"{number:06d}.mcap"
            metadata = {**episode.metadata, **note(episode, f"merged into {out.name} as {name}")}
            rewrite(path, temporary / FOLDER / name, metadata)
            taken.append((out / FOLDER / name, path))
        sync_folder(temporary / FOLDER)
        sync_folder(temporary)
        os.rename(temporary, out)
        sync_folder(out.parent)
    except OSError as e:
        raise StorageError(f"could not write {out}: {e.strerror or e}. The episodes are left as they are") from e
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary)
    return Merged(folder=out / FOLDER, taken=taken, doubles=doubles)


def digest(path: Path) -> bytes:
    """Return a fingerprint of an episode's messages. Its facts, such as a verdict, do not count."""
    made = hashlib.blake2b(digest_size=16)
    for m in scan(path, Scan()):
        made.update(f"{m.topic}\0{m.sequence}\0{m.publish_ns}\0{len(m.data)}\0".encode())
        made.update(m.data)
    return made.digest()


def _check_same(model: Episode, episode: Episode) -> None:
    mine, other = model.start, episode.start
    difference = spec_difference(mine.spec, other.spec)
    if other.task != mine.task:
        difference = f"it is of task '{other.task}', {model.path} of '{mine.task}'"
    elif difference:
        told = difference.replace("learner expects", "the first has").replace("actor sends", "this one has")
        difference = told.replace("actor", "this one").replace("learner", "the first")
    elif not math.isclose(mine.period_s, other.period_s, rel_tol=0.02):
        difference = f"its control period is {other.period_s:g} s, that of {model.path} {mine.period_s:g} s"
    if difference:
        raise CheckpointError(f"{episode.path} cannot be merged with the rest: {difference}; leave it out")
