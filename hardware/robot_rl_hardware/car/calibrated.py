"""From a recorded drive to a car file: the drive kept on disk, the fit told with its residuals, a picture of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import ConfigError, MissingDependency, StorageError
from robot_rl_hardware.car.calibration import PARTS, Fit, Recording, fit
from robot_rl_hardware.car.settings import CarSettings

_UNITS = {
    "speed_to_erpm_gain": "ERPM at 1 m/s", "speed_to_erpm_offset": "ERPM", "steering_to_servo_gain": "per rad",
    "steering_to_servo_offset": "straight ahead", "latency_s": "s", "steering_lag_s": "s", "friction": "",
}  # fmt: skip
_RESIDUALS = {
    "speed_m_s": ("speed", "m/s", 0.1), "yaw_rate_rad_s": ("yaw rate", "rad/s", 0.2), "friction": ("friction", "", 0.1)
}  # fmt: skip
"""What each residual is of, its unit, and the size beyond which the fit should not be believed."""


def save_recording(path: Path, recording: Recording) -> None:
    """Write a drive as plain arrays. Raises `StorageError` if the disk refuses."""
    try:
        with path.open("wb") as file:
            np.savez_compressed(file, **dataclasses.asdict(recording))
    except OSError as e:
        raise StorageError(f"the drive cannot be written to {path}: {e.strerror or e}") from e


def load_recording(path: Path) -> Recording:
    """Return a drive that `save_recording` wrote.

    Raises:
        ConfigError: The file is missing, or is none of these.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            return Recording(**{f.name: found[f.name] for f in dataclasses.fields(Recording)})
    except FileNotFoundError:
        raise ConfigError(f"there is no recorded drive {path}; `robot-rl calibrate car` writes one") from None
    except (OSError, ValueError, KeyError, EOFError) as e:
        raise ConfigError(f"{path} is no recorded drive: {e}; `robot-rl calibrate car` writes one") from e


def fit_car(recording: Recording, car: CarSettings, parts: Sequence[str] = PARTS) -> tuple[Fit, list[str]]:
    """Return the fit, and what is to be said of it, a sentence each.

    A drive in which the tyres never slid tells nothing of friction; then all else is fitted, and that is said.

    Raises:
        ConfigError: The drive does not show what is asked for.
    """
    notes = []
    try:
        found = fit(recording, car.wheelbase_m, parts)
    except ConfigError as e:
        if "friction" not in parts or "friction" not in str(e):
            raise
        found = fit(recording, car.wheelbase_m, [p for p in parts if p != "friction"])
        notes.append(f"The friction stays {car.friction:g}, which is assumed: {e}.")
    for name, size in found.residuals.items():
        what, unit, most = _RESIDUALS[name]
        if size > most:
            notes.append(
                f"The {what} is off by {size:.2f} {unit} (root mean square), more than {most:g}: look at the picture "
                "before you drive with this, and check localisation and floor."
            )
    return found, notes


def table(car: CarSettings, found: Fit) -> list[str]:
    """Return the fitted values beside those of before, and the residuals, a line each."""
    lines = [f"{'value':<26}{'before':>12}{'now':>12}"]
    lines += [
        f"{name:<26}{getattr(car, name):>12.4g}{value:>12.4g}  {_UNITS[name]}" for name, value in found.values.items()
    ]
    return lines + [
        f"{f'residual of {_RESIDUALS[name][0]}':<26}{'':>12}{size:>12.4g}  {_RESIDUALS[name][1]}"
        for name, size in found.residuals.items()
    ]


def draw(path: Path, recording: Recording, car: CarSettings) -> None:
    """Write a PNG of what was measured and what a car says of it.

    Raises:
        MissingDependency: matplotlib is not installed.
        StorageError: The disk refuses.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as e:
        raise MissingDependency("matplotlib", "the picture of a calibration", "pip install robot-rl[report]") from e
    figure = Figure(figsize=(9, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots(2, 1)
    time_s = recording.time_s - recording.time_s[0]
    told = (recording.erpm - car.speed_to_erpm_offset) / car.speed_to_erpm_gain
    axes[0].plot(time_s, recording.speed_m_s, label="localisation", lw=1.0)
    axes[0].plot(time_s, told, label="wheels, as fitted", lw=1.0)
    axes[0].set_ylabel("speed [m/s]")
    angle = (recording.servo - car.steering_to_servo_offset) / car.steering_to_servo_gain
    axes[1].plot(time_s, recording.yaw_rate_rad_s, label="gyroscope", lw=1.0)
    rolling = recording.speed_m_s * np.tan(angle) / car.wheelbase_m
    axes[1].plot(
        time_s + car.latency_s + car.steering_lag_s, rolling, label="steering, as fitted, without slip", lw=1.0
    )
    axes[1].set_ylabel("yaw rate [rad/s]")
    axes[1].set_xlabel("time [s]")
    for ax in axes:
        ax.legend(loc="upper right", fontsize="small")
        ax.grid(alpha=0.3)
    figure.suptitle(f"Calibration of {car.name}")
    try:
        figure.savefig(path, dpi=110)
    except OSError as e:
        raise StorageError(f"the picture cannot be written to {path}: {e.strerror or e}") from e
