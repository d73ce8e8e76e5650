"""RealSense code on librealsense's software device: its real pipeline with our pixels."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from robot_rl.errors import CameraError, MissingDependency
from robot_rl_hardware.cameras import realsense
from robot_rl_hardware.cameras.protocol import CameraTimeout
from robot_rl_hardware.cameras.realsense import RealSenseCamera, load_realsense
from robot_rl_hardware.cameras.settings import CameraSettings
from robot_rl_hardware.cameras.worker import CameraWorker

if importlib.util.find_spec("pyrealsense2") is None:
    pytest.skip("there is no wheel of pyrealsense2 for this machine", allow_module_level=True)
rs: Any = load_realsense()  # not skipped for want of libusb, which the same extra brings
W, H, FPS = 160, 120, 30
UNIT_M = 0.001
# Option, smallest, largest, usual.
CONTROLS = (
    ("exposure", 1, 10000, 156),
    ("gain", 0, 128, 64),
    ("white_balance", 2800, 6500, 4600),
    ("enable_auto_exposure", 0, 1, 1),
    ("enable_auto_white_balance", 0, 1, 1),
)


class Device:
    """A software device with colours and depth, fed at 30 Hz while `running`; its pictures carry their number."""

    def __init__(self, serial: str, hardware_clock: bool = False, controls: bool = True) -> None:
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.name, "Software D405")
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.domain = rs.timestamp_domain.hardware_clock if hardware_clock else rs.timestamp_domain.system_time
        self.hardware_clock = hardware_clock
        self._colour, self._colour_profile = self._sensor("RGB Camera", rs.stream.color, rs.format.rgb8, 3, 1)
        self._depth, self._depth_profile = self._sensor("Stereo Module", rs.stream.depth, rs.format.z16, 2, 2)
        self._depth.add_read_only_option(rs.option.depth_units, UNIT_M)
        for name, low, high, usual in CONTROLS if controls else ():
            allowed = rs.option_range()
            allowed.min, allowed.max, allowed.step, allowed.default = low, high, 1, usual
            self._colour.add_option(getattr(rs.option, name), allowed, True)
        self.device.create_matcher(rs.matchers.default)
        self.running, self._stop = threading.Event(), threading.Event()
        self.running.set()
        self.number = 0
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _sensor(self, name: str, stream: Any, pixel: Any, size: int, uid: int) -> tuple[Any, Any]:
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height, intrinsics.ppx, intrinsics.ppy = W, H, W / 2, H / 2
        intrinsics.fx = intrinsics.fy = 150.0
        intrinsics.model, intrinsics.coeffs = rs.distortion.brown_conrady, [0.1, 0.0, 0.0, 0.0, 0.0]
        video = rs.video_stream()
        video.type, video.uid, video.width, video.height, video.fps = stream, uid, W, H, FPS
        video.bpp, video.fmt, video.intrinsics = size, pixel, intrinsics
        sensor = self.device.add_sensor(name)
        return sensor, sensor.add_video_stream(video)

    def _feed(self) -> None:
        while not self._stop.wait(1.0 / FPS):
            if not self.running.is_set():
                continue
            self.number += 1
            stamp_ms = (time.monotonic() - 12345.0 if self.hardware_clock else time.time()) * 1e3
            grey = np.full((H, W, 3), self.number % 250, np.uint8)
            millimetres = np.full((H, W), 500 + self.number, np.uint16)
            for sensor, profile, pixels, size in (
                (self._depth, self._depth_profile, millimetres, 2),
                (self._colour, self._colour_profile, grey, 3),
            ):
                frame = rs.software_video_frame()
                frame.pixels, frame.stride, frame.bpp = pixels, W * size, size
                frame.timestamp, frame.domain, frame.frame_number = stamp_ms, self.domain, self.number
                frame.profile, frame.depth_units = profile.as_video_stream_profile(), UNIT_M
                sensor.on_video_frame(frame)

    def option(self, name: str) -> float:
        return float(self._colour.get_option(getattr(rs.option, name)))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def settings(**changes: Any) -> CameraSettings:
    return CameraSettings(
        kind="realsense", **{"width": W, "height": H, "fps": FPS, "settle_s": 0.1, "size": 32, **changes}
    )


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device("012345678901")
    yield made
    made.close()


def test_frames_come_with_number_colours_and_the_time_of_their_capture(device: Device) -> None:
    camera = RealSenseCamera(settings(), device.device)
    info = camera.start()
    try:
        assert info.what == "RealSense 012345678901"
        assert (info.width, info.height, info.fps) == (W, H, FPS)
        assert info.intrinsics is not None
        assert info.intrinsics["fx"] == 150.0
        assert info.intrinsics["cx"] == W / 2
        frames = [camera.read(30.0) for _ in range(8)]
    finally:
        camera.close()
        camera.close()
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    now = time.monotonic()
    for frame in frames:
        assert frame.image.shape == (H, W, 3)
        assert (frame.image == frame.number % 250).all(), "a frame is a copy: later ones do not change it"
        assert 0.0 <= now - frame.stamp_s < 30.0
        assert frame.depth_m is None
    assert (np.diff([frame.stamp_s for frame in frames]) > 0.0).all()


def test_depth_is_aligned_and_in_metres(device: Device) -> None:
    camera = RealSenseCamera(settings(depth=True), device.device)
    camera.start()
    try:
        frame = camera.read(30.0)
    finally:
        camera.close()
    assert frame.depth_m is not None
    assert frame.depth_m.shape == (H, W)
    assert frame.depth_m.dtype == np.float32
    assert np.median(frame.depth_m) == pytest.approx(UNIT_M * (500 + frame.number), abs=0.003)


def test_the_device_s_own_clock_is_followed() -> None:
    device = Device("1", hardware_clock=True)
    camera = RealSenseCamera(settings(), device.device)
    camera.start()
    try:
        stamps = [camera.read(30.0).stamp_s for _ in range(8)]
        assert 0.0 <= time.monotonic() - stamps[-1] < 30.0
        assert (np.diff(stamps) > 0.0).all()
    finally:
        camera.close()
        device.close()


def test_automatic_control_settles_and_is_locked(device: Device) -> None:
    camera = RealSenseCamera(settings(), device.device)
    info = camera.start()
    camera.close()
    assert info.controls == {"exposure": 156.0, "gain": 64.0, "white_balance": 4600.0}
    assert device.option("enable_auto_exposure") == 0.0
    assert device.option("enable_auto_white_balance") == 0.0


def test_fixed_controls_are_set_and_the_rest_left_alone_without_a_lock(device: Device) -> None:
    camera = RealSenseCamera(settings(exposure=300.0, lock=False), device.device)
    camera.start()
    camera.close()
    assert device.option("exposure") == 300.0
    assert device.option("enable_auto_exposure") == 0.0
    assert device.option("enable_auto_white_balance") == 1.0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 1280, "height": 720}, r"has no colour mode 1280x720 at 30 Hz; it has 160x120 at 30 Hz"),
        ({"fps": 60}, r"no colour mode 160x120 at 60 Hz; it has 160x120 at 30 Hz"),
        ({"exposure": 20000.0}, r"refuses exposure 20000; allowed: 1 to 10000"),
    ],
)
def test_what_the_camera_cannot_do_is_answered_by_what_it_can(
    device: Device, changes: dict[str, Any], sentence: str
) -> None:
    camera = RealSenseCamera(settings(**changes), device.device)
    with pytest.raises(CameraError, match=sentence) as raised:
        camera.start()
    assert "012345678901" in str(raised.value)
    camera.close()


def test_a_control_that_is_not_there_is_named() -> None:
    device = Device("1", controls=False)
    try:
        with pytest.raises(CameraError, match="RealSense 1 has no gain to set"):
            RealSenseCamera(settings(gain=3.0), device.device).start()
        camera = RealSenseCamera(settings(), device.device)
        assert camera.start().controls == {}
        camera.close()
    finally:
        device.close()


def test_a_starved_camera_says_so_and_recovers(device: Device) -> None:
    camera = RealSenseCamera(settings(), device.device)
    camera.start()
    try:
        last = camera.read(30.0).number
        device.running.clear()
        said = ""
        while not said:
            try:
                last = camera.read(0.2).number  # what was on its way still comes
            except CameraTimeout as error:
                said = str(error)
        assert "RealSense 012345678901 gave no picture for 0.2 s" in said
        device.running.set()
        assert camera.read(30.0).number > last
    finally:
        camera.close()


def test_two_cameras_at_once_and_one_starves(wait: Any) -> None:
    devices = [Device("000000000001"), Device("000000000002")]
    of = settings(late_s=5.0, frozen_s=0.0, reconnect_s=0.0)
    workers = [CameraWorker(str(k), RealSenseCamera(of, one.device), of) for k, one in enumerate(devices)]
    try:
        infos = [worker.start() for worker in workers]
        assert [info.what for info in infos] == ["RealSense 000000000001", "RealSense 000000000002"]
        wait(lambda: all(worker.status().ok for worker in workers), "both cameras")
        devices[0].running.clear()
        wait(lambda: not workers[0].status().ok, "the starved camera to be late")
        wait(lambda: workers[1].status().ok, "the other one to go on")
        assert "old" in workers[0].status().reason
        devices[0].running.set()
        wait(lambda: workers[0].status().ok, "the camera to come back")
    finally:
        for worker in workers:
            worker.close()
        for one in devices:
            one.close()


def test_a_silent_camera_is_started_again(device: Device, wait: Any) -> None:
    of = settings(late_s=5.0, frozen_s=0.0, reconnect_s=0.3)
    worker = CameraWorker("front", RealSenseCamera(of, device.device), of, back_off_s=(0.05,))
    try:
        worker.start()
        device.running.clear()
        wait(lambda: worker.status().reconnects > 0, "a new attempt")
        device.running.set()
        wait(lambda: worker.status().ok, "pictures again")
    finally:
        worker.close()


def test_a_camera_that_is_not_connected_is_refused_at_once_by_the_serials_seen() -> None:
    # In a process of its own, where a fake discovery cannot be seen by other tests. The real one knows no software
    # devices, and would wait 15 s for a camera that is not there.
    code = """
