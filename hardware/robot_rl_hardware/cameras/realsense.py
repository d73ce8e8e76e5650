"""Intel RealSense cameras through pyrealsense2: chosen by serial number, exposure locked, stamps of the source."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from robot_rl.errors import CameraError, MissingDependency
from robot_rl_hardware.cameras.clocks import DeviceClock, monotonic_from_wall
from robot_rl_hardware.cameras.protocol import CameraInfo, CameraTimeout, Frame
from robot_rl_hardware.cameras.realsense_controls import lock_controls
from robot_rl_hardware.cameras.settings import CameraSettings

log = logging.getLogger(__name__)

_FIRST_S = 5.0
_QUEUE = 2  # frames that librealsense may hold for us; more would only grow old


def load_realsense() -> Any:
    """Return pyrealsense2; raises `MissingDependency` if it, or the libusb that it needs, is not installed."""
    try:
        return importlib.import_module("pyrealsense2")
    except ImportError as error:
        if "libusb" not in str(error):
            raise MissingDependency(
                "pyrealsense2", "a RealSense camera", 'pip install "robot-rl[realsense]"'
            ) from error
        if not _load_libusb():
            raise MissingDependency(
                "libusb-1.0", "pyrealsense2", "pip install libusb-package, or apt-get install -y libusb-1.0-0"
            ) from error
    return importlib.import_module("pyrealsense2")


def _load_libusb() -> bool:
    """Load the libusb of pip's libusb-package, which the linker takes for the system's; return whether it is there.

    pyrealsense2 names the library that it needs by "libusb-1.0.so.0" and does not bring it.
    """
    package = importlib.util.find_spec("libusb_package")
    folders = [Path(f) for f in (package.submodule_search_locations or ())] if package else []
    for library in (found for folder in folders for found in folder.glob("libusb-1.0.so*")):
        try:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        except OSError:
            log.warning("%s cannot be loaded", library)
        else:
            return True
    return False


def connected(rs: Any) -> dict[str, str]:
    """Return serial number and model of every RealSense on this machine."""
    found = {}
    for device in rs.context().query_devices():
        if device.supports(rs.camera_info.serial_number):
            name = device.get_info(rs.camera_info.name) if device.supports(rs.camera_info.name) else "RealSense"
            found[device.get_info(rs.camera_info.serial_number)] = name
    return found


class RealSenseCamera:
    """One RealSense: colours, and depth aligned to them if wanted.

    Args:
        settings: `device` is the serial number; empty takes the only one that is connected.
        device: A device that no discovery finds: a `software_device`, on which all of this runs without a camera.
    """

    def __init__(self, settings: CameraSettings, device: Any = None) -> None:
        self._settings, self._device = settings, device
        self._serial = str(settings.device)
        self._rs: Any = None
        self._pipeline: Any = None
        self._align: Any = None
        self._depth_unit_m = 0.001
        self._clock = DeviceClock()

    def start(self) -> CameraInfo:
        """Find the camera, start the mode of the settings, lock its controls."""
        self.close()
        rs = self._rs = load_realsense()
        serial = self._serial = self._serial_of_device() if self._device is not None else self._find_serial()
        device = self._device if self._device is not None else self._by_serial(serial)
        self._check_mode(device, serial)
        s = self._settings
        pipeline, config = rs.pipeline(), rs.config()
        if self._device is not None:
            pipeline.set_device(self._device)
        config.enable_device(serial)
        config.enable_stream(rs.stream.color, s.width, s.height, rs.format.rgb8, s.fps)
        if s.depth:
            config.enable_stream(rs.stream.depth, s.width, s.height, rs.format.z16, s.fps)
        self._queue = rs.frame_queue(_QUEUE)
        try:
            profile = pipeline.start(config, self._queue)
        except RuntimeError as error:
            raise CameraError(
                f"RealSense {serial} does not start {s.width}x{s.height} at {s.fps} Hz: {error}. Another program may "
                "hold it, or its USB port is too slow: use a USB 3 port and cable"
            ) from error
        self._pipeline = pipeline
        self._align = rs.align(rs.stream.color) if s.depth else None
        self._clock = DeviceClock()
        if s.depth:
            self._depth_unit_m = profile.get_device().first_depth_sensor().get_depth_scale()
        controls = self._lock(profile, serial)
        intrinsics = profile.get_stream(rs.stream.color).as_video_stream_profile().get_intrinsics()
        return CameraInfo(
            what=f"RealSense {serial}", width=s.width, height=s.height, fps=float(s.fps),
            intrinsics=_intrinsics(intrinsics), controls=controls,
        )  # fmt: skip

    def read(self, timeout_s: float) -> Frame:
        """Wait for the next frame, and take the newest if several are waiting."""
        if self._pipeline is None:
            raise CameraError(f"RealSense {self._serial} is not open")
        until = time.monotonic() + timeout_s
        frames = self._wait(timeout_s)
        while (newer := self._queue.poll_for_frame()) and newer.is_frameset():
            frames = newer.as_frameset()
        if self._align is not None:
            frames = self._align.process(frames)
        color = frames.get_color_frame()
        if not color:
            left_s = until - time.monotonic()
            if left_s > 0.0:
                return self.read(left_s)
            raise CameraTimeout(f"RealSense {self._serial} gave depth but no colours for {timeout_s:g} s")
        depth = frames.get_depth_frame() if self._align is not None else None
        return Frame(
            image=np.array(np.asanyarray(color.get_data()), np.uint8),  # librealsense uses its buffer again
            stamp_s=self._stamp_s(color),
            number=int(color.get_frame_number()),
            depth_m=np.asanyarray(depth.get_data()).astype(np.float32) * np.float32(self._depth_unit_m)
            if depth
            else None,
        )

    def close(self) -> None:
        """Stop the streams."""
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            try:
                pipeline.stop()
            except RuntimeError as error:  # the camera is gone already
                log.debug("RealSense %s: %s", self._settings.device, error)

    def _wait(self, timeout_s: float) -> Any:
        try:
            return self._queue.wait_for_frame(max(int(timeout_s * 1e3), 1)).as_frameset()
        except RuntimeError as error:
            raise CameraTimeout(
                f"RealSense {self._serial} gave no picture for {timeout_s:g} s; check its cable ({error})"
            ) from error

    def _stamp_s(self, frame: Any) -> float:
        """Return the monotonic time of a frame, by whichever clock stamped it."""
        stamp_s, now = frame.get_timestamp() * 1e-3, time.monotonic()
        if frame.get_frame_timestamp_domain() == self._rs.timestamp_domain.hardware_clock:
            return self._clock.monotonic(stamp_s, now)
        return monotonic_from_wall(stamp_s)

    def _serial_of_device(self) -> str:
        return str(self._device.get_info(self._rs.camera_info.serial_number))

    def _find_serial(self) -> str:
        """Return the serial number that is meant. Asking first matters: a pipeline waits 15 s for a missing camera."""
        seen, wanted = connected(self._rs), str(self._settings.device).strip()
        listed = ", ".join(f"{serial} ({name})" for serial, name in seen.items()) or "none"
        if not wanted:
            if len(seen) == 1:
                return next(iter(seen))
            raise CameraError(
                f"which RealSense is meant? Connected: {listed}. Set the camera's device to a serial number, in quotes"
                if seen
                else "no RealSense is connected; check its cable, and that this user may open USB devices (udev rules)"
            )
        # Unquoted in YAML a serial number is a number, which has no leading zeros.
        match = [serial for serial in seen if serial == wanted or serial.lstrip("0") == wanted.lstrip("0")]
        if not match:
            raise CameraError(f"RealSense {wanted} is not connected; connected: {listed}. Check the cable or the cell")
        return match[0]

    def _by_serial(self, serial: str) -> Any:
        devices = self._rs.context().query_devices()
        return next(d for d in devices if d.get_info(self._rs.camera_info.serial_number) == serial)

    def _check_mode(self, device: Any, serial: str) -> None:
        """Raise `CameraError` with what there is, unless the camera has the mode of the settings."""
        s, rs = self._settings, self._rs
        wanted = [(rs.stream.color, rs.format.rgb8, "colour")]
        if s.depth:
            wanted.append((rs.stream.depth, rs.format.z16, "depth"))
        for stream, pixel, word in wanted:
            modes = {
                (p.width(), p.height(), p.fps())
                for sensor in device.query_sensors()
                for profile in sensor.get_stream_profiles()
                if profile.stream_type() == stream and profile.format() == pixel
                for p in (profile.as_video_stream_profile(),)
            }
            if (s.width, s.height, s.fps) not in modes:
                raise CameraError(
                    f"RealSense {serial} has no {word} mode {s.width}x{s.height} at {s.fps} Hz; it has "
                    f"{_modes(modes) or f'no {word} at all'}. Set the camera's width, height and fps"
                )

    def _lock(self, profile: Any, serial: str) -> dict[str, float]:
        device, rs = profile.get_device(), self._rs
        sensor = next(
            x for x in device.query_sensors()
            if any(p.stream_type() == rs.stream.color for p in x.get_stream_profiles())
        )  # fmt: skip

        def look() -> None:
            try:
                self._wait(_FIRST_S)
            except CameraTimeout as error:
                self.close()
                raise CameraError(f"RealSense {serial} started but gives no pictures: {error}") from error

        try:
            return lock_controls(rs, sensor, self._settings, serial, look)
        except CameraError:
            self.close()
            raise


def _modes(modes: set[tuple[int, int, int]]) -> str:
    sizes: dict[tuple[int, int], list[int]] = {}
    for width, height, fps in sorted(modes):
        sizes.setdefault((width, height), []).append(fps)
    return ", ".join(f"{w}x{h} at {'/'.join(map(str, rates))} Hz" for (w, h), rates in sizes.items())


def _intrinsics(values: Any) -> dict[str, float]:
    names = ("k1", "k2", "p1", "p2", "k3")
    return {
        "fx": float(values.fx), "fy": float(values.fy), "cx": float(values.ppx), "cy": float(values.ppy),
        **{name: float(k) for name, k in zip(names, values.coeffs, strict=True)},
    }  # fmt: skip
