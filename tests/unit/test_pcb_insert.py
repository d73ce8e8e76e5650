"""Inserting a two-pin component into a board: geometry, what counts as seated, and that a blind press never is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_rl.geometry import quat_mul, rotate
from robot_rl.robot import ArmCommand, ResetRequest, RobotState
from robot_rl_sim.twin import ArmTwin
from robot_rl_tasks.arm import upright_quat, yaw_quat
from robot_rl_tasks.pcb_insert import PIN_HALF_M, PITCH_M, SEAT_M, TIP_M, TOO_FAR_M, TOP_M, PcbInsert

TASK = PcbInsert()
SHARED = ArmTwin(TASK)
BOARD = np.array([0.5, 0.02, 0.0, *upright_quat(0.3)])


def above(off_m: tuple[float, float] = (0.0, 0.0), turn_rad: float = 0.0, height_m: float = 0.004) -> ResetRequest:
    """Return a start with the tips `height_m` above the board, off the holes by `off_m` in the board's frame."""
    p = BOARD[:3] + rotate(BOARD[3:], np.array([*off_m, TOP_M + TIP_M + height_m]))
    return ResetRequest(
        p_BE=p, quat_BE=yaw_quat(0.3 + turn_rad), gripper_width_m=0.012, objects={"board": BOARD.copy()}
    )


def press(twin: ArmTwin, request: ResetRequest, steps: int = 15) -> RobotState:
    """Push straight down from a start, held to its place, and return the last reading."""
    twin.reset(request)
    p = np.array([*request.p_BE[:2], TOP_M + SEAT_M - 0.004])
    for _ in range(steps):
        twin.command(ArmCommand(p, request.quat_BE, False))
    return twin.observe()


def seat_m(state: RobotState) -> float:
    """Return how high above the board the component's body is."""
    return float((state.p_BE + rotate(state.quat_BE, np.array([0.0, 0.0, SEAT_M])))[2] - TOP_M)


def test_over_the_holes_a_press_seats_the_component_and_beside_them_it_stands_on_its_pins() -> None:
    seated = press(SHARED, above())
    assert TASK.outcome(seated).success
    assert seat_m(seated) < 0.001
    for off, turn in (((0.0022, 0.0), 0.0), ((0.0, -0.0022), 0.0), ((PITCH_M, 0.0), 0.0), ((0.0, 0.0), 0.5)):
        state = press(SHARED, above(off, turn))
        assert not TASK.outcome(state).success, (off, turn)
        assert seat_m(state) > TIP_M - SEAT_M - 0.003, "the pins hold the body up"


def test_a_tighter_board_is_harder_to_hit() -> None:
    """A millimetre off, within the gap of a loose board: a round tip still slides into it."""
    off = (0.0, 0.0011)
    results = [
        PcbInsert(clearance_m=gap).outcome(press(ArmTwin(PcbInsert(clearance_m=gap)), above(off))).success
        for gap in (0.0012, 0.0001)
    ]
    assert results == [True, False]


def test_pressing_on_the_board_stays_below_the_force_that_the_spring_can_make() -> None:
    state = press(SHARED, above((0.01, 0.008)), steps=30)
    assert 1.0 < state.F_BE[2] < 3000.0 * 0.003 + 1.0


def place(state: RobotState, off: tuple[float, float, float], turn_rad: float = 0.0) -> RobotState:
    """Return a reading with the body `off` from its seat in B, turned about the vertical."""
    p = BOARD[:3] + np.array(off)
    p[2] += TOP_M + SEAT_M
    return dataclasses.replace(
        state, p_BE=p, quat_BE=yaw_quat(0.3 + turn_rad), objects={**state.objects, "board": BOARD}
    )


STATE = SHARED.reset(above())


@settings(max_examples=200, deadline=None)
@given(
    x=st.floats(-0.004, 0.004), y=st.floats(-0.004, 0.004), z=st.floats(-0.001, 0.003), turn=st.floats(-0.2, 0.2)
)  # fmt: skip
def test_seated_is_within_the_published_thresholds_and_nothing_else(x: float, y: float, z: float, turn: float) -> None:
    outcome = TASK.outcome(place(STATE, (x, y, z), turn))
    expected = abs(x) < 0.003 and abs(y) < 0.003 and z < 0.001 and abs(turn) < 0.1
    edge = min(abs(abs(x) - 0.003), abs(abs(y) - 0.003), abs(z - 0.001), abs(abs(turn) - 0.1)) < 1e-6
    if not edge:
        assert outcome.success == outcome.terminated == expected
        assert outcome.reward == float(expected)


def test_carried_away_is_a_failure_that_ends_the_episode() -> None:
    near, far = (TASK.outcome(place(STATE, (d, 0.0, 0.03))) for d in (TOO_FAR_M - 0.005, TOO_FAR_M + 0.005))
    assert not near.terminated
    assert (far.reward, far.terminated, far.success, far.reason) == (0.0, True, False, "carried away")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_starts_are_the_published_ones(seed: int) -> None:
    request = TASK.sample_reset(np.random.default_rng(seed))
    off = request.p_BE - request.objects["board"][:3]
    assert np.hypot(off[0], off[1]) <= 0.05
    assert 0.02 <= off[2] - TOP_M - TIP_M <= 0.04


def test_what_is_seen_does_not_change_when_board_and_tool_move_together() -> None:
    """Egocentric: turned and shifted as one about the vertical, the scene looks the same from the tool."""
    first = SHARED.reset(above((0.01, -0.004), 0.2, 0.02))
    seen = TASK.state_vector(first)
    turn, shift = upright_quat(0.7), np.array([0.03, -0.05, 0.0])
    board = first.objects["board"]
    moved = dataclasses.replace(
        first,
        p_BE=rotate(turn, first.p_BE) + shift,
        quat_BE=quat_mul(turn, first.quat_BE),
        objects={"board": np.concatenate([rotate(turn, board[:3]) + shift, quat_mul(turn, board[3:])])},
    )
    np.testing.assert_allclose(TASK.state_vector(moved), seen, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_pins_are_thinner_than_their_holes_by_the_clearance(seed: int) -> None:
    gap = (0.0004, 0.0007, 0.001)[seed]
    plates = [g for g in PcbInsert(clearance_m=gap).scene["board"].geoms if g.kind == "box" and g.collides]
    for x in (-PITCH_M / 2, PITCH_M / 2):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            inside, beyond = PIN_HALF_M + gap - 1e-6, PIN_HALF_M + gap + 1e-6
            assert not any(_covers(g, x + dx * inside, dy * inside) for g in plates)
            assert any(_covers(g, x + dx * beyond, dy * beyond) for g in plates)


def _covers(geom: object, x: float, y: float) -> bool:
    size, pos = np.array(geom.size_m), np.array(geom.pos_m)  # pyright: ignore[reportAttributeAccessIssue]
    return bool(abs(x - pos[0]) < size[0] and abs(y - pos[1]) < size[1])
