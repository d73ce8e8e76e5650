"""Completes episode files that a kill, a power cut or a full disk left cut: all that is whole, and nothing else.

The complete file is written beside the cut one and takes its place in one step. It says that it was cut: it has no end,
so nobody takes it for a success or a failure.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from robot_rl.episodes.part import in_use, sync_folder
from robot_rl.episodes.reader import start_in
from robot_rl.episodes.rewrite import replacing, rewrite
from robot_rl.episodes.scan import Scan, scan
from robot_rl.episodes.schema import REPAIR, STEP
from robot_rl.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What came of a repair.

    Attributes:
        path: The complete file.
        steps: Steps in it.
        changed: Whether there was anything to do.
        what: What was missing, in words.
    """

    path: Path
    steps: int
    changed: bool
    what: str = ""


def repair(path: Path) -> Repaired:
    """Complete an episode file, if it is cut or damaged.

    Args:
        path: A file that ends in .mcap or .mcap.part.

    Raises:
        CheckpointError: It is being recorded, it is no episode, or nothing in it is whole; it is left as it is.
        StorageError: The disk does not take the complete file; the cut one is left as it is.
    """
    if in_use(path):
        raise CheckpointError(f"{path} is being recorded; repair it when the recording has ended")
    target = path.with_name(path.name.removesuffix(".part"))
    found = Scan()
    steps = sum(message.topic == STEP for message in scan(path, found))
    if found.whole and not found.damaged and target == path:
        return Repaired(path=path, steps=steps, changed=False)
    try:
        start_in(path, found)  # a disk may have filled the rest of a cut record with zeros
    except CheckpointError as e:
        raise CheckpointError(
            f"{path} was cut before its facts were in it, or is no episode: nothing can be recovered. It is left as it "
            f"is; delete it if it is in the way. What was found: {e}"
        ) from e
    if target != path and target.exists():
        raise CheckpointError(f"{target} exists beside {path}; keep the one that is right and move the other away")
    what = f"it was cut after {steps} steps, at byte {found.good} of {found.size}"
    if found.whole and not found.damaged:
        what = ""  # only its name was missing
    elif found.damaged:
        what = f"{len(found.damaged)} damaged part(s) of it were left out; {steps} steps are whole"
    metadata = {name: facts for name, facts in found.metadata.items() if name != REPAIR}
    if what:
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        metadata[REPAIR] = {"what": what, "when": now}
    with replacing(target) as temporary:
        rewrite(path, temporary, metadata)
    if target != path:
        with contextlib.suppress(OSError):  # then both are there, and both are whole
            os.unlink(path)
            sync_folder(target.parent)
    return Repaired(path=target, steps=steps, changed=True, what=what)
