"""Who goes first: one rule for the runs of an engine that could start a step, and for the requests
of a pool of resources."""

from __future__ import annotations

from ...events.resource import Ordering

Rank = tuple[float, int]
"""The smaller one goes first."""


def rank(
    ordering: Ordering, *, order: int, priority: int, deadline: int | None, share: float
) -> Rank:
    """The place of somebody who waits.

    Args:
        order: In which they came, for equals.
        priority: Higher ones go first under ``PRIORITY``.
        deadline: When they should be done (ns); None: some day.
        share: What their pipeline has of all there is, or a count of it, under ``FAIR_SHARE``.
    """
    match ordering:
        case Ordering.FIFO:
            return 0, order
        case Ordering.PRIORITY:
            return -priority, order
        case Ordering.FAIR_SHARE:
            return share, order
        case Ordering.DEADLINE:
            return float("inf") if deadline is None else deadline, order
