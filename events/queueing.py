"""What workers agree on about queues, in one stream of the log, in the past tense.

Whoever claims runs from queues appends to this stream in the same transaction, behind the version
that it knew when it counted what goes on. If somebody else has claimed meanwhile, the version is
another one, nothing is recorded, and it counts again. So no limit is ever exceeded, whichever store
keeps the log.
"""

from __future__ import annotations

import msgspec

CLAIMS = "queue/claims"
"""The stream of all claims from queues."""


class RunsAdmitted(msgspec.Struct, frozen=True):
    """A worker claimed these runs, by their ids: each has a PipelineClaimed of the same commit."""

    runs: tuple[str, ...]
