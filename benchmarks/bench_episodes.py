"""What recording an episode costs the control loop, and how fast it writes, beside rosbags' own writer.

The baseline does what is done without this recorder: it encodes, serialises and writes the same messages with
`rosbags.rosbag2.Writer`, in the loop. The two take turns. The last rows are the whole of it: a loop at 10 Hz, two
cameras of 640x480 at 30 Hz and readings at 100 Hz, recorded and not, for two minutes each.

Run `python benchmarks/bench_episodes.py`; `--quick` takes some ten seconds. `--loop 120` only runs the loop, so many
seconds each way, and says whether it holds that recording costs less than half a core and makes no tick later than 5
ms; status 1 if it does not. The same loop without a recorder tells what is the machine's own.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.episodes.facts import EpisodeStart
from robot_rl.episodes.recorder import EpisodeRecorder
from robot_rl.episodes.schema import messages, type_of
from robot_rl.episodes.writer import encode
from robot_rl.robot import RobotState

Row = dict[str, str | float | None]
Shots = list[NDArray[np.uint8]]

STATE, ACTION, SIDE, PERIOD_S = 32, 7, 128, 0.1
FULL_SIZE = (480, 640)
NAMES = tuple(f"joint{i + 1}" for i in range(7))


def reading(stamp_s: float) -> RobotState:
    """Return a reading of an arm with one object."""
    rng = np.random.default_rng(round(stamp_s * 1e3))
    unit = np.array([1.0, 0.0, 0.0, 0.0])
    return RobotState(
        stamp_s=stamp_s, q=rng.normal(size=7), dq=rng.normal(size=7), p_BE=rng.normal(size=3), quat_BE=unit,
        V_BE=rng.normal(size=6), F_BE=rng.normal(size=6), gripper_width_m=0.04, gripper_closing=False,
        objects={"cube": np.concatenate([rng.normal(size=3), unit])},
    )  # fmt: skip


def shots(height: int, width: int, n: int = 8) -> Shots:
    """Return pictures with edges, gradients and some noise, as a camera's are."""
    y, x = np.mgrid[0:height, 0:width]
    made = []
    for k in range(n):
        noise = np.random.default_rng(k).normal(0.0, 3.0, (height, width, 3))
        square = ((x - width * k / n) ** 2 < (width / 8) ** 2) & ((y - height / 2) ** 2 < (height / 6) ** 2)
        base = np.stack([255.0 * x / width, 255.0 * y / height, np.where(square, 220.0, 60.0)], axis=-1)
        made.append(np.clip(base + noise, 0, 255).astype(np.uint8))
    return made


class InTheLoop:
    """The baseline: the same messages by rosbags' own writer, at once."""

    def __init__(self, folder: Path) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        self._encode = messages()
        self._writer = Writer(folder / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections: dict[str, Any] = {}

    def write(self, topic: str, data: bytes, stamp_ns: int) -> None:
        """Write one message."""
        if topic not in self._connections:
            kind = type_of(topic)
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self._encode.store)
        self._writer.write(self._connections[topic], stamp_ns, data)

    def state(self, state: RobotState) -> None:
        """Write a reading."""
        at = round(state.stamp_s * 1e9)
        for topic, data in self._encode.robot(state, at, NAMES):
            self.write(topic, data, at)

    def picture(self, camera: str, picture: NDArray[np.uint8], stamp_s: float, full: bool) -> None:
        """Write a picture."""
        at, kind = round(stamp_s * 1e9), "jpeg" if full else "png"
        topic, data = self._encode.image(camera, full, encode(picture, kind), kind, at)
        self.write(topic, data, at)

    def step(self, k: int, state: RobotState, seen: dict[str, NDArray[np.uint8]]) -> None:
        """Write a step with its reading and pictures."""
        self.state(state)
        for name, picture in seen.items():
            self.picture(name, picture, state.stamp_s, full=False)
        vector, action = np.zeros(STATE, np.float32), np.zeros(ACTION, np.float32)
        fields: dict[str, Any] = {
            "index": k, "source": "policy", "policy_version": 0, "state": vector, "action": action, "executed": action,
            "next_state": vector, "reward": 0.0, "terminated": False, "truncated": False, "success": False,
            "reason": "", "guard_events": [], "state_age_ms": 0.0, "period_ms": 0.0, "action_latency_ms": 0.0,
            "timing_names": [], "timing_ms": np.zeros(0, np.float32),
        }  # fmt: skip
        at = round(state.stamp_s * 1e9)
        topic, data = self._encode.step(fields, at, at)
        self.write(topic, data, at)

    def close(self) -> None:
        """Complete the bag."""
        self._writer.close()


