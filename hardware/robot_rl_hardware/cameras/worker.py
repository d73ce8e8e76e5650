"""One thread for each camera: it waits for frames, so that nobody else has to, and says how the camera does."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from robot_rl.errors import CameraError, RobotRLError
from robot_rl_hardware.cameras.picture import policy_picture, square_of, turned
from robot_rl_hardware.cameras.protocol import Camera, CameraEnded, CameraInfo, CameraTimeout, Frame, Picture
from robot_rl_hardware.cameras.settings import CameraSettings

log = logging.getLogger(__name__)

BACK_OFF_S = (0.5, 1.0, 2.0, 5.0)
_FROZEN_FRAMES = 3  # two equal pictures may be chance, or a source that repeats one to keep its rate
_RATE_WINDOW_S = 2.0
_READ_S = 0.25  # how soon a request to close is noticed


@dataclass(frozen=True, slots=True)
class View:
    """The newest of a camera: its frame, turned, and the policy's square of it."""

    frame: Frame
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class CameraStatus:
    """How a camera does.

    Attributes:
        ok: Its newest picture may be acted upon.
        reason: Why not, in words; empty if it may.
        fps: Frames a second over the last two seconds.
        age_s: Age of the newest picture; infinite before the first.
        frozen: The pictures do not change although new ones come.
        drops: Frames that the source counted and we never saw.
        reconnects: How often the device was opened again.
    """

    ok: bool
    reason: str
    fps: float
    age_s: float
    frozen: bool
    drops: int
    reconnects: int


class CameraWorker:
    """Keeps the newest frame of a camera at hand.

    `newest` and `status` never wait, whatever the device does. A device that fails or falls silent is closed and
    opened again, at growing intervals.

    Args:
        name: For messages.
        camera: What to read. Only the worker's thread calls it, so a source that draws with OpenGL works.
        settings: Its settings.
        on_view: Called in the worker's thread with every new frame and whether it may be acted upon.
        back_off_s: Waits between attempts to open the device again; the last one repeats.
    """

    def __init__(
        self,
        name: str,
        camera: Camera,
        settings: CameraSettings,
        on_view: Callable[[View, bool], None] | None = None,
        back_off_s: tuple[float, ...] = BACK_OFF_S,
    ) -> None:
        self.name, self.settings = name, settings
        self._camera, self._on_view, self._back_off_s = camera, on_view, back_off_s
        self._stop, self._opened = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: RobotRLError | None = None
        self._info: CameraInfo | None = None
        self._view: View | None = None
        self._fault = "no picture has come yet"
        self._arrivals: deque[float] = deque(maxlen=256)
        self._drops = self._reconnects = 0
        self._print, self._same, self._same_since_s = -1, 0, 0.0

    def start(self, timeout_s: float = 30.0) -> CameraInfo:
        """Open the camera and begin to read it.

        Raises:
            CameraError: It cannot be opened as the settings say, or does not answer in time.
            MissingDependency: A package or library that it needs is not there.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"camera {self.name}", daemon=True)
            self._thread.start()
        if not self._opened.wait(timeout_s):
            self._stop.set()
            raise CameraError(f"camera '{self.name}' did not open within {timeout_s:g} s; unplug it and plug it in")
        if self._failure is not None:
            raise self._failure
        assert self._info is not None  # set before the event, unless there was a failure
        return self._info

    def newest(self) -> View | None:
        """Return the newest frame, or None before the first. Never waits."""
        return self._view

    def status(self) -> CameraStatus:
        """Return how the camera does now. Never waits."""
        now, view, reason = time.monotonic(), self._view, self._fault
        age = now - view.frame.stamp_s if view is not None else float("inf")
        frozen = self._frozen
        if not reason and frozen:
            reason = f"the picture has not changed for {now - self._same_since_s:.1f} s; the camera is frozen"
        if not reason and age > self.settings.late_s:
            reason = f"the newest picture is {age:.2f} s old, allowed are {self.settings.late_s:g} s"
        return CameraStatus(
            ok=not reason, reason=reason, fps=self._fps(now), age_s=age, frozen=frozen,
            drops=self._drops, reconnects=self._reconnects,
        )  # fmt: skip

    def close(self, timeout_s: float = 5.0) -> None:
        """End the thread and release the device. Safe to call twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("camera '%s' does not answer and is left to itself", self.name)

    @property
    def _frozen(self) -> bool:
        view, limit = self._view, self.settings.frozen_s
        if view is None or not limit or self._same < _FROZEN_FRAMES:
            return False
        return view.frame.stamp_s - self._same_since_s >= limit

    def _fps(self, now: float) -> float:
        recent = [t for t in list(self._arrivals) if t > now - _RATE_WINDOW_S]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else 0.0

    def _run(self) -> None:
        attempt = 0
        try:
            while not self._stop.is_set():
                try:
                    self._read_until_it_fails()
                except CameraEnded as error:
                    self._give_up(error)
                    return
                except RobotRLError as error:
                    if not self._opened.is_set():
                        self._give_up(error)
                        return
                    if not self._fault:
                        attempt = 0  # it had worked
                        log.warning("camera '%s': %s", self.name, error)
                    self._fault = str(error)
                wait_s = self._back_off_s[min(attempt, len(self._back_off_s) - 1)]
                attempt += 1
                if self._stop.wait(wait_s):
                    return
                self._reconnects += 1
        except Exception as error:  # a fault of ours must not leave a camera that looks well
            log.exception("camera '%s' ended", self.name)
            self._give_up(CameraError(f"camera '{self.name}' ended: {type(error).__name__}: {error}"))

    def _give_up(self, error: RobotRLError) -> None:
        self._fault = str(error)
        if not self._opened.is_set():
            self._failure = error
            self._opened.set()

    def _read_until_it_fails(self) -> None:
        try:
            info = self._camera.start()
            sideways = self.settings.turn_deg in (90, 270)
            square_of(self.settings, *((info.width, info.height) if sideways else (info.height, info.width)))
            self._info = info
            self._opened.set()
            last: int | None = None
            heard_s = time.monotonic()
            while not self._stop.is_set():
                try:
                    frame = self._camera.read(_READ_S)
                except CameraTimeout as error:
                    if 0.0 < self.settings.reconnect_s < time.monotonic() - heard_s:
                        raise CameraError(str(error)) from error
                    if self._view is None:
                        self._fault = str(error)
                    continue
                if frame.number == last:
                    continue
                if last is not None and frame.number > last + 1:
                    self._drops += frame.number - last - 1
                last, heard_s = frame.number, time.monotonic()
                self._take(frame)
        finally:
            with contextlib.suppress(CameraError):
                self._camera.close()

    def _take(self, frame: Frame) -> None:
        degrees = self.settings.turn_deg
        if degrees:
            depth = None if frame.depth_m is None else turned(frame.depth_m, degrees)
            frame = replace(frame, image=turned(frame.image, degrees), depth_m=depth)
        if self.settings.frozen_s:
            seen = zlib.crc32(frame.image.data if frame.image.flags.c_contiguous else frame.image.tobytes())
            if seen == self._print:
                self._same += 1
            else:
                self._print, self._same, self._same_since_s = seen, 0, frame.stamp_s
        view = View(frame, policy_picture(frame.image, self.settings))
        self._arrivals.append(time.monotonic())
        self._view, self._fault = view, ""
        if self._on_view is not None:
            self._on_view(view, not self._frozen)
