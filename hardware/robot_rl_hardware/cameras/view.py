"""Cameras in a browser: what each sees, what the policy gets of it, how it does, and a crop drawn with the mouse.

The page and its pictures are served on this machine alone. Requests that name another host, which is how a page from
elsewhere would reach a server on this machine, are refused; so are changes that do not come as JSON.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from robot_rl.errors import CameraError, ConfigError, RobotRLError
from robot_rl_hardware.cameras.picture import load_cv2, square_of
from robot_rl_hardware.cameras.protocol import CameraInfo, Picture
from robot_rl_hardware.cameras.settings import check_crop
from robot_rl_hardware.cameras.worker import CameraWorker

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost")
_PAGE = Path(__file__).with_name("view.html")
_JPEG_QUALITY = 85
_LARGEST_BODY = 4096

Crop = tuple[int, int, int, int]


@dataclass(frozen=True)
class Viewed:
    """A camera to be viewed: its worker and what it said of itself when it opened."""

    worker: CameraWorker
    info: CameraInfo


class ViewServer:
    """Serves the page in threads of its own.

    Args:
        cameras: By name; their crops change when a person draws others.
        host, port: Where to listen; port 0 takes a free one.
        save: Keeps a crop and returns in words where; None if there is nowhere to keep it.
        allow_network: Listen beyond this machine, for anyone to see and change the crop.

    Raises:
        ConfigError: The address is not of this machine alone and that was not allowed.
        CameraError: The port is taken.
    """

    def __init__(
        self,
        cameras: Mapping[str, Viewed],
        host: str = "127.0.0.1",
        port: int = 0,
        save: Callable[[str, Crop], str] | None = None,
        allow_network: bool = False,
    ) -> None:
        if host not in LOOPBACK and not allow_network:
            raise ConfigError(
                f"the view would listen on {host}, where others can see the cameras and change their crops; "
                "add --allow-network if they may, or forward a port: ssh -L 8010:127.0.0.1:8010 THIS_MACHINE"
            )
        self.cameras, self.save = dict(cameras), save
        self._cv2 = load_cv2("the view of cameras")
        try:
            self._server = _Server((host, port), self, None if host not in LOOPBACK else LOOPBACK)
        except OSError as error:
            raise CameraError(f"the view cannot listen on {host}:{port} ({error}); choose another --port") from error
        self.port = int(self._server.server_address[1])
        self.url = f"http://{'127.0.0.1' if host in LOOPBACK else host}:{self.port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="camera view", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(5.0)
        self._server.server_close()

    def state(self) -> dict[str, Any]:
        """Return what the page shows beside the pictures."""
        return {
            "can_save": self.save is not None,
            "cameras": {name: _state(viewed) for name, viewed in self.cameras.items()},
        }

    def picture(self, name: str, what: str) -> tuple[str, bytes] | None:
        """Return media type and bytes of "full.jpg" or "policy.png", or None if there is none yet."""
        view = self.cameras[name].worker.newest()
        if view is None or what not in ("full.jpg", "policy.png"):
            return None
        if what == "full.jpg":
            return "image/jpeg", self._encode(view.frame.image, ".jpg", [self._cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return "image/png", self._encode(view.picture, ".png", [])

    def change_crop(self, name: str, crop: Crop) -> dict[str, Any]:
        """Let a camera's policy picture be another square from now on, and return it as the settings spell it."""
        check_crop(crop)
        viewed = self.cameras[name]
        settings = replace(viewed.worker.settings, crop=crop)
        height, width = _size(viewed)
        square_of(settings, height, width)
        viewed.worker.settings = settings
        return {"crop": list(crop), "yaml": f"cameras:\n  {name}:\n    crop: {list(crop)}\n"}

    def _encode(self, image: Picture, suffix: str, options: list[int]) -> bytes:
        ok, data = self._cv2.imencode(suffix, image[..., ::-1], options)
        if not ok:
            raise CameraError(f"a picture of {image.shape} could not be encoded as {suffix}")
        return data.tobytes()


