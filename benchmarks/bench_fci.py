"""How fast the Franka's driver answers: its process against the simulator of the robot's protocol, at 1 kHz.

python -m benchmarks.bench_fci             # 60 s
python -m benchmarks.bench_fci --quick     # 5 s

Leaves runs/bench_fci/response.json and response.png, a histogram of the response: from when a state has arrived (the
library's readOnce returns) until the torques are sent (its writeOnce returns). The simulator runs on the same machine,
on the processors that the driver leaves to it (the driver has one of its own), and waking it is part of the sending.
It is as good as the machine is quiet: the file says its load, and how much of its processors' time the hypervisor gave
to others.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from fci_sim_process import Simulator, why_not  # noqa: E402

from robot_rl.cell import Cell  # noqa: E402
from robot_rl.jsonl import write_json_atomic  # noqa: E402
from robot_rl.robot import ArmCommand  # noqa: E402
from robot_rl.task import Task  # noqa: E402
from robot_rl_controllers.drive.interface import Mode, Reading  # noqa: E402
from robot_rl_controllers.drive.motion import Motion  # noqa: E402
from robot_rl_controllers.drive.plant import Sample  # noqa: E402
from robot_rl_controllers.drive.spec import RealTime  # noqa: E402
from robot_rl_hardware.fci.driver import make_driver  # noqa: E402
from robot_rl_hardware.fci.plant import FciPlant  # noqa: E402
from robot_rl_hardware.fci.settings import FciSettings  # noqa: E402
from robot_rl_tasks.reach import Reach  # noqa: E402

Row = dict[str, str | float | None]
FOLDER = ROOT / "runs" / "bench_fci"
PERIOD_S = 0.05
BAR_US = 100.0
STEAL = 7  # of the numbers in /proc/stat: while another machine of the same host had the processor


def drive(seconds: float) -> tuple[Reading, dict[str, tuple[np.ndarray, np.ndarray]], list[str]]:
    """Follow a sine for a time and return the last reading, the histograms, and why it did not run, if it did not."""
    ours, theirs = processors()
    with Simulator(cpus=theirs) as robot:
        task, cell = cast(Task, Reach()), Cell(name="sim", address=robot.host)
        driver = make_driver(task, cell, gripper="none", real_time=RealTime(cpus=ours))
        driver.start()
        try:
            start = driver.read().state
            began_s, stops, sequence = time.monotonic(), [], 0
            while (t := time.monotonic() - began_s) < seconds:
                sequence += 1
                p = start.p_BE + np.array([0.0, 0.06 * np.sin(1.5 * t), 0.03 * np.sin(2.3 * t)])
                driver.send(ArmCommand(p, start.quat_BE, False), sequence, time.monotonic())
                reading = driver.read()
                if reading.mode is not Mode.RUN:
                    stops.append(reading.reason)
                    if reading.recoveries_left == 0:
                        break
                    driver.recover() if reading.mode is Mode.HOLD else driver.acknowledge("the benchmark")
                    time.sleep(1.0)
                time.sleep(max(began_s + sequence * PERIOD_S - time.monotonic(), 0.001))
            return driver.read(), driver.histograms(), stops
        finally:
            driver.close()


def processors() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the processors of the driver and of the robot's simulator: a robot computes with its own."""
    there = sorted(os.sched_getaffinity(0))
    return ((there[-1],), tuple(there[:-1])) if len(there) > 1 else ((), ())


def pieces_us(n: int = 5000) -> dict[str, float]:
    """Return the median time [us] of each piece of a response, of a loop that does nothing else; it holds its pose."""
    names = ("from the state's arrival to the sample", "the law", "sending")
    with Simulator(lenient=True) as robot:
        plant = FciPlant(FciSettings(address=robot.host, gripper="none"))
        plant.connect()
        times, sample, motion = np.empty((n, 4)), Sample(), Motion(Reach().compliance, FciPlant.dt_s)
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        with contextlib.suppress(PermissionError):  # else others run in the middle of a piece
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
        try:
            plant.begin(sample)
            motion.start(sample)
            for row in times:
                plant.read(sample)
                row[1] = time.monotonic()
                tau = motion.update(sample)
                row[2] = time.monotonic()
                plant.write(tau, float("nan"))
                row[3], row[0] = time.monotonic(), sample.stamp_s
                plant.tell_more(sample)
        finally:
            plant.close()
            os.sched_setscheduler(0, *before)
    return dict(zip(names, (1e6 * np.median(np.diff(times), axis=0)).tolist(), strict=True))


