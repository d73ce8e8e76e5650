"""The same reference trace through the lock-step twin, the twin in real time over ROS 2, and the Franka's protocol."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from fci_sim_process import Simulator, why_not
from numpy.typing import NDArray
from verify.children import Runner
from verify.rows import Row

STAGE = "tracking"
SECONDS = 120.0
TIMEOUT_S = 200.0
STEPS, RADIUS_M, PERIOD_S = 80, 0.04, 4.0
BAR_MM = 5.0  # root mean square between two paths of the tool
LOCK_STEP = "lock-step"

Path3 = NDArray[np.float64]


def measure(runner: Runner) -> list[Row]:
    """Follow the trace on each robot and tabulate how far apart their paths are."""
    paths: dict[str, Path3] = {}
    rows: list[Row] = []
    for name in (LOCK_STEP, "twin over ROS 2", "Franka's protocol"):
        if name == "Franka's protocol" and (reason := why_not()):
            rows.append(Row(stage=STAGE, what=f"the trace through the {name}", measured=reason, bar="run", holds=None))
            continue
        path = follow(runner, name)
        if isinstance(path, Row):
            rows.append(path)
        else:
            paths[name] = path
    table = runner.work / "tracking.json"
    table.write_text(json.dumps({name: path.tolist() for name, path in paths.items()}))
    return rows + compare(paths)


def follow(runner: Runner, name: str) -> Path3 | Row:
    """Return (STEPS, 3) the measured positions of the tool on one robot, from the start; a row if that fails."""
    out = runner.work / f"trace-{name.split()[0].lower()}.json"
    out.unlink(missing_ok=True)
    with contextlib.ExitStack() as stack:
        driver = stack.enter_context(driver_of(name, runner.work))
        command = [sys.executable, "-m", "verify.ros_tracking", str(out), *driver]
        path = os.pathsep.join(filter(None, [str(runner.root / "scripts"), os.environ.get("PYTHONPATH", "")]))
        ended = runner.run(f"ros-{out.stem}", command, TIMEOUT_S, {"PYTHONPATH": path})
    if ended.status != 0 or not out.is_file():
        what = f"the trace through the {name}"
        return Row(stage=STAGE, what=what, measured=ended.how(), bar="ends with status 0", holds=False)
    return np.array(json.loads(out.read_text()))


@contextlib.contextmanager
def driver_of(name: str, work: Path) -> Iterator[list[str]]:
    """Yield the words for `robot-rl node arm` that stand for a robot; none for the lock-step twin."""
    if name == LOCK_STEP:
        yield []
    elif name.startswith("twin"):
        yield ["driver=twin"]
    else:
        with Simulator() as simulator:
            cell = work / "cell.yaml"
            cell.write_text(f"name: simulated\naddress: {simulator.host}\ngripper: {{kind: franka_hand}}\n")
            yield ["driver=fci", f"cell={cell}", "driver.realtime=ignore"]


def compare(paths: dict[str, Path3]) -> list[Row]:
    """Return the rows of the root mean square distances, to the reference and to the lock-step twin's path."""
    rows = []
    for name, path in paths.items():
        own = 1e3 * rms(path - reference(path[0])[: len(path)])
        if name == LOCK_STEP:
            what, apart = "lag of the lock-step twin's tool behind the trace", own
            rows.append(Row(stage=STAGE, what=what, measured=f"{own:.1f} mm RMS", bar="told", holds=True))
            continue
        if LOCK_STEP not in paths:
            continue
        apart = 1e3 * rms((path - path[0]) - (paths[LOCK_STEP] - paths[LOCK_STEP][0]))
        measured = f"{apart:.2f} mm RMS from lock-step; {own:.1f} mm behind the trace"
        rows.append(
            Row(
                stage=STAGE, what=f"path of the tool, {name}", measured=measured, bar=f"<= {BAR_MM:g} mm",
                holds=apart <= BAR_MM,
            )
        )  # fmt: skip
    return rows


def reference(start: Path3) -> Path3:
    """Return (STEPS + 1, 3) positions of the trace: a lying eight around the start."""
    t = 2.0 * np.pi * np.arange(STEPS + 1) * 0.1 / PERIOD_S
    return start + RADIUS_M * np.stack([0.0 * t, np.sin(t), 0.5 * np.sin(2.0 * t)], axis=1)


def rms(difference: Path3) -> float:
    """Return the root mean square of the lengths."""
    return float(np.sqrt((difference**2).sum(axis=1).mean()))


def drive(out: Path, driver: Sequence[str]) -> None:
    """Follow the trace on one robot, whose node is started here and ended after it, and write its path."""
    from robot_rl.build import make_env
    from robot_rl.config import compose
    from robot_rl.robot import ArmCommand

    settings = ["task=reach"]
    with contextlib.ExitStack() as stack:
        if driver:
            settings += ["robot=ros", f"robot.domain={stack.enter_context(node(driver))}", "robot.connect_s=90"]
        env = make_env(compose(settings).settings())
        stack.callback(env.close)
        env.reset(seed=0)
        robot, state = env.robot, env.robot_state
        seen = [state.p_BE]
        for p in reference(state.p_BE)[1:]:
            executed = robot.command(ArmCommand(p, state.quat_BE, False))
            if executed.stopped:
                raise SystemExit(f"the arm holds: {executed.reason}")
            seen.append(robot.observe().p_BE)
    out.write_text(json.dumps(np.array(seen).tolist()))


@contextlib.contextmanager
def node(driver: Sequence[str]) -> Iterator[int]:
    """Start an arm's node in a domain of its own, yield the domain, and end the node."""
    import signal
    import subprocess

    from robot_rl_hardware.ros.environment import free_domain

    domain = free_domain(first=80)
    words = ["node", "arm", "task=reach", "--domain", str(domain), *driver]
    process = subprocess.Popen([sys.executable, "-m", "robot_rl", *words], stdin=subprocess.DEVNULL)
    try:
        yield domain
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    drive(Path(sys.argv[1]), sys.argv[2:])
