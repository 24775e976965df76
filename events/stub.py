"""What the log keeps of a run that it holds no more."""

from __future__ import annotations

import msgspec

ARCHIVE = "archive/runs"
"""The stream of all stubs: chained, so that none can be changed or taken away unseen."""


class RunArchived(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finished run's events were removed from the log.

    Args:
        run: Its id.
        name: Its pipeline's name.
        status: How it had ended.
        submitted_at, ended_at: When, ns, UTC.
        events: How many there were.
        digest: The digest of the last one, in hex: whoever has the events can prove with it that
            they are all of them, unchanged.
        to: The log that they were moved to; None: they were discarded.
    """

    run: str
    name: str
    status: str
    submitted_at: int
    ended_at: int
    events: int
    digest: str
    to: str | None = None