import time
from robot_rl.errors import CameraError
from robot_rl_hardware.cameras.realsense import RealSenseCamera, load_realsense
from robot_rl_hardware.cameras.settings import CameraSettings
rs = load_realsense()
began = time.monotonic()
for wanted in ("", "123"):
    try:
        RealSenseCamera(CameraSettings(kind="realsense", device=wanted)).start()
    except CameraError as error:
        print(error)
class Context:
    def query_devices(self):
        made = []
        for serial in ("0012", "0034"):
            device = rs.software_device()
            device.register_info(rs.camera_info.serial_number, serial)
            device.register_info(rs.camera_info.name, "D405")
            made.append(device)
        return made
rs.context = Context
for wanted in ("", "56", 12):
    try:
        RealSenseCamera(CameraSettings(kind="realsense", device=wanted)).start()
    except CameraError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    nothing, missing, which, other, found = done.stdout.splitlines()
    if "no RealSense is connected" in nothing:  # else this machine has one
        assert "RealSense 123 is not connected; connected: none" in missing
    assert "which RealSense is meant? Connected: 0012 (D405), 0034 (D405)" in which
    assert "RealSense 56 is not connected; connected: 0012 (D405), 0034 (D405)" in other
    assert "RealSense 0012 has no colour mode" in found, "a number in YAML has no leading zeros"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("libusb-1.0.so.0: cannot open shared object file", "libusb-1.0.*pip install libusb-package, or apt-get"),
        ("No module named 'pyrealsense2'", r"pyrealsense2.*pip install \"robot-rl\[realsense\]\""),
    ],
)
def test_what_is_missing_for_a_realsense_is_told(monkeypatch: pytest.MonkeyPatch, said: str, words: str) -> None:
    def absent(name: str) -> Any:
        raise ImportError(said)

    monkeypatch.setattr(realsense.importlib, "import_module", absent)
    monkeypatch.setattr(realsense.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=words):
        load_realsense()
