"""Chromium without a window, driven over a pipe by its DevTools protocol, for tests of pages."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-audio-output",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
START = """
import os, sys
read, write = map(int, sys.argv[1:3])
import fcntl
read, write = (fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (read, write))  # neither is 3 or 4
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
PATIENCE = 60  # seconds


class PageLeftError(Exception):
    """The page went to another address before it answered."""


class Browser:
    """One page of a browser; a context manager. `complaints` are what its console said and its errors."""

    def __init__(self, profile: Path, width: int = 1400, height: int = 900) -> None:
        self.complaints: list[str] = []
        self._profile, self._size = profile, (width, height)
        self._number, self._buffer = 0, b""

    def __enter__(self) -> Browser:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        width, height = self._size
        flags = [*FLAGS, f"--user-data-dir={self._profile}", f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(read), str(write), CHROMIUM, *flags],
            pass_fds=(read, write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        try:
            self._attach()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _attach(self) -> None:
        self._session = ""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._read)
        os.close(self._write)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        if "error" in answer and "navigated" in answer["error"]["message"]:
            raise PageLeftError(answer["error"]["message"])
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser has gone"
            self._buffer += data
        first, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        self._listen(message)
        return message

    def _listen(self, event: dict[str, Any]) -> None:
        about = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(about["exceptionDetails"])[:2000])
        elif event.get("method") == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.complaints.append(about["entry"]["text"])
        elif event.get("method") == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(about["args"])[:2000])

    def open(self, address: str | Path) -> None:
        """Go to a page and wait until its modules have run."""
        address = address.absolute().as_uri() if isinstance(address, Path) else address
        self.call("Page.navigate", url=address)
        until = time.monotonic() + PATIENCE
        while not self.holds("location.href !== 'about:blank' && document.readyState === 'complete'"):
            assert time.monotonic() < until, f"{address} does not load"
            time.sleep(0.05)

    def run(self, code: str) -> Any:
        """Return the JSON value of an expression, of a promise when it is kept."""
        parameters = {"expression": code, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", **parameters)
        assert "exceptionDetails" not in answer, json.dumps(answer["exceptionDetails"])[:3000]
        return answer["result"].get("value")

    def holds(self, condition: str) -> bool:
        """Return whether a condition is true of the page; false while it goes to another address."""
        try:
            return bool(self.run(f"Boolean({condition})"))
        except PageLeftError:
            return False

    def press(self, key: str, code: str = "", *, shift: bool = False) -> None:
        """Press a key and let it go."""
        text = {"text": key} if len(key) == 1 else {}
        modifiers = 8 if shift else 0
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, modifiers=modifiers, **text)

    def show_as(self, *, dark: bool, width: int, height: int = 900, touch: bool = False) -> None:
        """Take a scheme of colours and a size of the window."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still])
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if touch else 1, "mobile": touch}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def picture(self, target: Path) -> None:
        """Write what is seen as PNG."""
        target.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
