"""What there is in a pool: decisions on a draft, for whoever registers, enlarges or moves."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import count, islice

from ..events import resource as r
from ..events.errors import PipelineError, ResourceUnavailable, nearest
from ..projections.pool import Allocation, PoolState, Request, Resource, amount
from .core.capacity import candidates, free, impossible
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
    its type gives way: wholly, if nothing is held of it."""
    gpu = kind is r.ResourceType.GPU
    devices = devices_of(draft.state, resource_id, size, indices, over_own=True) if gpu else ()
    _hard(draft, r.ResourceRegistered(resource_id, kind, size, indices=devices))


def _hard(draft: Draft, event: r.ResourceRegistered) -> None:
    """Record a hard resource, after the machine's own has given way: at no moment is a device
    in two of them."""
    if event.resource != str(event.type):
        _give_way(draft, event.type, event.indices)
    record(draft, event)


def _give_way(draft: Draft, kind: r.ResourceType, devices: tuple[int, ...]) -> None:
    own = draft.state.resources.get(str(kind))
    if own is None or not own.soft or own.type is not kind:
        return
    if not own.held:
        draft.record(r.ResourceRemoved(str(kind)))
    elif kind is r.ResourceType.GPU:
        others = _indices(draft.state, str(kind)).union(devices)
        rest = tuple(index for index in own.indices if index not in others)
        record(draft, r.ResourceRegistered(str(kind), kind, float(len(rest)), True, rest))


def record(draft: Draft, event: r.ResourceRegistered) -> None:
    """Record it unless it is so already."""
    here = draft.state.resources.get(event.resource)
    there = (event.type, event.capacity, event.soft, event.indices)
    if here is None or (here.type, here.capacity, here.soft, here.indices) != there:
        draft.record(event)


def resize(draft: Draft, resource_id: str, size: float) -> None:
    """Give a resource another capacity, which is hard from now on. Raises PipelineError."""
    resource = find(draft.state, resource_id)
    if resource.type is r.ResourceType.GPU or resource.soft:
        register(draft, resource_id, resource.type, size)
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
        own = draft.state.resources.get(name)
        gpu = kind is r.ResourceType.GPU
        if not known and size:
            devices = tuple(range(int(size))) if gpu else ()
            draft.record(r.ResourceRegistered(name, kind, amount(size), True, devices))
        elif own is None or not own.soft or own.type is not kind:
            continue
        elif gpu and own.capacity != size and not own.held:
            _seed_gpus(draft, name, int(size))
        # The free space of a disk is never twice the same.
        elif not gpu and abs(own.capacity - size) > size / 100:
            draft.record(r.ResourceResized(name, amount(size)))


def _seed_gpus(draft: Draft, name: str, count: int) -> None:
    """There are others than there were, or than somebody took to be there."""
    draft.record(r.ResourceRemoved(name))
    if count and all(one.type is not r.ResourceType.GPU for one in draft.state.resources.values()):
        devices = tuple(range(count))
        draft.record(r.ResourceRegistered(name, r.ResourceType.GPU, float(count), True, devices))


def move(draft: Draft, state: PoolState, owner: str, *, alone: bool) -> None:
    """Register and reserve what another pool has; if its scheduler was ``alone`` there, also hold
    and ask for what is held and asked for, in the name of ``owner``.

    Raises:
        ResourceUnavailable: What is held there is held by others here.
    """
    for name, resource in state.resources.items():
        here = draft.state.resources.get(name)
        if here is None or not resource.soft or (here.soft and here.capacity < resource.capacity):
            there = (name, resource.type, resource.capacity, resource.soft, resource.indices)
            (record if resource.soft else _hard)(draft, r.ResourceRegistered(*there))
    for key, kept in state.reservations.items():
        draft.record(r.ResourceReserved(kept.resource, key, kept.amount, kept.holder))
    for step_type, limit in state.limits.items():
        draft.record(r.RateLimited(step_type, limit.limit, limit.interval))
    if alone:
        _move_held(draft, state, owner)


def _move_held(draft: Draft, state: PoolState, owner: str) -> None:
    for key, held in state.held.items():
        for name, granted in held.grants.items():
            if draft.state.resources[name].soft:
                make_room(draft, name, draft.state.resources[name].type, granted)
        _check_free(draft.state, held)
        draft.record(_asked_by(owner, key, held.request))
        draft.record(r.AllocationGranted(key, held.grants, held.gpus))
    for key, request in state.requests.items():
        draft.record(_asked_by(owner, key, request))


