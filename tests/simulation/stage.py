"""The stage of a simulation: whatever would differ from run to run stands still."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest import mock

from simulation.process import Broken

from semantica.pipeline.engine import attempt, families, live, loop, ownership, pool, stock, writing
from semantica.pipeline.events.errors import LogUnavailable
from semantica.pipeline.projections import catchup


class _Log:
    """The engine's own log: what it calls an exception is one."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **fields: None

    def exception(self, said: str, **fields: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, LogUnavailable):
            raise Broken(said) from error


def _ids() -> Callable[[], str]:
    """Ids for the runs of nested pipelines."""
    numbers = count(1)
    return lambda: f"c{next(numbers)}"


@contextmanager
def stage() -> Iterator[None]:
    """Everything that would differ from run to run stands still."""
    still = SimpleNamespace(perf_counter=lambda: 0.0, thread_time=lambda: 0.0)
    before = random.getstate()
    with (
        mock.patch.multiple(catchup, SNAPSHOT_EVENTS=15, SNAPSHOT_BYTES=2**20),
        mock.patch.multiple(pool, SNAPSHOT_EVENTS=20, logger=_Log),
        mock.patch.object(loop, "logger", _Log),
        mock.patch.multiple(families, new_id=_ids(), peak_memory=lambda: 1.0),
        mock.patch.object(attempt, "time", still),
        mock.patch.object(ownership, "logger", _Log),
        mock.patch.object(writing, "logger", _Log),
        mock.patch.object(live, "logger", _Log),
        mock.patch.object(stock, "logger", _Log),
    ):
        yield
    random.setstate(before)
