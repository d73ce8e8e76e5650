"""Menagerie's meshes are looks: they sit on our bodies, change no physics, and their absence is a sentence.

The real meshes need the network, so a folder with the same layout and names and tiny meshes stands for them here.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from robot_rl.errors import ConfigError, MissingDependency, RobotError
from robot_rl.robot import ArmCommand
from robot_rl_sim.twin import ArmTwin, TwinConfig, make_twin
from robot_rl_tasks.pick_cube import PickCube

# A flat tetrahedron whose middle is 1 cm along y and 3 cm along z, so that it shows which way round it is.
TETRAHEDRON = "v 0 0 0.03\nv 0.01 0.02 0.03\nv -0.01 0.02 0.03\nv 0 0.01 0.04\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n"


def body(name: str, inside: str = "") -> str:
    shapes = '<geom class="visual" mesh="part" material="white"/><geom class="collision" mesh="part"/>'
    return f'<body name="{name}">{shapes}<joint axis="0 0 1"/>{inside}</body>'


def write_model(folder: Path, file: str, bodies: str) -> None:
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "part.obj").write_text(TETRAHEDRON)
    (folder / file).write_text(
        '<mujoco><compiler angle="radian" meshdir="assets"/><default>'
        '<default class="visual"><geom type="mesh" group="2" contype="0" conaffinity="0"/></default>'
        '<default class="collision"><geom type="mesh" group="3"/></default></default>'
        '<asset><material name="white" rgba="0.1 0.2 0.3 1"/><mesh file="part.obj"/></asset>'
        f"<worldbody>{bodies}</worldbody></mujoco>"
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inside = ""
    for i in reversed(range(8)):
        inside = body(f"fr3_link{i}", inside)
    write_model(tmp_path / "franka_fr3", "fr3.xml", inside)
    write_model(tmp_path / "franka_emika_panda", "hand.xml", body("hand", body("left_finger") + body("right_finger")))
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    return tmp_path


def meshes_of(twin: ArmTwin) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i in range(twin.model.ngeom):
        if twin.model.geom_dataid[i] >= 0:
            found.setdefault(twin.model.body(twin.model.geom_bodyid[i]).name, []).append(i)
    return found


def test_every_link_wears_its_mesh_and_nothing_else_is_drawn(root: Path) -> None:
    twin = make_twin(PickCube(), model="menagerie")
    found = meshes_of(twin)
    fingers = ["fr3_finger_left", "fr3_finger_right"]
    assert sorted(found) == sorted([f"fr3_link{i}" for i in range(8)] + ["fr3_hand", *fingers])
    for geoms in found.values():
        assert len(geoms) == 1, "the collision mesh stays away"
        assert not twin.model.geom_contype[geoms[0]]
        assert not twin.model.geom_conaffinity[geoms[0]]
        np.testing.assert_allclose(twin.model.geom_rgba[geoms[0]], (0.1, 0.2, 0.3, 1.0), atol=1e-6)
    drawn = {
        twin.model.body(twin.model.geom_bodyid[i]).name
        for i in range(twin.model.ngeom)
        if twin.model.geom_group[i] <= 2 and twin.model.geom_dataid[i] < 0
    }
    assert drawn == {"world", "cube"}


def test_the_right_finger_is_the_left_one_turned_round(root: Path) -> None:
    twin = make_twin(PickCube(), model="menagerie")
    state = twin.reset(twin.task.sample_reset(np.random.default_rng(0)))
    assert state.gripper_width_m > 0.0
    hand, found = twin.data.body("fr3_hand"), meshes_of(twin)
    R = hand.xmat.reshape(3, 3)
    left, right = (
        R.T @ (twin.data.geom_xpos[found[name][0]] - hand.xpos) for name in ("fr3_finger_left", "fr3_finger_right")
    )
    assert left[1] > 0.04, "the mesh lies outwards of its finger"
    np.testing.assert_allclose(right, left * (-1.0, -1.0, 1.0), atol=1e-9)


def test_physics_is_that_of_the_primitive_model_bit_for_bit(root: Path) -> None:
    readings = []
    for config in (TwinConfig(), TwinConfig(model="menagerie")):
        twin = ArmTwin(PickCube(), config)
        rng = np.random.default_rng(1)
        state = twin.reset(twin.task.sample_reset(rng))
        for _ in range(10):
            twin.command(ArmCommand(state.p_BE + rng.normal(0, 0.05, 3), state.quat_BE, bool(rng.integers(2))))
            state = twin.observe()
        readings.append(np.concatenate([state.q, state.dq, state.F_BE, state.objects["cube"]]).tobytes())
    assert readings[0] == readings[1]


def test_what_a_checkout_lacks_is_named(root: Path) -> None:
    (root / "franka_emika_panda" / "assets" / "part.obj").unlink()
    with pytest.raises(RobotError, match=r"part.obj is missing; get Menagerie anew"):
        make_twin(PickCube(), model="menagerie")
    (root / "franka_emika_panda" / "hand.xml").write_text("<mujoco><worldbody/></mujoco>")
    with pytest.raises(RobotError, match=r"hand.xml has no meshes on a body 'hand'"):
        make_twin(PickCube(), model="menagerie")
    (root / "franka_emika_panda" / "hand.xml").write_text("<mujoco><worldbod")
    with pytest.raises(RobotError, match="is no model that MuJoCo reads"):
        make_twin(PickCube(), model="menagerie")
    (root / "franka_emika_panda" / "hand.xml").unlink()
    with pytest.raises(MissingDependency, match=r"hand.xml is not available.*MENAGERIE_ROOT.*model=primitive"):
        make_twin(PickCube(), model="menagerie")


def test_without_package_or_network_the_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("MENAGERIE_BASE_URL", "http://127.0.0.1:9")  # the discard port: nothing listens
    installed = importlib.util.find_spec("mujoco_menagerie") is not None
    sentence = "franka_fr3.*connecting to the internet once" if installed else "pip install mujoco-menagerie"
    with pytest.raises(MissingDependency, match=f"{sentence}.*robot.model=primitive"):
        make_twin(PickCube(), model="menagerie")


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"robot.model must be one of .*got 'menageri'.*mean 'menagerie'"):
        make_twin(PickCube(), model="menageri")
