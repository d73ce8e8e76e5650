"""Builds the MuJoCo scene of a task: the arm, a table, cameras, and the objects that the task declares as data."""

from __future__ import annotations

from collections.abc import Mapping

import mujoco
import numpy as np

from robot_rl.errors import RobotError
from robot_rl.geometry import matrix_to_quat
from robot_rl.task import Geom, SceneObject
from robot_rl_sim.fr3 import FINGER_JOINTS, add_arm
from robot_rl_sim.linkages import add_jointed, add_tie, on_tool

CAMERAS = ("front", "wrist")
OBJECT_CONTYPE, OBJECT_CONAFFINITY = 4, 7
_KINDS = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
}


def build_spec(scene: Mapping[str, SceneObject], physics_dt_s: float) -> mujoco.MjSpec:
    """Return the model specification of a scene; tasks and users may add to it before it is compiled.

    Args:
        scene: Objects by name.
        physics_dt_s: Physics time step.

    Raises:
        RobotError: An object has a name of the arm's, or a shape that is none.
    """
    spec = mujoco.MjSpec()
    spec.modelname = "fr3_twin"
    spec.compiler.degree = False
    option = spec.option
    option.timestep = physics_dt_s
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # Elliptic cones with a high impratio hold a grasp without the slow noslip solver.
    option.cone, option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
    # Dense: about 15 degrees of freedom, and MuJoCo 4.0.0 has a wrong Hessian with sparse Jacobians.
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    # MuJoCo would start a diverged simulation anew without a word; the twin looks for it and says so.
    option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    _set_visuals(spec)
    _add_surroundings(spec)
    tcp = add_arm(spec)
    taken = {body.name for body in spec.bodies}
    for name in scene:
        if name in taken:
            raise RobotError(
                f"an object of the task is named '{name}', which the twin itself uses; choose another name"
            )
        _add_object(spec, tcp, name, scene)
    for name, obj in scene.items():
        if obj.tie is not None:
            add_tie(spec, name, obj.tie)
    return spec


def compile_scene(spec: mujoco.MjSpec, name: str) -> mujoco.MjModel:
    """Compile the scene of a task.

    Raises:
        RobotError: MuJoCo cannot build it, for instance because a free object weighs nothing.
    """
    try:
        return spec.compile()
    except ValueError as error:
        why = " ".join(str(error).split())
        raise RobotError(f"MuJoCo cannot build the scene of {name} ({why}); correct the task's objects") from error


def _set_visuals(spec: mujoco.MjSpec) -> None:
    # These five settings make a 128x128 picture cost 1 ms on a CPU instead of hundreds.
    quality = spec.visual.quality
    quality.offsamples, quality.shadowsize = 0, 512
    quality.numslices, quality.numstacks, quality.numquads = 12, 6, 2
    spec.visual.headlight.ambient = (0.35, 0.35, 0.35)
    spec.visual.headlight.diffuse = (0.45, 0.45, 0.45)
    spec.visual.headlight.specular = (0.1, 0.1, 0.1)
    getattr(spec.visual, "global").offwidth = 1280
    getattr(spec.visual, "global").offheight = 960
    spec.visual.map.znear = 0.01
    spec.visual.map.zfar = 10.0
    spec.stat.extent = 1.0


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    world = spec.worldbody
    sky = spec.add_texture(name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=64, height=384)
    sky.builtin, sky.rgb1, sky.rgb2 = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, (0.72, 0.78, 0.84), (0.42, 0.47, 0.53)
    world.add_light(pos=(0.3, -0.6, 1.6), dir=(0.1, 0.35, -1.0), castshadow=False, diffuse=(0.5, 0.5, 0.5))
    # The third size of a plane is the spacing of its render grid: small numbers cost 5 ms a picture.
    floor = world.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=(3, 3, 1), pos=(0, 0, -0.75))
    floor.rgba, floor.contype, floor.conaffinity = (0.55, 0.58, 0.60, 1.0), 0, 0
    table = world.add_geom(name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.45, 0.6, 0.02), pos=(0.4, 0, -0.02))
    table.rgba, table.contype, table.conaffinity = (0.80, 0.72, 0.60, 1.0), 1, 6
    table.friction = (0.9, 0.005, 0.0001)
    front = world.add_camera(name="front", pos=(1.25, 0.0, 0.55), fovy=42.0)
    _look_at(front, (1.25, 0.0, 0.55), (0.45, 0.0, 0.08))
    side = world.add_camera(name="video", pos=(1.25, -0.95, 0.75), fovy=40.0)
    _look_at(side, (1.25, -0.95, 0.75), (0.30, 0.0, 0.28))


