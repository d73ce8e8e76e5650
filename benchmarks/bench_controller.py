"""How long a control tick and a call of the guard take, beside the same law written plainly in numpy.

Ticks are timed one by one as a driver calls them, from Python; ours and numpy's take turns, so that both see the same
machine. Run `python benchmarks/bench_controller.py`; `--quick` takes a second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from robot_rl import geometry as g
from robot_rl.cell import Box
from robot_rl.compiled import kernel
from robot_rl.geometry import Vector
from robot_rl.robot import ArmCommand, RobotState
from robot_rl.task import Compliance, Limits
from robot_rl_controllers.gains import pack_gains, pack_limits
from robot_rl_controllers.guard import Guard
from robot_rl_controllers.impedance import impedance_torque, reset_reference
from robot_rl_controllers.joint_motion import JointMove, joint_impedance_torque, pack_joint_gains

Row = dict[str, str | float | None]
DT = 0.001


def numpy_rotvec(q: Vector) -> Vector:
    """Return the rotation vector (3,) of a quaternion wxyz."""
    q = -q if q[0] < 0.0 else q
    s = np.linalg.norm(q[1:])
    return 2.0 * q[1:] if s < 1e-12 else 2.0 * np.arctan2(s, q[0]) / s * q[1:]


def numpy_exp(r: Vector) -> Vector:
    """Return the quaternion wxyz of a rotation vector (3,)."""
    angle = np.linalg.norm(r)
    return np.concatenate(([np.cos(0.5 * angle)], 0.5 * np.sinc(0.5 * angle / np.pi) * r))


def numpy_mul(a: Vector, b: Vector) -> Vector:
    """Return the product of two quaternions wxyz."""
    return np.concatenate(([a[0] * b[0] - a[1:] @ b[1:]], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])))


def numpy_law(
    q: Vector, dq: Vector, p: Vector, quat: Vector, J: Vector, coriolis: Vector, target: Vector, ref: Vector,
    gains: Vector, limits: Vector, null_q: Vector, tau_prev: Vector, tau_out: Vector, dt: float,
) -> None:  # fmt: skip
    """Compute what `impedance_torque` does for valid input, as one would write it first."""
    conj = np.array([1.0, -1.0, -1.0, -1.0])
    away = target[:3] - ref[:3]
    ref[:3] += away * min(1.0, limits[0] * dt / max(np.linalg.norm(away), 1e-12))
    turn = numpy_rotvec(numpy_mul(ref[3:] * conj, target[3:]))
    ref[3:] = numpy_mul(ref[3:], numpy_exp(turn * min(1.0, limits[1] * dt / max(np.linalg.norm(turn), 1e-12))))
    ref[:3] = np.clip(ref[:3], p - gains[12:15], p + gains[12:15])
    e_r = numpy_rotvec(numpy_mul(ref[3:], quat * conj))
    angle = np.linalg.norm(e_r)
    if angle > gains[15]:
        e_r *= gains[15] / angle
        ref[3:] = numpy_mul(numpy_exp(e_r), quat)
    wrench = gains[:6] * np.concatenate((ref[:3] - p, e_r)) - gains[6:12] * (J @ dq)
    posture = limits[3] * (null_q - q) - limits[4] * dq
    projected = posture - J.T @ np.linalg.solve(J @ J.T + 0.02**2 * np.eye(6), J @ posture)
    tau = np.clip(J.T @ wrench + projected + coriolis, -limits[5:], limits[5:])
    tau_out[:] = np.clip(tau, tau_prev - limits[2] * dt, tau_prev + limits[2] * dt)


@kernel
def many_ticks(
    n: int, q: Vector, dq: Vector, p: Vector, quat: Vector, J: Vector, coriolis: Vector, target: Vector, ref: Vector,
    gains: Vector, limits: Vector, null_q: Vector, tau: Vector, dt: float,
) -> None:  # fmt: skip
    """Run the law in a compiled loop, as the lock-step twin does."""
    for _ in range(n):
        impedance_torque(q, dq, p, quat, J, coriolis, target, ref, gains, limits, null_q, tau, tau, dt)


def each_us(n: int, *functions: Callable[[], object]) -> list[Vector]:
    """Return the time [us] of each of `n` calls of every function, taking turns."""
    times = np.empty((len(functions), n))
    clock = time.perf_counter_ns
    for i in range(-20, n):
        for k, function in enumerate(functions):
            start = clock()
            function()
            end = clock()
            if i >= 0:
                times[k, i] = 1e-3 * (end - start)
    return list(times)


def _arm(rng: np.random.Generator) -> tuple[Vector, ...]:
    """Return the arguments of the law for an arm in motion."""
    q, dq, coriolis, null_q = 0.3 * rng.normal(size=(4, 7))
    p, quat, J = rng.normal(size=3), g.quat_normalise(rng.normal(size=4)), rng.normal(size=(6, 7))
    target, ref = np.zeros(7), np.zeros(7)
    reset_reference(ref, p, quat)
    target[:3], target[3:] = g.tool_delta(p, quat, np.array([0.005, 0.002, 0.004]), np.array([0.02, 0.01, 0.03]))
    compliance = Compliance()
    return q, dq, p, quat, J, coriolis, target, ref, pack_gains(compliance), pack_limits(compliance), null_q


def _row(name: str, value: float, unit: str, baseline: float | None = None, note: str = "") -> Row:
    ratio = None if baseline is None else baseline / value
    return {"name": name, "value": value, "unit": unit, "baseline": baseline, "ratio": ratio, "note": note}


def _law_rows(n: int) -> list[Row]:
    arm = _arm(np.random.default_rng(0))
    tau, plain_tau = np.zeros(7), np.zeros(7)
    plain_arm = tuple(a.copy() for a in arm)
    limits, apart = arm[9].copy(), 0.0
    arm[9][[2, *range(5, 12)]] = plain_arm[9][[2, *range(5, 12)]] = 1e6  # a limit would hide a difference
    for _ in range(50):
        impedance_torque(*arm, tau, tau, DT)  # pyright: ignore[reportCallIssue]
        numpy_law(*plain_arm, plain_tau, plain_tau, DT)  # pyright: ignore[reportCallIssue]
        apart = max(apart, float(np.abs(tau - plain_tau).max()))
    arm[9][:] = plain_arm[9][:] = limits
    ours, plain = each_us(
        n,
        lambda: impedance_torque(*arm, tau, tau, DT),  # pyright: ignore[reportCallIssue]
        lambda: numpy_law(*plain_arm, plain_tau, plain_tau, DT),  # pyright: ignore[reportCallIssue]
    )
    many_ticks(1, *arm, tau, DT)  # pyright: ignore[reportCallIssue]
    start = time.perf_counter()
    many_ticks(10 * n, *arm, tau, DT)  # pyright: ignore[reportCallIssue]
    looped_us = 1e5 * (time.perf_counter() - start) / n
    names = ("median", "p99", "p99.9")
    of_ours, of_plain = (np.percentile(t, [50.0, 99.0, 99.9]) for t in (ours, plain))
    rows = [
        _row(f"impedance tick from Python, {name}", float(a), "us", float(b), note)
        for name, a, b, note in zip(
            names, of_ours, of_plain, (f"torques {apart:.0e} N m apart from numpy's", "bar: 50", ""), strict=True
        )
    ]
    return [*rows, _row("impedance tick in a compiled loop, mean", looped_us, "us", float(plain.mean()))]


def _joint_row(n: int) -> Row:
    move, tau, zero = (
        JointMove([0, 0, 0, -1.9, 0, 2, 0], [0.5, -0.3, 0.1, -2.2, 0.2, 1.2, 0.9]),
        np.zeros(7),
        np.zeros(7),
    )
    gains, limits, q = pack_joint_gains(), pack_limits(Compliance()), np.zeros(7)

    def tick() -> None:
        q_ref, dq_ref = move.at(0.4)
        joint_impedance_torque(q, zero, zero, q_ref, dq_ref, gains, limits, tau, tau, DT)

    return _row("joint move tick from Python, p99", float(np.percentile(each_us(n, tick)[0], 99.0)), "us")


def _guard_rows(n: int) -> list[Row]:
    guard = Guard(Limits(box_min_m=(0.3, -0.3, 0.0), box_max_m=(0.7, 0.3, 0.5)), 0.1)
    p, down = np.array([0.5, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0])
    zero = np.zeros(7)
    state = RobotState(0.0, zero, zero, p, down, np.zeros(6), np.zeros(6), 0.08, False)
    good = ArmCommand(p + 0.02, down, False)
    bad = ArmCommand(p + 0.4, g.quat_normalise(np.array([0.3, 0.8, 0.1, 0.4])), False)
    limits = Limits(box_min_m=(0.3, -0.3, 0.0), box_max_m=(0.7, 0.3, 0.5), soft_force_n=10.0)
    boxes = tuple(Box(min_m=(0.505, -0.3 + 0.1 * i, 0.0), max_m=(0.6, -0.23 + 0.1 * i, 0.3)) for i in range(6))
    strict = Guard(limits, 0.1, keep_out=boxes)
    touching = RobotState(0.0, zero, zero, p, down, np.zeros(6), np.array([0.0, 0.0, 15.0, 0.0, 0.0, 0.0]), 0.08, False)
    into = ArmCommand(p + np.array([0.05, 0.01, -0.02]), down, False)
    passed, clipped, slid, reviewed = each_us(
        n,
        lambda: guard.check(good, state, 0.0, 0.0),
        lambda: guard.check(bad, state, 0.0, 0.0),
        lambda: strict.check(into, touching, 0.0, 0.0),
        lambda: strict.review(touching, 0.0),
    )
    return [
        _row("guard passes a command, median", float(np.median(passed)), "us", note="bar: 8"),
        _row("guard passes a command, p99", float(np.percentile(passed, 99.0)), "us"),
        _row("guard clips box, cone and steps, median", float(np.median(clipped)), "us", note="bar: 8"),
        _row("guard slides along 6 boxes, eases, median", float(np.median(slid)), "us", note="bar: 8"),
        _row("guard reviews what stands, median", float(np.median(reviewed)), "us", note="bar: 8"),
    ]


def run(quick: bool = False) -> list[Row]:
    """Return the rows of the benchmark; lower is better, `ratio` is how many times faster than the baseline.

    Args:
        quick: time 2,000 calls instead of 20,000.
    """
    n = 2_000 if quick else 20_000
    return [*_law_rows(n), _joint_row(n), *_guard_rows(n)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2,000 calls instead of 20,000")
    print(f"{'what':<44}{'ours':>10} {'unit':<5}{'numpy':>10}{'ratio':>8}  note")
    for row in run(parser.parse_args().quick):
        baseline = "" if row["baseline"] is None else f"{row['baseline']:.2f}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f}"
        print(f"{row['name']:<44}{row['value']:>10.2f} {row['unit']:<5}{baseline:>10}{ratio:>8}  {row['note']}")


if __name__ == "__main__":
    main()
