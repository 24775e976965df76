"""The command line as its users start it, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLOWS = '''
import time
from pathlib import Path

from semantica.pipeline import PipelineBuilder, step

def number(data=None, value=1):
    return value

def add(data):
    return sum(data.values())

def note(data, context, folder, seconds=0.2):
    """Leave a trace of every execution, then take a while."""
    with (Path(folder) / "executed").open("a") as file:
        file.write(f"{context.step} {context.attempt}\\n")
    time.sleep(seconds)
    return context.step

def broken(data=None):
    raise ValueError("no good")

def talk(data=None, context=None):
    print("a word on standard output")
    context.log.info("a word in the log", answer=42)

@step("registered_here")
def registered(data=None):
    return "registered"

sums = (
    PipelineBuilder("sums")
    .add_step("one", "number", handler=number, value=1, dependencies=[])
    .add_step("two", "number", handler=number, value=2, dependencies=[])
    .add_step("add", "add", handler=add, dependencies=["one", "two"])
)
failing = PipelineBuilder("failing").add_step("bad", "broken", handler=broken).build()
talking = PipelineBuilder("talking").add_step("talk", "talk", handler=talk)
by_type = PipelineBuilder("by_type").add_step("only", "registered_here")
odd = PipelineBuilder("odd").add_step("a", "number", handler=lambda data: {1, 2})
not_one = 5

def chain(steps=8, seconds=0.4, folder=None):
    builder = PipelineBuilder("chain")
    for index in range(steps):
        builder.add_step(
            f"s{index}", "note", handler=note, folder=str(Path(__file__).parent), seconds=seconds
        )
    return builder

def lambdas():
    builder = chain(4)
    builder.add_step("last", "lambda", handler=lambda data: data.upper())
    return builder.build(name="lambdas")

def endless():
    return chain(1, seconds=600).build(name="endless")

def raises():
    raise RuntimeError("not today")
'''


class Shell:
    """Runs the command line in a folder with ``flows/flows.py``, on a log of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log.db"
        self.flows = folder / "flows"
        self.flows.mkdir()
        (self.flows / "flows.py").write_text(FLOWS)
        self._started: list[subprocess.Popen[str]] = []
        self.environment = {
            key: value for key, value in os.environ.items() if not key.startswith("PIPELINE_")
        } | {"PIPELINE_LOG": str(self.log), "COLUMNS": "200"}

    def __call__(
        self, *words: str, status: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and check its exit status."""
        done = subprocess.run(
            self._line(words),
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, status: int = 0) -> Any:
        """What a command writes with ``--json``."""
        return json.loads(self(*words, "--json", status=status).stdout)

    def error(self, *words: str, status: int = 2) -> str:
        """The one line of an error."""
        done = self(*words, status=status)
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, done.stderr
        assert not done.stdout
        return lines[0]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command and go on."""
        process = subprocess.Popen(
            self._line(words),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def executed(self) -> list[str]:
        """``step attempt`` of every execution of ``note``, in order."""
        trace = self.flows / "executed"
        return trace.read_text().splitlines() if trace.exists() else []

    def wait_for(self, executions: int) -> None:
        """Until so many executions have begun."""
        deadline = time.monotonic() + 20
        while len(self.executed()) < executions:
            assert time.monotonic() < deadline, "the steps do not start"
            time.sleep(0.01)

    def end(self) -> None:
        """Kill what is left."""
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()

    def _line(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "semantica.pipeline", *words]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.end()
