"""A real browser, driven and watched through its debugging protocol: keys are pressed, scripts run, faults and requests noted."""

import asyncio
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-port=0",
)
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package `chromium`"),
]
# Key -> (code, Windows virtual key code); letters and digits are computed.
NAMED_KEYS = {
    " ": ("Space", 32),
    "Backspace": ("Backspace", 8),
    "Escape": ("Escape", 27),
    "Enter": ("Enter", 13),
    "Tab": ("Tab", 9),
    "ArrowDown": ("ArrowDown", 40),
    "ArrowUp": ("ArrowUp", 38),
    "ArrowLeft": ("ArrowLeft", 37),
    "ArrowRight": ("ArrowRight", 39),
}
TIMEOUT_S = 60


@contextmanager
def running_chromium(folder: Path) -> Iterator[str]:
    """The websocket address of a page of a browser that ends with the block; its profile lies in `folder`."""
    assert CHROMIUM is not None
    log = (folder / "chromium.log").open("w")
    browser = subprocess.Popen([CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"], stdout=log, stderr=log)
    try:
        yield _page_address(folder, browser)
    finally:
        browser.terminate()
        browser.wait(timeout=20)
        log.close()


def _page_address(folder: Path, browser: subprocess.Popen[bytes]) -> str:
    port_file = folder / "profile/DevToolsActivePort"
    for _ in range(600):
        assert browser.poll() is None, (folder / "chromium.log").read_text()
        if port_file.is_file() and len(lines := port_file.read_text().splitlines()) == 2:
            with urllib.request.urlopen(f"http://127.0.0.1:{int(lines[0])}/json/list", timeout=TIMEOUT_S) as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise AssertionError("Chromium opened no debugging port within 60 s")


@dataclass
class Page:
    """An open page: `faults` are console errors and exceptions, `requests` the addresses that it asked for."""

    socket: aiohttp.ClientWebSocketResponse
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _sent: int = 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        await self.socket.send_json({"id": self._sent, "method": method, "params": parameters})
        while True:
            message = await self.socket.receive_json(timeout=TIMEOUT_S)
            if message.get("id") == self._sent:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    async def go(self, page: Path, *, fragment: str = "") -> None:
        """Open a file and wait until all figures of the report are drawn."""
        await self.call("Page.navigate", url=page.as_uri() + fragment)
        await self.wait_for("document.documentElement?.dataset.drawn")

    async def wait_for(self, expression: str) -> Any:
        """The value of an expression as soon as it is true."""
        for _ in range(TIMEOUT_S * 10):
            value = await self.run(expression)
            if value:
                return value
            await asyncio.sleep(0.1)
        raise AssertionError(f"not true within {TIMEOUT_S} s: {expression}")

    async def run(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, *keys: str, ctrl: bool = False) -> None:
        """Keys as a person presses them, one after the other."""
        for key in keys:
            code, number = NAMED_KEYS.get(key) or (f"Key{key.upper()}" if key.isalpha() else f"Digit{key}", ord(key.upper()))
            named = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": 2 if ctrl else 0}
            text = {"text": "\r" if key == "Enter" else key} if (len(key) == 1 or key == "Enter") and not ctrl else {}
            await self.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.faults.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.faults.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.faults.append(str(parameters["entry"]))


@asynccontextmanager
async def watched_page(address: str, *, width: int = 1280, colours: str = "light") -> AsyncIterator[Page]:
    """The browser's page, of this width in pixels and in `light` or `dark` colours."""
    async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
        page = Page(socket)
        for domain in ("Network", "Log", "Runtime", "Page"):
            await page.call(f"{domain}.enable")
        await page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        await page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])
        yield page
