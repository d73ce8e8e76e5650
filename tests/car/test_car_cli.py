"""What the commands for a car say to bad input: one sentence, status 2, and nothing moves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from cars import F1TENTH

from robot_rl.cli import main
from robot_rl_hardware.car.calibrated import save_recording
from robot_rl_hardware.car.calibration import Recording
from robot_rl_hardware.car.file import load_car, save_car


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of one's own with a car file in it, and be there."""
    monkeypatch.chdir(tmp_path)
    save_car(tmp_path / "car.yaml", F1TENTH)
    (tmp_path / "bad.yaml").write_text((tmp_path / "car.yaml").read_text().replace("wheelbase_m: 0.3302", ""))
    text = (tmp_path / "car.yaml").read_text()
    (tmp_path / "impossible.yaml").write_text(text.replace("servo_min: 0.15", "servo_min: 0.95"))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["node", "car", "driver=twin"], "which car? Name its file: car=my_car.yaml"),
        (["node", "car", "driver=twin", "car=no.yaml"], "there is no car file no.yaml; write one as in"),
        (
            ["node", "car", "driver=twin", "car=bad.yaml"],
            "bad.yaml does not give wheelbase_m; nothing drives on a guess",
        ),
        (["node", "car", "driver=twin", "car=impossible.yaml"], "servo_min is 0.95 and servo_max 0.85"),
        (["calibrate", "car", "car=bad.yaml"], "bad.yaml does not give wheelbase_m"),
        (["calibrate", "car"], "which car? Name its file"),
        (["calibrate", "car", "car=car.yaml", "--speed", "2"], "--room is missing; give four distances"),
        (["calibrate", "car", "car=car.yaml", "--room", "1,2"], "--room is '1,2'; give four distances"),
        (["calibrate", "car", "car=car.yaml", "--room=-1,2,2,2"], "the room's ahead_m is -1.0"),
        (["calibrate", "car", "car=car.yaml", "--from", "no.npz"], "there is no recorded drive no.npz"),
        (["calibrate", "car", "car=car.yaml", "sped=3"], "does not know what to do with 'sped=3'"),
        (["calibrate", "cra"], "'cra' is nothing to calibrate"),
        (["doctor", "--car", "bad.yaml"], "bad.yaml does not give wheelbase_m"),
        (["doctor", "--car", "car.yaml", "--cell", "twin"], "--car looks at a car, and --cell belongs to an arm"),
    ],
)
def test_a_mistake_is_a_sentence(words: list[str], told: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (here / "car.yaml").read_bytes()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("robot-rl: ") == 1
    assert "Traceback" not in said
    assert (here / "car.yaml").read_bytes() == before


@pytest.mark.ros
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["driver=twn"], "there is no driver 'twn'; there are twin, vesc. Did you mean 'twin'?"),
        (["driver=vesc"], "which port is the VESC on? Set driver.port=...; serial ports here: "),
        (["driver=vesc", "driver.port=/dev/nowhere"], "there is no serial port /dev/nowhere; serial ports here: "),
        (["driver.twin.course=ovl"], "there is no course 'ovl'"),
        (["node.button=-1"], "node.button is -1; buttons of joy are counted from 0"),
        (["--namespace", "9car"], "'9car' cannot be a ROS namespace"),
    ],
)
def test_a_node_that_cannot_begin_is_a_sentence(
    words: list[str], told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rclpy")
    assert main(["node", "car", "car=car.yaml", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


def test_a_drive_of_before_is_fitted_again_and_the_old_file_is_kept(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time_s = np.arange(0.0, 40.0, 0.02)
    speed = 1.0 + np.minimum(time_s, 10.0) * 0.1
    servo = np.where(time_s < 12.0, 0.5, np.where((time_s // 1.5) % 2 == 0, 0.4, 0.6))
    angle = (servo - 0.5) / -1.1
    recording = Recording(
        time_s=time_s, servo=servo, erpm=4000.0 * speed, speed_m_s=speed,
        yaw_rate_rad_s=speed * np.tan(angle) / F1TENTH.wheelbase_m,
    )  # fmt: skip
    save_recording(here / "old.drive.npz", recording)
    assert main(["calibrate", "car", "car=car.yaml", "--from", "old.drive.npz"]) == 0
    said = capsys.readouterr().out
    assert "The friction stays 0.8, which is assumed" in said
    assert "car.yaml holds what was measured; what it held before is in car.yaml.1.bak." in said
    assert load_car(here / "car.yaml.1.bak") == F1TENTH
    fitted = load_car(here / "car.yaml")
    assert fitted.speed_to_erpm_gain == pytest.approx(4000.0, rel=0.01)
    assert fitted.steering_to_servo_gain == pytest.approx(-1.1, rel=0.03)
    assert "friction" not in fitted.measured
    assert dataclasses.replace(fitted, measured=()).friction == 0.8
    assert (here / "car.png").stat().st_size > 10_000
