"""A cable and the clip that it is pressed into, as objects of a scene, and where the cable crosses the clip.

The cable is a chain of links on ball joints. A joint's spring stands for the bending stiffness E I of the cable that is
cut up: k = E I / l for links of length l. The clip is a floor between two jaws that turn outwards against springs; lips
at their tips leave less room than the cable is thick, so that it snaps in and stays.

Frame of the clip: on the table below its middle, z up, x along the channel towards the anchor, where the cable ends.
"""

from __future__ import annotations

import numpy as np

from robot_rl.compiled import kernel
from robot_rl.geometry import quat_to_matrix
from robot_rl.robot import Vector
from robot_rl.task import Geom, Joint, SceneObject, Tie

RADIUS_M = 0.004  # of the cable
LINK_M, LINKS = 0.02, 9
STUB_M = 0.0105  # from the tool to where the cable leaves the fingers
LENGTH_M = STUB_M + LINK_M * LINKS  # from the tool to the anchor when the cable is taut
BENDING_N_M2 = 4e-4  # E I: a soft rubber cable of this thickness
WEIGHT_KG_M = 0.1

ANCHOR_M = (0.075, 0.0, 0.026)  # where the cable ends, in the clip's frame
FLOOR_M = 0.018  # height of the channel's floor
CHANNEL_HALF_M = 0.0044
CLIP_HALF_M = 0.010  # half the channel's length
LIP_M = 0.0335  # height of the lips' middle
LIP_HALF_M = 0.0015
MOUTH_HALF_M = 0.0031  # half the gap between the lips at rest
INSIDE_M = LIP_M - LIP_HALF_M - 0.002  # a cable whose middle is below this is under the lips, where they hold it

_GREY, _ORANGE, _BLACK = (0.55, 0.58, 0.62, 1.0), (0.90, 0.50, 0.10, 1.0), (0.10, 0.10, 0.12, 1.0)
_SMOOTH = (0.2, 0.005, 0.0001)


def cable_names() -> tuple[str, ...]:
    """Return the names of the cable's objects, from the piece in the hand to the link at the anchor."""
    return ("cable", *(f"cable_{i:02d}" for i in range(1, LINKS + 1)))


def cable(clip: str) -> dict[str, SceneObject]:
    """Return the cable from the hand to the anchor of a clip, piece by piece.

    Args:
        clip: Name of the clip's object, which comes before these in the scene.
    """
    along_x = (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)
    names = cable_names()
    grip = Geom(kind="capsule", size_m=(RADIUS_M, STUB_M), quat=along_x, rgba=_BLACK)
    made = {names[0]: SceneObject(geoms=(grip,), mass_kg=0.002, motion="held", pos_m=(0.0, 0.0, 0.0), friction=_SMOOTH)}
    half = LINK_M / 2
    link = Geom(kind="capsule", size_m=(RADIUS_M, half), pos_m=(half, 0.0, 0.0), quat=along_x, rgba=_BLACK)
    for i, name in enumerate(names[1:]):
        joint = Joint(to=names[i], stiffness_n_m_rad=BENDING_N_M2 / LINK_M, damping_n_m_s_rad=6e-4, armature_kg_m2=4e-6)
        tie = Tie(to=clip, at_m=(LINK_M, 0.0, 0.0), there_m=ANCHOR_M) if i == LINKS - 1 else None
        made[name] = SceneObject(
            geoms=(link,), mass_kg=WEIGHT_KG_M * LINK_M, motion="jointed", friction=_SMOOTH, joint=joint, tie=tie,
            pos_m=(STUB_M if i == 0 else LINK_M, 0.0, 0.0),
        )  # fmt: skip
    return made


