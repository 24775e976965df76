"""A window in a process of its own, and a real browser that looks at it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLOWS = """
import time
from pathlib import Path

from semantica.pipeline import PipelineBuilder

def number(data=None, context=None):
    context.progress(1, 2, "half of it")
    context.metric("documents", 7)
    context.log.info("counted", documents=7, source="<i>all</i>")
    return {"answer": 42}

def review(data=None, context=None):
    context.log.warning("somebody has to look at <b>it</b>")
    return context.wait_for("approve")

def broken(data=None, context=None):
    context.log.error("<img src=x onerror=alert(6)>", hint="</pre>\\n<script>alert(7)</script>")
    raise ValueError("<b>no</b> good")

def gated(data=None):
    while not (Path(__file__).parent / "go").exists():
        time.sleep(0.02)

reviewed = (
    PipelineBuilder("reviewed")
    .add_step("collect", "number", handler=number)
    .add_step("review", "review", handler=review)
    .add_step("publish", "number", handler=number)
    .build()
)
failing = PipelineBuilder("failing").add_step("bad", "broken", handler=broken).build()

gate = (
    PipelineBuilder("gate")
    .add_step("first", "gated", handler=gated)
    .add_step("second", "gated", handler=gated)
    .build()
)

def hostile():
    builder = PipelineBuilder("<img src=x onerror=alert(1)>")
    builder.add_step("<script>alert(2)</script>", '"><svg onload=alert(3)>', handler=number)
    builder.add_step("javascript:alert(4)", "{{7*7}}", handler=number)
    builder.add_step("\\u202egpj.exe", "</style><style>*{display:none}</style>", handler=broken)
    return builder
"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Window:
    """Commands on a log, and ``ui`` on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log.db"
        (folder / "flows.py").write_text(FLOWS)
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command and go on."""
        line = [sys.executable, "-m", "semantica.pipeline", *words, "--log", str(self.log)]
        process = subprocess.Popen(
            line, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._started.append(process)
        return process

    def run(self, target: str, run_id: str, status: int = 0) -> None:
        """Run a pipeline of ``flows.py`` to its end."""
        process = self.start("run", f"flows.py:{target}", "--run-id", run_id)
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == status, complaints

    def open(self, *options: str) -> str:
        """Start a window; returns its address."""
        process = self.start("ui", "--port", "0", "--json", *options)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        address: str = json.loads(line)["address"]
        return address

    def status(self, run_id: str) -> str:
        """A run's status; empty if it is not there."""
        told = subprocess.run(
            [sys.executable, "-m", "semantica.pipeline", "runs", "--json", "--log", str(self.log)],
            capture_output=True,
        )
        if told.returncode:  # there is no log yet
            return ""
        return next(
            (one["status"] for one in json.loads(told.stdout) if one["run_id"] == run_id), ""
        )

    def end(self) -> None:
        """End what is left; a window must not have complained."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._started:
            try:
                _, complaints = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                _, complaints = process.communicate()
            assert "Traceback" not in complaints, complaints


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Window]:
    made = Window(tmp_path)
    yield made
    made.end()


def chromium() -> str | None:
    """The system's Chromium."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium: the system's, or the one that playwright has installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    with playwright.sync_playwright() as driver:
        if path is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("there is no Chromium here (apt-get install chromium)")
        opened = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


class Look:
    """A page of the browser, which must neither raise, nor ask for what it may not have, nor open
    a dialog."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.trouble: list[str] = []
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("console", self._said)
        page.on("dialog", lambda dialog: (self.trouble.append(dialog.message), dialog.dismiss()))
        page.set_default_timeout(20_000)

    def _said(self, message: Any) -> None:
        # Of an answer that says what is wrong, a browser complains of its own accord.
        if message.type == "error" and "the server responded with" not in message.text:
            self.trouble.append(message.text)

    def go(self, place: str) -> None:
        """To another place of the page."""
        self.page.evaluate("place => { location.hash = place }", place)

    def until(self, condition: str, *given: Any) -> Any:
        """Wait for what an expression of JavaScript says (the page's policy forbids ``eval``)."""
        deadline = time.monotonic() + 30
        while not (found := self.page.evaluate(condition, *given)):
            assert time.monotonic() < deadline, f"never: {condition}\n{self.trouble}"
            time.sleep(0.02)
        return found

    def seek(self, version: int) -> None:
        """Draw the slider to an event."""
        self.page.evaluate(
            "v => { const one = document.querySelector('.time input'); one.value = v;"
            " one.dispatchEvent(new Event('input')) }",
            version,
        )
        self.until(
            "v => document.querySelector('.time input').getAttribute('aria-valuetext')"
            "?.startsWith(`event ${v.toLocaleString('en')} of`)",
            version,
        )

    def box(self, name: str) -> str:
        """What the graph says of a step."""
        label: str = self.page.evaluate(
            "name => [...document.querySelectorAll('.box')].map(b => b.getAttribute('aria-label'))"
            ".find(l => l?.startsWith(name)) ?? ''",
            name,
        )
        return label


@pytest.fixture
def look(browser: Any) -> Iterator[Callable[..., Look]]:
    """Opens pages."""
    contexts: list[Any] = []
    looks: list[Look] = []

    def open_page(address: str, **how: Any) -> Look:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **how}))
        looks.append(Look(contexts[-1].new_page()))
        looks[-1].page.goto(address)
        return looks[-1]

    yield open_page
    for context in contexts:
        context.close()
    for one in looks:
        assert not one.trouble, one.trouble
