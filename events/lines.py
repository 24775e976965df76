"""What handlers have said by ``context.log``: lines of runs, kept beside the events.

Lines are no events: nothing is decided by them, no digest covers them, and the newest may be
missing after a crash. They are written with the events that a turn commits, or soon after they were
said, and they leave a log with their run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

import msgspec

from .envelope import CLEAR, is_known
from .errors import LogError

LEVELS = ("debug", "info", "warning", "error", "critical")
"""From the least to the most severe."""


class LogLine(msgspec.Struct, frozen=True):
    """A line that an attempt at a step has said.

    Args:
        run: The run's id.
        step: The step's name; ``attempt`` is the number of the attempt.
        at: When it was said, ns since 1970, UTC.
        level: One of :data:`LEVELS`.
        payload: JSON, an object: ``event`` is the message, the rest what was said with it.
        item: The key of the map's item that it was said for.
        encoding: How ``payload`` is to be read, as that of an event.
        id: Given by the log, in the order in which lines become visible.
    """

    run: str
    step: str
    attempt: int
    at: int
    level: str
    payload: bytes
    item: str | None = None
    encoding: str = CLEAR
    id: int = 0

    @property
    def event(self) -> str:
        """The message."""
        return str(said(self).get("event", ""))

    @property
    def fields(self) -> dict[str, Any]:
        """What was said with it."""
        return {key: value for key, value in said(self).items() if key != "event"}


class Wanted(msgspec.Struct, frozen=True):
    """Which lines of a run are asked for.

    Args:
        step: Of this step alone; ``attempt``: of its attempt of this number alone.
        level: This severe, or more.
        until: Said at this time (ns) or before.
    """

    step: str | None = None
    attempt: int | None = None
    level: str = LEVELS[0]
    until: int | None = None

    def fits(self, line: LogLine) -> bool:
        """Whether a line is one of them."""
        return (
            (self.step is None or line.step == self.step)
            and (self.attempt is None or line.attempt == self.attempt)
            and (self.until is None or line.at <= self.until)
            and line.level in at_least(self.level)
        )


EVERY = Wanted()
"""All lines of a run."""


class Lines(Protocol):
    """The lines that a log has kept; :meth:`Store.append` writes them, with events or alone."""

    def read(self, run_id: str, after: int = 0, wanted: Wanted = EVERY) -> Iterator[LogLine]:
        """Lines of a run with a higher id than ``after``, in order, in bounded memory."""
        ...

    def newest(
        self, run_id: str, count: int, before: int | None = None, wanted: Wanted = EVERY
    ) -> list[LogLine]:
        """The last ``count`` lines of a run, or those of an id lower than ``before``, in order."""
        ...

    def position(self) -> int:
        """The id of the newest line of all runs; 0 while there is none."""
        ...

    def heads(self, after: int) -> dict[str, int]:
        """The id of the newest line of each run that has one with a higher id than ``after``."""
        ...


def at_least(level: str) -> tuple[str, ...]:
    """The levels that are this severe, or more."""
    return LEVELS[LEVELS.index(level) :]


def said(line: LogLine) -> dict[str, Any]:
    """What a line's payload says; :func:`payload_of` is its inverse.

    Raises:
        LogError: It is in an encoding that this version does not know, or damaged.
    """
    if not is_known(line.encoding):
        raise LogError(
            f"line {line.id} of run {line.run} has the encoding {line.encoding!r}, which this "
            "version does not know; upgrade semantica-pipeline"
        )
    try:
        return msgspec.json.decode(line.payload, type=dict[str, Any])
    except (ValueError, RecursionError) as error:  # msgspec's errors are such, too
        raise LogError(f"line {line.id} of run {line.run} is damaged: {error}") from error


def payload_of(values: Mapping[str, Any]) -> tuple[bytes, str]:
    """The payload of a line, in clear, and its encoding. Values are plain ones that JSON knows."""
    return msgspec.json.encode(values), CLEAR


class MemoryLines:
    """Those of a log in memory."""

    def __init__(self) -> None:
        self._runs: dict[str, list[LogLine]] = {}
        self._last = 0

    def keep(self, lines: Iterable[LogLine]) -> None:
        """Append lines. The caller holds the log's lock."""
        for line in lines:
            self._last += 1
            numbered = msgspec.structs.replace(line, id=self._last)
            self._runs.setdefault(line.run, []).append(numbered)

    def drop(self, run_id: str) -> None:
        """Remove those of a run. The caller holds the log's lock."""
        self._runs.pop(run_id, None)

    def read(self, run_id: str, after: int = 0, wanted: Wanted = EVERY) -> Iterator[LogLine]:
        lines = self._runs.get(run_id, [])[:]
        return (one for one in lines if one.id > after and wanted.fits(one))

    def newest(
        self, run_id: str, count: int, before: int | None = None, wanted: Wanted = EVERY
    ) -> list[LogLine]:
        lines = reversed(self._runs.get(run_id, [])[:])
        fitting = (one for one in lines if before is None or one.id < before)
        return list(islice(filter(wanted.fits, fitting), count))[::-1]

    def position(self) -> int:
        return max((lines[-1].id for lines in self._runs.copy().values()), default=0)

    def heads(self, after: int) -> dict[str, int]:
        heads = {run_id: lines[-1].id for run_id, lines in self._runs.copy().items()}
        return {run_id: head for run_id, head in heads.items() if head > after}