def _look_at(camera: mujoco.MjsCamera, eye: tuple[float, float, float], at: tuple[float, float, float]) -> None:
    z = np.subtract(eye, at)
    z = z / np.linalg.norm(z)
    x = np.cross((0.0, 0.0, 1.0), z)
    x = x / np.linalg.norm(x)
    camera.quat = matrix_to_quat(np.stack([x, np.cross(z, x), z], axis=1))


def _add_object(spec: mujoco.MjSpec, tcp: mujoco.MjsBody, name: str, scene: Mapping[str, SceneObject]) -> None:
    obj = scene[name]
    if obj.motion == "held":
        body = tcp.add_body(name=name, pos=obj.pos_m, quat=obj.quat, gravcomp=1.0)
        for finger in FINGER_JOINTS:
            spec.add_exclude(bodyname1=finger, bodyname2=name)
        spec.add_exclude(bodyname1="fr3_hand", bodyname2=name)
    elif obj.motion == "jointed":
        body = add_jointed(spec, name, obj)
    else:
        body = spec.worldbody.add_body(name=name, pos=obj.pos_m, quat=obj.quat, mocap=obj.motion == "placed")
        if obj.motion == "free":
            body.add_freejoint(name=name)
    volumes = [_volume(name, g) for g in obj.geoms]
    total = sum(v for v, g in zip(volumes, obj.geoms, strict=True) if g.collides) or sum(volumes)
    tool = on_tool(scene, name)
    for geom, volume in zip(obj.geoms, volumes, strict=True):
        _add_geom(body, obj, geom, obj.mass_kg * volume / total if geom.collides else 0.0, tool=tool)


def _volume(name: str, geom: Geom) -> float:
    s = geom.size_m
    need = {"box": 3, "cylinder": 2, "capsule": 2, "sphere": 1}.get(geom.kind, 0)
    if not need or len(s) != need or not min(s) > 0.0:
        raise RobotError(
            f"object '{name}' has a {geom.kind} with sizes {s}; a box takes 3 positive half sizes, a cylinder or "
            "capsule a radius and half a height, a sphere a radius"
        )
    if geom.kind == "box":
        return 8.0 * s[0] * s[1] * s[2]
    tube = 2.0 * np.pi * s[0] ** 2 * s[1] if geom.kind in ("cylinder", "capsule") else 0.0
    ball = 4.0 / 3.0 * np.pi * s[0] ** 3 if geom.kind in ("sphere", "capsule") else 0.0
    return tube + ball


def _add_geom(body: mujoco.MjsBody, obj: SceneObject, geom: Geom, mass: float, *, tool: bool) -> None:
    size = (*geom.size_m, 0.0, 0.0)[:3]
    g = body.add_geom(type=_KINDS[geom.kind], size=size, pos=geom.pos_m, quat=geom.quat, rgba=geom.rgba, mass=mass)
    g.group, g.friction, g.condim = 2, obj.friction, 4
    if geom.sliding is not None:  # the pads of the fingers have priority 1
        g.priority, g.friction = 2, (geom.sliding, *obj.friction[1:])
    g.contype = (2 if tool else OBJECT_CONTYPE) if geom.collides else 0
    g.conaffinity = (5 if tool else OBJECT_CONAFFINITY) if geom.collides else 0