def clip(name: str, jaw_stiffness_n_m_rad: float) -> dict[str, SceneObject]:
    """Return the clip with its post for the cable's end, and its two jaws.

    Args:
        name: Of the clip; the jaws are called after it.
        jaw_stiffness_n_m_rad: Spring of each jaw.
    """
    wide = CHANNEL_HALF_M + 0.008
    base = Geom(kind="box", size_m=(CLIP_HALF_M, wide, FLOOR_M / 2), pos_m=(0.0, 0.0, FLOOR_M / 2), rgba=_GREY)
    post_half = (ANCHOR_M[2] - RADIUS_M - 0.003) / 2
    post = Geom(kind="cylinder", size_m=(0.007, post_half), pos_m=(ANCHOR_M[0], 0.0, post_half), rgba=_GREY)
    body = SceneObject(geoms=(base, post), mass_kg=0.2, motion="placed", friction=_SMOOTH)
    made = {name: body}
    for side, label in ((1.0, "left"), (-1.0, "right")):
        made[f"{name}_{label}_jaw"] = _jaw(name, side, jaw_stiffness_n_m_rad)
    return made


def _jaw(clip_name: str, side: float, stiffness: float) -> SceneObject:
    """Return the jaw at the side of positive or negative y: a wall, a lip at its tip, and a flare that leads in."""
    thick = 0.0015
    foot = CHANNEL_HALF_M + thick  # y of the wall's middle
    wall_half = (LIP_M + LIP_HALF_M - FLOOR_M) / 2
    lip_z, lip_y = LIP_M - FLOOR_M, side * (MOUTH_HALF_M + 0.0025 - foot)
    tilt = -side * np.pi / 4  # about x: the flare's upper end leans outwards
    turned = (np.cos(tilt / 2), np.sin(tilt / 2), 0.0, 0.0)
    reach = 0.0045
    wall = Geom(kind="box", size_m=(CLIP_HALF_M, thick, wall_half), pos_m=(0.0, 0.0, wall_half), rgba=_ORANGE)
    lip = Geom(kind="box", size_m=(CLIP_HALF_M, 0.0025, LIP_HALF_M), pos_m=(0.0, lip_y, lip_z), rgba=_ORANGE)
    lean = reach * np.sqrt(0.5)
    flare_y = side * (MOUTH_HALF_M + 0.0012 - foot) + side * lean
    flare = Geom(
        kind="box", size_m=(CLIP_HALF_M, 0.001, reach), quat=turned, rgba=_ORANGE,
        pos_m=(0.0, flare_y, lip_z + LIP_HALF_M + lean - 0.0008),
    )  # fmt: skip
    joint = Joint(
        to=clip_name, axis=(1.0, 0.0, 0.0), stiffness_n_m_rad=stiffness, damping_n_m_s_rad=0.004, armature_kg_m2=1e-5,
        range_rad=(-0.6, 0.05) if side > 0 else (-0.05, 0.6),
    )  # fmt: skip
    return SceneObject(
        geoms=(wall, lip, flare), mass_kg=0.006, motion="jointed", friction=_SMOOTH, joint=joint,
        pos_m=(0.0, side * foot, FLOOR_M),
    )  # fmt: skip


@kernel
def crossing(out: Vector, points: Vector, clip_pose: Vector, x_m: float) -> bool:
    """Fill `out` (3,) with where the cable crosses the plane x = `x_m` of the clip, in the clip's frame.

    Args:
        out: (3,) [m].
        points: (n, 3) points along the cable in B, from the hand to the anchor.
        clip_pose: (7,) pose of the clip in B.
        x_m: Which plane across the channel.

    Returns:
        Whether it crosses. If not, `out` is the point of the cable that is nearest to the plane.
    """
    R = quat_to_matrix(clip_pose[3:7])
    n = len(points)
    local = np.empty((n, 3))
    for i in range(n):
        for j in range(3):
            s = 0.0
            for k in range(3):
                s += R[k, j] * (points[i, k] - clip_pose[k])
            local[i, j] = s
    nearest = 0
    # From the anchor on: a cable that loops behind the clip counts where it leaves the channel last.
    for i in range(n - 1, 0, -1):
        a, b = local[i - 1, 0] - x_m, local[i, 0] - x_m
        if (a <= 0.0) != (b <= 0.0):
            u = a / (a - b)
            for j in range(3):
                out[j] = local[i - 1, j] + u * (local[i, j] - local[i - 1, j])
            return True
        if abs(a) < abs(local[nearest, 0] - x_m):
            nearest = i - 1
    for j in range(3):
        out[j] = local[nearest, j]
    return False
