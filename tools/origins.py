"""Where a run's pipeline came from, so that another process can load it again after a crash.

A handler is found again by its name, but not every module is on the path of the process that
recovers a run, and a handler that is a lambda has no name. So ``run`` records, in the event that
begins the run, what it was told to run; ``recover`` and ``resume`` load that again.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..events.directory import RunRow
from ..events.pipeline import Origin, PipelineSubmitted
from ..events.store import Store
from ..events.upcasters import to_event
from .loading import absolute
from .terminal import complain


def origin_of(target: str) -> Origin | None:
    """What is to be recorded of a target; None where that is impossible, since the name of a folder
    is no UTF-8."""
    origin = Origin(absolute(target), str(Path.cwd()))
    try:
        msgspec.json.encode(origin)
    except UnicodeEncodeError:
        return None
    return origin


def recall(store: Store, row: RunRow) -> Origin | None:
    """The origin of a run, if it is known and nobody else could have written it."""
    event = to_event(next(store.read(row.stream)))
    if not isinstance(event, PipelineSubmitted) or event.origin is None:
        return None
    if not store.artifacts.trusted:
        complain(
            "warning",
            f"{store.location} may be written by others, so {event.origin.target}, which it names, "
            "is not loaded (mend: chmod go-w)",
        )
        return None
    return event.origin
