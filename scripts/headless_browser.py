"""A browser without a screen, for tests and pictures: Chromium, told what to do over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_START_S, _WAIT_S = 60.0, 60.0


def find_browser() -> str:
    """Return the path of a browser, or an empty text."""
    return next((path for name in NAMES if (path := shutil.which(name))), "")


class BrowserError(Exception):
    """The browser could not be started, or a page did not do what was waited for."""


class Tab:
    """One page in the browser."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: Any) -> None:
        self._loop, self._socket, self._number = loop, socket, 0
        self.complaints: list[str] = []  # uncaught errors of scripts, and what the browser refused to load

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and return its result."""
        return self._loop.run_until_complete(asyncio.wait_for(self._do(method, parameters), _WAIT_S))

    async def _do(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(answer["params"]["exceptionDetails"])[:2000])
            elif answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                self.complaints.append(answer["params"]["entry"]["text"])

    def open(self, url: str) -> None:
        """Go to an address."""
        self.do("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """Return what a JavaScript expression is worth."""
        found = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise BrowserError(f"{expression}: {found['exceptionDetails'].get('exception', {}).get('description')}")
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = _WAIT_S) -> Any:
        """Wait until an expression is true and return its value."""
        until_s = time.monotonic() + seconds
        while True:
            with contextlib.suppress(BrowserError):  # the page may just be coming
                if found := self.value(expression):
                    return found
            if time.monotonic() > until_s:
                raise BrowserError(f"{expression} was not true within {seconds:.0f} s; {self.complaints}")
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Click with the mouse on the middle of an element."""
        place = self.value(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.do("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        """Write a PNG of what is seen."""
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"]))

    def look(self, *, width: int, height: int, dark: bool = False, scale: float = 1.0) -> None:
        """Choose the size of the window, and the colours that the person prefers."""
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])


@contextlib.contextmanager
def open_tab(browser: str = "") -> Iterator[Tab]:
    """Start a browser and yield its page; end both.

    Args:
        browser: Its path; the first that is found if empty.

    Raises:
        BrowserError: There is none, or it does not start.
    """
    browser = browser or find_browser()
    if not browser:
        raise BrowserError(f"there is no browser ({', '.join(NAMES)}); install one: apt-get install chromium")
    folder = Path(tempfile.mkdtemp(prefix="robot_rl-browser-"))
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [browser, "--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars",
         "--remote-debugging-port=0", f"--user-data-dir={folder}", *sandbox, "about:blank"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    loop = asyncio.new_event_loop()
    try:
        with contextlib.closing(loop):
            session, socket = loop.run_until_complete(_connect(folder, process))
            try:
                tab = Tab(loop, socket)
                for domain in ("Page", "Runtime", "Log"):
                    tab.do(f"{domain}.enable")
                yield tab
            finally:
                loop.run_until_complete(session.close())
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _connect(folder: Path, process: subprocess.Popen[bytes]) -> tuple[Any, Any]:
    import aiohttp

    until_s = time.monotonic() + _START_S
    told = folder / "DevToolsActivePort"
    while not told.is_file() or "\n" not in told.read_text():
        if process.poll() is not None:
            raise BrowserError(f"the browser ended at once with status {process.returncode}")
        if time.monotonic() > until_s:
            raise BrowserError(f"the browser did not start within {_START_S:.0f} s")
        await asyncio.sleep(0.05)
    port = told.read_text().split()[0]
    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        pages = [page for page in await answer.json() if page["type"] == "page"]
    return session, await session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0)
