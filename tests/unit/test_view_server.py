"""The server of the view, over real sockets: what it shows, whom it refuses, and sessions that come and go."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import console_rig as rig
import numpy as np
import pytest

pytest.importorskip("aiohttp")
cv2 = pytest.importorskip("cv2")

from view_page import Page, served  # noqa: E402

from robot_rl.console import ConsoleWriter  # noqa: E402
from robot_rl.errors import ConfigError  # noqa: E402
from robot_rl.metrics import MetricsWriter  # noqa: E402
from robot_rl.runs import create_run  # noqa: E402
from robot_rl.view.curves import MOST_NAMES, MOST_POINTS, Curves  # noqa: E402
from robot_rl.view.server import MOST_VIEWERS, ViewServer  # noqa: E402


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return create_run(tmp_path, "demo", task="pick_cube", seed=0, total_env_steps=1000)


@pytest.fixture
def server(run: Path) -> Iterator[ViewServer]:
    with served(run) as made:
        yield made


@pytest.fixture
def page(server: ViewServer) -> Iterator[Page]:
    made = Page(server.url)
    yield made
    made.close()


@contextmanager
def session(run: Path, **more: Any) -> Iterator[tuple[ConsoleWriter, list[str]]]:
    """Run a session that steps on and on in a thread, and yield it with the buttons that it heard."""
    console, heard, ended = rig.writer(run, **more), list[str](), threading.Event()

    def go() -> None:
        n = 0
        console.reset(rig.observation(200), {"episode": 5})
        while not ended.wait(0.02):
            n += 1
            heard.extend(console.buttons())
            console.step(rig.seen(200, scalars={"classifier": 0.5 + n}, guard_events=("rate",) if n % 10 == 3 else ()))

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield console, heard
    finally:
        ended.set()
        thread.join(30.0)
        console.close()


def ask(port: int, path: str = "/", headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_session_is_shown_with_pictures_numbers_and_events(run: Path, page: Page) -> None:
    assert page.hear("hello") == {"kind": "hello", "run": "demo", "task": "pick_cube"}
    assert page.hear("step")["status"] == "none"
    with session(run):
        step = page.hear("step", lambda m: m["cameras"] and m["log"])
        assert (step["status"], step["session"], step["episode"], step["source"]) == ("live", "record", 5, "policy")
        assert step["left_s"] == pytest.approx(max(0, 10 - step["step"]) * 0.1)
        number, t_s, episode, rule = step["log"][0]
        assert (number, episode, rule) == (1, 5, "rate")
        assert 0.19 < t_s % 1.0 < 0.95  # of step 3, or of the next one that was sent on a busy machine
        assert step["guard"]["rate"] >= 1
        points = page.hear("curves", lambda m: "classifier" in m["points"])["points"]["classifier"]
        assert all(t >= 0.0 and value >= 1.5 for t, value in points)
        rig.wait(lambda: page.hear("step") and page.pictures)
        shown = cv2.imdecode(np.frombuffer(page.pictures["front"][0], np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape == (8, 8, 3)
        assert np.abs(shown.astype(int) - 200).max() <= 3
    assert page.hear("step", lambda m: m["status"] == "none")["running"] is True  # as it was last seen


def test_the_buttons_reach_the_session_and_their_fate_is_told(run: Path, page: Page) -> None:
    page.press("stop")
    assert page.hear("said")["error"] == "no session runs, so nothing was pressed"
    with session(run) as (_, heard):
        page.hear("step", lambda m: m.get("running"))
        for button in ("success", "failure", "discard", "pause", "stop"):
            page.press(button, episode=5)
            assert page.hear("said") == {"kind": "said", "pressed": button}
        rig.wait(lambda: len(heard) == 5)
        assert heard == ["success", "failure", "discard", "pause", "stop"]


def test_a_session_that_dies_is_gone_and_the_next_one_is_found_by_itself(run: Path, page: Page) -> None:
    for name in ("record", "eval"):
        with session(run, session=name):
            assert page.hear("step", lambda m: m["status"] == "live")["session"] == name
        assert page.hear("step", lambda m: m["status"] == "none")
        page.press("success", episode=5)
        assert "no session" in page.hear("said")["error"]


def test_several_people_look_and_nobody_waits_for_the_slowest(run: Path, server: ViewServer) -> None:
    host, port = "127.0.0.1", server.port
    asleep = socket.create_connection((host, port))  # it begins as a page does, and reads nothing more
    asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    asleep.sendall(
        f"GET /live HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    word = json.dumps({"key": server.key}).encode()
    asleep.sendall(bytes([0x81, 0x80 | len(word), 0, 0, 0, 0]) + word)
    pages = [Page(server.url) for _ in range(3)]
    with session(run):
        for page in pages:
            first = page.hear("step", lambda m: m.get("step", 0) > 0)["step"]
            page.hear("step", lambda m, first=first: m["step"] > first + 20)
            assert page.pictures
    for page in pages:
        page.close()
    asleep.close()


def test_pictures_are_asked_for_only_while_somebody_looks(run: Path, server: ViewServer) -> None:
    with session(run) as (console, _):
        rig.wait(lambda: console._step_viewers)
        assert not console._picture_viewers
        page = Page(server.url)
        page.hear("step", lambda m: m["cameras"])
        assert console._picture_viewers == 1
        page.close()
        rig.wait(lambda: not console._picture_viewers)


def test_what_the_run_wrote_is_shown_too(run: Path, page: Page) -> None:
    with MetricsWriter(run, sinks=("jsonl",)) as metrics:
        metrics.write(100, 200, {"critic/q_mean": 0.5, "critic/loss": 0.25}, kind="train")
        metrics.write(0, 0, {"clone/done": 0.5}, kind="clone")
        for ok in (True, False):
            metrics.episode(100, {"episode": 0, "success": ok, "return": float(ok), "intervened": ok})
    state = page.hear("run", lambda m: m["episodes"] == 2 and m["recent"])
    assert state["recent"] == [{"ok": True, "help": True}, {"ok": False, "help": False}]
    assert (state["env_steps"], state["total_env_steps"], state["mean_return"]) == (100, 1000, 0.0)
    points = page.hear("learner")["points"]
    assert {name: [value for _, value in p] for name, p in points.items()} == {
        "critic/q_mean": [0.5],
        "critic/loss": [0.25],
    }


@pytest.mark.parametrize("key", ["", "x", 1, ["x"]])
def test_without_the_key_nothing_is_shown_and_nothing_can_be_pressed(
    run: Path, server: ViewServer, key: object
) -> None:
    with session(run) as (_, heard):
        page = Page(server.url, key=key)
        assert page.closed() == 4403
        page.close()
        assert heard == []


def test_a_press_before_the_key_is_no_press(run: Path, server: ViewServer) -> None:
    with session(run) as (console, heard):
        rig.wait(lambda: console._step_viewers)
        page = Page(server.url, key="wrong")
        page.press("stop")
        assert page.closed() == 4403
        page.close()
        assert heard == []


@pytest.mark.parametrize(
    "word",
    [
        "", "{", "[" * 2000, "null", "[]", '"stop"', "1", {}, {"press": "explode", "episode": 0, "paused": False},
        {"press": "stop", "episode": "0", "paused": False}, {"press": "stop", "episode": -1, "paused": False},
        {"press": "stop", "episode": 2**63, "paused": False}, {"press": "stop", "episode": 0, "paused": 0},
        {"press": ["stop"], "episode": 0, "paused": False}, {"press": "stop"}, b"stop",
    ],
)  # fmt: skip
def test_what_is_no_press_is_answered_with_a_sentence(run: Path, page: Page, word: object) -> None:
    page.say(word)
    assert page.hear("said")["error"].startswith(("a press is a JSON object", "a press names a button (success, "))
    page.say({"press": "stop", "episode": 0, "paused": False})
    assert "no session" in page.hear("said")["error"]


def test_a_word_that_is_too_long_ends_the_channel(run: Path, page: Page) -> None:
    page.say("x" * 100_000)
    assert page.closed() in (1009, 1006)  # too big; on a busy machine the connection may end before its reason comes


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[::2]", "0.0.0.0", "a[", ""]
)
@pytest.mark.parametrize("path", ["/", "/live"])
def test_another_name_for_this_machine_is_refused(server: ViewServer, host: str, path: str) -> None:
    status, body = ask(server.port, path, {"Host": host})
    assert status in (400, 403)
    assert status == 400 or json.loads(body) == {"error": "this view answers only to 127.0.0.1 and localhost"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "[::1]:8020", "LOCALHOST"])
def test_this_machine_by_whatever_forwarded_port_is_served(server: ViewServer, host: str) -> None:
    status, body = ask(server.port, "/", {"Host": host})
    assert status == 200
    assert "<title>robot-rl view</title>" in body
    assert server.key not in body


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_another_page_in_the_same_browser_is_refused(run: Path, server: ViewServer, origin: str) -> None:
    assert ask(server.port, "/live", {"Origin": origin})[0] == 403
    with pytest.raises(Exception, match="403"):
        Page(server.url, headers={"Origin": origin})
    mine = Page(server.url, headers={"Origin": f"http://127.0.0.1:{server.port}"})
    assert mine.hear("hello")
    mine.close()


def test_nothing_is_posted_and_nothing_else_is_there(server: ViewServer) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(server.port, "/live", method=method)[0] == 405
    assert ask(server.port, "/../server.py")[0] == 404
    assert ask(server.port, "/live")[0] == 400  # no channel was asked for


def test_only_so_many_pages_are_served(run: Path, server: ViewServer) -> None:
    pages = [Page(server.url) for _ in range(MOST_VIEWERS)]
    for page in pages:
        page.hear("hello")
    with pytest.raises(Exception, match="503"):
        Page(server.url)
    pages.pop().close()
    rig.wait(lambda: len(server._viewers) < MOST_VIEWERS)
    more = Page(server.url)
    assert more.hear("hello")
    for page in [*pages, more]:
        page.close()


def test_a_port_that_is_taken_and_an_address_for_others_are_sentences(run: Path, server: ViewServer) -> None:
    with pytest.raises(ConfigError, match=rf"cannot listen on port {server.port} of 127.0.0.1 \(.*in use\); choose"):
        ViewServer(run, port=server.port)
    for host in ("0.0.0.0", "192.168.1.2", "::", "example.org"):
        with pytest.raises(
            ConfigError, match=f"would listen on {host}, where others could see .* forward the port: ssh"
        ):
            ViewServer(run, host=host)
    with pytest.raises(ConfigError, match=r"the port of the view is 70000; it must lie in 0 to 65535"):
        ViewServer(run, port=70_000)


def test_malformed_messages_of_a_session_are_ignored(run: Path, page: Page, server: ViewServer) -> None:
    with session(run) as (console, _):
        page.hear("step", lambda m: m["status"] == "live")
        console._steps.send(b"nonsense")
        rig.wait(lambda: server._feed.malformed)
        at = page.hear("step")["step"]
        page.hear("step", lambda m: m["step"] > at + 5)


def test_curves_stay_short_and_keep_their_ends() -> None:
    curves = Curves()
    for i in range(10 * MOST_POINTS):
        curves.add(float(i), {"a": i, "text": "x", "nan": float("nan"), "flag": True})
    ((name, points),) = curves.after(0).items()
    assert name == "a"
    assert len(points) <= MOST_POINTS
    assert points[0] == (0.0, 0.0)
    assert points[-1] == (10 * MOST_POINTS - 1, 10 * MOST_POINTS - 1)
    seen = curves.count
    assert curves.after(seen) == {}
    curves.add(1e6, {"a": 1.0, "b": 2.0})
    assert curves.after(seen) == {"a": [(1e6, 1.0)], "b": [(1e6, 2.0)]}
    curves.add(0.0, {str(i): i for i in range(1000)})
    assert len(curves.after(0)) == MOST_NAMES
