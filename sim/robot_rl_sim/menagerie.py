"""The meshes of MuJoCo Menagerie on our arm: for looks only, its kinematics, inertias and contacts stay ours.

`robot.model=menagerie` draws the FR3's and the hand's own meshes (Apache-2.0). The package `mujoco-menagerie` downloads
them once (6 MB); `MENAGERIE_ROOT` names a checkout of google-deepmind/mujoco_menagerie instead and needs no package.
They have over 200,000 faces: a picture costs tens of milliseconds, where one of the primitive shapes costs half of one.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import mujoco

from robot_rl.errors import MissingDependency, RobotError
from robot_rl.geometry import quat_mul, rotate
from robot_rl_sim.fr3 import FINGER_JOINTS

Quat = tuple[float, float, float, float]

AS_IT_IS: Quat = (1.0, 0.0, 0.0, 0.0)
HALF_TURN: Quat = (0.0, 0.0, 0.0, 1.0)
# Folder and model of Menagerie, then its bodies: which of ours each belongs to, and how its frame is turned in ours.
SOURCES: tuple[tuple[str, str, dict[str, tuple[str, Quat]]], ...] = (
    ("franka_fr3", "fr3", {f"fr3_link{i}": (f"fr3_link{i}", AS_IT_IS) for i in range(8)}),
    (
        "franka_emika_panda",
        "hand",
        {
            "hand": ("fr3_hand", AS_IT_IS),
            "left_finger": (FINGER_JOINTS[0], AS_IT_IS),
            "right_finger": (FINGER_JOINTS[1], HALF_TURN),
        },
    ),
)
DRAWN, HIDDEN = 2, 3  # groups of shapes; a renderer draws the first


def dress(spec: mujoco.MjSpec) -> None:
    """Draw the arm of a scene with Menagerie's meshes; its own shapes stay for contacts, undrawn.

    Raises:
        MissingDependency: The package is not installed, or it could not download the meshes.
        RobotError: The models are there but not as this was written for.
    """
    for folder, model, bodies in SOURCES:
        path = find_model(folder, model)
        try:
            source = mujoco.MjSpec.from_file(str(path))
        except ValueError as error:
            raise RobotError(f"{path} is no model that MuJoCo reads ({error}); use robot.model=primitive") from error
        for name, (ours, turn) in bodies.items():
            body = source.body(name)
            meshes = [] if body is None else [g for g in body.geoms if _is_looks(g)]
            if not meshes:
                raise RobotError(
                    f"{path} has no meshes on a body '{name}'; this needs Menagerie of 2025 or later, or use "
                    "robot.model=primitive"
                )
            for geom in spec.body(ours).geoms:
                geom.group = HIDDEN
            for geom in meshes:
                _copy(spec, spec.body(ours), source, geom, path.parent / str(source.meshdir), turn)


def find_model(folder: str, model: str) -> Path:
    """Return the path of one of Menagerie's models, from MENAGERIE_ROOT or the package, which may download it.

    Raises:
        MissingDependency: There is neither, or the download failed.
    """
    root = os.environ.get("MENAGERIE_ROOT", "")
    if root:
        path = Path(root) / folder / f"{model}.xml"
        if not path.is_file():
            raise MissingDependency(
                f"{path}", "robot.model=menagerie",
                "git clone https://github.com/google-deepmind/mujoco_menagerie, and set MENAGERIE_ROOT to that folder "
                "(robot.model=primitive needs neither)",
            )  # fmt: skip
        return path
    try:
        package: Any = importlib.import_module("mujoco_menagerie")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "the package mujoco-menagerie", "robot.model=menagerie",
            "pip install mujoco-menagerie (robot.model=primitive needs nothing)",
        ) from error  # fmt: skip
    try:
        return Path(package.get(folder).xml(model))
    except package.MenagerieError as error:
        raise MissingDependency(
            f"Menagerie's model {folder} ({error})", "robot.model=menagerie",
            "connecting to the internet once, or setting MENAGERIE_ROOT to a checkout of mujoco_menagerie "
            "(robot.model=primitive needs neither)",
        ) from error  # fmt: skip


def _is_looks(geom: mujoco.MjsGeom) -> bool:
    return int(geom.type) == int(mujoco.mjtGeom.mjGEOM_MESH) and not geom.contype and not geom.conaffinity


def _copy(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, source: mujoco.MjSpec, geom: mujoco.MjsGeom, folder: Path, turn: Quat
) -> None:
    """Add one mesh and its shape to a body of ours."""
    mesh = next((m for m in source.meshes if geom.meshname in (m.name, Path(m.file).stem)), None)
    file = folder / (mesh.file if mesh is not None else geom.meshname)
    if mesh is None or not file.is_file():
        raise RobotError(f"the mesh {file} is missing; get Menagerie anew, or use robot.model=primitive")
    name = f"menagerie_{body.name}_{geom.meshname}"
    spec.add_mesh(
        name=name, file=str(file.resolve()), scale=mesh.scale, refpos=mesh.refpos, refquat=mesh.refquat,
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )  # fmt: skip
    copy = body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, mass=0.0, contype=0, conaffinity=0)
    copy.pos, copy.quat, copy.group = rotate(turn, geom.pos), quat_mul(turn, geom.quat), DRAWN
    material = source.material(geom.material) if geom.material else None
    copy.rgba = geom.rgba if material is None else material.rgba
