"""Draws the README's picture from a run: frames of a success on film, beside its learning curve in minutes.

    python scripts/make_picture.py runs/demo docs/images/pick_cube.png

Everything in the picture is read from the run's folder; nothing is typed in.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_rl.errors import CheckpointError, RobotRLError, StorageError
from robot_rl.evaluate import HOLD_FRAMES
from robot_rl.run_data import Row, RunData, load_run
from robot_rl.stats import autonomous, number, rolling_rate, success_summary
from robot_rl.video import read_frame

Frame = NDArray[np.uint8]

MOMENTS = (0.0, 0.45, 0.75, 1.0)  # of the episode, where a frame is taken
CAPTION_BAR = 1 / 15  # of the height of a filmed frame, below the picture
WINDOW = 20  # episodes of the rolling success rate and median
FEWEST = 5  # episodes from which a curve is drawn
BYTES = 300_000  # what a README's picture may weigh
BLUE, ORANGE, GREY = "#2f6fb3", "#d98324", "#6b7280"


def filmed_successes(run: RunData) -> Iterator[list[Frame]]:
    """Yield one picture (H, W, 3) uint8 for each of `MOMENTS`, of every success on film.

    Raises:
        CheckpointError: The run has no video.
    """
    final = run.final
    if run.video is None or final is None:
        raise CheckpointError(f"{run.folder} has no video with an evaluation; make them with: robot-rl eval {run.name}")
    rate, count = _rate_and_frames(run.video)
    start = 0
    for row in final.episodes:
        steps = int(number(row.get("steps"), 0.0))
        last = start + steps  # one frame before every step, then the outcome
        if last + HOLD_FRAMES > count:
            return
        if row.get("success"):
            times = [(start + moment * steps) / rate for moment in MOMENTS]
            yield [_without_caption(read_frame(run.video, t)) for t in times]
        start = last + HOLD_FRAMES


def redness(picture: Frame) -> NDArray[np.bool_]:
    """Return (H, W) where a picture is red as the cube is."""
    r, g, b = (picture[..., i].astype(float) for i in range(3))
    return (r > 60.0) & (r > 1.6 * g) & (r > 1.6 * b)


def clearest(run: RunData) -> list[Frame]:
    """Return the pictures of the filmed success in whose last one most of the cube is seen.

    Raises:
        CheckpointError: There is none.
    """
    found = max(filmed_successes(run), key=lambda frames: int(redness(frames[-1]).sum()), default=None)
    if found is None:
        raise CheckpointError(
            f"{run.video} shows no success; train longer, or film more episodes: robot-rl eval --help"
        )
    return found


def mosaic(frames: list[Frame], gap: int = 6) -> Frame:
    """Return four pictures in two rows with a white gap between them, each without its outer eighth at the sides."""
    side = frames[0].shape[1] // 8
    cut = [np.pad(f[:, side:-side], ((0, gap), (0, gap), (0, 0)), constant_values=255) for f in frames]
    rows = [np.concatenate(cut[i : i + 2], axis=1) for i in (0, 2)]
    return np.concatenate(rows, axis=0)[:-gap, :-gap]


def _rate_and_frames(video: Path) -> tuple[float, int]:
    """Return frames per second and the number of frames."""
    import av
    import av.error

    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            return float(stream.average_rate or 10), stream.frames
    except (OSError, IndexError, av.error.FFmpegError) as e:
        raise CheckpointError(f"cannot read the video {video}: {e}") from e


def _without_caption(frame: Frame) -> Frame:
    return frame[: round(frame.shape[0] * (1 - CAPTION_BAR))]


def draw(run: RunData, out: Path) -> None:
    """Draw the picture.

    Args:
        run: A finished run.
        out: PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture = mosaic(clearest(run))
    figure = Figure(figsize=(10.0, 4.1), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.0, 1.25), height_ratios=(1.4, 1.0))
    film = figure.add_subplot(grid[:, 0])
    film.imshow(picture)
    film.set_axis_off()
    success = figure.add_subplot(grid[0, 1])
    _draw_success(success, run)
    _draw_time(figure.add_subplot(grid[1, 1], sharex=success), run)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=110)
        _shrink(out)
    except OSError as e:
        raise StorageError(f"could not write {out}: {e.strerror or e}") from e


