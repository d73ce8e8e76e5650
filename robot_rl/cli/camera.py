"""`robot-rl camera`: look through a camera in the browser, and draw the square that the policy shall see."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_rl.cli.camera_settings import hardware
from robot_rl.cli.common import parse, parser, say, stop_on_signals
from robot_rl.errors import ConfigError, MissingDependency, nearest

if TYPE_CHECKING:
    from robot_rl.config import Composed

PORT = 8010
SETTINGS = """\
  cell=my_cell.yaml         the cell whose cameras are meant; a crop can be saved to it
  camera.fps=15             change a setting of each camera shown
  task=pick_cube            for the twin: the scene to look at
"""


def camera(arguments: Sequence[str]) -> int:
    """Show cameras until told to stop."""
    made = parser(
        "camera",
        "Show cameras in a browser on this machine: the whole picture, what the policy sees of it, rate and age, and\n"
        "whether it is frozen. Draw a square with the mouse to choose what the policy sees. A camera that a node has\n"
        "open is shown through the topic that it publishes.",
        "  robot-rl camera --list\n"
        "  robot-rl camera --device 0\n"
        "  robot-rl camera --device realsense:123456789012\n"
        "  robot-rl camera --device topic:/cameras/front/image_full/compressed\n"
        "  robot-rl camera front wrist cell=my_cell.yaml",
        SETTINGS,
    )
    made.add_argument("--list", action="store_true", help="list the cameras of this machine and leave")
    made.add_argument(
        "--device", default="", metavar="[KIND:]DEVICE", help="a camera that no cell names: 0, film.mp4, realsense:123"
    )
    made.add_argument("--host", default="127.0.0.1", help="where to listen (127.0.0.1)")
    made.add_argument("--port", type=int, default=PORT, help=f"port of the page; 0 takes a free one ({PORT})")
    made.add_argument("--allow-network", action="store_true", help="listen beyond this machine, for anyone to see")
    made.add_argument("--domain", type=int, default=None, metavar="N", help="ROS domain, for topics and the twin")
    options, rest = parse(made, arguments)
    if options.list:
        return list_cameras()
    if not 0 <= options.port < 2**16:
        raise ConfigError(f"--port is {options.port}; it must lie in 0 to {2**16 - 1}")
    names, settings = [word for word in rest if "=" not in word], [word for word in rest if "=" in word]
    if names:
        settings.append(f"names=[{','.join(names)}]")
    if options.device:
        settings += _device(options.device, settings)
    from robot_rl.cli.camera_settings import cameras_of, compose_cameras

    composed = compose_cameras(settings, options.config_dir)
    cameras = cameras_of(composed, settings, replace=bool(options.device))
    with stop_on_signals() as stopping, _makers(cameras, composed, options.domain) as make:
        _serve(cameras, make, composed, options, stopping)
    return 0


def list_cameras() -> int:
    """Print the cameras of this machine."""
    realsense, opencv = hardware("cameras.realsense"), hardware("cameras.opencv")
    try:
        found = realsense.connected(realsense.load_realsense())
        for serial, name in found.items():
            say(f"realsense:{serial}  {name}")
        if not found:
            say("no RealSense is connected")
    except MissingDependency as error:
        say(f"RealSense cameras cannot be listed: {error}")
    devices = opencv.video_devices()
    for path, name in devices.items():
        say(f"opencv:{path}  {name}".rstrip())
    if not devices:
        say("no video device (/dev/video*) is there")
    return 0


def _device(text: str, settings: Sequence[str]) -> list[str]:
    """Return the settings that `--device` stands for."""
    kind, colon, device = text.partition(":")
    kinds = list(hardware("cameras.settings").OF_KIND)
    if kind not in kinds:
        if colon and not device.startswith("//") and not Path(text).exists():
            raise ConfigError(
                f"--device {text}: there is no kind of camera '{kind}'; there are {', '.join(kinds)}."
                f"{nearest(kind, kinds)} A file or device is written without a kind"
            )
        kind, device = "opencv", text
    elif not colon:
        device = ""
    if any(word.startswith(("camera=", "camera.device=")) for word in settings):
        raise ConfigError(f"--device {text} and camera=... name the camera twice; keep one")
    quoted = device.replace("\\", "\\\\").replace("'", "\\'")
    return [f"camera={kind}", f"camera.device='{quoted}'"]


@contextlib.contextmanager
def _makers(cameras: Mapping[str, Any], composed: Composed, domain: int | None) -> Iterator[Callable[[str, Any], Any]]:
    """Yield what makes the cameras; a ROS node is opened only for those that need one."""
    if not any(one.kind in ("topic", "twin") for one in cameras.values()):
        make_camera = hardware("cameras.make").make_camera
        yield lambda name, one: make_camera(one)
        return
    from robot_rl.typed import target_of

    scene = target_of(composed.values["scene"], "scene")
    task = functools.cache(target_of(composed.values["task"], "task").make)
    nodes = hardware("ros.camera_node")
    raw = nodes.takes_raw_pictures(cameras)
    with hardware("ros.node").open_node("camera_view", domain=domain, raw_pictures=raw) as node:
        yield nodes.camera_maker(node, str(composed.values["node"]["arm"]), cameras, lambda: scene.make(task()))


def _serve(
    cameras: Mapping[str, Any],
    make: Callable[[str, Any], Any],
    composed: Composed,
    options: Any,
    stopping: Callable[[], bool],
) -> None:
    view, make_worker = hardware("cameras.view"), hardware("cameras.worker").CameraWorker
    with contextlib.ExitStack() as stack:
        viewed: dict[str, Any] = {}
        for name, one in cameras.items():
            worker = make_worker(name, make(name, one), one)
            stack.callback(worker.close)
            viewed[name] = view.Viewed(worker, worker.start())
        file = composed.choices.get("cell", "")
        save = _saver(Path(file), cameras) if file.endswith((".yaml", ".yml")) else None
        server = view.ViewServer(viewed, options.host, options.port, save, options.allow_network)
        stack.callback(server.close)
        server.start()
        for name, one in viewed.items():
            say(f"{name}: {one.info.what}, {one.info.width}x{one.info.height}")
        say(f"look at {server.url} and end with Ctrl-C")
        while not stopping():
            time.sleep(0.1)
        for name, one in viewed.items():
            crop = one.worker.settings.crop
            if crop != cameras[name].crop and crop is not None:
                say(f"the crop drawn for {name}, for its cell:\ncameras:\n  {name}:\n    crop: {list(crop)}")


def _saver(path: Path, cameras: Mapping[str, Any]) -> Callable[[str, tuple[int, int, int, int]], str]:
    """Return what writes a crop into a cell file."""

    def save(name: str, crop: tuple[int, int, int, int]) -> str:
        from robot_rl.cell_file import load_cell, save_cell

        cell = load_cell(path)  # anew: a person may have edited it meanwhile
        values: dict[str, Any] = dict(
            cell.cameras.get(name) or {"kind": cameras[name].kind, "device": cameras[name].device}
        )
        values["crop"] = list(crop)
        backup = save_cell(path, dataclasses.replace(cell, cameras={**cell.cameras, name: values}))
        return f"saved to {path}" + (f"; the file as it was is {backup.name}" if backup else "")

    return save
