from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import wait_until
from vesc_peer import VescPeer

from robot_rl_hardware.car.file import save_car
from robot_rl_hardware.car.settings import CarSettings
from robot_rl_hardware.car.vesc import Vesc, serial_ports
from robot_rl_hardware.car.vesc_pilot import VescError, VescGone, VescSettings

# A loaded machine may take the processor away for longer than a driver on a car would let pass.
PATIENT = VescSettings(command_age_s=2.0, answer_age_s=2.0, connect_s=20.0)


def keep(vesc: Vesc, speed: float, steering: float, condition: Callable[[], bool], what: str) -> None:
    """Ask for the same again until a condition holds."""

    def look() -> bool:
        vesc.drive(speed, steering)
        return condition()

    wait_until(look, what)


def test_it_drives_and_steers_as_asked_and_tells_how_it_is(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, PATIENT) as vesc:
        assert vesc.firmware.hardware == "VESC_6_MK5"
        keep(vesc, 1.5, 0.2, lambda: abs(vesc.read().speed_m_s - 1.5) < 0.02, "the car drives 1.5 m/s")
        state = vesc.read()
        assert state.steering_rad == pytest.approx(0.2, abs=1e-3)
        assert peer.motor.servo == pytest.approx(-1.2135 * 0.2 + 0.5304, abs=1e-3)
        assert peer.motor.number == 6921
        assert (state.voltage_v, state.temp_fet_c, state.reason, state.faults) == (11.8, 31.2, "", ())
    assert peer.motor.erpm == 0.0
    assert peer.bad == 0


def test_it_tells_the_vesc_to_stand_before_anything_was_asked(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, PATIENT):
        wait_until(lambda: "current" in peer.names(), "the motor is let go")
        assert set(peer.names()) <= {"brake", "current"}


def test_nothing_but_commands_keeps_a_motor_turning(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, PATIENT) as vesc:
        keep(vesc, 1.0, 0.0, lambda: peer.motor.erpm > 4000, "the car drives")
    assert "alive" not in peer.names()


def test_a_request_that_is_not_renewed_stops_the_car(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, VescSettings(answer_age_s=2.0, connect_s=20.0)) as vesc:
        keep(vesc, 2.0, 0.0, lambda: peer.motor.erpm > 3000, "the car drives")
        wait_until(lambda: peer.motor.erpm == 0.0, "the car stands")
        assert "s old, allowed are 0.1 s" in vesc.read().reason


def test_a_stop_brakes_then_lets_go_and_goes_on_telling(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, PATIENT) as vesc:
        keep(vesc, 2.0, 0.0, lambda: peer.motor.erpm > 8000, "the car drives")
        vesc.stop("somebody is in the way")
        wait_until(lambda: peer.names()[-10:] == ["current"] * 10, "the motor is let go, again and again")
        told = peer.names()
        last = len(told) - told[::-1].index("rpm")
        brakes = told[last:].count("brake")
        assert told[last:] == ["brake"] * brakes + ["current"] * (len(told) - last - brakes)
        assert brakes >= 3
        assert {value for _, name, value in peer.got[last:] if name == "brake"} == {f1tenth.brake_current_a}
        assert vesc.read().reason == "somebody is in the way"
        assert vesc.counts()["stop"] == 1


def test_the_acceleration_is_limited(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, PATIENT) as vesc:
        keep(vesc, 3.0, 0.0, lambda: peer.motor.number >= 4614 * 2.99, "the car is told its full speed")
    told = [value for _, name, value in peer.got if name == "rpm"]
    most = 4614 * f1tenth.max_acceleration_m_s2 * 2 / PATIENT.rate_hz
    assert max(b - a for a, b in zip([0.0, *told], told, strict=False)) <= most + 1


def test_a_fault_stops_the_car_until_a_person_looked_at_it(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, PATIENT) as vesc:
        keep(vesc, 1.0, 0.0, lambda: peer.motor.erpm > 3000, "the car drives")
        peer.fault = 4
        keep(vesc, 1.0, 0.0, lambda: vesc.read().faults == ("ABS_OVER_CURRENT",), "the fault is told")
        with pytest.raises(VescError, match="still reports the fault ABS_OVER_CURRENT"):
            vesc.acknowledge("Ada")
        peer.fault = 0  # the firmware forgets a fault after half a second
        seen = len(peer.got)
        keep(vesc, 1.0, 0.0, lambda: len(peer.got) > seen + 20, "some time passes")
        assert "rpm" not in peer.names(seen)
        assert "a person must look at it" in vesc.read().reason
        assert vesc.counts()["ABS_OVER_CURRENT"] == 1
        vesc.acknowledge("Ada")
        keep(vesc, 1.0, 0.0, lambda: peer.motor.erpm > 3000, "the car drives again")


def test_a_silent_vesc_is_told_to_brake_and_named(peer: VescPeer, f1tenth: CarSettings) -> None:
    settings = VescSettings(command_age_s=2.0, connect_s=20.0, brake_blind_s=0.5)
    with Vesc(peer.path, f1tenth, settings) as vesc:
        keep(vesc, 1.0, 0.0, lambda: peer.motor.erpm > 3000, "the car drives")
        peer.silent = True
        keep(vesc, 1.0, 0.0, lambda: peer.motor.erpm == 0.0, "the car stands, though it tells nothing")
        with pytest.raises(VescError, match=r"has not answered for .* allowed are 0.1 s"):
            vesc.read()


