"""Builds the MuJoCo model of a car in a place: explicit masses, a spring at each wheel, walls that are only hit."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np

from robot_rl.geometry import matrix_to_quat
from robot_rl_sim.car.settings import GRAVITY_M_S2, CarModel
from robot_rl_tasks.car.place import Place

WHEELS = ("front_left", "front_right", "rear_left", "rear_right")
# Contact bits: everything meets the ground and the walls, a car never itself.
_GROUND, _WALL, _CAR = (1, 7), (2, 7), (4, 0)
_WALL_M = 0.06


def build_car_scene(car: CarModel, place: Place, physics_dt_s: float, pacejka: bool) -> mujoco.MjSpec:
    """Return the model specification of a car in a place; it may be added to before it is compiled.

    Args:
        car: Sizes, masses and springs.
        place: Walls, obstacles and ground.
        physics_dt_s: Physics time step.
        pacejka: The tyres' contacts carry the load alone; the twin applies the other forces.
    """
    spec = mujoco.MjSpec()
    spec.modelname = "car_twin"
    spec.compiler.degree = False
    option = spec.option
    option.timestep = physics_dt_s
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    # Elliptic: a pyramid lets a tyre slide a fifth too early, and earlier in some directions than in others.
    option.cone, option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10.0
    option.gravity = (0.0, 0.0, -GRAVITY_M_S2)
    # Dense: 16 degrees of freedom, and MuJoCo 4.0.0 has a wrong Hessian with sparse Jacobians.
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    # MuJoCo would start a diverged simulation anew without a word; the twin looks for it and says so.
    option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    _add_surroundings(spec, place)
    _add_car(spec, car, place.surface.friction, pacejka)
    return spec


def _bits(geom: Any, bits: tuple[int, int]) -> None:
    geom.contype, geom.conaffinity = bits


def _add_surroundings(spec: mujoco.MjSpec, place: Place) -> None:
    quality = spec.visual.quality
    # These settings make a picture cost 1 ms on a CPU instead of hundreds.
    quality.offsamples, quality.shadowsize = 0, 512
    quality.numslices, quality.numstacks, quality.numquads = 12, 6, 2
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    spec.visual.headlight.specular = (0.0, 0.0, 0.0)
    x0, x1, y0, y1 = place.bounds
    # One extent for every place, so that the near plane of the cameras is the same everywhere.
    spec.stat.extent, spec.stat.center = 10.0, ((x0 + x1) / 2, (y0 + y1) / 2, 0.0)
    spec.visual.map.znear, spec.visual.map.zfar = 0.002, 10.0
    getattr(spec.visual, "global").offwidth = 1280
    rgb = np.array(place.surface.rgb)
    spec.add_texture(
        name="ground", type=mujoco.mjtTexture.mjTEXTURE_2D, builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=rgb, rgb2=np.clip(rgb * 0.82, 0.0, 1.0), width=128, height=128,
    )  # fmt: skip
    sky = (0.55, 0.72, 0.92) if place.outdoor else (0.80, 0.80, 0.78)
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        rgb1=sky, rgb2=sky, width=16, height=16,
    )  # fmt: skip
    material = spec.add_material(name="ground", texrepeat=(1, 1), texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "ground"
    world = spec.worldbody
    half = (0.5 * (x1 - x0) + 10.0, 0.5 * (y1 - y0) + 10.0)
    ground = world.add_geom(
        name="ground", type=mujoco.mjtGeom.mjGEOM_PLANE, pos=((x0 + x1) / 2, (y0 + y1) / 2, 0.0),
        # A fine grid of the plane would cost more than the walls.
        size=(*half, max(half)), material="ground",
    )  # fmt: skip
    _bits(ground, _GROUND)
    h = 0.5 * place.wall_height_m
    for i, (ax, ay, bx, by) in enumerate(place.segments):
        length, angle = math.hypot(bx - ax, by - ay), math.atan2(by - ay, bx - ax)
        shade = 0.62 + 0.16 * (i % 2)
        wall = world.add_geom(
            name=f"wall_{i}", type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.5 * length, 0.5 * _WALL_M, h),
            pos=(0.5 * (ax + bx), 0.5 * (ay + by), h), quat=(math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)),
            rgba=(shade, shade * 0.9, shade * 0.75, 1.0), friction=(0.4, 0.005, 0.0001),
        )  # fmt: skip
        _bits(wall, _WALL)
    for i, (x, y, r) in enumerate(place.obstacles):
        trunk = world.add_geom(
            name=f"obstacle_{i}", type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(r, 2 * h, 0.0), pos=(x, y, 2 * h),
            rgba=(0.45, 0.30, 0.18, 1.0), friction=(0.4, 0.005, 0.0001),
        )  # fmt: skip
        _bits(trunk, _WALL)
    if not place.walls:
        # Without walls a camera would see no course at all: low pegs at the ends of the gates, which nothing touches.
        for gate in place.course.gates:
            for (x, y), rgba in zip(gate.ends, ((0.95, 0.45, 0.1, 1.0), (0.15, 0.35, 0.9, 1.0)), strict=True):
                peg = world.add_geom(
                    type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(0.04, 0.05, 0.0), pos=(x, y, 0.05), rgba=rgba
                )
                _bits(peg, (0, 0))
    size = max(x1 - x0, y1 - y0)
    world.add_camera(name="above", pos=((x0 + x1) / 2, (y0 + y1) / 2, size * 1.1 + 1.0), fovy=52.0)


def _add_car(spec: mujoco.MjSpec, car: CarModel, friction: float, pacejka: bool) -> None:
    r, base = car.wheel_radius_m, car.wheelbase_m
    corner_kg = car.wheel_kg + car.upright_kg
    sprung_kg = car.mass_kg - 4 * corner_kg
    body = spec.worldbody.add_body(name="car")
    body.add_freejoint(name="car")
    # What is left for the chassis once wheels and uprights have their share, so that the whole is as stated.
    x = (car.mass_kg * car.rear_m - 4 * corner_kg * base / 2) / sprung_kg
    z = (car.mass_kg * car.height_m - 4 * corner_kg * r) / sprung_kg
    arm2 = (base / 2) ** 2 + (car.track_m / 2) ** 2 + (base / 2 - car.rear_m) ** 2
    i_z = car.yaw_inertia_kg_m2 - 4 * corner_kg * arm2 - sprung_kg * (x - car.rear_m) ** 2
    i_z -= 4 * _wheel_inertia(car)[1]  # the wheels' own, about a diameter
    body.explicitinertial, body.mass, body.ipos = True, sprung_kg, (x, 0.0, z)
    body.inertia = (0.35 * i_z, 0.85 * i_z, i_z)
    length, width = car.hull_m
    middle = 0.5 * length - car.overhang_m
    hull = body.add_geom(
        name="hull", type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.5 * length, 0.5 * width, 0.04), pos=(middle, 0.0, 0.075),
        rgba=(0.75, 0.12, 0.10, 1.0), friction=(0.3, 0.005, 0.0001), group=3,
    )  # fmt: skip
    _bits(hull, _CAR)
    # What is seen of it is narrower, so that the wheels are seen too.
    shell = body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.5 * length, 0.3 * width, 0.04), pos=(middle, 0.0, 0.075),
        rgba=(0.75, 0.12, 0.10, 1.0),
    )  # fmt: skip
    _bits(shell, (0, 0))
    cabin = body.add_geom(
        name="cabin", type=mujoco.mjtGeom.mjGEOM_BOX, size=(0.13, 0.09, 0.035), pos=(base / 2 - 0.03, 0.0, 0.15),
        rgba=(0.15, 0.15, 0.18, 1.0), friction=(0.3, 0.005, 0.0001),
    )  # fmt: skip
    _bits(cabin, _CAR)
    body.add_site(name="imu", pos=(car.rear_m, 0.0, car.height_m))
    body.add_site(
        name="shell", type=mujoco.mjtGeom.mjGEOM_BOX, pos=(middle, 0.0, 0.11), size=(0.5 * length + 0.05, 0.3, 0.2)
    )
    front = middle + 0.5 * length
    # Just ahead of the bonnet and a little down, 100 degrees wide: the road in front and the walls beside it.
    down = math.radians(12.0)
    body.add_camera(
        name="front", pos=(front - 0.02, 0.0, 0.16), fovy=100.0, quat=_looking(down)
    )  # fmt: skip
    body.add_camera(name="chase", pos=(-1.1, 0.0, 0.75), fovy=60.0, quat=_looking(math.radians(24.0)))
    share = (car.rear_m / base, car.front_m / base)  # of the weight, on the front and on the rear axle
    for i, name in enumerate(WHEELS):
        at = (base if i < 2 else 0.0, (0.5 if i % 2 == 0 else -0.5) * car.track_m, r)
        load = 0.5 * (share[0] if i < 2 else share[1]) * car.mass_kg * GRAVITY_M_S2 - corner_kg * GRAVITY_M_S2
        _add_wheel(spec, body, car, name, at, load, i < 2, friction, pacejka)
    for sensor, kind, obj in (
        ("accelerometer", mujoco.mjtSensor.mjSENS_ACCELEROMETER, "imu"),
        ("gyro", mujoco.mjtSensor.mjSENS_GYRO, "imu"),
        ("impact", mujoco.mjtSensor.mjSENS_TOUCH, "shell"),
        *((f"{w}_load", mujoco.mjtSensor.mjSENS_TOUCH, f"{w}_patch") for w in WHEELS),
    ):
        spec.add_sensor(name=sensor, type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=obj)


def _looking(down_rad: float) -> Any:
    """Return the orientation of a camera that looks along x of its body, turned down. Cameras look along their -z."""
    s, c = math.sin(down_rad), math.cos(down_rad)
    return matrix_to_quat(np.array([[0.0, s, -c], [-1.0, 0.0, 0.0], [0.0, c, s]]))


def _wheel_inertia(car: CarModel) -> tuple[float, float]:
    """Return a wheel's inertia about its axle and about a diameter."""
    m, r, w = car.wheel_kg, car.wheel_radius_m, car.wheel_width_m
    return 0.7 * m * r * r, m * (0.35 * r * r + w * w / 12)


