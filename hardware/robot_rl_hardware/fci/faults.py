"""What a Franka's errors mean for a driver: their names, whether they can be cleared, and by whom."""

from __future__ import annotations

import json
import re
from typing import Any

from robot_rl_controllers.drive.plant import PlantFault

LOST_PACKETS = "communication_constraints_violation"

ADVICE = {
    LOST_PACKETS: "20 commands in a row came too late: see the network and real-time checks in docs/fci.md",
    "cartesian_reflex": "the tool met more force than the robot's own limit",
    "joint_reflex": "a joint met more torque than the robot's own limit",
    "controller_torque_discontinuity": "torques changed by more than 1000 N m/s",
    "joint_position_limits_violation": "a joint is at its limit: guide the arm away by hand",
    "self_collision_avoidance_violation": "the arm came too near to itself: guide it away by hand",
    "tau_j_range_violation": "a torque was above what a joint may give",
}
# Modes that are no errors: a person is at the robot, and we wait.
BY_A_PERSON = {
    "UserStopped": "the user stop is pressed; release it (the light turns from white to blue), then acknowledge",
    "Guiding": "a person guides the arm by hand; when it is let go, acknowledge",
}
_LIST = re.compile(r"\[.*\]", re.DOTALL)


def names_in(text: str) -> tuple[str, ...]:
    """Return the names of errors in a message such as `... reflex! ["cartesian_reflex"]`; empty if there are none."""
    found = _LIST.search(text)
    if found is None:
        return ()
    try:
        names = json.loads(found.group())
    except ValueError:
        return ()
    return tuple(str(name) for name in names)


def of_errors(names: tuple[str, ...], said: str) -> PlantFault:
    """Return the fault of a motion that the robot ended.

    Only lost packets are soft, that is, may be recovered without a person: nothing was touched.
    """
    told = ", ".join(names) or said
    advice = "; ".join(ADVICE[name] for name in names if name in ADVICE)
    return PlantFault(f"{told} ({advice})" if advice else told, soft=names == (LOST_PACKETS,))


def of_mode(mode: str, errors: tuple[str, ...]) -> PlantFault | None:
    """Return why a robot in this mode cannot take commands, or None if it can.

    Args:
        mode: Name of the robot's mode.
        errors: Names of its present errors.
    """
    if mode == "Idle":
        return None
    if mode in BY_A_PERSON:
        return PlantFault(BY_A_PERSON[mode], refused=True)
    if mode == "Reflex":
        before = of_errors(errors, "the robot was stopped by a reflex").reason
        return PlantFault(
            f"{before}; look at the cell, then acknowledge, or start the driver with driver.clear_at_start=true",
            refused=True,
        )
    return PlantFault(
        f"the robot is in mode {mode}; end what it does in Desk, unlock its joints and activate FCI, then acknowledge",
        refused=True,
    )


def of_network(error: Exception, address: str) -> PlantFault:
    """Return the fault of a lost connection, which only reconnecting mends."""
    return PlantFault(f"the connection to {address} is lost ({clean(error)})", recoverable=False)


def clean(error: Any) -> str:
    """Return an error's words on one line, without the library's own prefix."""
    return " ".join(str(error).split()).removeprefix("libfranka: ")
