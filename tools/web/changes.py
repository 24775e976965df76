"""What happens in a log, told to every page that is open as it happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

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


class Listener:
    """A page that is open: what it has not been told yet, by run."""

    def __init__(self) -> None:
        self._lines: dict[str, Document] = {}
        self._changed = asyncio.Event()

    def tell(self, lines: list[Document]) -> None:
        """Something has happened; of a run only the newest counts."""
        self._lines.update((line["id"], line) for line in lines)
        self._changed.set()

    async def news(self) -> AsyncIterator[list[Document] | None]:
        """Lines of runs as they change; None where nothing has happened for a while."""
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), HEARTBEAT)
            except TimeoutError:
                yield None
                continue
            self._changed.clear()
            lines, self._lines = self._lines, {}
            yield list(lines.values())


class Changes:
    """Looks at the log while somebody listens. Its methods belong to one event loop."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._listeners: set[Listener] = set()
        self._position = 0
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
                    lines = await asyncio.to_thread(self._begin if idle else self._look)
                    if lines:
                        for listener in self._listeners:
                            listener.tell(lines)
            except PipelineError as error:  # it may pass; the page shows what it has
                logger().warning("cannot read the log", error=str(error))
            idle = not self._listeners
            await asyncio.sleep(LOOK)

    def _begin(self) -> list[Document]:
        """What goes on as somebody begins to listen."""
        self._position = self._reading.store.position()
        self._lost = self._reading.losses()
        return self._lines([row.run_id for row in self._reading.going()[:FOLLOWED]])

    def _look(self) -> list[Document]:
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
        return lines

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
