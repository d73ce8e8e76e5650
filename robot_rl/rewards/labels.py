"""A labelled set: pictures as the policy saw them, and what was said of each, as files that survive a kill.

    SET/
        set.json         format, task, cameras
        frames.jsonl     one row for each frame, appended after its pictures are on the disk
        relabels.jsonl   what was said of a frame later on; the newest word wins, and no word is ever lost
        pictures/E/      PNG, exact: STEP-CAMERA.png of episode E

A frame is success (1), failure (0) or not labelled yet (None). Only frames.jsonl says that a frame exists: pictures
that a kill left without a row are written over by the next frame of that name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.writer import decode_picture, encode
from robot_rl.errors import LabelError, StorageError
from robot_rl.jsonl import JsonlFile, JsonlTail, read_json, write_json_atomic

FORMAT = 1
FRAMES, RELABELS, FACTS, PICTURES = "frames.jsonl", "relabels.jsonl", "set.json", "pictures"
Label = int | None
Picture = NDArray[np.uint8]
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}")
_FRAME = re.compile(rf"{_NAME.pattern}/\d{{6,}}")
WORDS: dict[Label, str] = {1: "success", 0: "failure", None: "not labelled"}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One labelled moment.

    Attributes:
        name: Of the frame within its set, "EPISODE/STEP".
        episode: Frames of one episode are never split between training and testing.
        step: Control period within the episode.
        label: 1 success, 0 failure, None not labelled.
        by: Who labelled it: "person", "twin", "script", "episode" (its outcome), "classifier" (a claim; see harvest).
        when: Local time in ISO form.
        truth: What a twin knows; None where nobody knows.
        score: The probability of success that a classifier gave when it was kept, if one did.
        given: The label at first, before anybody changed it.
        kind: Of a frame of practice: "claim" of a classifier, or a success that it "missed"; else empty.
    """

    name: str
    episode: str
    step: int
    label: Label
    by: str
    when: str = ""
    truth: bool | None = None
    score: float | None = None
    given: Label = None
    kind: str = ""


class LabelledSet:
    """A labelled set on disk.

    Args:
        folder: Where it lies.
        task, cameras: Of a set that is to be made or gone on with: the task's name and (H, W, 3) by camera. None opens
            a set that must exist.
        writing: Whether frames are added: one process alone may do so at a time.

    Raises:
        LabelError: There is none, it is of another task, cameras or format, or it is being written by another process.
    """

    def __init__(
        self, folder: Path, task: str = "", cameras: Mapping[str, Sequence[int]] | None = None, writing: bool = False
    ) -> None:
        self.folder = folder
        facts = _facts(folder)
        if not facts:
            if cameras is None:
                raise LabelError(
                    f"{folder} is no set of labelled pictures ({FACTS} is missing). Make one with: "
                    "robot-rl reward collect SET, or name the right folder"
                )
            if not cameras:
                raise LabelError(
                    "the robot has no camera, and a classifier judges pictures; choose some, such as "
                    "robot.cameras=[front]"
                )
            if folder.exists() and any(folder.iterdir()):
                raise LabelError(f"{folder} holds other files and is no labelled set; choose an empty or new folder")
            facts = {"format": FORMAT, "task": task, "cameras": {n: list(map(int, s)) for n, s in cameras.items()}}
            with _told(folder):
                (folder / PICTURES).mkdir(parents=True, exist_ok=True)
            write_json_atomic(folder / FACTS, facts)
        _check(folder, facts, task, cameras)
        self.task: str = facts["task"]
        self.cameras = {str(n): tuple(int(v) for v in s) for n, s in facts["cameras"].items()}
        self._lock = _locked(folder) if writing else -1
        self._rows: JsonlFile | None = None
        self._frames: dict[str, Frame] = {}
        self._read()

    def _read(self) -> None:
        tail = JsonlTail(self.folder / FRAMES)
        for row in tail.read(unfinished=True):
            frame = _frame(row)
            if frame is None:
                tail.skipped += 1
            else:
                self._frames[frame.name] = frame
        for row in JsonlTail(self.folder / RELABELS).read(unfinished=True):
            found = self._frames.get(str(row.get("frame")))
            if found is not None and "label" in row and _is_label(row["label"]):
                self._frames[found.name] = replace(
                    found, label=row["label"], by=str(row.get("by", "")), when=str(row.get("when", ""))
                )
        self.torn = tail.skipped

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def frames(self) -> list[Frame]:
        """All frames in the order in which they were added, with their newest labels."""
        return list(self._frames.values())

    def count(self, label: Label) -> int:
        """Return how many frames have a label."""
        return sum(f.label == label for f in self._frames.values())

    def episodes(self) -> list[str]:
        """Return the names of the episodes, in order."""
        return list(dict.fromkeys(f.episode for f in self._frames.values()))

    def add(
        self, episode: str, step: int, pictures: Mapping[str, Picture], label: Label, by: str,
        truth: bool | None = None, score: float | None = None, kind: str = "",
    ) -> Frame:  # fmt: skip
        """Add a frame; after this a kill cannot lose it. One that is there already is left as it is.

        Raises:
            LabelError: The pictures are not those of the set's cameras.
            StorageError: The disk does not take it; what was there is intact.
        """
        if self._lock < 0:
            raise LabelError(f"{self.folder} was opened for reading; open it with writing=True to add frames")
        if not _NAME.fullmatch(episode) or step < 0 or not _is_label(label):
            raise LabelError(
                f"a frame needs an episode name of letters, digits and _.- (got {episode!r}), a step from 0 on "
                f"(got {step}) and a label 1, 0 or None (got {label!r})"
            )
        name = f"{episode}/{step:06d}"
        if name in self._frames:
            return self._frames[name]
        for camera, shape in self.cameras.items():
            found = pictures.get(camera)
            if found is None or found.shape != shape or found.dtype != np.uint8:
                got = "none" if found is None else f"{found.shape} {found.dtype}"
                raise LabelError(
                    f"a frame of {self.folder} needs a {shape} uint8 picture of camera '{camera}', got {got}"
                )
        with _told(self.folder):
            (self.folder / PICTURES / episode).mkdir(parents=True, exist_ok=True)
            for camera in self.cameras:
                _write_whole(self._path(name, camera), encode(pictures[camera], "png"))
        frame = Frame(
            name=name, episode=episode, step=step, label=label, by=by, when=_now(), truth=truth, score=score,
            given=label, kind=kind,
        )  # fmt: skip
        if self._rows is None:
            self._rows = JsonlFile(self.folder / FRAMES)
        self._rows.append({
            "frame": name, "episode": episode, "step": step, "label": label, "by": by, "when": frame.when,
            "truth": truth, "score": score, "kind": kind,
        })  # fmt: skip
        self._frames[name] = frame
        return frame

    def relabel(self, names: Iterable[str], label: Label, by: str) -> list[Frame]:
        """Give frames another label; what was said before stays in the file.

        Raises:
            LabelError: A frame is not there; then nothing is changed.
        """
        wanted = list(names)
        unknown = [name for name in wanted if name not in self._frames]
        if unknown:
            raise LabelError(f"{self.folder} has no frame '{unknown[0]}'; frames are named EPISODE/STEP, see {FRAMES}")
        out = []
        rows = JsonlFile(self.folder / RELABELS)
        try:
            for name in wanted:
                row = {"frame": name, "label": label, "by": by, "when": _now()}
                rows.append(row)
                self._frames[name] = replace(self._frames[name], label=label, by=by, when=str(row["when"]))
                out.append(self._frames[name])
        finally:
            rows.close()
        return out

    def pictures(self, name: str) -> dict[str, Picture]:
        """Return (H, W, 3) uint8 by camera.

        Raises:
            LabelError: A picture is missing or damaged.
        """
        out = {}
        for camera, shape in self.cameras.items():
            path = self._path(name, camera)
            try:
                picture = decode_picture(path.read_bytes())
            except (OSError, StorageError) as e:
                raise LabelError(
                    f"the picture {path} is missing or damaged ({e}); restore it, or take the frame out with: "
                    f"robot-rl reward relabel {self.folder} {name} --as none"
                ) from e
            if picture.shape != shape:
                raise LabelError(f"the picture {path} has shape {picture.shape}, the set's camera gives {shape}")
            out[camera] = picture
        return out

    def png(self, name: str, camera: str) -> bytes:
        """Return a picture as the PNG file that it is."""
        return self._path(name, camera).read_bytes()

    def close(self) -> None:
        """Let others write. Safe to call twice."""
        if self._rows is not None:
            self._rows.close()
            self._rows = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> LabelledSet:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _path(self, name: str, camera: str) -> Path:
        return self.folder / PICTURES / f"{name}-{camera}.png"


