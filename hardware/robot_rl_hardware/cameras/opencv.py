"""Cameras and films that OpenCV reads: a V4L2 device, a video file played at its own speed, a network stream."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import time
from pathlib import Path
from typing import Any

from robot_rl.errors import CameraError
from robot_rl_hardware.cameras.clocks import monotonic_from_monotonic
from robot_rl_hardware.cameras.picture import load_cv2
from robot_rl_hardware.cameras.protocol import CameraEnded, CameraInfo, CameraTimeout, Frame
from robot_rl_hardware.cameras.settings import CameraSettings

log = logging.getLogger(__name__)

_STREAMS = ("rtsp://", "http://", "https://", "udp://", "tcp://")
_AUTO_OFF, _AUTO_ON = 1.0, 3.0  # V4L2's names for manual exposure and for its usual automatic one


def video_devices() -> dict[str, str]:
    """Return path and name of this machine's video devices."""
    found = {}
    for path in sorted(glob.glob("/dev/video*"), key=lambda path: (len(path), path)):
        with contextlib.suppress(OSError):
            found[path] = Path("/sys/class/video4linux", Path(path).name, "name").read_text().strip()
        found.setdefault(path, "")
    return found


class OpenCVCamera:
    """A camera, film or stream behind `cv2.VideoCapture`.

    Args:
        settings: `device` is an index, /dev/videoN (or any path below /dev), a file, or an address.
    """

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        device = settings.device
        text = str(device).strip() or "0"
        self._path = f"/dev/video{text}" if text.isdigit() else text
        self._is_device = self._path.startswith("/dev/")
        self._is_stream = self._path.startswith(_STREAMS)
        self._capture: Any = None
        self._cv2: Any = None
        self._number = 0
        self._period_s, self._next_s = 0.0, 0.0

    def start(self) -> CameraInfo:
        """Open it and take the mode and controls that the settings ask for."""
        self._cv2 = load_cv2(f"the camera {self._path}")
        self.close()
        self._look()
        backend = self._cv2.CAP_V4L2 if self._is_device else self._cv2.CAP_ANY
        capture = self._cv2.VideoCapture(self._path, backend)
        if not capture.isOpened():
            capture.release()
            raise CameraError(self._why_not())
        self._capture = capture
        controls = self._set_up_device() if self._is_device else {}
        width, height = int(self._get("FRAME_WIDTH")), int(self._get("FRAME_HEIGHT"))
        fps = self._get("FPS")
        fps = fps if 0.0 < fps < 1000.0 else float(self._settings.fps)
        self._period_s = 0.0 if self._is_device or self._is_stream else 1.0 / fps
        self._next_s = time.monotonic()
        return CameraInfo(what=self._path, width=width, height=height, fps=fps, controls=controls)

    def read(self, timeout_s: float) -> Frame:
        """Wait for the next frame; a film's frames come at the rate of the film."""
        if self._capture is None:
            raise CameraError(f"{self._path} is not open")
        if self._period_s:
            wait = self._next_s - time.monotonic()
            if wait > timeout_s:
                time.sleep(timeout_s)
                raise CameraTimeout(f"{self._path} gave no picture for {timeout_s:g} s")
            time.sleep(max(wait, 0.0))
            # After a stall the film goes on from where it is, rather than racing to catch up.
            self._next_s = max(self._next_s, time.monotonic() - self._period_s) + self._period_s
        ok, picture = self._capture.read()
        if not ok and not (self._is_device or self._is_stream):
            ok, picture = self._film_is_over()
        if not ok or picture is None:
            raise CameraError(f"{self._path} gave no picture; was it unplugged, or is the connection lost?")
        now = time.monotonic()
        stamp = monotonic_from_monotonic(self._get("POS_MSEC") * 1e-3, now) if self._is_device else now
        self._number += 1
        return Frame(self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB), stamp, self._number)

    def close(self) -> None:
        """Release it."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _get(self, name: str) -> float:
        return float(self._capture.get(getattr(self._cv2, f"CAP_PROP_{name}")))

    def _look(self) -> None:
        """Raise before OpenCV is asked, which would print lines of its own and say no more than no."""
        if self._is_stream or os.path.exists(self._path):
            return
        if self._is_device:
            seen = video_devices()
            have = f"this machine has {', '.join(seen)}" if seen else "this machine has no video device at all"
            raise CameraError(f"there is no {self._path}; {have}. Plug the camera in, or set the camera's device")
        raise CameraError(f"there is no file {self._path}; set the camera's device to a film, /dev/videoN or an index")

    def _why_not(self) -> str:
        if self._is_device and not os.access(self._path, os.R_OK | os.W_OK):
            return (
                f"{self._path} may not be opened by this user; add it to the group video: sudo usermod -aG video $USER"
            )
        if self._is_device:
            return (
                f"{self._path} gives no pictures to OpenCV; another program may hold it (fuser {self._path}), or it is "
                f"the metadata half of a camera: try the next of {', '.join(video_devices())}"
            )
        return f"{self._path} is no film or stream that OpenCV can read"

    def _film_is_over(self) -> tuple[bool, Any]:
        if not self._number:
            raise CameraEnded(f"{self._path} holds no picture that OpenCV can read")
        if not self._settings.loop:
            raise CameraEnded(f"{self._path} is over after {self._number} pictures; loop=true begins it anew")
        self._capture.set(self._cv2.CAP_PROP_POS_FRAMES, 0)
        ok, picture = self._capture.read()
        if ok:
            return ok, picture
        self._capture.release()  # some formats cannot be rewound
        self._capture = self._cv2.VideoCapture(self._path)
        return self._capture.read()

    def _set_up_device(self) -> dict[str, float]:
        s, cv2 = self._settings, self._cv2
        if s.format:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*s.format.upper()))
        for name, value in (("FRAME_WIDTH", s.width), ("FRAME_HEIGHT", s.height), ("FPS", s.fps)):
            self._capture.set(getattr(cv2, f"CAP_PROP_{name}"), value)
        got = int(self._get("FRAME_WIDTH")), int(self._get("FRAME_HEIGHT")), round(self._get("FPS"))
        if got != (s.width, s.height, s.fps):
            raise CameraError(
                f"{self._path} has no mode {s.width}x{s.height} at {s.fps} Hz; the nearest is {got[0]}x{got[1]} at "
                f"{got[2]} Hz. Set width, height and fps to one that `v4l2-ctl -d {self._path} --list-formats-ext` "
                "names; format=MJPG often has more"
            )
        return self._lock()

    def _lock(self) -> dict[str, float]:
        """Let automatic control settle, then switch it off, so that brightness means what it meant in training."""
        s = self._settings
        wanted = {"EXPOSURE": s.exposure, "GAIN": s.gain, "WB_TEMPERATURE": s.white_balance}
        if s.lock and None in wanted.values():
            self._set("AUTO_EXPOSURE", _AUTO_ON)
            until = time.monotonic() + s.settle_s
            while time.monotonic() < until and self._capture.read()[0]:
                pass
        settled = {name: self._get(name) for name in wanted}
        if s.lock or s.exposure is not None:
            self._set("AUTO_EXPOSURE", _AUTO_OFF)
        if s.lock or s.white_balance is not None:
            self._set("AUTO_WB", 0.0)
        for name, value in wanted.items():
            if value is not None and not self._set(name, value):
                raise CameraError(
                    f"{self._path} refuses {name.lower()} {value:g}; `v4l2-ctl -d {self._path} -L` names what it allows"
                )
            if value is None and s.lock and not self._set(name, settled[name]):
                log.warning("%s has no %s to lock; its brightness or colour may drift", self._path, name.lower())
        return {name.lower(): self._get(name) for name in wanted}

    def _set(self, name: str, value: float) -> bool:
        return bool(self._capture.set(getattr(self._cv2, f"CAP_PROP_{name}"), value))
