"""The page and its one channel, on this machine alone.

Everything goes through a WebSocket that begins with a key. The key is drawn anew by each server and stands behind the #
of the address that the command prints, which browsers never send: another user of the machine finds a page that shows
nothing, and another site in the same browser finds a server that refuses its name and its origin.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from robot_rl.errors import ConfigError, MissingDependency, StorageError
from robot_rl.jsonl import read_json
from robot_rl.operator import BUTTONS
from robot_rl.view.feed import Feed
from robot_rl.view.pictures import Coder
from robot_rl.view.run_files import RunFiles
from robot_rl.view.state import session_state

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MOST_VIEWERS = 16
BEGIN_S = 10.0
"""How long a viewer may take to send the key."""
_PAGE = Path(__file__).with_name("page.html")
_LARGEST_WORD = 2048
_REFRESH_S = 1 / 15
_RUN_S = 1.0
_SILENT_S = 20.0
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # nobody lays their own page over the buttons
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
}

Handler = Callable[["web.Request"], Awaitable["web.StreamResponse"]]


class ViewServer:
    """Serves the view of one run.

    Args:
        folder: The run.
        host, port: Where to listen; port 0 takes a free one.

    Raises:
        ConfigError: The address is not of this machine alone, or the port is taken.
        MissingDependency: What serves or codes pictures is not installed.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.web = load_web()
        self._socket = listen(host, port)
        self.port = int(self._socket.getsockname()[1])
        self.key = secrets.token_urlsafe(24)
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/#{self.key}"
        self.folder = folder
        self._viewers: set[Any] = set()
        self._run_state: dict[str, Any] = {}

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Answer until cancelled.

        Args:
            ready: Called once a browser may come.
        """
        self._feed, self._files = Feed(self.folder), RunFiles(self.folder)
        self._coder = Coder(self._feed)

        @self.web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        app = self.web.Application(middlewares=[guarded], client_max_size=_LARGEST_WORD)
        app.router.add_get("/", self._page)
        app.router.add_get("/live", self._live)
        runner = self.web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        work = [asyncio.ensure_future(self._feed.run()), asyncio.ensure_future(self._follow_files())]
        try:
            await self.web.SockSite(runner, self._socket).start()
            ready()
            await asyncio.gather(*work)
        finally:
            for viewer in list(self._viewers):
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(viewer.close(), 1.0)
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await runner.cleanup()
            self._socket.close()

    async def _follow_files(self) -> None:
        while True:
            try:
                self._run_state = await asyncio.to_thread(self._files.read)
            except StorageError as e:
                self._run_state = {**self._run_state, "trouble": str(e)}
            await asyncio.sleep(_RUN_S)

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what does not come from a browser on this machine that shows this page."""
        if request.method != "GET":
            return self._refuse(405, "this view takes no requests of that kind")
        if not _is_here(request.host):
            return self._refuse(403, "this view answers only to 127.0.0.1 and localhost")
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{request.host}":
            return self._refuse(403, "this view is for its own page alone")
        try:
            return await handler(request)
        except self.web.HTTPException as e:
            return self._refuse(e.status, "there is nothing here but the page at /")

    def _refuse(self, status: int, why: str) -> web.Response:
        return self.web.json_response({"error": why}, status=status, headers={**_HEADERS, "Connection": "close"})

    async def _page(self, request: web.Request) -> web.Response:
        text = await asyncio.to_thread(_PAGE.read_text, encoding="utf-8")
        return self.web.Response(text=text, content_type="text/html", headers=_HEADERS)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """Be the channel of one viewer."""
        if len(self._viewers) >= MOST_VIEWERS:
            return self._refuse(503, f"{MOST_VIEWERS} pages show this session already; close one")
        channel = self.web.WebSocketResponse(heartbeat=_SILENT_S, max_msg_size=_LARGEST_WORD, compress=False)
        await channel.prepare(request)
        self._viewers.add(channel)
        try:
            if not self._has_key(await _word(channel, BEGIN_S)):
                await channel.close(code=4403, message=b"the key is not that of this view")
                return channel
            with self._feed.looking():
                sending = asyncio.ensure_future(self._tell(channel))
                try:
                    async for word in _words(channel):
                        answer = self._press(word)
                        await channel.send_json({"kind": "said", **answer})
                finally:
                    sending.cancel()
                    (ended,) = await asyncio.gather(sending, return_exceptions=True)
                    if not isinstance(ended, asyncio.CancelledError | ConnectionError):
                        log.warning("a page is told no more: %r", ended)
        except (ConnectionError, TimeoutError):
            pass  # the viewer is gone
        finally:
            self._viewers.discard(channel)
            await channel.close()
        return channel

    def _has_key(self, word: Any) -> bool:
        key = word.get("key") if isinstance(word, dict) else None
        return isinstance(key, str) and hmac.compare_digest(key.encode(), self.key.encode())

    def _press(self, word: Any) -> dict[str, str]:
        """Hand on a button and return what the page shall say of it."""
        if not isinstance(word, dict):
            return {"error": "a press is a JSON object"}
        button, episode, paused = word.get("press"), word.get("episode"), word.get("paused")
        if button not in BUTTONS or type(episode) is not int or not 0 <= episode < 2**63 or type(paused) is not bool:
            return {"error": f"a press names a button ({', '.join(BUTTONS)}), the episode and whether it was paused"}
        why = self._feed.press(button, episode, paused)
        return {"error": why} if why else {"pressed": button}

    async def _tell(self, channel: web.WebSocketResponse) -> None:
        """Send what is new, as fast as this viewer takes it and never faster than anyone sees."""
        facts = read_json(self.folder / "run.json")
        await channel.send_json(
            {"kind": "hello", "run": self.folder.resolve().name, "task": str(facts.get("task", ""))}
        )
        told, curve, files_curve, pictures, run_s = "", 0, 0, 0, -_RUN_S
        curves = self._feed.curves
        while True:
            if curves is not self._feed.curves:  # another session has begun
                curves, curve = self._feed.curves, 0
                await channel.send_json({"kind": "session"})
            state = json.dumps({"kind": "step", **session_state(self._feed)})
            points, curve = curves.after(curve), curves.count
            if state != told or points:
                told = state
                await channel.send_str(state)
            if points:
                await channel.send_json({"kind": "curves", "points": points})
            if time.monotonic() - run_s >= _RUN_S and self._run_state:
                run_s = time.monotonic()
                await channel.send_json({"kind": "run", **self._run_state})
                points, files_curve = self._files.curves.after(files_curve), self._files.curves.count
                if points:
                    await channel.send_json({"kind": "learner", "points": points})
            if pictures != self._feed.pictures:
                pictures, coded = await self._coder.newest()
                for name, data in coded:
                    label = name.encode()[:255]
                    await channel.send_bytes(bytes([len(label)]) + label + data)
            await asyncio.sleep(_REFRESH_S)


