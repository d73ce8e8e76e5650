"""The impedance law: bounded force, silence, frames, rate limits, and finite torques for any input."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose

from robot_rl import geometry as g
from robot_rl.errors import ConfigError
from robot_rl.task import Compliance
from robot_rl_controllers import gains as layout
from robot_rl_controllers.impedance import Impedance, impedance_torque, pack_gains, pack_limits, reset_reference

unhurried = settings(deadline=None)  # the first call of a kernel loads or compiles it
COMPLIANCE = Compliance(clip_m=(0.01, 0.02, 0.005), clip_rad=0.1)
GAINS = pack_gains(COMPLIANCE)
FREE = pack_limits(COMPLIANCE, tau_rate_Nm_s=1e9, null_stiffness=0.0, null_damping=0.0, tau_limit_Nm=(1e9,) * 7)
LIMITS = pack_limits(COMPLIANCE)
DT = 0.001
seeds = st.integers(0, 2**32 - 1)


@dataclasses.dataclass
class Reading:
    """A random arm at rest, its Jacobian of full rank, and a reference on the tool."""

    seed: int

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.rng = rng
        self.q, self.null_q = rng.uniform(-2.5, 2.5, (2, 7))
        self.dq, self.coriolis = np.zeros((2, 7))
        u, _, v = np.linalg.svd(rng.normal(size=(6, 7)), full_matrices=False)
        self.J = np.ascontiguousarray(u * rng.uniform(0.2, 1.5, 6) @ v)
        self.p = rng.uniform(-1.0, 1.0, 3)
        self.quat = g.quat_normalise(rng.normal(size=4))
        self.ref, self.target = np.zeros(7), np.zeros(7)
        reset_reference(self.ref, self.p, self.quat)
        self.target[:] = self.ref
        self.tau_prev = np.zeros(7)

    def random_pose(self, reach_m: float = 1.0) -> np.ndarray:
        return np.r_[
            self.p + self.rng.uniform(-reach_m, reach_m, 3),
            g.quat_normalise(self.rng.normal(size=4)),
        ]

    def torque(self, limits: np.ndarray = FREE, gains: np.ndarray = GAINS, dt: float = DT) -> np.ndarray:
        out = np.full(7, np.nan)
        arm = (self.q, self.dq, self.p, self.quat, self.J, self.coriolis)
        impedance_torque(*arm, self.target, self.ref, gains, limits, self.null_q, self.tau_prev, out, dt)
        return out

    def wrench(self, tau: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(self.J.T, tau, rcond=None)[0]


@unhurried
@given(seeds)
def test_the_force_is_at_most_stiffness_times_clip_for_any_reference_and_target(seed: int) -> None:
    arm = Reading(seed)
    arm.ref, arm.target = arm.random_pose(), arm.random_pose()
    for _ in range(3):
        wrench = arm.wrench(arm.torque())
        assert (np.abs(wrench[:3]) <= GAINS[:3] * GAINS[12:15] + 1e-6).all()
        assert np.linalg.norm(wrench[3:]) <= GAINS[3] * GAINS[15] + 1e-6
        assert (np.abs(arm.ref[:3] - arm.p) <= GAINS[12:15] + 1e-12).all()
        assert g.quat_angle(arm.ref[3:], arm.quat) <= GAINS[15] + 1e-9


@unhurried
@given(seeds)
def test_a_silent_policy_causes_no_torque_and_moves_no_reference(seed: int) -> None:
    arm = Reading(seed)
    arm.null_q = arm.q.copy()
    before = arm.ref.copy()
    for _ in range(20):
        assert_allclose(arm.torque(LIMITS), 0.0, atol=1e-9)
    assert_allclose(arm.ref, before, atol=1e-12)


@unhurried
@given(seeds, st.floats(-0.05, 0.05))
def test_a_tool_axis_command_pushes_along_the_axis_and_rotates_nothing(seed: int, push: float) -> None:
    arm = Reading(seed)
    compliance = dataclasses.replace(COMPLIANCE, clip_m=(0.1, 0.1, 0.1))
    arm.target[:3], arm.target[3:] = g.tool_delta(arm.p, arm.quat, np.array([0.0, 0.0, push]), np.zeros(3))
    wrench = arm.wrench(arm.torque(gains=pack_gains(compliance), dt=1.0))
    assert_allclose(wrench[:3], 2000.0 * push * g.rotate(arm.quat, np.array([0.0, 0.0, 1.0])), atol=1e-6)
    assert_allclose(wrench[3:], 0.0, atol=1e-6)


@unhurried
@given(seeds, st.floats(0.01, 0.09))
def test_the_rotational_spring_sees_the_full_angle_in_the_base_frame(seed: int, angle: float) -> None:
    arm = Reading(seed)
    axis = arm.rng.normal(size=3)
    r = angle * axis / np.linalg.norm(axis)
    arm.target[3:] = g.quat_mul(g.quat_from_rotvec(r), arm.quat)
    assert_allclose(arm.wrench(arm.torque(dt=1.0))[3:], 150.0 * r, atol=1e-6)


@unhurried
@given(seeds)
def test_the_torque_is_the_law_written_plainly(seed: int) -> None:
    arm = Reading(seed)
    arm.dq, arm.coriolis = arm.rng.normal(size=(2, 7))
    arm.target = arm.random_pose(0.02)
    limits = FREE.copy()
    limits[layout.NULL_STIFFNESS], limits[layout.NULL_DAMPING] = 5.0, 2.0
    tau = arm.torque(limits)
    error = np.r_[arm.ref[:3] - arm.p, g.rotvec_from_quat(g.quat_mul(arm.ref[3:], g.quat_conj(arm.quat)))]
    wrench = GAINS[:6] * error - GAINS[6:12] * (arm.J @ arm.dq)
    projector = np.eye(7) - arm.J.T @ np.linalg.solve(arm.J @ arm.J.T + 0.02**2 * np.eye(6), arm.J)
    posture = 5.0 * (arm.null_q - arm.q) - 2.0 * arm.dq
    assert_allclose(tau, arm.J.T @ wrench + projector @ posture + arm.coriolis, atol=1e-9)


@unhurried
@given(seeds)
def test_the_posture_hardly_pulls_on_the_tool_and_never_with_more_than_its_own_torque(seed: int) -> None:
    arm = Reading(seed)
    limits = FREE.copy()
    limits[layout.NULL_STIFFNESS] = 5.0
    tau = arm.torque(limits)
    posture = 5.0 * (arm.null_q - arm.q)
    assert np.linalg.norm(tau) <= np.linalg.norm(posture) + 1e-9
    assert np.linalg.norm(arm.J @ tau) <= 0.011 * np.linalg.norm(posture)  # lambda^2 / (2 sigma) at the least sigma


@unhurried
@given(seeds)
def test_a_singular_arm_gets_a_bounded_posture_torque(seed: int) -> None:
    arm = Reading(seed)
    arm.J[:] = np.outer(arm.rng.normal(size=6), arm.rng.normal(size=7)) * arm.rng.integers(0, 2)
    limits = FREE.copy()
    limits[layout.NULL_STIFFNESS] = 5.0
    assert np.linalg.norm(arm.torque(limits)) <= 5.0 * np.linalg.norm(arm.null_q - arm.q) + 1e-6


@unhurried
@given(seeds)
def test_the_reference_slews_at_its_speed_and_arrives_exactly(seed: int) -> None:
    arm = Reading(seed)
    wide = pack_gains(dataclasses.replace(COMPLIANCE, clip_m=(10.0,) * 3, clip_rad=4.0))
    arm.target = arm.random_pose(0.02)
    far, turn = np.linalg.norm(arm.target[:3] - arm.p), g.quat_angle(arm.target[3:], arm.quat)
    ticks = math.ceil(max(far / (0.5 * DT), turn / (2.0 * DT))) + 1
    for _ in range(ticks):
        before = arm.ref.copy()
        arm.torque(gains=wide)
        assert np.linalg.norm(arm.ref[:3] - before[:3]) <= 0.5 * DT + 1e-12
        assert g.quat_angle(arm.ref[3:], before[3:]) <= 2.0 * DT + 1e-9
    assert (arm.ref[:3] == arm.target[:3]).all()
    assert g.quat_angle(arm.ref[3:], arm.target[3:]) <= 1e-9


@unhurried
@given(seeds)
def test_a_blocked_tool_does_not_wind_up_the_reference(seed: int) -> None:
    arm = Reading(seed)
    arm.target[:3] += np.array([0.3, 0.0, 0.0])
    for _ in range(1000):
        arm.torque()
    arm.p = arm.p + np.array([0.004, 0.0, 0.0])  # it gives way: the reference is at most a clip ahead
    arm.torque()
    assert arm.ref[0] - arm.p[0] <= 0.01 + 1e-12


@unhurried
@given(seeds, st.sampled_from([0.001, 0.002]))
def test_torques_keep_their_limits_and_change_no_faster_than_allowed(seed: int, dt: float) -> None:
    arm = Reading(seed)
    for _ in range(30):
        arm.dq, arm.coriolis = 20.0 * arm.rng.normal(size=(2, 7))
        arm.target = arm.random_pose()
        tau = arm.torque(LIMITS, dt=dt)
        assert (np.abs(tau) <= LIMITS[layout.TAU_LIMIT :]).all()
        assert (np.abs(tau - arm.tau_prev) <= 900.0 * dt + 1e-9).all()
        arm.tau_prev = tau


@unhurried
@given(seeds)
def test_the_output_may_overwrite_the_previous_torque(seed: int) -> None:
    arm, twin = Reading(seed), Reading(seed)
    arm.target = twin.target = arm.random_pose()
    arm.tau_prev = arm.rng.normal(size=7)
    twin.tau_prev = arm.tau_prev.copy()
    expected = arm.torque(LIMITS)
    args = (twin.q, twin.dq, twin.p, twin.quat, twin.J, twin.coriolis, twin.target, twin.ref)
    impedance_torque(*args, GAINS, LIMITS, twin.null_q, twin.tau_prev, twin.tau_prev, DT)
    assert (twin.tau_prev == expected).all()


def test_a_reading_that_is_not_finite_fades_the_torque_to_zero_within_the_rate() -> None:
    for name in ("q", "dq", "p", "quat", "J", "coriolis"):
        arm = Reading(1)
        arm.tau_prev = np.full(7, 5.0)
        getattr(arm, name).flat[-1] = np.nan
        ref = arm.ref.copy()
        for tick in range(1, 8):
            arm.tau_prev = arm.torque(LIMITS)
            assert_allclose(arm.tau_prev, max(5.0 - 0.9 * tick, 0.0), atol=1e-9)
        assert (arm.ref == ref).all()


@pytest.mark.parametrize("entry", range(7))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_target_that_is_not_finite_holds_the_reference(entry: int, bad: float) -> None:
    arm = Reading(2)
    arm.target[entry] = bad
    before = arm.ref.copy()
    arm.torque()
    assert_allclose(arm.ref, before, atol=1e-12)


anything = st.floats(allow_nan=True, allow_infinity=True)
SIZES = {"q": 7, "dq": 7, "p": 3, "quat": 4, "coriolis": 7, "target": 7, "ref": 7, "null_q": 7, "tau_prev": 7}


@unhurried
@given(seeds, st.sampled_from([*SIZES, "J", "gains", "limits", "dt"]), st.data())
def test_torques_are_finite_and_limited_for_any_input(seed: int, name: str, data: st.DataObject) -> None:
    arm = Reading(seed)
    gains, limits, dt = GAINS.copy(), LIMITS.copy(), DT
    shape = {"J": (6, 7), "gains": 16, "limits": 12, "dt": 1}.get(name) or SIZES[name]
    value = data.draw(hnp.arrays(np.float64, shape, elements=anything))
    if name == "gains":
        gains = value
    elif name == "limits":
        limits = value
    elif name == "dt":
        dt = float(value[0])
    else:
        setattr(arm, name, value)
    tau = arm.torque(limits, gains, dt)
    assert np.isfinite(tau).all()
    if name not in ("limits", "tau_prev"):
        assert (np.abs(tau) <= LIMITS[layout.TAU_LIMIT :]).all()
    arm.tau_prev, arm.ref = tau, arm.ref.copy()
    assert np.isfinite(arm.torque(LIMITS)).all()


@unhurried
@given(seeds, st.floats(0.0, 0.3))
def test_a_tick_in_two_arrays_gives_the_bits_of_the_law_in_many(seed: int, gain_time_s: float) -> None:
    arm = Reading(seed)
    packed, plain = (Impedance(COMPLIANCE, gain_time_s=gain_time_s) for _ in range(2))
    for law in (packed, plain):
        law.start(arm.null_q, arm.p, arm.quat)
        law.set_compliance(Compliance(stiffness=(400.0,) * 3 + (20.0,) * 3))
        law.target[:] = arm.target
    for _ in range(3):
        arm.q, arm.dq, arm.coriolis, tau_prev = arm.rng.normal(size=(4, 7))
        packed.target[:] = plain.target[:] = arm.random_pose(0.05)
        reading = np.r_[arm.q, arm.dq, tau_prev, arm.coriolis, arm.p, arm.quat, np.zeros(6), arm.J.ravel()]
        tau = plain.update(arm.q, arm.dq, arm.p, arm.quat, arm.J, arm.coriolis, DT, tau_prev)
        assert (packed.tick(reading, DT) == tau).all()
        assert (packed.reference == plain.reference).all()
        assert tau.any()


def test_a_law_in_two_arrays_is_silent_until_started() -> None:
    assert (Impedance(COMPLIANCE).tick(np.ones(layout.READING_SIZE), DT) == 0.0).all()


class Mass:
    """A free tool of 2 kg and 0.05 kg m^2 on seven joints of which the last does nothing: dq is the twist."""

    def __init__(self) -> None:
        self.J = np.eye(6, 7)
        self.inertia = np.array([2.0, 2.0, 2.0, 0.05, 0.05, 0.05, 1.0])
        self.q, self.dq = np.zeros(7), np.zeros(7)
        self.p, self.quat = np.array([0.5, 0.0, 0.3]), np.array([0.0, 1.0, 0.0, 0.0])

    def reading(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.q, self.dq, self.p, self.quat, self.J, np.zeros(7)

    def step(self, tau: np.ndarray, dt: float) -> None:
        self.dq = self.dq + dt * tau / self.inertia
        self.p = self.p + dt * self.dq[:3]
        self.quat = g.quat_normalise(g.quat_mul(g.quat_from_rotvec(dt * self.dq[3:6]), self.quat))


def test_the_driver_is_silent_until_started_then_holds_then_reaches_the_target_no_faster_than_asked() -> None:
    control, body = Impedance(COMPLIANCE), Mass()
    assert (control.update(*body.reading(), DT) == 0.0).all()
    control.start(body.q, body.p, body.quat)
    for _ in range(50):
        tau = control.update(*body.reading(), DT)
        assert_allclose(tau, 0.0, atol=1e-9)
        body.step(tau, DT)
    goal_p, goal_q = g.tool_delta(body.p, body.quat, np.array([0.05, -0.02, 0.08]), np.array([0.0, 0.2, 0.4]))
    control.set_target(goal_p, goal_q)
    fastest = 0.0
    for _ in range(3000):
        body.step(control.update(*body.reading(), DT), DT)
        fastest = max(fastest, float(np.linalg.norm(body.dq[:3])))
    assert_allclose(body.p, goal_p, atol=1e-4)
    assert g.quat_angle(body.quat, goal_q) < 1e-3
    assert fastest <= 1.05 * COMPLIANCE.speed_m_s


def test_the_driver_slews_new_gains_and_refuses_bad_ones() -> None:
    control, body = Impedance(Compliance(stiffness=(0.0,) * 6), gain_time_s=0.1), Mass()
    control.start(body.q, body.p, body.quat)
    control.set_target(body.p + np.array([0.01, 0.0, 0.0]), body.quat)
    control.set_compliance(Compliance())
    pulls = [control.update(*body.reading(), DT)[0] for _ in range(500)]
    assert 0.0 <= pulls[0] < 0.2
    assert pulls[-1] == pytest.approx(20.0, rel=0.02)
    wanted = control._wanted.copy()
    with pytest.raises(ConfigError, match=r"compliance\.damping"):
        control.set_compliance(Compliance(stiffness=(9.0,) * 6, damping=(-1.0,) * 6))
    with pytest.raises(ConfigError, match=r"compliance\.speed_m_s"):
        control.set_compliance(Compliance(stiffness=(9.0,) * 6, speed_m_s=-1.0))
    assert (control._wanted == wanted).all(), "what is refused changes nothing"
    with pytest.raises(ConfigError, match="gain_time_s"):
        Impedance(Compliance(), gain_time_s=math.nan)