def _draw_success(axes: Any, run: RunData) -> None:
    """Draw success in practice against minutes, with the clone and the evaluation."""
    practice = autonomous(run.episodes)
    minutes = _minutes(practice)
    rate = 100.0 * rolling_rate([bool(row.get("success")) for row in practice], WINDOW)
    shown = slice(FEWEST - 1, None)
    axes.plot(
        minutes[shown], rate[shown], color=BLUE, linewidth=2.0, label=f"practice, up to the last {WINDOW} episodes"
    )
    if run.clone is not None:
        clone = success_summary(run.clone.episodes)
        label = f"cloned demonstrations, {clone.successes} of {clone.n}"
        axes.axhline(100.0 * clone.rate, color=GREY, linestyle="--", linewidth=1.2, label=label)
    final = success_summary(run.final.episodes if run.final else [])
    end = float(minutes[-1]) if minutes.size else 0.0
    bars = [[100.0 * (final.rate - final.low)], [100.0 * (final.high - final.rate)]]
    label = f"evaluation, {final.successes} of {final.n} (95 % interval)"
    axes.errorbar([end], [100.0 * final.rate], yerr=bars, fmt="o", color=ORANGE, capsize=3.0, label=label)
    axes.set(xlim=(0.0, 1.05 * end or 1.0), ylim=(0.0, 106.0), ylabel="success [%]")
    axes.set_title(_title(run.facts), loc="left", fontsize=11)
    axes.tick_params(labelbottom=False)
    _finish(axes)


def _draw_time(axes: Any, run: RunData) -> None:
    """Draw the time to success in practice against minutes, with that of the demonstrations and of the evaluation."""
    done = [row for row in autonomous(run.episodes) if row.get("success")]
    minutes, taken_s = _minutes(done), np.array([number(row.get("duration_s")) for row in done])
    ends = range(FEWEST, len(done) + 1)
    median_s = [float(np.median(taken_s[max(0, end - WINDOW) : end])) for end in ends]
    axes.plot(minutes[FEWEST - 1 :], median_s, color=BLUE, linewidth=2.0, label="practice, median")
    demos_s = [number(row.get("duration_s")) for row in run.demos]
    if demos_s:
        axes.axhline(np.median(demos_s), color=GREY, linestyle=":", linewidth=1.4, label="demonstrations")
    final_s = success_summary(run.final.episodes if run.final else []).median_time_to_success_s
    if minutes.size and math.isfinite(final_s):
        axes.plot([minutes[-1]], [final_s], "o", color=ORANGE)
    axes.set(ylim=(0.0, None), xlabel="minutes of training", ylabel="time to success [s]")
    _finish(axes)


def _minutes(rows: Sequence[Mapping[str, object]]) -> NDArray[np.float64]:
    return np.array([number(row.get("t_s")) for row in rows]) / 60.0


def _finish(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.legend(loc="lower right", frameon=False, fontsize=8.5)


def _title(facts: Row) -> str:
    machine = facts.get("machine")
    cores = number(machine.get("cores")) if isinstance(machine, dict) else math.nan
    where = f" on {cores:.0f} cores" if math.isfinite(cores) else ""
    return f"{facts.get('task', 'run')}: from demonstrations to skill{where}"


def _shrink(path: Path) -> None:
    """Bring a PNG below `BYTES`: as it is, with 256 colours, then with fewer pixels."""
    from PIL import Image

    picture = Image.open(path).convert("RGB")
    picture.save(path, optimize=True)
    for scale in (1.0, 0.85, 0.7, 0.5):
        if path.stat().st_size < BYTES:
            return
        size = (round(picture.width * scale), round(picture.height * scale))
        picture.resize(size).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> int:
    """Draw the picture of a run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with a video and an evaluation")
    parser.add_argument("out", type=Path, nargs="?", default=Path("docs/images/pick_cube.png"), help="PNG to write")
    arguments = parser.parse_args()
    try:
        draw(load_run(arguments.run), arguments.out)
    except RobotRLError as e:
        print(f"make_picture: {e}", file=sys.stderr)
        return 2
    print(f"{arguments.out} ({arguments.out.stat().st_size / 1000:.0f} kB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
