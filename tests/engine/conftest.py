"""What several test files of the engine use."""

from __future__ import annotations

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
