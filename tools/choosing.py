"""Which runs, and which events of one, are to be shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import msgspec

from ..events.directory import RunRow
from ..events.envelope import Envelope
from ..events.errors import LogUnavailable, PipelineError, nearest
from ..events.machines import PipelineStatus
from ..events.store import Store
from ..events.upcasters import to_event
from ..projections.catchup import load_run
from .live import REFRESH
from .terminal import BadInput
from .times import time_of

T = TypeVar("T")

ERRORS = ("Failed", "TimedOut", "CompensationRetryScheduled", "RollbackStarted", "StepWoken")
"""How the types of events end that may tell an error."""
_ORDERS: dict[str, tuple[Callable[[RunRow], Any], bool]] = {
    "submitted": (lambda row: row.submitted_at, True),
    "changed": (lambda row: row.changed_at, True),
    "took": (lambda row: row.changed_at - row.submitted_at, True),
    "name": (lambda row: row.name, False),
    "status": (lambda row: str(row.status), False),
}
"""What runs are sorted by, and whether the largest comes first."""


class Choice(NamedTuple):
    """Runs that were submitted in a time, with an error, in an order."""

    since: int | None
    until: int | None
    error: str | None
    sort: str

    @classmethod
    def of(cls, since: str | None, until: str | None, error: str | None, sort: str) -> Choice:
        """From what was written. Raises BadInput: no time, or no text."""
        if error is not None and not error.strip():
            raise BadInput("--error: an empty text is in every error; leave it out")
        first, last = (None if text is None else time_of(text) for text in (since, until))
        return cls(first, last, error and error.casefold(), sort)

    @property
    def narrows(self) -> bool:
        """Whether anything was asked for."""
        return self[:3] != (None, None, None) or self.sort != "submitted"

    def rows(
        self,
        store: Store,
        name: str | None,
        statuses: Sequence[PipelineStatus] | None,
        limit: int,
    ) -> list[RunRow]:
        """The runs, at most ``limit``."""
        if not self.narrows:
            return store.runs(name=name, statuses=statuses, limit=limit)
        key, descending = _ORDERS[self.sort]
        found = sorted(store.runs(name=name, statuses=statuses), key=key, reverse=descending)
        return list(islice((row for row in found if self._fits(store, row)), limit))

    def _fits(self, store: Store, row: RunRow) -> bool:
        if self.since is not None and row.submitted_at < self.since:
            return False
        if self.until is not None and row.submitted_at >= self.until:
            return False
        return self.error is None or self._has_error(store, row, self.error)

    def _has_error(self, store: Store, row: RunRow, text: str) -> bool:
        for e in store.read(row.stream):
            if e.type.endswith(ERRORS) and text in _errors(e).casefold():
                return True
        return False


def _errors(e: Envelope) -> str:
    """The text of the error that an event tells, if it does and can be read."""
    try:
        event = to_event(e)
    except PipelineError:
        return ""
    found = getattr(event, "error", None) or getattr(event, "cause", None)
    found = found or getattr(getattr(event, "ended", None), "error", None)
    return "" if found is None else "\n".join((str(found), *found.causes))


# Events


def check_steps(store: Store, row: RunRow, steps: Sequence[str]) -> None:
    """Raises BadInput: the run has no step of such a name."""
    known = load_run(store, row.run_id).graph.index if steps else {}
    for step in steps:
        if step not in known:
            hint = nearest(step, known) or f"; its steps: {', '.join(islice(known, 20))}"
            raise BadInput(f"run {row.run_id} ({row.name}) has no step {step!r}{hint}")


def concerns(e: Envelope, types: Sequence[str], steps: Sequence[str]) -> bool:
    """Whether an event has one of these types, if there are any, and is of one of these steps."""
    if types and e.type not in types:
        return False
    return not steps or msgspec.json.decode(e.payload).get("step") in steps


def following(store: Store, row: RunRow, after: int) -> Iterator[Envelope]:
    """A run's events after a version, also those to come, until the run is over."""
    return to_come(
        store, row, after, partial(store.read, row.stream), lambda envelope: envelope.version
    )


def to_come(
    store: Store,
    row: RunRow,
    after: int,
    read: Callable[[int], Iterable[T]],
    number: Callable[[T], int],
) -> Iterator[T]:
    """What ``read`` gives of a run after a number, again and again, until the run is over."""
    over = False
    while True:
        try:
            found = store.run(row.run_id)
            over = found is None or found.status.finished or found.status == "stopped"
            for one in read(after):
                after = number(one)
                yield one
        except LogUnavailable:
            over = False  # it lags until the log can be read again
        if over:
            return
        time.sleep(REFRESH)
