"""The task `lap` from plain settings: a course by its name or file, and a classical driver for what it lies on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from robot_rl.errors import ConfigError
from robot_rl_tasks.car.course import Course
from robot_rl_tasks.car.course_file import KIND, load_course
from robot_rl_tasks.car.driver import DriverSettings
from robot_rl_tasks.car.lap import Lap
from robot_rl_tasks.car.place import Place, Surface, surface
from robot_rl_tasks.car.places import between_walls, place
from robot_rl_tasks.car.tally import CapSettings
from robot_rl_tasks.car.trouble import TroubleSettings

GRAVITY_M_S2 = 9.81
MOST_ACCELERATION_M_S2 = 5.0


def make_lap(
    course: str = "oval", ground: str = "", grip: float = 0.6, control_hz: float = 20.0, max_steps: int = 600,
    max_speed_m_s: float = 5.0, slew: float = 0.25, residual: tuple[float, float] | None = None, penalty: float = 10.0,
    reward_scale: float = 1.0, beams: int = 0, range_m: float = 6.0, start_speed_m_s: float = 0.0,
    object_state: bool = True, trouble: TroubleSettings | None = None, cap: CapSettings | None = None,
) -> Lap:  # fmt: skip
    """Return the task on a course.

    Args:
        course: Name of a place, `course.yaml` of a recorded course, or the YAML of an F1TENTH map.
        ground: Surface; that of the place, or carpet, when empty.
        grip: Share of the ground's friction that the classical driver uses in bends.
        control_hz, max_steps, max_speed_m_s, slew, residual, penalty, reward_scale: Of `Lap`.
        beams, range_m, start_speed_m_s, object_state, trouble, cap: Of `Lap`.

    Raises:
        ConfigError: There is no such course or ground, or a value is impossible.
    """
    if not 0.1 <= grip <= 1.0:
        raise ConfigError(f"task.grip is {grip:g}; it is a share of the friction, from 0.1 to 1")
    where = place_of(course, ground)
    return Lap(
        course=where.course, place=where, driver=driver_for(where.surface, grip, max_speed_m_s), control_hz=control_hz,
        max_steps=max_steps, max_speed_m_s=max_speed_m_s, slew=slew, residual=residual, penalty=penalty,
        reward_scale=reward_scale, beams=beams, range_m=range_m, start_speed_m_s=start_speed_m_s,
        object_state=object_state, trouble=trouble or TroubleSettings(), cap=cap or CapSettings(),
    )  # fmt: skip


def driver_for(ground: Surface, grip: float, max_speed_m_s: float) -> DriverSettings:
    """Return a classical driver that uses a share of a surface's friction."""
    most = ground.friction * GRAVITY_M_S2
    return DriverSettings(
        max_speed_m_s=max_speed_m_s, lateral_m_s2=grip * most, brake_m_s2=0.75 * grip * most,
        accelerate_m_s2=min(0.83 * grip * most, MOST_ACCELERATION_M_S2),
    )  # fmt: skip


def place_of(course: str, ground: str = "") -> Place:
    """Return where a course lies: a place by name, a recorded course between its own borders, or a map."""
    if not course.endswith((".yaml", ".yml")):
        found = place(course)
        return dataclasses.replace(found, surface=surface(ground)) if ground else found
    if _is_course(course):
        return bordered(load_course(course), ground or "carpet")
    from robot_rl_tasks.car.maps import place_from_map

    return place_from_map(course, ground=ground or "carpet")


def bordered(course: Course, ground: str) -> Place:
    """Return a recorded course with walls where its free way ends, or without any where that was only assumed."""
    if course.widths == "assumed":
        return Place(course=course, obstacles=np.zeros((0, 3)), surface=surface(ground))
    return between_walls(course, ground)


def _is_course(path: str) -> bool:
    """Return whether a file says of itself that it is a course; one that cannot be read is told of as a course."""
    try:
        return f"kind: {KIND}" in Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return True
