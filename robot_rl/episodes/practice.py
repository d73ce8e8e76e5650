"""Recording an actor's episodes: what it knows of itself is put at the head of each file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from robot_rl.env import RobotEnv
from robot_rl.episodes.beginning import beginning_of
from robot_rl.episodes.facts import EpisodeStart, Verdict
from robot_rl.episodes.recorder import FOLDER, EpisodeRecorder
from robot_rl.errors import MissingDependency
from robot_rl.jsonl import read_json
from robot_rl.link import session_spec

if TYPE_CHECKING:
    from robot_rl.settings import Settings

log = logging.getLogger(__name__)

When = Literal["auto", "always", "never"]


class PracticeLog:
    """Keeps the episodes of one actor of a run in RUN/episodes.

    Args:
        run: The run's folder.
        env: What acts; its task, specification and period head every file.
        config: Resolved configuration of the run, YAML.
        versions: Of packages, and the commit.
        robot: Which robot it is, in words.
    """

    def __init__(
        self, run: Path, env: RobotEnv, config: str = "", versions: Mapping[str, Any] | None = None, robot: str = ""
    ) -> None:
        self._env, self._recorder = env, EpisodeRecorder(run / FOLDER, pictures=bool(env.cameras))
        spec = session_spec(env.recorded_spec, env.task.action_spec)
        self._facts: dict[str, Any] = {
            "task": env.task.name, "spec": spec, "period_s": env.period_s, "real_time": env.real_time,
            "config": config, "versions": versions or {}, "robot": robot,
        }  # fmt: skip

    def begin(self, episode: int, observation: Any) -> None:
        """Begin an episode with its first observation."""
        start = EpisodeStart(episode=episode, reset=beginning_of(self._env), **self._facts)
        self._recorder.begin(start, self._env.robot_state, self._env.shown(observation))

    def step(self, after: tuple[Any, float, bool, bool, Mapping[str, Any]], policy_version: int) -> None:
        """Record what `AssistedEnv.step` returned: whoever acted, what was asked for, and what became of it."""
        observation, reward, terminated, truncated, info = after
        state, asked, source = self._env.robot_state, info["requested_action"], info["source"]
        seen = self._env.shown(observation)
        self._recorder.step(state, seen, asked, reward, terminated, truncated, info, source, policy_version)

    def end(self, reason: str = "", verdict: Verdict = "") -> None:
        """End the episode; the reason is given if its last step does not say it, the verdict is the operator's."""
        self._recorder.end(verdict, reason=reason)

    def close(self) -> None:
        """Write what waits and stop."""
        self._recorder.close()


def practice_log(run: Path, env: RobotEnv, when: When, **facts: Any) -> PracticeLog | None:
    """Return the log that a setting asks for: "auto" records robots in real time where the libraries are installed.

    Args:
        run, env, facts: Of `PracticeLog`.
        when: The setting.

    Raises:
        MissingDependency: "always", and the extra `data` is not installed.
    """
    if when == "never" or (when == "auto" and not env.real_time):
        return None
    try:
        return PracticeLog(run, env, **facts)
    except MissingDependency as e:
        if when == "always":
            raise
        log.warning("episodes are not recorded: %s", e)
        return None


def run_log(run: Path, env: RobotEnv, settings: Settings) -> PracticeLog | None:
    """Return what keeps an actor's episodes in its run, if they are to be kept; see `practice_log`."""
    config = run / "config.yaml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    facts = read_json(run / "run.json")
    versions = {key: facts[key] for key in ("versions", "commit") if key in facts}
    return practice_log(run, env, settings.actor.record, config=text, versions=versions, robot=settings.robot.path)
