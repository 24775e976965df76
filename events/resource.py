"""What happens to a pool of resources, in the past tense; its stream is ``resource/<pool>``."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class ResourceType(StrEnum):
    """Kind of a resource, and the unit of its amounts."""

    CPU = "cpu"
    """Cores."""
    GPU = "gpu"
    """Devices; a share of one is an amount below 1."""
    MEMORY = "memory"
    """10**9 bytes."""
    DISK = "disk"
    """10**9 bytes."""
    NETWORK = "network"
    """10**6 bits a second."""
    CUSTOM = "custom"
    """Whatever its owner counts: licences, connections."""


class Ordering(StrEnum):
    """Who goes first among those that wait; equals go in the order of their coming."""

    FIFO = "fifo"
    PRIORITY = "priority"
    FAIR_SHARE = "fair_share"
    """Whose pipeline holds the smallest share."""
    DEADLINE = "deadline"
    """Whose deadline is the earliest; those without one last."""


class Fit(StrEnum):
    """Which of several resources of a type is taken."""

    FIRST = "first_fit"
    """The one registered first that has enough."""
    BEST = "best_fit"
    """The one with the least left that has enough."""


class PoolConfigured(msgspec.Struct, frozen=True, omit_defaults=True):
    """How those that wait are ordered, and which resource of a type is taken."""

    ordering: Ordering
    fit: Fit


class RateLimited(msgspec.Struct, frozen=True, omit_defaults=True):
    """In any ``interval`` seconds at most ``limit`` steps of this type start; 0 lifts the limit."""

    step_type: str
    limit: int
    interval: float = 1.0


class ResourceRegistered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A resource is there.

    Args:
        resource: Its id.
        type: Its kind.
        capacity: Amount that can be held at once.
        soft: Whether an allocation beyond the capacity enlarges it: nobody has registered it
            explicitly.
        indices: Of its devices, if it is a GPU.
    """

    resource: str
    type: ResourceType
    capacity: float
    soft: bool = False
    indices: tuple[int, ...] = ()


class ResourceResized(msgspec.Struct, frozen=True, omit_defaults=True):
    """The capacity is another; what is held stays held."""

    resource: str
    capacity: float


class ResourceRemoved(msgspec.Struct, frozen=True):
    """The resource is not there any more; nothing of it was held."""

    resource: str


class ResourceReserved(msgspec.Struct, frozen=True):
    """An amount is kept for a ``holder``: a pipeline, a step or a step type of this name."""

    resource: str
    reservation: str
    amount: float
    holder: str


class ResourceUnreserved(msgspec.Struct, frozen=True):
    """A reservation was given up."""

    resource: str
    reservation: str


class AllocationRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody wants amounts of resources, all at once.

    Args:
        allocation: Id of what will be held.
        owner: The engine that asks; when it dies, what it holds is free.
        pipeline: Name of the pipeline, or whatever the user called it.
        amounts: By resource id or type.
        priority: Higher ones go first, if the pool orders by priority.
        deadline: When it should be done, ns, UTC.
        run, step, step_type: For what, if it is for a step.
    """

    allocation: str
    owner: str
    pipeline: str
    amounts: dict[str, float]
    priority: int = 0
    deadline: int | None = None
    run: str | None = None
    step: str | None = None
    step_type: str | None = None


class AllocationGranted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The amounts are held, by resource id; ``gpus`` are the indices of the devices."""

    allocation: str
    grants: dict[str, float]
    gpus: tuple[int, ...] = ()


OWNER_LOST = "owner_lost"
"""Reason for which what is held, or asked for, by somebody who has died or left ends."""


class AllocationReleased(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was held is free: it was ``returned``, or its ``owner_lost``."""

    allocation: str
    reason: str = "returned"


class AllocationWithdrawn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request is void: its run was halted, nobody waits any more, or its ``owner_lost``."""

    allocation: str
    reason: str = "given_up"


class AllocationDenied(msgspec.Struct, frozen=True):
    """A request can never be granted; ``reason`` says why."""

    allocation: str
    reason: str


def pool_stream(pool: str) -> str:
    """The stream of a pool."""
    return f"resource/{pool}"