def start(real_time: bool) -> EpisodeStart:
    """Return facts of a start."""
    return EpisodeStart(task="bench", spec={}, period_s=PERIOD_S, real_time=real_time)


def cost_of_a_step(cameras: int, n: int, folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (n,) seconds that a step takes the loop: ours, then the baseline's; the two take turns."""
    pictures = shots(SIDE, SIDE)
    ours, theirs = np.zeros(n), np.zeros(n)
    bag = InTheLoop(folder)
    with EpisodeRecorder(folder / "episodes", pictures=cameras > 0) as recorder:
        first_s = time.monotonic()
        action, vector = np.zeros(ACTION, np.float32), np.zeros(STATE, np.float32)

        def observe(k: int) -> tuple[dict[str, NDArray[np.uint8]], Any]:
            seen = {f"camera{i}": pictures[(k + i) % len(pictures)] for i in range(cameras)}
            return seen, {"state": vector, **seen} if seen else vector

        recorder.begin(start(True), reading(first_s), observe(0)[1])
        for k in range(n):
            state = reading(first_s + (k + 1) * PERIOD_S)
            seen, observation = observe(k + 1)
            at = time.perf_counter()
            recorder.step(state, observation, action, 0.0, False, False, {})
            ours[k] = time.perf_counter() - at
            recorder.wait()  # as it has in a loop at 10 Hz
            at = time.perf_counter()
            bag.step(k, state, seen)
            theirs[k] = time.perf_counter() - at
    bag.close()
    return ours, theirs


def throughput(seconds: float, folder: Path) -> tuple[float, float, float]:
    """Return MB per second of processor time, ours and the baseline's (medians of turns), and MB of one turn.

    What is written are two cameras of 640x480 at 30 Hz and readings at 100 Hz, JPEG encoding included.
    """
    pictures = shots(*FULL_SIZE)
    readings = [reading(0.01 * k) for k in range(1, 1 + round(100 * seconds))]
    rates: list[tuple[float, float]] = []
    size = 0.0

    def feed(state: Callable[[RobotState], object], frame: Callable[[str, Any, float], object]) -> None:
        shot = 0
        for k, r in enumerate(readings):
            state(r)
            if k * 30 // 100 > (k - 1) * 30 // 100:
                for camera in ("wrist", "side"):
                    frame(camera, pictures[shot % len(pictures)], r.stamp_s)
                shot += 1

    for turn in range(3):
        here = folder / str(turn)
        here.mkdir()
        at = time.process_time()
        with EpisodeRecorder(here / "episodes", pictures=True) as recorder:
            recorder.begin(start(False), reading(0.0), np.zeros(STATE, np.float32))
            feed(recorder.sample, recorder.frame)
        ours_s = time.process_time() - at
        at = time.process_time()
        bag = InTheLoop(here)
        feed(bag.state, lambda camera, shot, s, bag=bag: bag.picture(camera, shot, s, full=True))
        bag.close()
        theirs_s = time.process_time() - at
        size = sum(p.stat().st_size for p in (here / "episodes").iterdir()) / 1e6
        bag_size = sum(p.stat().st_size for p in (here / "bag").iterdir()) / 1e6
        rates.append((size / ours_s, bag_size / theirs_s))
    ours, theirs = np.median(np.array(rates), axis=0)
    return float(ours), float(theirs), size


def lateness(seconds: float, record: bool, folder: Path) -> tuple[NDArray[np.float64], float, int]:
    """Return how late each turn of a 10 Hz loop woke [s], share of a core used, and pictures left out."""
    pictures, small = shots(*FULL_SIZE), shots(SIDE, SIDE)
    recorder = EpisodeRecorder(folder / f"episodes-{record}", pictures=True) if record else None
    ended = threading.Event()

    def sense() -> None:  # what cameras and the arm's driver hand over meanwhile
        begin, k = time.monotonic(), 0
        while not ended.is_set():
            k += 1
            time.sleep(max(0.0, begin + 0.01 * k - time.monotonic()))
            state = reading(time.monotonic())
            if recorder is not None:
                recorder.sample(state)
                if k * 30 // 100 > (k - 1) * 30 // 100:
                    for camera in ("wrist", "side"):
                        recorder.frame(camera, pictures[k % len(pictures)], state.stamp_s)

    vector, action = np.zeros(STATE, np.float32), np.zeros(ACTION, np.float32)
    if recorder is not None:
        recorder.begin(start(True), reading(time.monotonic()), {"state": vector, "wrist": small[0], "side": small[1]})
    thread = threading.Thread(target=sense)
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    thread.start()
    late = np.zeros(round(seconds / PERIOD_S))
    for k in range(len(late)):
        deadline = begin + (k + 1) * PERIOD_S
        time.sleep(max(0.0, deadline - time.monotonic()))
        late[k] = time.monotonic() - deadline
        if recorder is not None:
            seen = {"state": vector, "wrist": small[k % 8], "side": small[(k + 3) % 8]}
            recorder.step(reading(time.monotonic()), seen, action, 0.0, False, False, {})
    ended.set()
    thread.join()
    wall_s = time.monotonic() - begin
    after = resource.getrusage(resource.RUSAGE_SELF)
    dropped = 0
    if recorder is not None:
        recorder.close()
        dropped = recorder.finished[-1].dropped
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return late, used_s / wall_s, dropped


MOST_LATE_S, MOST_CORE = 0.005, 0.5


def loop(seconds: float, root: Path) -> tuple[list[Row], str]:
    """Return the rows of the loop, and whether the promise holds, in words that begin with "holds" if it does."""
    bare, bare_core, _ = lateness(seconds, False, root)
    late, core, dropped = lateness(seconds, True, root)
    rows: list[Row] = []
    for name, value, base in (
        ("p99", np.percentile(late, 99), np.percentile(bare, 99)), ("largest", late.max(), bare.max()),
    ):  # fmt: skip
        rows.append({
            "name": f"lateness of a 10 Hz loop while recording, {name}", "value": 1e3 * float(value), "unit": "ms",
            "baseline": 1e3 * float(base), "ratio": None, "note": f"{seconds:.0f} s; not recording",
        })  # fmt: skip
    over, over_bare = int((late > MOST_LATE_S).sum()), int((bare > MOST_LATE_S).sum())
    rows.append({
        "name": "ticks later than 5 ms while recording", "value": float(over), "unit": "", "baseline": float(over_bare),
        "ratio": None, "note": f"of {len(late)}; not recording",
    })  # fmt: skip
    rows.append({
        "name": "cost of recording, of one core", "value": 100 * (core - bare_core), "unit": "%", "baseline": None,
        "ratio": None, "note": f"{dropped} pictures left out",
    })  # fmt: skip
    cost = f"recording costs {100 * (core - bare_core):.0f} % of a core, {dropped} pictures were left out, "
    ticks = f"{over} of {len(late)} ticks came later than 5 ms ({over_bare} of {len(bare)} without recording)"
    good = over == 0 and core - bare_core < MOST_CORE and not dropped
    return rows, ("holds: " if good else "does not hold: ") + cost + ticks


def run(quick: bool = False) -> list[Row]:
    """Measure everything and return the rows of a table."""
    rows: list[Row] = []
    n, seconds, loop_s = (60, 2.0, 6.0) if quick else (600, 10.0, 120.0)
    with tempfile.TemporaryDirectory() as text:
        root = Path(text)
        for cameras in (0, 2):
            folder = root / f"step{cameras}"
            folder.mkdir()
            ours, theirs = cost_of_a_step(cameras, n, folder)
            words = f"{cameras} cameras 128x128" if cameras else "from state"
            for name, percent in (("median", 50), ("p99", 99)):
                a, b = (float(np.percentile(t, percent)) * 1e6 for t in (ours, theirs))
                rows.append({
                    "name": f"cost of a step to the loop, {words}, {name}", "value": a, "unit": "us", "baseline": b,
                    "ratio": b / a, "note": "rosbags in the loop",
                })  # fmt: skip
        (root / "rate").mkdir()
        ours, theirs, size = throughput(seconds, root / "rate")
        rows.append({
            "name": "writing two cameras 640x480 and 100 Hz state", "value": ours, "unit": "MB/cpu-s",
            "baseline": theirs, "ratio": ours / theirs, "note": f"{size:.0f} MB of {seconds:.0f} s; rosbags",
        })  # fmt: skip
        rows += loop(loop_s, root)[0]
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some ten seconds")
    parser.add_argument("--loop", type=float, default=0.0, metavar="S", help="only the loop, so many seconds each way")
    options = parser.parse_args()
    word = ""
    if options.loop > 0.0:
        with tempfile.TemporaryDirectory() as text:
            rows, word = loop(options.loop, Path(text))
    else:
        rows = run(options.quick)
    for row in rows:
        baseline = "" if row["baseline"] is None else f"{row['baseline']:,.2f}"
        print(f"{row['name']:<58} {row['value']:>10,.2f} {row['unit']:<5} {baseline:>10}  {row['note']}")
    if word:
        print(word)
    raise SystemExit(1 if word.startswith("does not") else 0)


if __name__ == "__main__":
    main()