def _size(viewed: Viewed) -> tuple[int, int]:
    view = viewed.worker.newest()
    if view is not None:
        return view.frame.image.shape[0], view.frame.image.shape[1]
    sideways = viewed.worker.settings.turn_deg in (90, 270)
    height, width = viewed.info.height, viewed.info.width
    return (width, height) if sideways else (height, width)


def _state(viewed: Viewed) -> dict[str, Any]:
    status, settings = viewed.worker.status(), viewed.worker.settings
    height, width = _size(viewed)
    x, y, side = square_of(settings, height, width)
    view = viewed.worker.newest()
    return {
        "what": viewed.info.what, "width": width, "height": height, "crop": [x, y, side, side], "size": settings.size,
        "ok": status.ok, "reason": status.reason, "fps": round(status.fps, 1), "frozen": status.frozen,
        "age_ms": round(status.age_s * 1e3) if math.isfinite(status.age_s) else None, "drops": status.drops,
        "reconnects": status.reconnects, "number": view.frame.number if view else None,
        "controls": {name: round(value, 1) for name, value in (viewed.info.controls or {}).items()},
    }  # fmt: skip


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], view: ViewServer, hosts: tuple[str, ...] | None) -> None:
        self.view, self.hosts = view, hosts
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _served(self) -> _Server:
        assert isinstance(self.server, _Server)
        return self.server

    def do_GET(self) -> None:
        """Answer with the page, the state or a picture."""
        path = self.path.partition("?")[0]
        if not self._from_here():
            return
        if path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", _PAGE.read_bytes())
        elif path == "/state.json":
            self._json(HTTPStatus.OK, self._served.view.state())
        else:
            name, _, what = path.strip("/").partition("/")
            found = self._served.view.picture(name, what) if name in self._served.view.cameras else None
            if found is None:
                self._json(HTTPStatus.NOT_FOUND, {"error": f"there is no picture {path} yet"})
            else:
                self._answer(HTTPStatus.OK, *found)

    def do_POST(self) -> None:
        """Change or save a crop."""
        name, _, what = self.path.strip("/").partition("/")
        if not self._from_here():
            return
        if self.headers.get_content_type() != "application/json":
            self._json(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": "a change must be sent as application/json"})
            return
        view = self._served.view
        if name not in view.cameras or what not in ("crop", "save"):
            self._json(HTTPStatus.NOT_FOUND, {"error": f"there is nothing to change at {self.path}"})
            return
        try:
            crop = self._crop()
            answer = view.change_crop(name, crop)
            if what == "save":
                if view.save is None:
                    raise ConfigError("there is no cell file to save to; start with cell=my_cell.yaml")
                answer["saved"] = view.save(name, crop)
            self._json(HTTPStatus.OK, answer)
        except RobotRLError as error:
            self._json(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _crop(self) -> Crop:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST_BODY:
            self.close_connection = True  # what was sent is not read, so it must not be taken for a request
            raise ConfigError("a crop is sent as four whole numbers: x, y, width, height")
        try:
            values = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or len(values) != 4 or not all(type(v) is int for v in values):
            raise ConfigError(f"a crop is four whole numbers, x, y, width, height, got {str(values)[:80]}")
        return (values[0], values[1], values[2], values[3])

    def _from_here(self) -> bool:
        """Return whether the request names this machine, as the browser of a person here does; else refuse it."""
        hosts = self._served.hosts
        name = self.headers.get("Host", "").partition(":")[0]
        if hosts is None or name in hosts:
            return True
        self._json(HTTPStatus.FORBIDDEN, {"error": "this view answers only to 127.0.0.1 and localhost"})
        self.close_connection = True
        return False

    def _json(self, status: HTTPStatus, values: Mapping[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(values).encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):  # the page was closed
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep requests out of the terminal."""
        log.debug(format, *args)