def load_web() -> Any:
    """Return `aiohttp.web`; raises `MissingDependency` where it is not installed."""
    try:
        from aiohttp import web
    except ImportError as e:
        raise MissingDependency("aiohttp", "the view in the browser", 'pip install "robot-rl[view]"') from e
    return web


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on this machine alone; raises `ConfigError` if that is not possible."""
    if host not in LOOPBACK:
        raise ConfigError(
            f"the view would listen on {host}, where others could see the cameras and press buttons; it listens only "
            "on 127.0.0.1. From another machine, forward the port: ssh -L 8020:127.0.0.1:8020 THIS_MACHINE"
        )
    if not 0 <= port < 2**16:
        raise ConfigError(f"the port of the view is {port}; it must lie in 0 to {2**16 - 1}, and 0 takes a free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1" if host == "localhost" else host, port))
        made.listen(32)
    except OSError as e:
        made.close()
        raise ConfigError(
            f"the view cannot listen on port {port} of {host} ({e.strerror or e}); choose another one, or 0 for any"
        ) from e
    made.setblocking(False)
    return made


def _is_here(host: str) -> bool:
    """Return whether a Host header names this machine as its own browser does, by whatever forwarded port."""
    with contextlib.suppress(ValueError):
        return urlsplit(f"//{host}").hostname in LOOPBACK
    return False


async def _word(channel: web.WebSocketResponse, wait_s: float) -> Any:
    """Return the next JSON value that a viewer sends; None if it is something else."""
    message = await channel.receive(timeout=wait_s)
    return _parsed(message)


async def _words(channel: web.WebSocketResponse) -> AsyncIterator[Any]:
    async for message in channel:
        yield _parsed(message)


def _parsed(message: Any) -> Any:
    from aiohttp import WSMsgType

    if message.type is not WSMsgType.TEXT:
        return None
    try:
        return json.loads(message.data)
    except (ValueError, RecursionError):
        return None