def processor_times() -> np.ndarray:
    """Return how long all processors together were at what, by the kernel's count; zeros where it does not tell."""
    try:
        words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1 : STEAL + 2]
    except OSError:
        return np.zeros(STEAL + 1)
    return np.array(words, float)


def run(quick: bool = False) -> list[Row]:
    """Return the rows of the benchmark; none where there is no simulator.

    Args:
        quick: 5 s instead of 60 s.
    """
    if reason := why_not():
        print(f"      left out: {reason}")
        return []
    seconds = 5.0 if quick else 60.0
    pieces = pieces_us(500 if quick else 5000)
    before = processor_times()
    reading, histograms, stops = drive(seconds)
    passed = processor_times() - before
    stolen = float(passed[STEAL] / max(passed.sum(), 1.0))
    ticks = reading.ticks
    save(seconds, reading, histograms, stops, pieces, stolen)
    names = ("median", "p99", "p99.9", "largest")
    rows = [
        _row(f"driver's response, {name}", value, "us", f"bar: {BAR_US:g}" if name == "p99" else "")
        for name, value in zip(names, ticks.response_us, strict=True)
    ]
    rows += [
        *(_row(f"of it, {name}", value, "us", "median, alone") for name, value in pieces.items()),
        _row("time between ticks, p99", ticks.period_us[1], "us", "nominal: 1000"),
        _row("processors' time stolen by the host", 100.0 * stolen, "%"),
        _row("states missed", float(ticks.missed), f"of {ticks.ticks + ticks.missed}"),
        _row("holds and stops", float(len(stops)), f"in {seconds:g} s", "; ".join(stops[:2])),
    ]
    rows[0]["note"] = ticks.real_time
    return rows


def _row(name: str, value: float, unit: str, note: str = "") -> Row:
    return {"name": name, "value": value, "unit": unit, "baseline": None, "ratio": None, "note": note}


def save(
    seconds: float,
    reading: Reading,
    histograms: dict[str, tuple[np.ndarray, np.ndarray]],
    stops: list[str],
    pieces: dict[str, float],
    stolen: float,
) -> None:
    """Write the numbers and a picture of the histogram."""
    from robot_rl.runs import git_commit, machine, versions

    ticks = reading.ticks
    edges, counts = histograms["response"]
    seen = np.flatnonzero(counts)
    facts: dict[str, Any] = {
        "commit": git_commit(),
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "seconds": seconds,
        "real_time": ticks.real_time,
        "ticks": ticks.ticks,
        "missed": ticks.missed,
        "holds_and_stops": stops,
        "response_is": "from when a state has arrived until the torques are handed to the network",
        "pieces_us": pieces,
        "stolen_share": stolen,
        "response_us": dict(zip(("p50", "p99", "p99.9", "max"), ticks.response_us, strict=True)),
        "period_us": dict(zip(("p50", "p99", "p99.9", "max"), ticks.period_us, strict=True)),
        "response_histogram": {"upper_edge_us": edges[seen].tolist(), "count": counts[seen].tolist()},
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_json_atomic(FOLDER / "response.json", facts)
    try:
        draw(FOLDER / "response.png", edges, counts, ticks.response_us)
    except ImportError:
        print("      no picture: matplotlib is not installed")


def draw(path: Path, edges: np.ndarray, counts: np.ndarray, percentiles: tuple[float, ...]) -> None:
    """Draw the histogram, its tail on a logarithmic scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 3.2), layout="constrained")
    shown = edges <= max(4.0 * percentiles[1], 2.0 * BAR_US)
    axes.fill_between(edges[shown], counts[shown], step="pre", color="tab:blue", linewidth=0.0)
    axes.set_yscale("symlog", linthresh=1.0)
    for value, name in zip(percentiles[:2], ("p50", "p99"), strict=True):
        axes.axvline(value, color="0.3", linewidth=1.0, linestyle=":")
        axes.annotate(f" {name} {value:.0f} µs", (value, axes.get_ylim()[1] * 0.5), fontsize=9)
    axes.set_xlim(0.0, float(edges[shown][-1]))
    axes.set_xlabel(f"from state arrived to torques sent [µs]; largest {percentiles[3]:.0f} µs")
    axes.set_ylabel("ticks")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 s instead of 60 s")
    rows = run(parser.parse_args().quick)
    for row in rows:
        print(f"{row['name']:<44}{row['value']:>10.1f} {row['unit']:<14} {row['note']}")
    if rows:
        print(f"written to {FOLDER}/response.json and response.png")
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
