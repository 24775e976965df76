"""What there is in a pool: decisions on a draft, for whoever registers, enlarges or moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import count

from ..events import resource as r
from ..events.errors import PipelineError, ResourceUnavailable, nearest
from ..projections.pool import PoolState, Resource, amount
from .core.capacity import free, impossible
from .logger import logger
from .pool import Draft


def register(
    draft: Draft,
    resource_id: str,
    kind: r.ResourceType,
    size: float,
    indices: tuple[int, ...] | None = None,
) -> None:
    """Register a hard resource, unless it is there as it should be. The machine's own resource of
    its type gives way, if nothing is held of it."""
    gpu = kind is r.ResourceType.GPU
    devices = devices_of(draft.state, resource_id, size, indices) if gpu else ()
    record(draft, r.ResourceRegistered(resource_id, kind, size, indices=devices))
    own = draft.state.resources.get(str(kind))
    if own is not None and own.soft and own.type is kind and not own.held:
        draft.record(r.ResourceRemoved(str(kind)))


def record(draft: Draft, event: r.ResourceRegistered) -> None:
    """Record it unless it is so already."""
    here = draft.state.resources.get(event.resource)
    there = (event.type, event.capacity, event.soft, event.indices)
    if here is None or (here.type, here.capacity, here.soft, here.indices) != there:
        draft.record(event)


def resize(draft: Draft, resource_id: str, size: float) -> None:
    """Give a resource another capacity. Raises PipelineError."""
    resource = find(draft.state, resource_id)
    if resource.type is r.ResourceType.GPU:
        devices = devices_of(draft.state, resource_id, size, None)
        record(draft, r.ResourceRegistered(resource_id, resource.type, size, indices=devices))
    elif resource.capacity != size:
        draft.record(r.ResourceResized(resource_id, size))


def remove(draft: Draft, resource_id: str) -> None:
    """Forget a resource. Raises PipelineError."""
    if held := find(draft.state, resource_id).held:
        raise PipelineError(f"{held:g} of resource {resource_id!r} are held; release them first")
    draft.record(r.ResourceRemoved(resource_id))


def reserve(draft: Draft, resource_id: str, reservation: str, kept: float, holder: str) -> None:
    """Keep an amount for a holder. Raises PipelineError."""
    resource = find(draft.state, resource_id)
    others = draft.state.reservations.values()
    taken = sum(one.amount for one in others if one.resource == resource_id)
    if kept > resource.capacity - taken:
        raise ResourceUnavailable(
            f"{kept:g} of {resource_id!r} cannot be reserved: its capacity is "
            f"{resource.capacity:g}, and {taken:g} are reserved"
        )
    draft.record(r.ResourceReserved(resource_id, reservation, kept, holder))


def seed(draft: Draft, machine: Mapping[str, float]) -> None:
    """Register what the machine has, unless somebody has registered a resource of that type."""
    for name, size in machine.items():
        kind = r.ResourceType(name)
        known = [one for one in draft.state.resources.values() if one.type is kind]
        gpu = kind is r.ResourceType.GPU
        if not known and size:
            devices = tuple(range(int(size))) if gpu else ()
            draft.record(r.ResourceRegistered(name, kind, amount(size), True, devices))
            continue
        own = draft.state.resources.get(name)
        # The free space of a disk is never twice the same.
        if own is not None and own.soft and not gpu and abs(own.capacity - size) > size / 100:
            draft.record(r.ResourceResized(name, amount(size)))


def move(draft: Draft, state: PoolState, owner: str) -> None:
    """Register, reserve and hold all that another pool has, in the name of ``owner``."""
    for name, resource in state.resources.items():
        if name not in draft.state.resources or not resource.soft:
            there = (name, resource.type, resource.capacity, resource.soft, resource.indices)
            record(draft, r.ResourceRegistered(*there))
    for key, kept in state.reservations.items():
        draft.record(r.ResourceReserved(kept.resource, key, kept.amount, kept.holder))
    for step_type, limit in state.limits.items():
        draft.record(r.RateLimited(step_type, limit.limit, limit.interval))
    for key, held in state.held.items():
        asked = held.request
        request = (key, owner, asked.pipeline, asked.amounts, asked.priority, asked.deadline)
        draft.record(r.AllocationRequested(*request))
        draft.record(r.AllocationGranted(key, held.grants, held.gpus))


def make_room(draft: Draft, resource_id: str, kind: r.ResourceType, wanted: float) -> None:
    """See to it that an explicit allocation can be: register or enlarge what nobody registered."""
    state = draft.state
    resource = state.resources.get(resource_id)
    if resource is not None and resource.type is not kind:
        raise PipelineError(f"resource {resource_id!r} is of type {resource.type}, not {kind}")
    if resource is None or (resource.soft and free(state, resource_id) < wanted):
        left = free(state, resource_id) if resource is not None else 0.0
        before = resource.capacity if resource is not None else 0.0
        size = amount(before + wanted - left)
        size = float(math.ceil(size)) if kind is r.ResourceType.GPU else size
        devices: tuple[int, ...] = ()
        if kind is r.ResourceType.GPU:
            devices = devices_of(state, resource_id, size, None)
        logger().warning(
            "a resource that nobody has registered is taken to be as large as what is asked of it",
            resource=resource_id,
            capacity=size,
            before=before,
        )
        draft.record(r.ResourceRegistered(resource_id, kind, size, True, devices))
    problem = impossible(state, {resource_id: wanted})
    if problem is not None:
        raise ResourceUnavailable(f"it can never be allocated: {problem}")


def find(state: PoolState, resource_id: str) -> Resource:
    """The resource of that id. Raises PipelineError."""
    if resource_id not in state.resources:
        hint = nearest(resource_id, state.resources)
        known = f" (registered: {', '.join(state.resources)})"
        raise PipelineError(f"there is no resource {resource_id!r}{hint or known}")
    return state.resources[resource_id]


def devices_of(
    state: PoolState, resource_id: str, size: float, wanted: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Indices for the devices of a GPU resource."""
    if size % 1:
        raise ValueError(f"GPU {resource_id!r}: its capacity is a number of devices, not {size:g}")
    others = {
        index
        for name, resource in state.resources.items()
        if name != resource_id and not resource.soft
        for index in resource.indices
    }
    if wanted is None:
        numbers = (index for index in count() if index not in others)
        return tuple(next(numbers) for _ in range(int(size)))
    if len(set(wanted)) != size or others & set(wanted):
        raise ValueError(
            f"GPU {resource_id!r}: {int(size)} different indices are needed that no other resource "
            f"has, not {wanted!r}"
        )
    return tuple(wanted)
