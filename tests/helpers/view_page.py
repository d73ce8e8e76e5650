"""What a browser does with the view, without a browser: one page of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from robot_rl.view.server import ViewServer


class Page:
    """The channel of a page.

    Args:
        url: As the command prints it.
        key: Instead of the address's own.
        headers: More of the request.
    """

    def __init__(self, url: str, key: object = None, headers: dict[str, str] | None = None) -> None:
        self.base, _, own = url.partition("#")
        self.pictures: dict[str, list[bytes]] = {}
        self._loop = asyncio.new_event_loop()
        self._session = self._run(self._open())
        self._channel: Any = None
        try:
            self._channel = self._run(self._session.ws_connect(f"{self.base}live", headers=headers, max_msg_size=0))
        except aiohttp.ClientError:
            self.close()
            raise
        self.say({"key": own if key is None else key})

    async def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    def _run(self, what: Any) -> Any:
        return self._loop.run_until_complete(what)

    def say(self, word: object) -> None:
        """Send JSON, or text or bytes as they are."""
        if isinstance(word, bytes):
            self._run(self._channel.send_bytes(word))
        else:
            self._run(self._channel.send_str(word if isinstance(word, str) else json.dumps(word)))

    def press(self, button: object, episode: object = 0, paused: object = False) -> None:
        """Press a button."""
        self.say({"press": button, "episode": episode, "paused": paused})

    def hear(self, kind: str, fits: Callable[[dict[str, Any]], object] = lambda m: True, seconds: float = 60.0) -> Any:
        """Return the next message of a kind that fits; pictures on the way are kept."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            message = self._run(self._channel.receive(timeout=seconds))
            if message.type is aiohttp.WSMsgType.BINARY:
                size = message.data[0]
                self.pictures.setdefault(message.data[1 : 1 + size].decode(), []).append(message.data[1 + size :])
            elif message.type is aiohttp.WSMsgType.TEXT:
                found = json.loads(message.data)
                if found["kind"] == kind and fits(found):
                    return found
            else:
                raise ConnectionError(f"the channel was closed: {self._channel.close_code}")
        raise TimeoutError(f"no {kind} came within {seconds:.0f} s")

    def closed(self) -> int | None:
        """Wait until the server closes the channel and return its code."""
        while True:
            message = self._run(self._channel.receive(timeout=60.0))
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return self._channel.close_code

    def close(self) -> None:
        """Close the page."""
        if not self._loop.is_closed():
            if self._channel is not None:
                self._run(self._channel.close())
            self._run(self._session.close())
            self._run(asyncio.sleep(0))
            self._loop.close()


@contextmanager
def served(folder: Path) -> Iterator[ViewServer]:
    """Serve a run's view in a thread of this process."""
    server, ready = ViewServer(folder), threading.Event()
    failure: list[BaseException] = []
    box: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def go() -> None:
        task = asyncio.ensure_future(server.serve(ready.set))
        box.append((asyncio.get_running_loop(), task))
        try:
            await task
        except asyncio.CancelledError:
            return
        except BaseException as e:
            failure.append(e)
            ready.set()

    thread = threading.Thread(target=lambda: asyncio.run(go()), daemon=True)
    thread.start()
    assert ready.wait(60.0)
    if failure:
        raise failure[0]
    try:
        yield server
    finally:
        loop, task = box[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(30.0)
        assert not thread.is_alive()
