"""What several test files of the engine use."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from gates import Gate

from semantica.pipeline.engine.parallelism import ParallelismManager


@pytest.fixture
def manager() -> Iterator[ParallelismManager]:
    """A manager with four workers; what a test leaves running is given up."""
    manager = ParallelismManager(max_workers=4)
    yield manager
    manager.close(wait=False)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that opens after the test, whatever became of it."""
    made = Gate()
    yield made
    made.let()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of the test; none outlives it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()
