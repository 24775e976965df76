"""Moments as people write them."""

from __future__ import annotations

import time
from datetime import datetime

from .options import span
from .terminal import BadInput

WAYS = "'2026-07-01 12:30', '12:30:05', or '2h' ago"


def time_of(text: str) -> int:
    """A moment (ns since 1970, UTC) that somebody writes; without a zone, on the local clock.

    Raises:
        BadInput: It is none.
    """
    ago = span(text)
    if ago is not None:
        return time.time_ns() - int(ago * 1e9)
    for form in ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f"):
        try:
            clock = datetime.strptime(text, form)  # on the local clock
        except ValueError:
            continue
        return _nanoseconds(datetime.combine(datetime.now().astimezone().date(), clock.time()))
    try:
        return _nanoseconds(datetime.fromisoformat(text))
    except (ValueError, OverflowError, OSError):
        raise BadInput(f"{text!r} is no time such as {WAYS}") from None


def _nanoseconds(moment: datetime) -> int:
    whole = moment.replace(microsecond=0).timestamp()
    return int(whole) * 10**9 + moment.microsecond * 1000
