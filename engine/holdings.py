"""What is held of the resources of a pool, as users are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..events.resource import ResourceType
from ..projections.pool import Allocation, PoolState, amount
from .core.capacity import candidates, free
from .stock import find


class ResourceAllocation(msgspec.Struct, frozen=True):
    """An amount of a resource that is held.

    Args:
        allocation_id: By which it is given back.
        resource_id: Of what.
        resource_type: Its kind, which says the unit of the amount.
        amount: How much.
        pipeline_id: For whom.
        allocated_at: When, in seconds since 1970, UTC.
        gpus: Indices of the devices, of a GPU.
    """

    allocation_id: str
    resource_id: str
    resource_type: ResourceType
    amount: float
    pipeline_id: str
    allocated_at: float
    gpus: tuple[int, ...] = ()


def status(state: PoolState, resource_id: str) -> dict[str, Any]:
    """See :meth:`ResourceScheduler.get_resource_status`."""
    resource = find(state, resource_id)
    waiting = sum(
        any(resource_id in candidates(state, name) for name in request.amounts)
        for request in state.requests.values()
    )
    left = free(state, resource_id)
    return {
        "type": resource.type,
        "capacity": resource.capacity,
        "allocated": resource.held,
        "available": max(0.0, left),
        "reserved": amount(resource.capacity - resource.held - left),
        "utilization": resource.held / resource.capacity if resource.capacity else 0.0,
        "waiting": waiting,
    }


def of_pipeline(state: PoolState, pipeline_id: str) -> list[ResourceAllocation]:
    """What is held for a pipeline, by its name, or for a run, by its id."""
    return [
        one
        for allocation, held in state.held.items()
        if pipeline_id in (held.request.pipeline, held.request.run)
        for one in told(allocation, held, state)
    ]


def told(allocation: str, held: Allocation, state: PoolState) -> Iterator[ResourceAllocation]:
    """An allocation, resource by resource."""
    for name, granted in held.grants.items():
        resource = state.resources.get(name)
        yield ResourceAllocation(
            allocation_id=allocation,
            resource_id=name,
            resource_type=resource.type if resource else ResourceType.CUSTOM,
            amount=granted,
            pipeline_id=held.request.pipeline,
            allocated_at=held.at / 1e9,
            gpus=tuple(i for i in held.gpus if resource is None or i in resource.indices),
        )
