"""What happens in a log, told to every page that is open as it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ...events.errors import PipelineError
from ...events.logger import logger
from .documents import Document
from .reading import FOLLOWED, Reading

LOOK = 0.2
"""Seconds between two looks at the log, while a page is open."""
LOSSES = 2.0
"""Seconds between two looks at whether owners are still alive."""
HEARTBEAT = 15.0
"""Seconds after which a silent stream says that it is still there."""
TOLD = 200
"""Runs that have changed of which a line is told at once; of more, those that changed last."""


class News(NamedTuple):
    """Lines of the list of runs that have changed, and the newest line that the handlers of a run
    have said; by run."""

    runs: dict[str, Document]
    said: dict[str, int]


class Listener:
    """A page that is open: what it has not been told yet, by run."""

    def __init__(self) -> None:
        self._news = News({}, {})
        self._changed = asyncio.Event()

    def tell(self, news: News) -> None:
        """Something has happened; of a run only the newest counts."""
        self._news.runs.update(news.runs)
        self._news.said.update(news.said)
        self._changed.set()

    async def news(self) -> AsyncIterator[News | None]:
        """What happens, as it does; None where nothing has happened for a while."""
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), HEARTBEAT)
            except TimeoutError:
                yield None
                continue
            self._changed.clear()
            news, self._news = self._news, News({}, {})
            yield news


class Changes:
    """Looks at the log while somebody listens. Its methods belong to one event loop."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._listeners: set[Listener] = set()
        self._position = self._said = 0
        self._lost: dict[str, bool] = {}
        self._looked_for_losses = 0.0

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """A listener, until the end of the block."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def follow(self) -> None:
        """Tell the listeners until cancelled."""
        idle = True
        while True:
            try:
                if self._listeners:
                    news = await asyncio.to_thread(self._begin if idle else self._look)
                    if any(news):
                        for listener in self._listeners:
                            listener.tell(news)
            except PipelineError as error:  # it may pass; the page shows what it has
                logger().warning("cannot read the log", error=str(error))
            idle = not self._listeners
            await asyncio.sleep(LOOK)

    def _begin(self) -> News:
        """What goes on as somebody begins to listen."""
        self._position = self._reading.store.position()
        self._said = self._reading.store.lines.position()
        self._lost = self._reading.losses()
        lines = self._lines([row.run_id for row in self._reading.going()[:FOLLOWED]])
        return News({line["id"]: line for line in lines}, {})

    def _look(self) -> News:
        changed: dict[str, int] = {}
        for envelope in self._reading.store.read_all(self._position):
            self._position = envelope.position
            kind, _, run_id = envelope.stream.partition("/")
            if kind == "run":
                changed.pop(run_id, None)
                changed[run_id] = envelope.version
        lines = [
            {**line, "version": changed[line["id"]]} for line in self._lines(list(changed)[-TOLD:])
        ]
        if time.monotonic() - self._looked_for_losses > LOSSES:
            self._looked_for_losses = time.monotonic()
            lines += self._losses({line["id"] for line in lines})
        said = self._reading.store.lines.heads(self._said)
        self._said = max(said.values(), default=self._said)
        return News({line["id"]: line for line in lines}, said)

    def _lines(self, run_ids: list[str]) -> list[Document]:
        found = []
        for run_id in run_ids:
            row = self._reading.store.run(run_id)
            if row is not None:  # it may have left
                try:
                    found.append(self._reading.line(row))
                except PipelineError as error:  # of a newer version, say: costs this run alone
                    logger().warning("a run cannot be read", run=run_id, error=str(error))
        return found

    def _losses(self, known: set[str]) -> list[Document]:
        """Lines of runs that have lost their owner, or found one, without an event."""
        lost = self._reading.losses()
        changed = [run_id for run_id, now in lost.items() if self._lost.get(run_id, now) != now]
        self._lost = lost
        return self._lines([run_id for run_id in changed if run_id not in known])
