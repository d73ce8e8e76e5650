"""How the arm looks: a few capsules and discs per link, enough to recognise it and cheap to draw.

They have no mass and touch nothing. Group 2 is drawn by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco

Point = tuple[float, float, float]
Colour = tuple[float, float, float, float]

WHITE: Colour = (0.93, 0.94, 0.95, 1.0)
DARK: Colour = (0.16, 0.18, 0.20, 1.0)
PAD: Colour = (0.30, 0.31, 0.33, 1.0)
RING: Colour = (0.22, 0.47, 0.62, 1.0)  # marks a joint
GROUP = 2


@dataclass(frozen=True)
class Look:
    """A capsule (round ends) or disc (flat ends) from one point to another in the frame of its body, lengths in m."""

    start: Point
    end: Point
    radius: float
    rgba: Colour = WHITE
    flat: bool = False


LOOKS: dict[str, tuple[Look, ...]] = {
    "fr3_link0": (
        Look((-0.09, 0, 0.05), (0, 0, 0.05), 0.05),
        Look((0, 0, 0), (0, 0, 0.135), 0.068, flat=True),
        Look((0, 0, 0.135), (0, 0, 0.145), 0.07, RING, flat=True),
    ),
    "fr3_link1": (
        Look((0, 0, -0.19), (0, 0, -0.05), 0.062),
        Look((0, -0.06, 0), (0, 0.06, 0), 0.058),
    ),
    "fr3_link2": (Look((0, 0, 0), (0, -0.19, 0), 0.06),),
    "fr3_link3": (
        Look((0, 0, -0.125), (0, 0, -0.06), 0.058),
        Look((0, 0, -0.06), (0.0825, 0, 0), 0.048),
        Look((0.0825, -0.065, 0), (0.0825, 0.065, 0), 0.05, DARK, flat=True),
    ),
    "fr3_link4": (Look((0, 0, 0), (-0.0825, 0.08, 0), 0.048), Look((-0.0825, 0.08, 0), (-0.0825, 0.12, 0), 0.054)),
    "fr3_link5": (
        Look((0, 0, -0.26), (0, 0.02, -0.16), 0.052),
        Look((0, 0.02, -0.16), (0, 0.045, 0), 0.046),
        Look((0, -0.065, 0), (0, 0.085, 0), 0.046, DARK, flat=True),
    ),
    "fr3_link6": (
        Look((0, 0, 0), (0.088, 0, 0), 0.044),
        Look((0.088, -0.045, 0), (0.088, 0.055, 0), 0.045, flat=True),
        Look((0.088, 0.005, 0), (0.088, 0.015, 0), 0.047, RING, flat=True),
    ),
    "fr3_link7": (
        Look((0, 0, 0.055), (0, 0, 0.095), 0.044, flat=True),
        Look((0, 0, 0.095), (0, 0, 0.107), 0.034, DARK, flat=True),
    ),
}


def add_looks(body: mujoco.MjsBody) -> None:
    """Add the shapes of a link of the arm."""
    for look in LOOKS[body.name]:
        kind = mujoco.mjtGeom.mjGEOM_CYLINDER if look.flat else mujoco.mjtGeom.mjGEOM_CAPSULE
        geom = body.add_geom(type=kind, fromto=(*look.start, *look.end), size=(look.radius, 0, 0))
        geom.rgba, geom.contype, geom.conaffinity, geom.mass, geom.group = look.rgba, 0, 0, 0.0, GROUP
