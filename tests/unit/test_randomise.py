"""Domain randomisation: each knob changes what it says and nothing else, follows from the request, is off at first."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.build import make_env
from robot_rl.config import compose
from robot_rl.env import RobotEnv
from robot_rl.errors import ConfigError, RobotError, RobotRLError
from robot_rl.robot import ArmCommand, RobotState
from robot_rl_sim.gl import require_gl
from robot_rl_sim.lateness import Lateness
from robot_rl_sim.randomise import Randomise
from robot_rl_sim.twin import ArmTwin, TwinConfig
from robot_rl_tasks.pick_cube import PickCube

try:
    require_gl()
    REASON = ""
except RobotRLError as error:
    REASON = str(error)
needs_gl = pytest.mark.skipif(bool(REASON), reason=REASON)

TASK = PickCube()
PLAIN = ArmTwin(TASK)
LOOKS = {
    "light_m": 0.5, "brightness_share": 0.5, "colour_share": 0.3, "camera_m": 0.03, "camera_rad": 0.1, "fov_rad": 0.1,
}  # fmt: skip
ARRAYS = {
    "light_m": {"light_pos"},
    "brightness_share": {"light_diffuse"},
    "colour_share": {"geom_rgba"},
    "camera_m": {"cam_pos"},
    "camera_rad": {"cam_quat"},
    "fov_rad": {"cam_fovy"},
    "friction_share": {"geom_friction"},
    "mass_share": {"body_mass", "body_inertia"},
    "action_delay_s": set(),
    "observation_delay_s": set(),
}
WIDTHS = {**LOOKS, "friction_share": 0.5, "mass_share": 0.5, "action_delay_s": 0.1, "observation_delay_s": 0.1}


def twin_with(**knobs: float) -> ArmTwin:
    return ArmTwin(TASK, TwinConfig(randomise=Randomise(**knobs)))


def constants(twin: ArmTwin) -> dict[str, np.ndarray]:
    names = {name for changed in ARRAYS.values() for name in changed}
    return {name: getattr(twin.model, name).copy() for name in names}


def play(twin: ArmTwin, seed: int, steps: int = 12) -> list[RobotState]:
    """Return the readings of a fixed motion: down onto where the cube stands, closing, up."""
    states = [twin.reset(TASK.sample_reset(np.random.default_rng(seed)))]
    cube = states[0].objects["cube"][:3].copy()
    for step in range(steps):
        goal = cube + (0.0, 0.0, -0.005 if step < 8 else 0.1)  # noqa: RUF005 (a sum)
        twin.command(ArmCommand(goal, states[0].quat_BE, step > 5))
        states.append(twin.observe())
    return states


def bits(states: list[RobotState]) -> bytes:
    return b"".join(s.q.tobytes() + s.F_BE.tobytes() + s.objects["cube"].tobytes() for s in states)


def test_every_knob_is_tried_here() -> None:
    assert set(WIDTHS) == set(ARRAYS) == {field.name for field in dataclasses.fields(Randomise)}


@pytest.mark.parametrize("knob", sorted(WIDTHS))
def test_a_knob_changes_what_it_says_and_nothing_else(knob: str) -> None:
    twin = twin_with(**{knob: WIDTHS[knob]})
    before = constants(twin)
    twin.reset(TASK.sample_reset(np.random.default_rng(1)))
    after = constants(twin)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == ARRAYS[knob]
    headlight = twin.model.vis.headlight.diffuse
    assert np.array_equal(headlight, PLAIN.model.vis.headlight.diffuse) == (knob != "brightness_share")


def test_off_is_bit_for_bit_the_twin_without_it() -> None:
    """Looks change no physics, so with them on too a motion has the bits that it has without."""
    assert bits(play(ArmTwin(TASK), 3)) == bits(play(twin_with(**LOOKS), 3))
    assert "randomise" not in PLAIN.snapshot()


@pytest.mark.parametrize("knob", ["friction_share", "mass_share", "action_delay_s", "observation_delay_s"])
def test_physics_knobs_change_a_motion_and_the_same_request_the_same_way(knob: str) -> None:
    twin = twin_with(**{knob: WIDTHS[knob]})
    first = bits(play(twin, 3))
    assert first != bits(play(PLAIN, 3))
    play(twin, 4)
    assert bits(play(twin, 3)) == first
    assert bits(play(twin_with(**{knob: WIDTHS[knob]}), 3)) == first


def test_one_knob_does_not_move_another() -> None:
    alone, both = twin_with(mass_share=0.5), twin_with(mass_share=0.5, colour_share=0.3, light_m=0.2)
    for twin in (alone, both):
        twin.reset(TASK.sample_reset(np.random.default_rng(7)))
    np.testing.assert_array_equal(alone.model.body_mass, both.model.body_mass)


def test_draws_stay_within_their_half_widths_and_do_not_add_up_over_episodes() -> None:
    twin = twin_with(**WIDTHS)
    nominal = constants(PLAIN)
    seen = []
    for seed in range(30):
        twin.reset(TASK.sample_reset(np.random.default_rng(seed)))
        now = constants(twin)
        assert np.abs(now["light_pos"] - nominal["light_pos"]).max() <= 0.5
        assert np.abs(now["cam_pos"] - nominal["cam_pos"]).max() <= 0.03
        assert np.abs(now["cam_fovy"] - nominal["cam_fovy"]).max() <= np.rad2deg(0.1) + 1e-9
        assert (now["geom_rgba"] >= 0.0).all()
        assert (now["geom_rgba"] <= 1.0).all()
        np.testing.assert_array_equal(now["geom_rgba"][:, 3], nominal["geom_rgba"][:, 3])
        cube = twin.model.body("cube").id
        ratio = now["body_mass"][cube] / nominal["body_mass"][cube]
        assert 0.5 <= ratio <= 1.5
        np.testing.assert_allclose(now["body_inertia"][cube], nominal["body_inertia"][cube] * ratio)
        np.testing.assert_allclose(np.linalg.norm(now["cam_quat"], axis=1), 1.0)
        seen.append(ratio)
    assert np.std(seen) > 0.15, "spread over the width, not around its middle alone"
    arm = [i for i in range(twin.model.nbody) if i != twin.model.body("cube").id]
    np.testing.assert_array_equal(twin.model.body_mass[arm], nominal["body_mass"][arm])


def test_a_snapshot_brings_back_the_variation_in_any_twin() -> None:
    twin = twin_with(**WIDTHS)
    request = TASK.sample_reset(np.random.default_rng(5))
    env = RobotEnv(twin, TASK)
    env.reset(options={"request": request})
    record = json.loads(json.dumps(twin.snapshot()))  # as a file keeps it
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (15, 7)).astype(np.float32)
    wanted = [env.step(a)[0].tobytes() for a in actions]
    other = RobotEnv(ArmTwin(TASK), TASK)
    other.reset(seed=9)
    other.reset(options={"request": request, "snapshot": record})
    assert [other.step(a)[0].tobytes() for a in actions] == wanted
    other.reset(options={"request": request})
    assert [other.step(a)[0].tobytes() for a in actions] != wanted, "and the next episode is its own again"


@pytest.mark.parametrize("damage", [3, {}, {"seed": 1}, {"seed": 1, "settings": {"light": 1.0}}, {"seed": None}])
def test_a_damaged_variation_is_refused_with_a_sentence(damage: Any) -> None:
    PLAIN.reset(TASK.sample_reset(np.random.default_rng(0)))
    with pytest.raises(RobotError, match="the recorded randomisation of the twin cannot be used"):
        PLAIN.restore({**PLAIN.snapshot(), "randomise": damage})


@needs_gl
@pytest.mark.gl
@pytest.mark.parametrize("knob", sorted(LOOKS))
def test_looks_change_the_pictures_and_the_same_request_the_same_way(knob: str) -> None:
    twin = twin_with(**{knob: LOOKS[knob]})

    def picture(one: ArmTwin, seed: int) -> np.ndarray:
        one.reset(TASK.sample_reset(np.random.default_rng(seed)))
        return one.render("front", 96, 96)

    first = picture(twin, 2)
    assert np.abs(first.astype(int) - picture(PLAIN, 2)).mean() > 0.3
    picture(twin, 3)
    np.testing.assert_array_equal(picture(twin, 2), first)
    twin.close()


@settings(max_examples=100, deadline=None)
@given(
    delay=st.integers(0, 70), old=st.integers(0, 20), periods=st.integers(1, 8)
)  # fmt: skip
def test_late_commands_hold_from_when_they_arrive(delay: int, old: int, periods: int) -> None:
    """Against a table of every tick: the command that holds is the newest that is `delay` ticks old."""
    period = 20
    late = Lateness(action_ticks=delay, observation_ticks=old)
    start = np.full(7, -1.0)
    late.begin(start, 0.0)
    held: list[float] = []
    for n in range(periods):
        late.tell(np.full(3, float(n)), np.full(4, float(n)), float(n))
        for ticks in (period - old, old):
            for goal, finger_m, span in late.pass_by(ticks):
                assert span > 0
                assert (goal == goal[0]).all()
                assert goal[0] < 0.0 or finger_m == goal[0]
                held += [float(goal[0])] * span
    assert held == [float((t - delay) // period) if t >= delay else -1.0 for t in range(periods * period)]


def test_an_old_reading_is_as_old_as_drawn() -> None:
    twin = twin_with(observation_delay_s=0.1)
    states = play(twin, 6, 4)
    age = twin.data.time - states[-1].stamp_s
    assert 0.0 < age <= 0.1
    assert states[-1].stamp_s - states[-2].stamp_s == pytest.approx(twin.period_s)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["robot.randomise.light_m=-1"], r"robot\.randomise\.light_m must lie between 0 and 1\.0, got -1\.0"),
        (["robot.randomise.colour_share=nan"], "colour_share must lie between 0 and"),
        (["robot.randomise.observation_delay_s=0.2"], r"at most a control period of 0\.1 s old"),
    ],
)
def test_widths_that_make_no_sense_are_refused_with_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_env(compose(["task=pick_cube", *words]).settings())


def test_the_experiment_turns_every_knob() -> None:
    env = make_env(compose(["task=pick_cube", "experiment=randomised"]).settings())
    assert isinstance(env.robot, ArmTwin)
    how = env.robot.config.randomise
    assert all(getattr(how, field.name) > 0.0 for field in dataclasses.fields(how))
    env.reset(seed=0)
    assert "randomise" in env.robot.snapshot()
