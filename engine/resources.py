"""Resources that steps share: registering, allocating, and asking who has what."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from secrets import token_hex
from typing import Any

import msgspec

from ..events import resource as r
from ..events.errors import PipelineError, ResourceUnavailable, nearest
from ..events.memory import MemoryStore
from ..projections.pool import PoolState, amount
from . import holdings, stock
from .clock import SystemClock
from .configuration import PipelineConfig
from .core.capacity import free, impossible
from .holdings import ResourceAllocation
from .pool import Draft, Home, SharedPool, machine_name

LOOK_INTERVAL = 0.1
"""Seconds between two looks at what other processes have released, while somebody waits."""


class ResourceScheduler:
    """What there is of each resource, who holds it, and who waits for it.

    It begins with what the machine has (``cpu memory disk network``, and ``gpu`` where there is
    one); an explicit allocation beyond these enlarges them, with a warning. What is registered is
    hard: more is never held at once. An engine allocates for its steps what they declare, and never
    beyond any capacity.

    Alone, it keeps its pool in memory; given to an engine, in the engine's log, where all engines
    of this machine on that log share it. Safe to use from several threads.

    Args:
        ordering: Who goes first among those that wait, for resources and for free workers:
            ``"priority"`` (equals in the order of their coming), ``"fifo"``, ``"fair_share"``
            (whose pipeline has least) or ``"deadline"``.
        strategy: Which resource of a type is taken: ``"first_fit"`` or ``"best_fit"``;
            ``"priority"`` is first fit with priority ordering.
        pool: Name of the pool that is shared; None: the machine's name.
        max_cpu_cores: At most so many of the machine's cores.
        max_memory_gb: At most so much of its memory, in 10**9 bytes.
        enable_gpu: False: none of its GPUs.
        config: Where the last three come from if they are None; None: the environment, and the
            file that it names.

    Raises:
        ValueError: An unknown ordering or strategy.
        ConfigurationError: The configuration is at fault.
    """

    def __init__(
        self,
        *,
        ordering: str = "priority",
        strategy: str = "first_fit",
        pool: str | None = None,
        max_cpu_cores: float | None = None,
        max_memory_gb: float | None = None,
        enable_gpu: bool | None = None,
        config: PipelineConfig | None = None,
    ) -> None:
        if strategy == "priority":
            ordering, strategy = "priority", "first_fit"
        self.ordering = r.Ordering(ordering)
        self.fit = r.Fit(strategy)
        self.pool_name = pool or machine_name()
        config = config or PipelineConfig()
        self._limits: dict[str, Any] = {
            "max_cpu_cores": max_cpu_cores or config.max_cpu_cores,
            "max_memory_gb": max_memory_gb or config.max_memory_gb,
            "enable_gpu": config.enable_gpu if enable_gpu is None else enable_gpu,
        }
        self._lock = threading.RLock()
        self._home: Home | None = None
        self._ready = False
        self._numbers = count(1)
        self._id = token_hex(6)

    # -- resources ---------------------------------------------------------------------------

    def register_resource(
        self,
        resource_id: str,
        resource_type: r.ResourceType | str,
        capacity: float,
        *,
        indices: tuple[int, ...] | None = None,
    ) -> None:
        """Make a resource known, or known otherwise; its capacity is hard.

        The machine's own resource of the same type is forgotten, if nothing is held of it.

        Args:
            resource_id: By which it is asked for.
            resource_type: A :class:`ResourceType` or its value.
            capacity: In the unit of its type.
            indices: Of a GPU's devices; None: those that follow the ones that are taken.

        Raises:
            ValueError: A capacity that is not a number from 0, or an unknown type.
        """
        kind = _type(resource_type)
        size = _figure("capacity", capacity)

        self._transact(lambda draft: stock.register(draft, resource_id, kind, size, indices))

    def resize_resource(self, resource_id: str, capacity: float) -> None:
        """Give a resource another capacity. What is held stays held, even if it is more.

        Raises:
            PipelineError: There is no such resource.
        """
        size = _figure("capacity", capacity)

        self._transact(lambda draft: stock.resize(draft, resource_id, size))

    def remove_resource(self, resource_id: str) -> None:
        """Forget a resource. Raises PipelineError: there is none, or something is held of it."""
        self._transact(lambda draft: stock.remove(draft, resource_id))

    def reserve_resource(self, resource_id: str, amount: float, holder: str) -> str:
        """Keep an amount for ``holder``: a pipeline, a step, or all steps of a type, by name.

        Returns:
            The reservation's id, for :meth:`cancel_reservation`.

        Raises:
            PipelineError: There is no such resource, or less than that is not reserved yet.
        """
        kept = _figure("amount", amount)
        reservation = self._new_id()
        self._transact(lambda draft: stock.reserve(draft, resource_id, reservation, kept, holder))
        return reservation

    def cancel_reservation(self, reservation: str) -> None:
        """Give a reservation up. Raises PipelineError: there is no such reservation."""

        def cancel(draft: Draft) -> None:
            kept = draft.state.reservations.get(reservation)
            if kept is None:
                raise PipelineError(f"there is no reservation {reservation!r}")
            draft.record(r.ResourceUnreserved(kept.resource, reservation))

        self._transact(cancel)

    def set_rate_limit(self, step_type: str, limit: int, interval: float = 1.0) -> None:
        """Let at most ``limit`` steps of a type start in any ``interval`` seconds, over all runs.

        Args:
            limit: 1 to 100,000; 0 lifts the limit.
        """
        if not isinstance(limit, int) or not 0 <= limit <= 100_000:
            raise ValueError(f"a rate limit is a whole number from 0 to 100,000, not {limit!r}")
        event = r.RateLimited(step_type, limit, _figure("interval", interval))
        self._transact(lambda draft: draft.record(event))

    # -- allocations -------------------------------------------------------------------------

    def allocate_resource(
        self,
        resource_id: str,
        resource_type: r.ResourceType | str,
        amount: float,
        pipeline_id: str,
        *,
        priority: int = 0,
        deadline: float | None = None,
        timeout: float = 0.0,
    ) -> ResourceAllocation:
        """Hold an amount of a resource until it is given back.

        An unknown resource is registered, and one that nobody has registered is enlarged, each with
        a warning.

        Args:
            resource_id: Of what.
            resource_type: Its type.
            amount: In the unit of the type.
            pipeline_id: For whom: any name.
            priority: Among those that wait, higher ones go first.
            deadline: When it is needed at the latest, in seconds since 1970, for that ordering.
            timeout: Seconds to wait, in the pool's order, for what is taken now; ``math.inf`` for
                as long as it takes.

        Raises:
            ResourceUnavailable: It is taken, or more than there can ever be.
            PipelineError: The resource is of another type.
            ValueError: An amount that is not a number above 0.
        """
        kind = _type(resource_type)
        wanted = _figure("amount", amount)
        if not wanted:
            raise ValueError("an amount of 0 cannot be allocated")
        home = self._open()
        home.keep_alive()
        request = r.AllocationRequested(
            allocation=self._new_id(),
            owner=home.owner,
            pipeline=pipeline_id,
            amounts={resource_id: wanted},
            priority=priority,
            deadline=None if deadline is None else int(deadline * 1e9),
        )

        def ask(draft: Draft) -> bool:
            stock.make_room(draft, resource_id, kind, wanted)
            draft.record(request)
            return _take(draft, request.allocation) or (timeout <= 0 and _withdraw(draft, request))

        self._transact(ask)
        if request.allocation not in home.pool.state.held and timeout > 0:
            self._wait(home, request, timeout)
        held = home.pool.state.held.get(request.allocation)
        if held is None:
            left = free(home.pool.state, resource_id)
            raise ResourceUnavailable(
                f"{wanted:g} of {resource_id!r} are wanted and {max(0.0, left):g} are free; wait "
                "for it with timeout=..., or give something back"
            )
        return next(holdings.told(request.allocation, held, home.pool.state))

    def deallocate_resource(self, allocation_id: str) -> bool:
        """Give back what is held. Returns whether it was (False: given back before).

        Raises:
            PipelineError: It is held for a step, whose engine gives it back.
        """

        def release(draft: Draft) -> bool:
            held = draft.state.held.get(allocation_id)
            if held is None:
                return False
            if held.request.run is not None:
                raise PipelineError(
                    f"allocation {allocation_id!r} is held for step {held.request.step!r} of run "
                    f"{held.request.run}, whose engine gives it back"
                )
            draft.record(r.AllocationReleased(allocation_id))
            return True

        return bool(self._transact(release))

    def _wait(self, home: Home, request: r.AllocationRequested, timeout: float) -> None:
        pool, allocation = home.pool, request.allocation
        end = time.monotonic() + timeout
        try:
            with pool.changed:
                while allocation in pool.state.requests:
                    left = end - time.monotonic()
                    if left <= 0:
                        break
                    pool.changed.wait(min(left, LOOK_INTERVAL))
                    pool.transact(home.owner, lambda draft: _take(draft, allocation))
        finally:
            pool.transact(home.owner, lambda draft: _withdraw(draft, request))

    # -- questions ---------------------------------------------------------------------------

    def list_resources(self) -> list[str]:
        """The ids of all resources."""
        return list(self._seen().resources)

    def get_resource_status(self, resource_id: str) -> dict[str, Any]:
        """The ``type capacity allocated available reserved utilization waiting`` of a resource.

        ``reserved`` is what is kept for holders and not held by them, ``available`` what is left
        for others, ``utilization`` the allocated share of the capacity, and ``waiting`` how many
        requests want some of it.

        Raises:
            PipelineError: There is no such resource.
        """
        return holdings.status(self._seen(), resource_id)

    def get_available_capacity(self, resource_id: str) -> float:
        """What is left of a resource. Raises PipelineError: there is none of this id."""
        return float(self.get_resource_status(resource_id)["available"])

    def get_pipeline_allocations(self, pipeline_id: str) -> list[ResourceAllocation]:
        """What is held for a pipeline, by its name, or for a run, by its id."""
        return holdings.of_pipeline(self._seen(), pipeline_id)

    def impossible(self, amounts: dict[str, float]) -> str | None:
        """Why amounts can never be held at once; None if they can."""
        return impossible(self._seen(), amounts)

    # -- where the pool is -------------------------------------------------------------------

    def attach(self, home: Home) -> None:
        """Move to the pool of an engine's log, with all that was registered and is held.

        Raises:
            PipelineError: The scheduler belongs to another log.
        """
        with self._lock:
            before = self._home
            if before is not None and before.pool is home.pool:
                return
            if before is not None and before.owner != _ALONE:
                raise PipelineError(
                    "this resource_scheduler belongs to an engine on another log; make another one"
                )
            self._home = home
            self._ready = False
            if before is not None:
                home.keep_alive()
                self._ready = True
                home.pool.transact(home.owner, partial(self._move_in, before.pool.state))

    def _move_in(self, state: PoolState, draft: Draft) -> None:
        assert self._home is not None  # since it has just been given
        self._configure(draft)
        stock.move(draft, state, self._home.owner)

    def prepare(self) -> SharedPool:
        """The pool, with the machine's resources in it. Any thread."""
        return self._open().pool

    def _open(self) -> Home:
        with self._lock:
            if self._home is None:
                store, clock = MemoryStore(), SystemClock()
                pool = SharedPool(store, self.pool_name, clock, threading.Event())
                self._home = Home(pool, _ALONE, lambda: None)
            if not self._ready:
                self._ready = True
                self._home.pool.transact(self._home.owner, self._seed)
            return self._home

    def _seed(self, draft: Draft) -> None:
        from .machine import machine_resources  # which imports psutil

        self._configure(draft)
        stock.seed(draft, msgspec.structs.asdict(machine_resources(**self._limits)))

    def _configure(self, draft: Draft) -> None:
        if (draft.state.ordering, draft.state.fit) != (self.ordering, self.fit):
            draft.record(r.PoolConfigured(self.ordering, self.fit))

    def _transact(self, decide: Callable[[Draft], Any]) -> Any:
        home = self._open()
        return home.pool.transact(home.owner, decide)

    def _seen(self) -> PoolState:
        """The newest state; of a log that was closed, the last."""
        pool = self._open().pool
        pool.closed()
        return pool.state

    def _new_id(self) -> str:
        return f"{self._id}-{next(self._numbers)}"


_ALONE = "alone"
"""Owner of what is held by a scheduler without an engine."""


def _take(draft: Draft, allocation: str) -> bool:
    """Grant a request if it is its turn and it fits."""
    for offered, grant in draft.survey():
        if offered == allocation:
            draft.record(r.AllocationGranted(allocation, grant.amounts, grant.gpus))
            return True
    return False


def _withdraw(draft: Draft, request: r.AllocationRequested) -> bool:
    if request.allocation in draft.state.requests:
        draft.record(r.AllocationWithdrawn(request.allocation))
    return False


def _type(kind: r.ResourceType | str) -> r.ResourceType:
    try:
        return r.ResourceType(kind)
    except ValueError:
        hint = nearest(str(kind), r.ResourceType) or f"; types: {', '.join(r.ResourceType)}"
        raise ValueError(f"there is no type of resource {kind!r}{hint}") from None


def _figure(name: str, number: float) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} must be a number, not {number!r}")
    if not math.isfinite(number) or not 0 <= number <= 1e12:
        raise ValueError(f"{name} must be a number from 0 to 1e12, not {number!r}")
    return amount(float(number))
