"""Environment steps per second: state alone and with cameras, at SERL's timing and at ours, beside the bare physics.

    python benchmarks/bench_env.py [--quick]

SERL's own figures were measured earlier on a two-core machine of this kind (its code is not part of this project): 423
environment steps a second from state and 4.2 with two 128x128 cameras, at 50 Hz control and 2 ms physics. They are the
baseline of the rows that name SERL; every other baseline is measured in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Row = dict[str, Any]

SERL_STATE_PER_S, SERL_TWO_CAMERAS_PER_S = 423.0, 4.2
CAMERAS = ("front", "wrist")


def _per_second(step: Callable[[], object], count: int, rounds: int) -> float:
    """Return the median rate over rounds of `count` calls."""
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(count):
            step()
        rates.append(count / (time.perf_counter() - start))
    return statistics.median(rates)


def _env_rate(control_hz: float, cameras: tuple[str, ...], count: int, rounds: int) -> tuple[float, float, float]:
    """Return environment steps per second, and what this twin allows with physics alone and with law and reading."""
    from robot_rl.registration import make

    env: Any = make("pick_cube", max_steps=10**9, robot={"cameras": list(cameras), "control_hz": control_hz})
    import mujoco  # after the twin, which chooses the OpenGL library

    try:
        env.reset(seed=0)
        rng = np.random.default_rng(0)
        # Small random motions above the table: what practice looks like between contacts.
        actions = rng.uniform(-0.2, 0.2, (256, env.action_space.shape[0])).astype(np.float32)
        index = 0

        def step() -> None:
            nonlocal index
            _, _, terminated, truncated, _ = env.step(actions[index % 256])
            index += 1
            if terminated or truncated:
                env.reset()

        for _ in range(20):
            step()
        rate = _per_second(step, count, rounds)
        twin = env.robot
        ticks = round(1.0 / (control_hz * twin.config.physics_dt_s))
        state = twin.observe()
        law = _per_second(lambda: twin.drive_to(state.p_BE, state.quat_BE, 0.04, ticks), count, rounds)
        floor = _per_second(lambda: mujoco.mj_step(twin.model, twin.data, ticks), count, rounds)
        return rate, floor, law
    finally:
        env.close()


def run(quick: bool = False) -> list[Row]:
    """Return a row for each measurement."""
    count, rounds = (200, 3) if quick else (1000, 5)
    rows: list[Row] = []
    for hz, cameras, baseline in (
        (50.0, (), SERL_STATE_PER_S),
        (50.0, CAMERAS, SERL_TWO_CAMERAS_PER_S),
        (50.0, CAMERAS[:1], None),
        (10.0, (), None),
        (10.0, CAMERAS, None),
    ):
        rate, floor, law = _env_rate(hz, cameras, count // (10 if cameras else 1), rounds)
        name = f"env steps, {hz:.0f} Hz, {len(cameras)} cameras" if cameras else f"env steps, {hz:.0f} Hz, state"
        beside = "SERL, measured earlier" if baseline else "physics alone"
        share = f"{100 * rate / floor:.0f} % of it reached"
        note = f"baseline: {beside}; physics alone {floor:,.0f}/s, {share}; with law and reading {law:,.0f}/s"
        base = baseline or floor
        rows.append(
            {"name": name, "value": rate, "unit": "steps/s", "baseline": base, "ratio": rate / base, "note": note}
        )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    for row in run(parser.parse_args().quick):
        print(f"{row['name']:30} {row['value']:10,.0f} /s  x{row['ratio']:<8.2f} {row['note']}")


if __name__ == "__main__":
    main()
