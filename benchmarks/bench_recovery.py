"""How often a car gets back on the course by itself, and how well its sensors tell trouble, in the twin.

    python benchmarks/bench_recovery.py [--states 200] [--seed 0]

States are drawn over the four places. Half are crashes: the car drives on with a random steering and speed until its
detector names trouble. The others are stuck: nose or flank against a wall, or standing the wrong way round. A recovery
counts when the car says that it is done, and really is within the borders, upright and along the course.

The detectors are judged against what really happened in drives of the classical driver and of one that pays no heed.
A told crash is right if the hull touched something within a second; a hard crash, one that takes 0.5 m/s or more in a
control period, must be told within a second. Stuck is less than 0.15 m in a second of asking for motion; it is told too
if a crash just before it was. Events of one kind within a second are one.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from robot_rl.car import CarCommand, CarReset, CarState
from robot_rl.errors import RobotError
from robot_rl.stats import wilson
from robot_rl_sim.car.settings import CarTwinConfig
from robot_rl_sim.car.twin import CarTwin
from robot_rl_tasks.car.driver import PurePursuit, ahead
from robot_rl_tasks.car.lap_build import driver_for
from robot_rl_tasks.car.places import PRESETS, place
from robot_rl_tasks.car.recovery import Breadcrumbs, Recovery
from robot_rl_tasks.car.trouble import TroubleDetector

LONGEST_S = 60.0
SAME_S = 1.0
HARD_M_S = 0.5


class Bench:
    """One place with its twin."""

    def __init__(self, name: str) -> None:
        self.where = place(name)
        self.twin = CarTwin(self.where, CarTwinConfig())
        self.driver = driver_for(self.where.surface, 0.6, 5.0)
        self.line = self.where.course.line

    def crashed(self, rng: np.random.Generator) -> tuple[CarState, Breadcrumbs, str] | None:
        """Drive without heed until the detector names trouble; None if it found a circle to drive in."""
        i = int(rng.integers(len(self.line.s)))
        state = self.twin.reset(
            CarReset(
                p_WC=(float(self.line.points[i, 0]), float(self.line.points[i, 1])),
                yaw_rad=float(self.line.headings[i]),
                speed_m_s=1.0, seed=int(rng.integers(2**31)),
            )
        )  # fmt: skip
        crumbs, detector = Breadcrumbs(), TroubleDetector()
        wild = CarCommand(float(rng.uniform(-0.4, 0.4)), float(rng.uniform(1.0, 5.0)))
        for _ in range(200):
            self.twin.command(wild)
            state = self.twin.observe()
            crumbs.drop(ahead(state, state.stamp_s - state.pose_stamp_s)[0])
            trouble = detector.update(state, wild.speed_m_s)
            if trouble or self._lost(state):
                return state, crumbs, trouble or "left the course"
        return None

    def _lost(self, state: CarState) -> bool:
        """Return whether the car is a metre beyond the borders, where the task ends an episode."""
        s, left = self.line.project(state.p_WC)
        i = int(s / self.line.length_m * len(self.line.s)) % len(self.line.s)
        return not -self.where.course.right_at_s[i] - 1.0 < left < self.where.course.left_at_s[i] + 1.0

    def stuck(self, rng: np.random.Generator) -> tuple[CarState, Breadcrumbs, str] | None:
        """Stand against a wall or the wrong way round; None where there is no such room."""
        i = int(rng.integers(len(self.line.s)))
        width = float(self.where.course.left_at_s[i])
        for share in np.linspace(0.95, 0.0, 20):  # as near to the border as the hull lets it
            p = self.line.points[i] + float(rng.choice([-1.0, 1.0])) * share * width * self.line.normals[i]
            yaw = float(self.line.headings[i]) + float(rng.uniform(-math.pi, math.pi))
            try:
                state = self.twin.reset(
                    CarReset(p_WC=(float(p[0]), float(p[1])), yaw_rad=yaw, seed=int(rng.integers(2**31)))
                )
            except RobotError:
                continue
            crumbs = Breadcrumbs()
            for _ in range(25):  # it pushes on, as a policy would that knows no better
                self.twin.command(CarCommand(float(rng.uniform(-0.1, 0.1)), 0.8))
                state = self.twin.observe()
                crumbs.drop(ahead(state, state.stamp_s - state.pose_stamp_s)[0])
            return state, crumbs, "stuck"
        return None

    def recovers(self, state: CarState, crumbs: Breadcrumbs) -> tuple[bool, Recovery, float]:
        """Let the car get back and return whether it did, how, and how long it took [s]."""
        recovery, began_s = Recovery(self.where.course, crumbs, self.driver), state.stamp_s
        while (command := recovery.command(state)) is not None and state.stamp_s - began_s < LONGEST_S:
            self.twin.command(command)
            state = self.twin.observe()
            crumbs.drop(ahead(state, state.stamp_s - state.pose_stamp_s)[0])
        truth = self.twin.truth()
        s, left = self.line.project(truth.p_WC)
        i = int(s / self.line.length_m * len(self.line.s)) % len(self.line.s)
        inside = -self.where.course.right_at_s[i] < left < self.where.course.left_at_s[i]
        along = abs(math.remainder(truth.yaw_rad - float(self.line.heading(s)), 2 * math.pi)) < 0.8
        good = recovery.rung == "done" and inside and along and truth.upright > 0.8
        return good, recovery, state.stamp_s - began_s

    def judged(self, rng: np.random.Generator, heedless: bool, seconds: float) -> tuple[Counter[str], Counter[str]]:
        """Drive, and return how many troubles there really were and were told: hits, false alarms, misses by kind."""
        i = int(rng.integers(len(self.line.s)))
        state = self.twin.reset(
            CarReset(
                p_WC=(float(self.line.points[i, 0]), float(self.line.points[i, 1])),
                yaw_rad=float(self.line.headings[i]), seed=int(rng.integers(2**31)),
            )
        )  # fmt: skip
        pursuit, detector = PurePursuit(self.where.course, self.driver), TroubleDetector()
        wild = CarCommand(float(rng.uniform(-0.4, 0.4)), float(rng.uniform(1.0, 5.0)))
        before = self.twin.truth().v_C
        told: list[tuple[float, str]] = []
        real: list[tuple[float, str]] = []
        touched: list[float] = []
        track: deque[tuple[float, np.ndarray]] = deque()
        for _ in range(int(seconds / self.twin.period_s)):
            command = wild if heedless else pursuit.command(state)
            self.twin.command(command)
            state, truth = self.twin.observe(), self.twin.truth()
            now = state.stamp_s
            if (kind := detector.update(state, command.speed_m_s)) and not _recent(told, kind, now):
                told.append((now, kind))
            track.append((now, truth.p_WC))
            while now - track[0][0] > SAME_S + 1e-6:
                track.popleft()
            full = now - track[0][0] > 0.95 * SAME_S
            still = full and math.hypot(*(truth.p_WC - track[0][1])) < detector.settings.stuck_m
            lost, before = math.hypot(*(truth.v_C - before)), truth.v_C
            if truth.collided:
                touched.append(now)
            for kind, is_so in (
                ("crash", truth.collided and lost > HARD_M_S),
                ("flip", truth.upright < 0.3),
                ("stuck", still and abs(command.speed_m_s) > detector.settings.moving_m_s),
            ):  # fmt: skip
                if is_so and not _recent(real, kind, now):
                    real.append((now, kind))
            if told and heedless and now - told[-1][0] > 1.5 * SAME_S:
                break  # one trouble each: what follows is no independent case
        hits: Counter[str] = Counter()
        wrong: Counter[str] = Counter()
        for at, kind in told:
            so = touched if kind == "crash" else [t for t, k in real if k == kind]
            near = any(abs(t - at) <= SAME_S for t in so)
            hits[kind] += near
            wrong[f"false {kind}"] += not near
        for at, kind in real:
            # A crash that was told has ended the drive already: that the car then stands is no news.
            found = any(
                (k == kind and abs(t - at) <= SAME_S) or (kind == "stuck" and -3.0 * SAME_S <= t - at <= SAME_S)
                for t, k in told
            )
            hits[f"found {kind}"] += found
            wrong[f"missed {kind}"] += not found
        return hits, wrong


def _recent(events: list[tuple[float, str]], kind: str, now_s: float) -> bool:
    """Return whether an event is the same as one of the last second."""
    return any(k == kind and now_s - at <= SAME_S for at, k in events)


def run(states: int = 200, seed: int = 0) -> list[dict[str, Any]]:
    """Return a row for each measurement."""
    rng = np.random.default_rng([seed, 11])
    recovered: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    climbed: list[list[str]] = []
    hits: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    seconds: list[float] = []
    for name in PRESETS:
        bench = Bench(name)
        done = 0
        while done < states // len(PRESETS):
            kind = "crash" if done % 2 == 0 else "stuck"
            found = bench.crashed(rng) if kind == "crash" else bench.stuck(rng)
            if found is None:
                continue
            good, recovery, took = bench.recovers(found[0], found[1])
            done += 1
            tried[kind] += 1
            recovered[kind] += good
            seconds.append(took)
            climbed.append(recovery.climbed)
            if not good:
                failures[f"{name} {kind}: {' '.join(recovery.climbed[-4:])}"] += 1
        for k in range(max(states // 8, 1)):
            more = bench.judged(rng, heedless=k % 5 != 0, seconds=8.0)
            hits.update(more[0])
            wrong.update(more[1])
    rows: list[dict[str, Any]] = []
    for kind in ("crash", "stuck"):
        interval = wilson(recovered[kind], tried[kind])
        rows.append(
            {"name": f"recovery, {kind}", "value": recovered[kind] / max(tried[kind], 1), "n": tried[kind],
             "note": f"95 % interval {interval.low:.3f} to {interval.high:.3f}"}
        )  # fmt: skip
    n, k = sum(tried.values()), sum(recovered.values())
    interval = wilson(k, n)
    rows.append(
        {"name": "recovery, all", "value": k / max(n, 1), "n": n,
         "note": f"95 % interval {interval.low:.3f} to {interval.high:.3f}; median {np.median(seconds):.1f} s, longest "
                 f"{max(seconds, default=math.nan):.1f} s; failed {dict(failures)}"}
    )  # fmt: skip
    rows += rungs(climbed)
    for kind in ("crash", "stuck"):
        false, missed = wrong[f"false {kind}"], wrong[f"missed {kind}"]
        for what, other in (("precision", false), ("recall", missed)):
            right = hits[kind if what == "precision" else f"found {kind}"]
            total = right + other
            rows.append(
                {"name": f"{what}, {kind}", "value": right / total if total else math.nan, "n": total,
                 "note": f"{other} {'false' if what == 'precision' else 'missed'}"}
            )  # fmt: skip
    return rows


def rungs(climbed: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return a row for each rung: of the times that it was tried, how often it led on to where it should.

    Braking leads to backing out, that to the line if nothing has to be turned first, a turn to the line, and the drive
    to the line to being back.
    """
    rows: list[dict[str, Any]] = []
    for rung, leads_to, what in (
        ("brake", "back", "stopped"),
        ("back", "join", "went straight on to the line; the others had to turn first"),
        ("turn", "join", "could then drive to the line"),
        ("join", "done", "were back; the others were blocked and turned again"),
    ):  # fmt: skip
        after = Counter(b for way in climbed for a, b in itertools.pairwise(way) if a == rung)
        n, k = sum(after.values()), after[leads_to]
        rows.append({"name": f"rung {rung}", "value": k / n if n else math.nan, "n": n, "note": f"{k} {what}"})
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=200, help="how many to recover from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for row in run(options.states, options.seed):
        print(f"{row['name']:20} {row['value']:.3f} of {row['n']:<4} {row['note']}", flush=True)


if __name__ == "__main__":
    main()
