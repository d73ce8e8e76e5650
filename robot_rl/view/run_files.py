"""What a run's own files say: the learner's numbers and the episodes. It costs the control process nothing."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_rl.jsonl import JsonlTail, plain
from robot_rl.live import RunReader
from robot_rl.stats import number
from robot_rl.view.curves import Curves

_EPISODES = 50
_NO_CURVES = ("t_s", "env_steps", "updates", "kind")


class RunFiles:
    """Follows a run's files; each call reads only what was added since the last."""

    def __init__(self, folder: Path) -> None:
        self.curves = Curves()
        self._reader = RunReader(folder)
        self._metrics, self._episodes = JsonlTail(folder / "metrics.jsonl"), JsonlTail(folder / "episodes.jsonl")
        self._recent: deque[dict[str, bool]] = deque(maxlen=_EPISODES)

    def read(self) -> dict[str, Any]:
        """Take in what is new and return the state of the run as JSON can hold it."""
        for row in self._metrics.read():
            t_s = number(row.get("t_s"))
            if t_s == t_s and row.get("kind", "train") == "train":
                self.curves.add(t_s, {k: v for k, v in row.items() if k not in _NO_CURVES})
        for row in self._episodes.read():
            if row.get("source") != "demo":
                self._recent.append({"ok": bool(row.get("success")), "help": _helped(row)})
        state = plain(dataclasses.asdict(self._reader.snapshot()))
        assert isinstance(state, dict)  # a dataclass as JSON
        return {**state, "recent": list(self._recent)}


def _helped(row: Mapping[str, object]) -> bool:
    return bool(row.get("intervened")) or row.get("source") == "human"