def _add_wheel(
    spec: mujoco.MjSpec, body: Any, car: CarModel, name: str, at: tuple[float, float, float], load_n: float,
    steers: bool, friction: float, pacejka: bool,
) -> None:  # fmt: skip
    r, w = car.wheel_radius_m, car.wheel_width_m
    upright = body.add_body(name=f"{name}_upright", pos=at)
    upright.explicitinertial, upright.mass, upright.ipos = True, car.upright_kg, (0.0, 0.0, 0.0)
    upright.inertia = (3e-5, 3e-5, 3e-5)
    upright.add_joint(
        name=f"{name}_spring", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=(0, 0, 1), range=(-car.travel_m, car.travel_m),
        # The spring rests where it carries its share of the car with the wheel in the middle of its travel.
        stiffness=(car.spring_n_m, 0, 0), springref=-load_n / car.spring_n_m, damping=(car.damper_n_s_m, 0, 0),
        limited=mujoco.mjtLimited.mjLIMITED_TRUE, solref_limit=(0.01, 1.0),
    )  # fmt: skip
    if steers:
        upright.add_joint(
            name=f"{name}_steer", type=mujoco.mjtJoint.mjJNT_HINGE, axis=(0, 0, 1), damping=(0.02, 0, 0),
            armature=0.0005, range=(-0.7, 0.7), limited=mujoco.mjtLimited.mjLIMITED_TRUE,
        )  # fmt: skip
        servo = spec.add_actuator(
            name=f"{name}_steer", target=f"{name}_steer", trntype=mujoco.mjtTrn.mjTRN_JOINT,
            forcerange=(-2.0, 2.0), forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
        )  # fmt: skip
        servo.set_to_position(kp=12.0, kv=0.15)
    wheel = upright.add_body(name=name)
    axle, diameter = _wheel_inertia(car)
    wheel.explicitinertial, wheel.mass, wheel.ipos = True, car.wheel_kg, (0.0, 0.0, 0.0)
    wheel.inertia = (diameter, axle, diameter)
    wheel.add_joint(
        name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=(0, 1, 0), armature=3e-4, damping=(1e-5, 0, 0)
    )  # fmt: skip
    # An ellipsoid touches at one point, where a cylinder's two edges would scrub; the cylinder is what one sees.
    tyre = wheel.add_geom(
        name=f"{name}_tyre", type=mujoco.mjtGeom.mjGEOM_ELLIPSOID, size=(r, 0.5 * w, r), condim=1 if pacejka else 3,
        friction=(friction, 0.003, 0.0), solref=(0.008, 1.0), solimp=(0.95, 0.99, 0.001, 0.5, 2.0), priority=1,
        group=3,
    )  # fmt: skip
    _bits(tyre, _CAR)
    looks = wheel.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, size=(r, 0.5 * w, 0.0), rgba=(0.08, 0.08, 0.08, 1.0),
        quat=(math.cos(math.pi / 4), math.sin(math.pi / 4), 0.0, 0.0), mass=0.0,
    )  # fmt: skip
    _bits(looks, (0, 0))
    wheel.add_site(name=f"{name}_patch", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(1.5 * r, 0.0, 0.0))
    motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    motor.set_to_motor()