def _asked_by(owner: str, key: str, asked: Request) -> r.AllocationRequested:
    return r.AllocationRequested(
        key, owner, asked.pipeline, asked.amounts, asked.priority, asked.deadline
    )


def _check_free(state: PoolState, held: Allocation) -> None:
    for name, granted in held.grants.items():
        resource = state.resources[name]
        shares = [resource.devices.get(i, 0.0) for i in held.gpus if i in resource.indices]
        over = any(amount(share + min(1.0, granted)) > 1 for share in shares)
        if over or granted > amount(resource.capacity - resource.held):
            raise ResourceUnavailable(
                f"the resource_scheduler holds {granted:g} of {name!r} for "
                f"{held.request.pipeline!r}, and others on the engine's log hold so much that it "
                "cannot move there; deallocate it before giving the scheduler to an engine"
            )


def make_room(
    draft: Draft,
    resource_id: str,
    kind: r.ResourceType,
    wanted: float,
    names: Collection[str] = (),
) -> None:
    """See to it that an explicit allocation can be: register or enlarge what nobody registered.

    Raises:
        PipelineError: The resource is of another type.
        ResourceUnavailable: There can never be so much.
    """
    state = draft.state
    found = candidates(state, resource_id)
    resource = state.resources[found[0]] if found else None
    if resource is not None and resource.type is not kind:
        raise PipelineError(f"resource {resource_id!r} is of type {resource.type}, not {kind}")
    if resource is None or (resource.soft and free(state, found[0]) < wanted):
        _enlarge(draft, found[0] if found else resource_id, kind, wanted)
    problem = impossible(state, {resource_id: wanted}, names)
    if problem is not None:
        raise ResourceUnavailable(f"it can never be allocated: {problem}")


def _enlarge(draft: Draft, resource_id: str, kind: r.ResourceType, wanted: float) -> None:
    resource = draft.state.resources.get(resource_id)
    left = free(draft.state, resource_id) if resource is not None else 0.0
    before = resource.capacity if resource is not None else 0.0
    size = amount(before + wanted - left)
    devices: tuple[int, ...] = ()
    if kind is r.ResourceType.GPU:
        size = float(math.ceil(size))
        devices = devices_of(draft.state, resource_id, size, None)
    logger().warning(
        "a resource that nobody has registered is taken to be as large as what is asked of it",
        resource=resource_id,
        capacity=size,
        before=before,
    )
    draft.record(r.ResourceRegistered(resource_id, kind, size, True, devices))


def find(state: PoolState, resource_id: str) -> Resource:
    """The resource of that id. Raises PipelineError."""
    if resource_id not in state.resources:
        hint = nearest(resource_id, state.resources)
        known = f" (registered: {', '.join(state.resources)})"
        raise PipelineError(f"there is no resource {resource_id!r}{hint or known}")
    return state.resources[resource_id]


def devices_of(
    state: PoolState,
    resource_id: str,
    size: float,
    wanted: tuple[int, ...] | None,
    *,
    over_own: bool = False,
) -> tuple[int, ...]:
    """Indices for the devices of a GPU resource: those it has, and others that are free.

    Args:
        wanted: Which they must be; None: any.
        over_own: The machine's own that nobody holds count as free: they give way.

    Raises:
        ValueError: ``wanted`` cannot be.
    """
    if size % 1:
        raise ValueError(f"GPU {resource_id!r}: its capacity is a number of devices, not {size:g}")
    others = _indices(state, resource_id, over_own=over_own)
    if wanted is None:
        here = state.resources.get(resource_id)
        own = [index for index in here.indices if index not in others] if here else []
        numbers = (index for index in count() if index not in others and index not in own)
        return tuple([*own, *islice(numbers, max(0, int(size) - len(own)))][: int(size)])
    if len(wanted) != size or len(set(wanted)) != size or others & set(wanted):
        raise ValueError(
            f"GPU {resource_id!r}: {int(size)} different indices are needed that no other resource "
            f"has, not {wanted!r}"
        )
    return wanted


def _indices(state: PoolState, resource_id: str, *, over_own: bool = False) -> set[int]:
    """The devices of other GPU resources."""
    found: set[int] = set()
    for name, resource in state.resources.items():
        if name != resource_id:
            gives_way = over_own and resource.soft and name == resource.type
            found.update(() if gives_way else resource.indices)
            found.update(resource.devices)  # what is held, perhaps of one that it has lost
    return found
