"""The errors that robot_rl raises for the world: input, files, network, robot.

Every one derives from `RobotRLError`, so a caller can catch the family and print the sentence. A message says what
happened, what was found, what is allowed and what to do next.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable


class RobotRLError(Exception):
    """Base of every error that a user can cause or mend."""


class ConfigError(RobotRLError):
    """A setting is unknown, of the wrong type or outside its range."""


class SpecError(RobotRLError):
    """An array does not match its specification."""


class WireError(RobotRLError):
    """A message could not be decoded or is not allowed."""


class TransportError(RobotRLError):
    """The actor-learner link could not be opened or was refused."""


class CheckpointError(RobotRLError):
    """A checkpoint or log on disk is missing, damaged or of another kind."""


class ExportError(RobotRLError):
    """A policy cannot be exported, or an export cannot be used."""


class StorageError(RobotRLError):
    """Writing to disk failed; what was saved before is intact."""


class LabelError(RobotRLError):
    """A set of labelled pictures is missing, damaged, or does not fit what is asked of it."""


class RobotError(RobotRLError):
    """A robot, driver or twin cannot do what was asked."""


class RateError(RobotError):
    """The control loop misses its rate, so that nothing valid can be learnt from it."""


class CameraError(RobotError):
    """A camera is missing, refuses its settings or gives no pictures."""


class EncoderError(RobotRLError):
    """An image encoder's weights are missing, damaged, or of a network that is not supported."""


class LaunchError(RobotRLError):
    """A launch cannot begin: an executable is missing, or another session holds what it needs."""


class MissingDependency(RobotRLError):
    """An optional package or system library is not installed."""

    def __init__(self, what: str, needed_for: str, install: str) -> None:
        super().__init__(f"{what} is not available, and {needed_for} needs it. Install it with: {install}")


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest allowed word, or an empty string."""

    def likeness(candidate: str) -> tuple[float, int]:
        ratio = difflib.SequenceMatcher(None, candidate, word).ratio()
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(candidate, word, strict=False))
        return ratio, len(list(alike))  # 'arn' is as like 'car' as 'arm' by ratio alone

    best = max(allowed, key=likeness, default="")
    return f" Did you mean '{best}'?" if best and likeness(best)[0] >= 0.5 else ""
