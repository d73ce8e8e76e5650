"""The page in the browser, over HTTP as a browser speaks it, and the command that serves it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_rl.cell_file import load_cell
from robot_rl.errors import CameraError, ConfigError
from robot_rl_hardware.cameras.settings import CameraSettings
from robot_rl_hardware.cameras.view import Viewed, ViewServer
from robot_rl_hardware.cameras.worker import CameraWorker

cv2 = pytest.importorskip("cv2")

JSON = {"Content-Type": "application/json"}


def ask(
    port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        text = body if isinstance(body, str | None) else json.dumps(body)
        connection.request(method, path, text, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def state(port: int) -> dict[str, Any]:
    status, body = ask(port, "GET", "/state.json")
    assert status == 200
    return json.loads(body)


@pytest.fixture
def saved() -> list[tuple[str, tuple[int, ...]]]:
    return []


@pytest.fixture
def server(source: Any, wait: Any, saved: list[Any]) -> Iterator[ViewServer]:
    worker = CameraWorker("front", source, CameraSettings(kind="opencv", size=16, late_s=60.0, reconnect_s=0.0))
    info = worker.start()
    served = ViewServer({"front": Viewed(worker, info)}, save=lambda *what: saved.append(what) or "kept")
    served.start()
    yield served
    served.close()
    worker.close()


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_the_page_shows_the_camera_and_how_it_does(server: ViewServer, source: Any, wait: Any) -> None:
    status, page = ask(server.port, "GET", "/")
    assert status == 200
    assert b"robot-rl camera" in page
    front = state(server.port)["cameras"]["front"]
    assert not front["ok"]
    assert front["age_ms"] is None
    assert ask(server.port, "GET", "/front/full.jpg")[0] == 404
    source.give(1, value=100)
    wait(lambda: state(server.port)["cameras"]["front"]["number"] == 1)
    front = state(server.port)["cameras"]["front"]
    assert front["ok"]
    assert (front["width"], front["height"], front["crop"]) == (64, 48, [8, 0, 48, 48])
    full = decode(ask(server.port, "GET", "/front/full.jpg?n=7")[1])
    assert full.shape == (48, 64, 3)
    assert np.abs(full.astype(int) - 100).max() <= 3
    np.testing.assert_array_equal(decode(ask(server.port, "GET", "/front/policy.png")[1]), np.full((16, 16, 3), 100))


def test_a_drawn_crop_is_seen_at_once_and_kept_on_request(
    server: ViewServer, source: Any, wait: Any, saved: list[Any]
) -> None:
    from robot_rl_hardware.cameras.protocol import Frame

    image = np.zeros((48, 64, 3), np.uint8)
    image[10:26, 20:36] = 200
    source.frames.append(Frame(image, time.monotonic(), 1))
    wait(lambda: state(server.port)["cameras"]["front"]["ok"])
    status, body = ask(server.port, "POST", "/front/crop", [20, 10, 16, 16], JSON)
    assert status == 200
    assert json.loads(body)["yaml"] == "cameras:\n  front:\n    crop: [20, 10, 16, 16]\n"
    source.frames.append(Frame(image, time.monotonic(), 2))
    wait(lambda: state(server.port)["cameras"]["front"]["number"] == 2)
    assert (decode(ask(server.port, "GET", "/front/policy.png")[1]) == 200).all()
    assert not saved
    assert json.loads(ask(server.port, "POST", "/front/save", [20, 10, 16, 16], JSON)[1])["saved"] == "kept"
    assert saved == [("front", (20, 10, 16, 16))]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([0, 0, 40], "four whole numbers"),
        ([0, 0, 40.5, 40.5], "four whole numbers"),
        ([0, 0, 40, 20], "of a square"),
        ([40, 0, 40, 40], "does not fit into a picture of 64x48"),
        ({"crop": 1}, "four whole numbers"),
        ("{", "four whole numbers"),
        ("[" * 4000, "four whole numbers"),
        ("1" * 100_000, "four whole numbers"),
    ],
)
def test_a_crop_that_is_none_is_refused_in_words(
    server: ViewServer, body: object, sentence: str, saved: list[Any]
) -> None:
    status, answer = ask(server.port, "POST", "/front/save", body, JSON)
    assert status == 400
    assert sentence in json.loads(answer)["error"]
    assert not saved
    assert state(server.port)["cameras"]["front"]["crop"] == [8, 0, 48, 48]


def test_pages_from_elsewhere_are_kept_out(server: ViewServer, saved: list[Any]) -> None:
    for path in ("/", "/state.json", "/front/full.jpg"):
        assert ask(server.port, "GET", path, headers={"Host": "evil.example"})[0] == 403
    # A form or an image of another page can send only such types without asking first.
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        assert ask(server.port, "POST", "/front/save", [8, 0, 48, 48], {"Content-Type": kind})[0] == 415
    assert ask(server.port, "POST", "/front/save", [8, 0, 48, 48], {**JSON, "Host": "evil.example"})[0] == 403
    assert not saved


@pytest.mark.parametrize("path", ["/front/../../etc/passwd", "/back/full.jpg", "/front/view.html", "/front", "/x/"])
def test_nothing_else_is_served(server: ViewServer, path: str) -> None:
    assert ask(server.port, "GET", path)[0] == 404
    assert ask(server.port, "POST", path, [8, 0, 48, 48], JSON)[0] == 404


def test_it_listens_beyond_this_machine_only_when_told_to() -> None:
    with pytest.raises(ConfigError, match="--allow-network"):
        ViewServer({}, host="0.0.0.0")


def test_a_taken_port_is_named(server: ViewServer) -> None:
    with pytest.raises(CameraError, match=rf"cannot listen on 127\.0\.0\.1:{server.port}"):
        ViewServer({}, port=server.port)


def test_the_command_shows_a_film_and_saves_a_crop_to_the_cell(film: Path, tmp_path: Path, wait: Any) -> None:
    cell = tmp_path / "cell.yaml"
    cell.write_text(f"name: lab\ncameras:\n  wrist: {{kind: opencv, device: {film}, loop: true, turn_deg: 180}}\n")
    command = [sys.executable, "-m", "robot_rl", "camera", "--port", "0", "wrist", f"cell={cell}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(2)]
            assert f"wrist: {film}, 64x48" in said[0]
            port = int(said[1].split("127.0.0.1:")[1].split("/")[0])
            wait(lambda: state(port)["cameras"]["wrist"]["number"])
            answer = json.loads(ask(port, "POST", "/wrist/save", [4, 8, 32, 32], JSON)[1])
            assert f"saved to {cell}" in answer["saved"]
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "crop: [4, 8, 32, 32]" in rest
    assert load_cell(cell).cameras["wrist"] == {
        "kind": "opencv", "device": str(film), "loop": True, "turn_deg": 180, "crop": [4, 8, 32, 32],
    }  # fmt: skip
    assert (tmp_path / "cell.yaml.1.bak").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--device", "/dev/video99"], "there is no /dev/video99"),
        (["--device", "opncv:0"], "Did you mean 'opencv'"),
        (["--device", "0", "camera=twin"], "keep one"),
        (["--port", "70000"], "must lie in 0 to 65535"),
        (["--host", "0.0.0.0", "--device", "FILM"], "--allow-network"),
        (["camera=wbcam"], "there is no camera 'wbcam'; there are realsense, opencv, topic, twin"),
        (["side", "cell=CELL"], "the cell has no camera 'side'; it has front."),
        (["cell=CELL", "camera.fpss=3"], "Did you mean 'camera.fps'"),
        (["cell=CELL"], "cell.cameras.front.crop[0] is 'a'"),
    ],
)
def test_bad_input_gets_one_sentence(
    words: list[str], sentence: str, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from robot_rl.cli import main

    cell = tmp_path / "cell.yaml"
    cell.write_text("cameras: {front: {kind: opencv, crop: [a, 0, 10, 10]}}\n")
    given = [word.replace("CELL", str(cell)).replace("FILM", str(film)) for word in words]
    assert main(["camera", *given]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.strip().splitlines()) == 1
    assert os.path.basename(__file__) not in error
