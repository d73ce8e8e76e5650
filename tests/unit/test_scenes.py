"""A scene is what the task says: objects, masses, what touches what, and refusals of what cannot be built."""

from __future__ import annotations

import robot_rl_sim  # noqa: F401  (chooses OpenGL before MuJoCo is imported)

# isort: split
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.errors import RobotError
from robot_rl.task import Geom, SceneObject
from robot_rl_sim.scenes import build_spec, compile_scene
from robot_rl_tasks.bin_relocate import BinRelocate
from robot_rl_tasks.cable_route import CableRoute
from robot_rl_tasks.pcb_insert import PcbInsert
from robot_rl_tasks.peg_insert import PegInsert
from robot_rl_tasks.pick_cube import PickCube
from robot_rl_tasks.reach import Reach

SIZES = st.floats(0.002, 0.1)
GEOMS = st.one_of(
    st.builds(lambda s: Geom(kind="box", size_m=s), st.tuples(SIZES, SIZES, SIZES)),
    st.builds(lambda s: Geom(kind="cylinder", size_m=s), st.tuples(SIZES, SIZES)),
    st.builds(lambda s: Geom(kind="sphere", size_m=s), st.tuples(SIZES)),
)


def build(scene: dict[str, SceneObject]) -> mujoco.MjModel:
    return compile_scene(build_spec(scene, 0.002), "a test")


def touches(model: mujoco.MjModel, a: str, b: str) -> bool:
    """Return whether any shape of one body can collide with any of another."""
    ids = {name: model.body(name).id for name in (a, b)}
    excluded = {(model.exclude_signature[i] >> 16, model.exclude_signature[i] & 0xFFFF) for i in range(model.nexclude)}
    if (ids[a], ids[b]) in excluded or (ids[b], ids[a]) in excluded:
        return False
    shapes = [[g for g in range(model.ngeom) if model.geom_bodyid[g] == ids[name]] for name in (a, b)]
    return any(
        model.geom_contype[g] & model.geom_conaffinity[h] or model.geom_contype[h] & model.geom_conaffinity[g]
        for g in shapes[0]
        for h in shapes[1]
    )


@settings(max_examples=20, deadline=None)
@given(geoms=st.lists(GEOMS, min_size=1, max_size=4), mass=st.floats(0.01, 2.0), looks=GEOMS)
def test_an_object_weighs_what_the_task_says_shared_by_volume(geoms: list[Geom], mass: float, looks: Geom) -> None:
    paint = Geom(kind=looks.kind, size_m=looks.size_m, collides=False)
    model = build({"thing": SceneObject(geoms=(*geoms, paint), mass_kg=mass)})
    body = model.body("thing")
    assert body.mass[0] == pytest.approx(mass)
    solid = {
        "box": lambda s: 8 * s[0] * s[1] * s[2],
        "cylinder": lambda s: 2 * np.pi * s[0] ** 2 * s[1],
        "sphere": lambda s: 4 / 3 * np.pi * s[0] ** 3,
    }
    # The shapes share a centre, so the traces of their inertias add up.
    volumes = [solid[g.kind](g.size_m) for g in geoms]
    alone = [build({"thing": SceneObject(geoms=(g,), mass_kg=1.0)}).body("thing").inertia.sum() for g in geoms]
    expected = mass * np.dot(volumes, alone) / sum(volumes)
    assert body.inertia.sum() == pytest.approx(expected, rel=1e-6)


def test_what_touches_what() -> None:
    scene = {
        "free": SceneObject(geoms=(Geom(kind="box", size_m=(0.02,) * 3),)),
        "placed": SceneObject(geoms=(Geom(kind="sphere", size_m=(0.02,)),), motion="placed"),
        "held": SceneObject(geoms=(Geom(kind="cylinder", size_m=(0.005, 0.02)),), motion="held"),
        "paint": SceneObject(geoms=(Geom(kind="sphere", size_m=(0.01,), collides=False),), motion="placed"),
    }
    model = build(scene)
    tool = ("fr3_hand", "fr3_finger_left", "fr3_finger_right")
    for name in ("free", "placed"):
        assert all(touches(model, name, part) for part in tool)
        assert touches(model, name, "held")
        assert touches(model, name, "free" if name == "placed" else "placed")
    assert touches(model, "free", "world"), "the table"
    assert touches(model, "held", "world")
    assert not any(touches(model, "held", part) for part in tool)
    bodies = [model.body(i).name for i in range(model.nbody)]
    assert not any(touches(model, "paint", other) for other in bodies)
    arm = [name for name in bodies if name.startswith("fr3_link")]
    assert len(arm) == 8
    assert not any(touches(model, link, other) for link in arm for other in bodies), "links are for looks"
    assert not any(touches(model, a, b) for a in tool for b in tool if a != b)


def test_motions_are_freedoms() -> None:
    model = build(
        {
            name: SceneObject(geoms=(Geom(kind="sphere", size_m=(0.01,)),), motion=motion)
            for name, motion in (("a", "free"), ("b", "placed"), ("c", "held"))
        }
    )
    assert model.nv == 9 + 6
    assert model.nmocap == 1
    assert model.body("c").parentid[0] == model.body("fr3_tcp").id


@pytest.mark.parametrize("task", [Reach, PickCube, PegInsert, PcbInsert, BinRelocate, CableRoute])
def test_every_task_builds_with_the_settings_that_make_pictures_cheap(task: Any) -> None:
    model = build(task().scene)
    assert model.opt.timestep == 0.002
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    assert model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC
    assert model.opt.jacobian == mujoco.mjtJacobian.mjJAC_DENSE
    assert model.opt.disableflags & int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    assert model.vis.quality.offsamples == 0
    assert not model.light_castshadow.any()
    planes = [g for g in range(model.ngeom) if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_PLANE]
    assert all(model.geom_size[g][2] >= 1.0 for g in planes), "a fine render grid costs milliseconds"


BALL = Geom(kind="sphere", size_m=(0.01,))


@pytest.mark.parametrize(
    ("scene", "sentence"),
    [
        ({"x": SceneObject(geoms=(Geom(kind="box", size_m=(0.1, 0.1)),))}, r"'x' has a box with sizes \(0.1, 0.1\)"),
        ({"x": SceneObject(geoms=(Geom(kind="sphere", size_m=(-0.1,)),))}, "a sphere a radius"),
        ({"x": SceneObject(geoms=(Geom(kind="cone", size_m=(0.1,)),))}, "'x' has a cone"),  # pyright: ignore
        (
            {"x": SceneObject(geoms=(BALL,), mass_kg=0.0)},
            r"cannot build the scene of a test.*correct the task's objects",
        ),
        ({"fr3_hand": SceneObject(geoms=(BALL,))}, "named 'fr3_hand', which the twin itself uses"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_sentence(scene: dict[str, SceneObject], sentence: str) -> None:
    with pytest.raises(RobotError, match=sentence):
        build(scene)
