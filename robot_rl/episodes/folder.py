"""The episodes of a run: which files there are, and what each is, read from its end without reading all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from robot_rl.episodes.facts import EpisodeEnd, EpisodeStart, end_of, start_of
from robot_rl.episodes.part import PART, number_of
from robot_rl.episodes.reader import Episode
from robot_rl.episodes.recorder import FOLDER
from robot_rl.episodes.schema import END, FORMAT, REPAIR, START
from robot_rl.errors import CheckpointError, ConfigError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One episode file.

    Attributes:
        path: Where it lies.
        number: Its number.
        size: Bytes.
        start, end: What is known of it; None where it cannot be read, or was cut.
        steps: Steps in it.
        trouble: Why it cannot be read or is not whole; empty if all is well.
    """

    path: Path
    number: int
    size: int
    start: EpisodeStart | None
    end: EpisodeEnd | None
    steps: int
    trouble: str = ""


def episode_files(folder: Path) -> list[Path]:
    """Return the episode files of a run's folder, or of a folder of episodes, by number; [] if there are none.

    Raises:
        ConfigError: It cannot be read.
    """
    with _readable(folder):
        for place in (folder / FOLDER, folder):
            found = [p for p in place.iterdir() if number_of(p) >= 0 and p.is_file()] if place.is_dir() else []
            if found:
                return sorted(found, key=lambda p: (number_of(p), p.name))
    return []


@contextlib.contextmanager
def _readable(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        shown = e.filename if e.filename is not None else place
        raise ConfigError(f"{shown} cannot be read: {e.strerror or e}; check its permissions, or name another") from e


def find_files(places: Sequence[Path]) -> list[Path]:
    """Return the episode files of files, folders of episodes, runs, and folders of runs.

    Raises:
        ConfigError: There is none, or a place cannot be read.
    """
    found: list[Path] = []
    for place in places:
        with _readable(place):
            if not place.exists():
                raise ConfigError(f"{place} does not exist; give episode files, a run, or a folder of runs")
            if place.is_file():
                found.append(place)
                continue
            here = episode_files(place)
            for inner in sorted(place.iterdir()) if not here else ():
                here += episode_files(inner) if inner.is_dir() else []
        if not here:
            raise ConfigError(
                f"{place} holds no episodes (files such as {FOLDER}/000123.mcap, or {FOLDER}/000124{PART})"
            )
        found += here
    return found


def entry(path: Path) -> Entry:
    """Return what an episode file is. One that cannot be read is told of, not raised."""
    size = path.stat().st_size if path.exists() else 0
    made = _from_summary(path, size)
    if made is not None:
        return made
    try:
        episode = Episode(path)
    except CheckpointError as e:
        return Entry(path=path, number=number_of(path), size=size, start=None, end=None, steps=0, trouble=str(e))
    return Entry(
        path=path, number=number_of(path), size=size, start=episode.start, end=episode.end, steps=len(episode),
        trouble=episode.cut,
    )  # fmt: skip


def _from_summary(path: Path, size: int) -> Entry | None:
    """Return the entry of a complete file from the index at its end, or None if there is none."""
    with contextlib.suppress(Exception):  # whatever is wrong with it, reading all of it tells
        from mcap.reader import SeekingReader

        with open(path, "rb") as file:
            metadata = {record.name: record.metadata for record in SeekingReader(file).iter_metadata()}
        if metadata[START]["format"] == str(FORMAT) and REPAIR not in metadata:
            end = end_of(metadata[END])
            return Entry(
                path=path, number=number_of(path), size=size, start=start_of(metadata[START]), end=end, steps=end.steps
            )
    return None
