"""Pages as a browser draws them: Chromium without a window, driven through its debugging pipe.

The protocol is Chrome DevTools: JSON messages that end in a zero byte, on file descriptors 3 (to the browser) and 4.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .drawn_charts import faults, figures_of

PATIENCE = 120.0
"""Seconds to wait for an answer on a busy machine."""
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")

WITH_PIPES = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
for number, pipe in zip((3, 4), pipes):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts a program with two pipes under the numbers that the protocol demands."""

DRAWN = Path(__file__).with_name("drawn.js").read_text(encoding="utf-8")


@contextmanager
def chromium() -> Generator["Browser"]:
    """A browser; the test is skipped where Chromium is not installed."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on the path: install Debian's package chromium to test pages in a browser")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        (read_command, write_command), (read_answer, write_answer) = os.pipe(), os.pipe()
        shim = [sys.executable, "-c", WITH_PIPES, str(read_command), str(write_answer)]
        process = subprocess.Popen(
            [*shim, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(read_command, write_answer),
            stderr=subprocess.DEVNULL,
        )
        os.close(read_command)
        os.close(write_answer)
        try:
            yield Browser.attached(write_command, read_answer)
        finally:
            process.kill()
            process.wait()
            os.close(write_command)
            os.close(read_answer)


@dataclass
class Browser:
    """One tab."""

    commands: int
    answers: int
    session: str | None = None
    sent: int = 0
    pending: bytearray = field(default_factory=bytearray)

    @staticmethod
    def attached(commands: int, answers: int) -> "Browser":
        """The first tab of a browser that has just started."""
        browser = Browser(commands, answers)
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return browser

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command; other messages of the browser are dropped."""
        self.sent += 1
        message: dict[str, Any] = {"id": self.sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self.sent:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _message(self) -> bytes:
        while b"\0" not in self.pending:
            assert select.select([self.answers], [], [], PATIENCE)[0], "the browser does not answer"
            read = os.read(self.answers, 1 << 20)
            assert read, "the browser has ended"
            self.pending += read
        message, _, rest = bytes(self.pending).partition(b"\0")
        self.pending = bytearray(rest)
        return message

    def run(self, script: str) -> Any:
        """Value of an expression in the page; promises are awaited."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, page: Path, *, width: int = 1200, theme: str = "light") -> None:
        """Load a page and wait until its charts are drawn."""
        self.look(width=width, theme=theme)
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")
        self.settle()

    def look(self, *, width: int, theme: str) -> None:
        """Change the width of the window [px] and the reader's theme, as a reader would."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.settle()

    def settle(self) -> None:
        """Wait until handlers of events have run and a frame is drawn."""
        self.run("new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 60)), 60))")

    def faults(self, page: Path) -> list[str]:
        """Charts of the shown page whose numbers do not fit the data of a page, usually of the same."""
        return faults(self.run(DRAWN), figures_of(page))

    def faults_over_changes(self, page: Path) -> dict[str, list[str]]:
        """Charts with wrong numbers at first, at another width, in another theme and after redraws in a row."""
        self.open(page)
        found = {"at first": self.faults(page)}
        for width, theme in ((420, "light"), (420, "dark"), (1200, "dark")):
            self.look(width=width, theme=theme)
            found[f"{width} px, {theme}"] = self.faults(page)
        ink = {chart["ink"] for chart in self.run(DRAWN)}
        assert ink == {"rgb(228, 232, 236)"}, "the text of the charts is not that of the dark theme"
        self.run("for (let i = 0; i < 5; i++) dispatchEvent(new Event('resize'))")
        self.settle()
        found["five redraws in a row"] = self.faults(page)
        return {when: words for when, words in found.items() if words}