def test_a_line_that_takes_nothing_blocks_nobody(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, VescSettings(command_age_s=2.0, connect_s=20.0, brake_blind_s=0.3)) as vesc:
        peer.deaf = True
        before = time.monotonic()
        for _ in range(1000):
            vesc.drive(1.0, 0.0)
        assert time.monotonic() - before < 10.0  # a thousand calls, of which none waits for the line
        wait_until(lambda: vesc._thread.is_alive() and not vesc._gone, "the driver lives on")
    assert not [t for t in [vesc._thread] if t]


def test_damaged_and_late_answers_and_noise_are_lived_through(peer: VescPeer, f1tenth: CarSettings) -> None:
    peer.noise = b"\x02\x90\xff\x00\x03"  # looks like the beginning of a long frame
    with Vesc(peer.path, f1tenth, PATIENT) as vesc:
        peer.corrupt = 7
        keep(vesc, 1.0, 0.0, lambda: peer.corrupt == 0, "all damaged answers came")
        peer.noise, peer.late_s = b"", 0.05
        keep(vesc, 1.0, 0.0, lambda: abs(vesc.read().speed_m_s - 1.0) < 0.02, "the car drives 1 m/s")


def test_a_plug_that_is_pulled_is_told_with_the_ports_that_are_there(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, PATIENT) as vesc:
        keep(vesc, 1.0, 0.0, lambda: peer.motor.erpm > 1000, "the car drives")
        peer.vanish()
        wait_until(lambda: bool(vesc._gone), "the driver notices")
        for call in (vesc.read, lambda: vesc.drive(1.0, 0.0), lambda: vesc.acknowledge("Ada")):
            with pytest.raises(VescGone, match=f"the VESC on {peer.path} is gone, .*; serial ports here: "):
                call()


DRIVER = """
import sys, time
from robot_rl_hardware.car.file import load_car
from robot_rl_hardware.car.vesc import Vesc
from robot_rl_hardware.car.vesc_pilot import VescSettings
vesc = Vesc(sys.argv[1], load_car(sys.argv[2]), VescSettings(command_age_s=2.0, answer_age_s=2.0, connect_s=20.0))
vesc.connect()
while True:
    vesc.drive(1.0, 0.0)
    time.sleep(0.01)
"""


def test_a_driver_that_dies_leaves_the_motor_to_the_firmware(f1tenth: CarSettings, tmp_path: Path) -> None:
    save_car(tmp_path / "car.yaml", f1tenth)
    with VescPeer(timeout_s=0.5) as peer:
        driver = subprocess.Popen([sys.executable, "-c", DRIVER, peer.path, str(tmp_path / "car.yaml")])
        try:
            wait_until(lambda: peer.motor.erpm > 3000, "the car drives", timeout_s=60.0)
        finally:
            driver.kill()
            driver.wait()
        wait_until(lambda: peer.motor.timed_out, "the firmware lets the motor go")
        with Vesc(peer.path, f1tenth, PATIENT) as vesc:
            assert vesc.counts()["timed_out"] == 1


def test_the_inertial_sensor_is_told_in_si_units(peer: VescPeer, f1tenth: CarSettings) -> None:
    settings = VescSettings(answer_age_s=2.0, connect_s=20.0, imu=True)
    with Vesc(peer.path, f1tenth, settings) as vesc:
        wait_until(lambda: vesc.imu() is not None, "the sensor is read")
        imu = vesc.imu()
        assert imu.acceleration_m_s2 == pytest.approx((0.0, 4.903, 9.807), abs=1e-3)
        assert imu.rates_rad_s == pytest.approx((0.0, 0.0, 3.14159), abs=1e-4)


def test_one_driver_alone_may_hold_the_port(peer: VescPeer, f1tenth: CarSettings) -> None:
    with Vesc(peer.path, f1tenth, PATIENT), pytest.raises(VescError, match="in use by another program"):
        Vesc(peer.path, f1tenth, PATIENT).connect()


def test_something_else_on_the_port_is_no_vesc(peer: VescPeer, f1tenth: CarSettings) -> None:
    peer.silent = True
    vesc = Vesc(peer.path, f1tenth, VescSettings(connect_s=0.2))
    with pytest.raises(VescError, match=r"answers like a VESC within 0.2 s; .*serial ports here"):
        vesc.connect()
    with pytest.raises(VescError, match="not connected"):
        vesc.drive(1.0, 0.0)


def test_a_port_that_is_not_there_or_no_port_is_named(tmp_path: Path, f1tenth: CarSettings) -> None:
    with pytest.raises(VescError, match=r"there is no serial port .*; serial ports here"):
        Vesc(str(tmp_path / "ttyACM9"), f1tenth).connect()
    (tmp_path / "file").write_text("")
    with pytest.raises(VescError, match="cannot be opened as a serial port"):
        Vesc(str(tmp_path / "file"), f1tenth).connect()


def test_it_can_be_closed_twice_and_opened_again(peer: VescPeer, f1tenth: CarSettings) -> None:
    vesc = Vesc(peer.path, f1tenth, PATIENT)
    for _ in range(2):
        with vesc:
            keep(vesc, 1.0, 0.0, lambda: peer.motor.erpm > 1000, "the car drives")
        vesc.close()


def test_ports_are_told_by_their_stable_names(tmp_path: Path) -> None:
    assert serial_ports(tmp_path) == "serial ports here: none"
    (tmp_path / "ttyACM0").touch()
    assert serial_ports(tmp_path) == f"serial ports here: {tmp_path}/ttyACM0"
    (tmp_path / "serial" / "by-id").mkdir(parents=True)
    (tmp_path / "serial" / "by-id" / "usb-STMicroelectronics_ChibiOS").touch()
    assert "by-id/usb-STMicroelectronics_ChibiOS" in serial_ports(tmp_path)