def _facts(folder: Path) -> dict[str, Any]:
    return read_json(folder / FACTS) if folder.is_dir() else {}


def _check(folder: Path, facts: Mapping[str, Any], task: str, cameras: Mapping[str, Sequence[int]] | None) -> None:
    if facts.get("format") != FORMAT:
        raise LabelError(
            f"{folder} has format {facts.get('format')}, this version of robot_rl reads format {FORMAT}; use the "
            "version that wrote it"
        )
    if not isinstance(facts.get("task"), str) or not isinstance(facts.get("cameras"), dict):
        raise LabelError(f"{folder / FACTS} lacks the task or the cameras; restore it from a copy")
    if task and facts["task"] != task:
        raise LabelError(f"{folder} holds frames of the task '{facts['task']}', not of '{task}'; choose another folder")
    if cameras is not None:
        ours = {n: list(map(int, s)) for n, s in cameras.items()}
        if ours != facts["cameras"]:
            raise LabelError(
                f"{folder} holds frames of the cameras {facts['cameras']}, and there are {ours} here; use the same "
                "robot.cameras and robot.image_size, or choose another folder"
            )


def _frame(row: Mapping[str, Any]) -> Frame | None:
    """Return the frame of a row, or None if the row is none of ours."""
    name, label, step = row.get("frame"), row.get("label"), row.get("step")
    truth, score = row.get("truth"), row.get("score")
    if not isinstance(name, str) or not _FRAME.fullmatch(name) or not isinstance(step, int) or not _is_label(label):
        return None
    return Frame(
        name=name, episode=name.partition("/")[0], step=step, label=label, by=str(row.get("by", "")),
        when=str(row.get("when", "")), truth=truth if isinstance(truth, bool) else None,
        score=float(score) if isinstance(score, int | float) else None, given=label, kind=str(row.get("kind", "")),
    )  # fmt: skip


def _is_label(label: object) -> bool:
    return label is None or (type(label) is int and label in (0, 1))


def _locked(folder: Path) -> int:
    with _told(folder):
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(fd)
        raise LabelError(f"another process is adding frames to {folder}; wait until it ends") from e
    except OSError:  # a file system without locks
        pass
    return fd


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


@contextlib.contextmanager
def _told(folder: Path) -> Any:
    try:
        yield
    except OSError as e:
        raise StorageError(
            f"could not write to {folder}: {e.strerror or e}. What was there is intact; free some space or choose a "
            "folder you may write to"
        ) from e


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
