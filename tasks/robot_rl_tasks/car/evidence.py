"""What a trained policy is worth on its course: it races the classical driver, and everything is kept to look at.

`leaderboard.json` has a row for the policy, the classical driver and the demonstrated lap; `lines.png` shows the lines
that were driven, coloured by speed; `race-above.mp4` and `race-driver.mp4` show the policy from above and from the car.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_rl.car import CarReset
from robot_rl.car_env import CarEnv
from robot_rl.errors import MissingDependency, RobotError, StorageError
from robot_rl.jsonl import read_json, write_json_atomic
from robot_rl.video import VideoWriter
from robot_rl_tasks.car.driver import PurePursuit
from robot_rl_tasks.car.lap import Lap

log = logging.getLogger(__name__)

LAPS = 5
BEFORE_M = 1.5
VIDEOS = {"race-above.mp4": "above", "race-driver.mp4": "front"}


class Acting(Protocol):
    """Gives an action for an observation: the state, or a dictionary of it and what cameras see."""

    def act(self, observation: Any, /) -> NDArray[np.float32]:
        """Return the (2,) action."""
        ...


@dataclass(slots=True)
class Race:
    """What one driver did.

    Attributes:
        who, kind: Its name for people, and "policy", "classical" or "demonstration".
        laps_s: Laps; those in `clean` without trouble.
        trail: (n, 3) x, y [m] and speed [m/s] at each step.
        crashes: How often it crashed.
    """

    who: str
    kind: str
    laps_s: list[float] = field(default_factory=list)
    clean: list[float] = field(default_factory=list)
    trail: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    crashes: int = 0

    def row(self) -> dict[str, Any]:
        """Return its row of the leaderboard; times are None where there is no clean lap."""
        median = float(np.median(self.clean)) if self.clean else None
        speed = float(self.trail[:, 2].mean()) if len(self.trail) else None
        return {
            "who": self.who, "kind": self.kind, "median_s": median, "best_s": min(self.clean, default=None),
            "laps": len(self.laps_s), "clean_laps": len(self.clean), "mean_speed_m_s": speed, "crashes": self.crashes,
        }  # fmt: skip


def drive(
    env: CarEnv, race: Race, choose: Callable[[Any], NDArray[np.float32]], laps: int = LAPS,
    film: Mapping[str, VideoWriter] | None = None, seed: int = 0, longest_s: float = 300.0,
) -> Race:  # fmt: skip
    """Race from a standing start before the line, on after crashes, until there are so many laps.

    Args:
        env: The car.
        race: Filled.
        choose: Gives the action for an observation.
        laps: How many to drive.
        film: Videos by camera.
        seed: Of the twin's noise.
        longest_s: Driving time after which it is over.
    """
    task: Lap = env.task  # pyright: ignore[reportAssignmentType]
    line, gate = task.course.line, task.course.gates[0]
    p = line.point(gate.s_m - BEFORE_M)
    heading = float(line.heading(gate.s_m - BEFORE_M))
    observation, _ = env.reset(options={"request": CarReset(p_WC=p, yaw_rad=heading, seed=seed)})
    trail: list[tuple[float, float, float]] = []
    seconds = 0.0
    while len(race.laps_s) < laps and seconds < longest_s:
        observation, _, terminated, truncated, info = env.step(choose(observation))
        state = env.robot_state
        trail.append((float(state.p_WC[0]), float(state.p_WC[1]), state.speed_m_s))
        for camera, writer in (film or {}).items():
            writer.write(env.car.render(camera, 360, 640))  # pyright: ignore[reportAttributeAccessIssue]
        if terminated or truncated or len(task.tally.laps) + len(race.laps_s) >= laps:
            facts = info.get("facts") or task.facts()
            for text in str(facts["laps"]).split():
                lap_s = float(text.partition("@")[0])
                race.laps_s.append(lap_s)
                if not text.endswith("!"):
                    race.clean.append(lap_s)
            seconds += float(facts["driven_s"])
            race.crashes += terminated
            if terminated or truncated:
                observation, _ = env.reset()
    race.trail = np.array(trail).reshape(-1, 3)
    return race


def evidence(env: CarEnv, policy: Acting, run: Path, laps: int = LAPS) -> list[Race]:
    """Race a policy and the classical driver, and keep leaderboard, lines and videos in the run's folder.

    What this machine lacks for pictures is warned of, and the rest is kept.

    Raises:
        StorageError: The disk refuses.
    """
    task: Lap = env.task  # pyright: ignore[reportAssignmentType]
    films: dict[str, VideoWriter] = {}
    try:
        for name, camera in VIDEOS.items():
            films[camera] = VideoWriter(run / name, fps=max(1.0, 1.0 / env.period_s))
    except MissingDependency as e:
        log.warning("there will be no video of the race: %s", e)
        films = {}
    own = Race("policy", "policy")
    try:
        drive(env, own, policy.act, laps, films)
        for writer in films.values():
            writer.close()
    except (MissingDependency, RobotError) as e:
        log.warning("there will be no video of the race: %s", e)
        for writer in films.values():
            writer.discard()
        own = drive(env, Race("policy", "policy"), policy.act, laps)
    races = [own, classical(env, laps)]
    rows = [race.row() for race in races]
    demo_s = read_json(run / "demos" / "demos.json").get("median_s")
    if isinstance(demo_s, int | float) and math.isfinite(demo_s):
        rows.append(
            {"who": "demonstrated lap", "kind": "demonstration", "median_s": demo_s, "best_s": demo_s, "laps": 1,
             "clean_laps": 1, "mean_speed_m_s": task.course.line.length_m / demo_s, "crashes": 0}
        )  # fmt: skip
    write_json_atomic(run / "leaderboard.json", {"course": task.course.name, "laps": laps, "rows": rows})
    try:
        from robot_rl_tasks.car.pictures import draw_lines

        draw_lines(
            run / "lines.png", task.course, task.place, {race.who: race.trail for race in races if len(race.trail)}
        )
    except MissingDependency as e:
        log.warning("there is no picture of the lines: %s", e)
    except StorageError as e:
        log.warning("%s", e)
    return races


def classical(env: CarEnv, laps: int = LAPS) -> Race:
    """Race the classical driver, at this environment's rate and without the window of actions or a cap."""
    task: Lap = env.task  # pyright: ignore[reportAssignmentType]
    driver = PurePursuit(task.course, task.driver)
    slew, residual, cap = task.slew, task.residual, task.speed_cap.now_m_s
    task.slew, task.speed_cap.now_m_s = 2.0, task.max_speed_m_s
    if residual is not None:
        task.residual = (2.0, 2.0)

    def choose(observation: Any) -> NDArray[np.float32]:
        command = driver.command(env.robot_state)
        return env.action_of(command.steering_rad, command.speed_m_s)

    try:
        return drive(env, Race("classical driver", "classical"), choose, laps)
    finally:
        task.slew, task.residual = slew, residual
        task.speed_cap.recall(cap)
