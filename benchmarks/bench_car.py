"""The car's twin: how much faster than real time it drives, from state, with a lidar and with its camera.

    python benchmarks/bench_car.py [--quick]

The baseline of each row is the bare physics of the same model on the same machine in the same run, which nothing built
on it can exceed. The classical driver closes the loop, so that the car corners, brakes and slides as it does in use.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Row = dict[str, Any]
HZ = 20.0


def _best(steps: dict[str, Callable[[], object]], count: int, rounds: int, seconds: float) -> dict[str, float]:
    """Return for each step how many simulated seconds pass in one second, each call being `seconds`.

    All take turns in short rounds and the best round of each counts, so that what else a machine does weighs least.
    """
    best = dict.fromkeys(steps, 0.0)
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(count):
                step()
            best[name] = max(best[name], count * seconds / (time.perf_counter() - start))
    return best


def _measure(
    name: str, count: int, rounds: int, beams: int = 0, camera: bool = False, **config: Any
) -> tuple[float, ...]:
    """Return the real-time factors of the twin driven around a course, of its physics alone and of its bare picture."""
    from robot_rl.car import CarReset
    from robot_rl_sim.car.settings import CarTwinConfig, Sensors
    from robot_rl_sim.car.twin import CarTwin
    from robot_rl_tasks.car.driver import DriverSettings, PurePursuit
    from robot_rl_tasks.car.places import place

    cameras = ("front",) if camera else ()
    import mujoco  # after the twin, which chooses the OpenGL library

    where = place(name)
    twin = CarTwin(where, CarTwinConfig(control_hz=HZ, sensors=Sensors(beams=beams), cameras=cameras, **config))
    driver = PurePursuit(where.course, DriverSettings(lateral_m_s2=0.55 * 9.81 * where.surface.friction))
    gate = where.course.gates[0]
    state = twin.reset(CarReset(p_WC=gate.p_W, yaw_rad=gate.heading_rad))
    try:

        def step() -> None:
            nonlocal state
            twin.command(driver.command(state))
            state = twin.observe()

        for _ in range(40):
            step()
        ticks = round(1.0 / (HZ * twin.config.physics_dt_s))
        bare = mujoco.MjData(twin.model)
        steps: dict[str, Callable[[], object]] = {
            "driven": step,
            # The same motion as the twin's newest, without servo, VESC, sensors and Python.
            "physics": lambda: (
                mujoco.mj_copyData(bare, twin.model, twin.data),
                mujoco.mj_step(twin.model, bare, ticks),
            ),
        }
        if camera:
            steps["picture"] = lambda: twin.render("front", 128, 128)
        best = _best(steps, count, rounds, 1.0 / HZ)
        return best["driven"], best["physics"], best.get("picture", np.inf)
    finally:
        twin.close()


def run(quick: bool = False) -> list[Row]:
    """Return a row for each measurement."""
    count, rounds = (20, 10) if quick else (40, 40)
    rows: list[Row] = []
    for name, beams, camera, config in (
        ("oval", 0, False, {}),
        ("corridor", 0, False, {}),
        ("meadow", 0, False, {}),
        ("corridor", 0, False, {"tyres": "pacejka"}),
        ("corridor", 108, False, {}),
        ("oval", 0, True, {}),
        ("corridor", 0, True, {}),
        ("meadow", 0, True, {}),
    ):
        driven, floor, picture = _measure(name, count, rounds, beams, camera, **config)
        what = "camera 128x128" if camera else f"lidar of {beams}" if beams else config.get("tyres", "state")
        note = f"baseline: physics alone; {100 * driven / floor:.0f} % of it reached"
        if camera:
            both = 1.0 / (1.0 / floor + 1.0 / picture)
            note += f"; picture alone x{picture:,.0f}, physics and picture x{both:,.0f}, {100 * driven / both:.0f} %"
        rows.append(
            {"name": f"car, {name}, {what}", "value": driven, "unit": "x real time", "baseline": floor,
             "ratio": driven / floor, "note": note}
        )  # fmt: skip
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    for row in run(parser.parse_args().quick):
        print(f"{row['name']:32} x{row['value']:<8.1f} of x{row['baseline']:<8.1f} {row['note']}")


if __name__ == "__main__":
    main()
