"""The law of pools: every pair of state and event, in the rows and in the fold."""

from __future__ import annotations

from itertools import product

import pytest

from semantica.pipeline.events import resource as r
from semantica.pipeline.events.errors import IllegalTransition
from semantica.pipeline.events.machines import (
    ALLOCATION_ROWS,
    NEW,
    RESOURCE_ROWS,
    AllocationStatus,
    ResourceStatus,
    Row,
)
from semantica.pipeline.events.upcasters import EVENT_TYPES, PoolEvent
from semantica.pipeline.projections.pool import Pool

_A, _R = AllocationStatus, ResourceStatus

SAMPLES: dict[str, PoolEvent] = {
    "AllocationRequested": r.AllocationRequested("a", "engine", "job", {"cpu": 2.0}),
    "AllocationGranted": r.AllocationGranted("a", {"cpu": 2.0}),
    "AllocationReleased": r.AllocationReleased("a"),
    "AllocationWithdrawn": r.AllocationWithdrawn("a"),
    "AllocationDenied": r.AllocationDenied("a", "too much"),
    "ResourceRegistered": r.ResourceRegistered("cpu", r.ResourceType.CPU, 4.0),
    "ResourceResized": r.ResourceResized("cpu", 3.0),
    "ResourceRemoved": r.ResourceRemoved("cpu"),
    "ResourceReserved": r.ResourceReserved("cpu", "kept", 1.0, "job"),
    "ResourceUnreserved": r.ResourceUnreserved("cpu", "kept"),
}
ALLOCATION_PATHS: dict[str, list[str]] = {
    NEW: [],
    _A.REQUESTED: ["Requested"],
    _A.HELD: ["Requested", "Granted"],
    _A.RELEASED: ["Requested", "Granted", "Released"],
    _A.WITHDRAWN: ["Requested", "Withdrawn"],
    _A.DENIED: ["Requested", "Denied"],
}
RESOURCE_PATHS: dict[str, list[str]] = {
    NEW: [],
    _R.REGISTERED: ["Registered"],
    _R.REMOVED: ["Registered", "Removed"],
}
ALLOCATION_EVENTS = [name for name in EVENT_TYPES if name.startswith("Allocation")]
RESOURCE_EVENTS = [name for name in EVENT_TYPES if name.startswith("Resource")]
PAIRS = [
    (state, event)
    for state, event in product(ALLOCATION_PATHS, ALLOCATION_EVENTS)
    # An id is never used again; the fold forgets those that are over: there is no end of them.
    if (state, event) not in product([_A.RELEASED, _A.WITHDRAWN, _A.DENIED], [ALLOCATION_EVENTS[0]])
]


def pool_after(path: list[str], *, of: str) -> Pool:
    pool = Pool("here")
    if of == "Allocation":
        apply(pool, SAMPLES["ResourceRegistered"])
    for name in path:
        apply(pool, SAMPLES[of + name])
    return pool


def apply(pool: Pool, event: PoolEvent) -> None:
    pool.apply(event, version=pool.state.version + 1, at=pool.state.version + 1)


def allocation_status(pool: Pool) -> str:
    """What the fold can tell: those that are over are no longer there."""
    if "a" in pool.state.requests:
        return _A.REQUESTED
    return _A.HELD if "a" in pool.state.held else "over"


def test_the_samples_are_all_there_is() -> None:
    assert set(SAMPLES) == {*ALLOCATION_EVENTS, *RESOURCE_EVENTS}
    assert set(ALLOCATION_PATHS) == {NEW, *_A}
    assert set(RESOURCE_PATHS) == {NEW, *_R}
    assert len(PAIRS) == 6 * 5 - 3


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_an_allocation_event_leads_where_the_law_says_or_is_refused(state: str, event: str) -> None:
    pool = pool_after(ALLOCATION_PATHS[state], of="Allocation")
    expected = allowed(ALLOCATION_ROWS, state, event)
    if not expected:
        check_refused(pool, event)
        return
    apply(pool, SAMPLES[event])
    now = expected[0] if expected[0] in (_A.REQUESTED, _A.HELD) else "over"
    assert allocation_status(pool) == now
    assert pool.state.resources["cpu"].held == (2.0 if now == _A.HELD else 0.0)


@pytest.mark.parametrize(("state", "event"), [*product(RESOURCE_PATHS, RESOURCE_EVENTS)])
def test_a_resource_event_leads_where_the_law_says_or_is_refused(state: str, event: str) -> None:
    pool = pool_after(RESOURCE_PATHS[state], of="Resource")
    expected = allowed(RESOURCE_ROWS, state, event)
    if not expected:
        check_refused(pool, event)
        return
    apply(pool, SAMPLES[event])
    assert ("cpu" in pool.state.resources) == (expected == [_R.REGISTERED])


def allowed(rows: tuple[Row, ...], state: str, event: str) -> list[str]:
    found = [row for row in rows if row.trigger == event and state in row.sources]
    return [row.dest or state for row in found]


def check_refused(pool: Pool, event: str) -> None:
    before = repr(pool.state)
    with pytest.raises(IllegalTransition, match=f"resource/here: {event}"):
        apply(pool, SAMPLES[event])
    assert repr(pool.state) == before, "a refusal must change nothing"


def test_versions_have_no_gaps() -> None:
    pool = pool_after(["Registered"], of="Resource")
    for version in (1, 3):
        with pytest.raises(IllegalTransition, match=f"version {version}"):
            pool.apply(SAMPLES["ResourceResized"], version=version, at=1)
