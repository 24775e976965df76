"""The state of a pool of resources: a fold over the events of its stream.

As with runs, an event that the law does not allow raises IllegalTransition, and the same events
give the same state. Amounts are kept to six decimals, so that sums of shares come out even.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ..events import resource as r
from ..events.errors import IllegalTransition
from ..events.machines import (
    ALLOCATION_TABLE,
    NEW,
    RESOURCE_TABLE,
    AllocationStatus,
    ResourceStatus,
)
from ..events.upcasters import PoolEvent

FOLD = 2
"""Version of this fold; snapshots of another version are ignored."""


class Resource(msgspec.Struct):
    """A resource. ``held`` is what is allocated of its ``capacity``."""

    type: r.ResourceType
    capacity: float
    soft: bool
    indices: tuple[int, ...] = ()
    held: float = 0.0
    devices: dict[int, float] = {}
    """Of a GPU: what is held of its devices, by index; also of one that it has lost since."""


class Reservation(msgspec.Struct):
    """An amount that is kept for a holder, who holds ``held`` of the resource."""

    resource: str
    amount: float
    holder: str
    held: float = 0.0


class Request(msgspec.Struct):
    """Somebody who waits for amounts; ``order`` is the version of its event."""

    owner: str
    pipeline: str
    amounts: dict[str, float]
    order: int
    at: int
    priority: int = 0
    deadline: int | None = None
    run: str | None = None
    step: str | None = None
    step_type: str | None = None
    patience: int = 0
    """Once the pool has granted more than this, the request has been passed by often enough."""

    @property
    def names(self) -> tuple[str | None, ...]:
        """For whom a reservation may be."""
        return self.pipeline, self.step, self.step_type


class Allocation(msgspec.Struct):
    """What is held for a request."""

    request: Request
    grants: dict[str, float]
    gpus: tuple[int, ...]
    at: int


class RateLimit(msgspec.Struct):
    """Of a step type: at most ``limit`` starts in any ``interval`` seconds; the last ones (ns), at
    least so many."""

    limit: int
    interval: float
    starts: list[int] = []


class PoolState(msgspec.Struct):
    """A pool: what a snapshot holds."""

    version: int = 0
    ordering: r.Ordering = r.Ordering.PRIORITY
    fit: r.Fit = r.Fit.FIRST
    resources: dict[str, Resource] = {}
    """In the order of their registration."""
    reservations: dict[str, Reservation] = {}
    limits: dict[str, RateLimit] = {}
    requests: dict[str, Request] = {}
    """Those that wait, the oldest first."""
    held: dict[str, Allocation] = {}
    granted: int = 0
    """Allocations so far."""


MAX_PASSED = 16
"""Others that may be served before a request that came earlier; then it is the next."""


class Pool:
    """A pool, by its name, and its state so far."""

    def __init__(self, name: str, state: PoolState | None = None) -> None:
        self.name = name
        self.state = state or PoolState()

    def apply(self, event: PoolEvent, *, version: int, at: int) -> None:
        """Fold one event.

        Raises:
            IllegalTransition: The law does not allow it now; the state is unchanged.
        """
        state = self.state
        if version != state.version + 1:
            raise self._illegal(f"version {version}", f"version {state.version}", event)
        self._check(event)
        _FOLDS[type(event)](state, event, version, at)
        state.version = version

    def _check(self, event: Any) -> None:
        """Refuse what the law does not allow."""
        kind, state = type(event).__name__, self.state
        allocation = getattr(event, "allocation", None)
        resource = getattr(event, "resource", None)
        if allocation is not None:
            status: str = NEW
            if allocation in state.requests:
                status = AllocationStatus.REQUESTED
            elif allocation in state.held:
                status = AllocationStatus.HELD
            if (status, kind) not in ALLOCATION_TABLE:
                raise self._illegal(f"allocation {allocation!r}", status, event)
        elif resource is not None:
            status = ResourceStatus.REGISTERED if resource in state.resources else NEW
            if (status, kind) not in RESOURCE_TABLE:
                raise self._illegal(f"resource {resource!r}", status, event)

    def _illegal(self, subject: str, status: str, event: PoolEvent) -> IllegalTransition:
        return IllegalTransition(r.pool_stream(self.name), subject, status, type(event).__name__)


def amount(number: float) -> float:
    """An amount as it is kept: to six decimals."""
    return round(number, 6)


def _configured(state: PoolState, event: r.PoolConfigured, version: int, at: int) -> None:
    state.ordering, state.fit = event.ordering, event.fit


def _rate_limited(state: PoolState, event: r.RateLimited, version: int, at: int) -> None:
    before = state.limits.pop(event.step_type, None)
    if event.limit:
        starts = before.starts[-event.limit :] if before else []
        state.limits[event.step_type] = RateLimit(event.limit, event.interval, starts)


def _registered(state: PoolState, event: r.ResourceRegistered, version: int, at: int) -> None:
    before = state.resources.get(event.resource)
    resource = Resource(event.type, event.capacity, event.soft, event.indices)
    if before is not None:
        resource.held, resource.devices = before.held, before.devices
    state.resources[event.resource] = resource


def _resized(state: PoolState, event: r.ResourceResized, version: int, at: int) -> None:
    state.resources[event.resource].capacity = event.capacity


def _removed(state: PoolState, event: r.ResourceRemoved, version: int, at: int) -> None:
    del state.resources[event.resource]
    for key in [k for k, kept in state.reservations.items() if kept.resource == event.resource]:
        del state.reservations[key]


def _reserved(state: PoolState, event: r.ResourceReserved, version: int, at: int) -> None:
    kept = Reservation(event.resource, event.amount, event.holder)
    for allocation in state.held.values():
        if event.holder in allocation.request.names:
            kept.held = amount(kept.held + allocation.grants.get(event.resource, 0.0))
    state.reservations[event.reservation] = kept


def _unreserved(state: PoolState, event: r.ResourceUnreserved, version: int, at: int) -> None:
    state.reservations.pop(event.reservation, None)


def _requested(state: PoolState, event: r.AllocationRequested, version: int, at: int) -> None:
    state.requests[event.allocation] = Request(
        owner=event.owner,
        pipeline=event.pipeline,
        amounts=event.amounts,
        order=version,
        at=at,
        priority=event.priority,
        deadline=event.deadline,
        run=event.run,
        step=event.step,
        step_type=event.step_type,
        # Whoever waits already may go first; of those that come later, so many.
        patience=state.granted + len(state.requests) + MAX_PASSED,
    )


def _granted(state: PoolState, event: r.AllocationGranted, version: int, at: int) -> None:
    request = state.requests.pop(event.allocation)
    allocation = Allocation(request, event.grants, event.gpus, at)
    state.held[event.allocation] = allocation
    state.granted += 1
    _hold(state, allocation, 1)
    limit = state.limits.get(request.step_type or "")
    if limit is not None:
        limit.starts.append(at)
        if len(limit.starts) >= 2 * limit.limit:  # not at every start: a limit may be large
            del limit.starts[: -limit.limit]


def _released(state: PoolState, event: r.AllocationReleased, version: int, at: int) -> None:
    _hold(state, state.held.pop(event.allocation), -1)


def _given_up(
    state: PoolState, event: r.AllocationWithdrawn | r.AllocationDenied, version: int, at: int
) -> None:
    del state.requests[event.allocation]


def _hold(state: PoolState, allocation: Allocation, sign: int) -> None:
    """Add what is granted to what is held, or (-1) take it off."""
    for name, granted in allocation.grants.items():
        resource = state.resources.get(name)
        if resource is None:
            continue
        resource.held = amount(resource.held + sign * granted)
        # What is given back may be a device that the resource has lost meanwhile.
        devices, share = resource.devices, sign * min(1.0, granted)
        mine = resource.indices if sign > 0 else tuple(devices)
        for index in [i for i in allocation.gpus if i in mine]:
            devices[index] = amount(devices.get(index, 0.0) + share)
            if not devices[index]:
                del devices[index]
    for kept in state.reservations.values():
        if kept.holder in allocation.request.names:
            kept.held = amount(kept.held + sign * allocation.grants.get(kept.resource, 0.0))


_FOLDS: dict[type[Any], Callable[[PoolState, Any, int, int], None]] = {
    r.PoolConfigured: _configured,
    r.RateLimited: _rate_limited,
    r.ResourceRegistered: _registered,
    r.ResourceResized: _resized,
    r.ResourceRemoved: _removed,
    r.ResourceReserved: _reserved,
    r.ResourceUnreserved: _unreserved,
    r.AllocationRequested: _requested,
    r.AllocationGranted: _granted,
    r.AllocationReleased: _released,
    r.AllocationWithdrawn: _given_up,
    r.AllocationDenied: _given_up,
}


def pool_to_bytes(pool: Pool) -> bytes:
    """The state as JSON text."""
    return msgspec.json.encode(pool.state)


_decoder = msgspec.json.Decoder(PoolState)


def pool_from_bytes(name: str, data: bytes) -> Pool:
    """The pool as it was when the snapshot was taken."""
    return Pool(name, _decoder.decode(data))
