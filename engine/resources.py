"""Resources that steps share: registering, allocating, and asking who has what."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from secrets import token_hex
from typing import Any, TypeVar

import msgspec

from ..events import resource as r
from ..events.errors import LogError, PipelineError
from ..events.memory import MemoryStore
from ..projections.pool import PoolState
from . import asking, holdings, stock
from .clock import SystemClock
from .configuration import PipelineConfig
from .core.capacity import impossible
from .figures import device_indices, figure, moment, type_of, whole, word
from .holdings import ResourceAllocation
from .pool import Draft, Home, SharedPool
from .supply import machine_name

T = TypeVar("T")

LOOK_INTERVAL = 0.1
"""Seconds between two looks at what other processes have released, while somebody waits."""
SWEEP_INTERVAL = 1.0
"""Seconds between two looks for owners that have died."""


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
            indices: Of a GPU's devices; None: those it has, or the next ones that are free.

        Raises:
            TypeError: A value of another type.
            ValueError: A capacity that is not from 0 to 1e12, an unknown type, or devices that
                another resource has.
        """
        name = word("resource_id", resource_id)
        kind = type_of(resource_type)
        size = figure("capacity", capacity)
        devices = device_indices(indices)
        self._transact(lambda draft: stock.register(draft, name, kind, size, devices))

    def resize_resource(self, resource_id: str, capacity: float) -> None:
        """Give a resource another capacity, which is hard. What is held stays held, even if it is
        more; what waits for more than there is now is refused.

        Raises:
            PipelineError: There is no such resource.
        """
        size = figure("capacity", capacity)
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
        kept = figure("amount", amount)
        name = word("holder", holder)
        reservation = self._new_id()
        self._transact(lambda draft: stock.reserve(draft, resource_id, reservation, kept, name))
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
        event = r.RateLimited(
            word("step_type", step_type),
            whole("limit", limit, 0, 100_000),
            figure("interval", interval),
        )
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
            TypeError: A value of another type.
            ValueError: An amount that is not above 0.
        """
        wanted = figure("amount", amount)
        if not wanted:
            raise ValueError("an amount of 0 cannot be allocated")
        request = r.AllocationRequested(
            allocation=self._new_id(),
            owner="",  # whoever has the pool then
            pipeline=word("pipeline_id", pipeline_id),
            amounts={word("resource_id", resource_id): wanted},
            priority=whole("priority", priority, -(2**31), 2**31),
            deadline=moment("deadline", deadline),
        )
        try:
            self._ask(request, type_of(resource_type), timeout)
            return self._wait(request, timeout)
        except BaseException:  # also of somebody who does not want to wait any more
            with suppress(LogError):
                self._transact(lambda draft: asking.give_up(draft, request.allocation))
            raise

    def _ask(self, request: r.AllocationRequested, kind: r.ResourceType, timeout: float) -> None:
        ((resource_id, wanted),) = request.amounts.items()
        allocation = request.allocation

        def ask(draft: Draft) -> None:
            home = self._at_home
            stock.make_room(draft, resource_id, kind, wanted, (request.pipeline,))
            draft.record(msgspec.structs.replace(request, owner=home.owner))
            if not asking.take(draft, allocation):
                asking.take_from_the_dead(draft, allocation, home.is_dead)
            if timeout <= 0 and allocation in draft.state.requests:
                draft.record(r.AllocationWithdrawn(allocation))

        self._open().keep_alive()
        self._transact(ask)

    def _wait(self, request: r.AllocationRequested, timeout: float) -> ResourceAllocation:
        """Wait until it is held. Raises ResourceUnavailable."""
        allocation = request.allocation
        end, sweep = time.monotonic() + timeout, time.monotonic() + SWEEP_INTERVAL
        while True:
            home = self._at_home
            with home.pool.changed:
                if home is not self._home:
                    continue  # the pool has moved, and those who wait with it
                now = time.monotonic()
                home.pool.transact(home.owner, partial(self._take, allocation, now >= sweep))
                sweep = now + SWEEP_INTERVAL if now >= sweep else sweep
                state = home.pool.state
                held = state.held.get(allocation)
                if held is not None:
                    return next(holdings.told(allocation, held, state))
                if allocation not in state.requests or now >= end:
                    raise asking.unavailable(state, request)
                home.pool.changed.wait(min(end - now, LOOK_INTERVAL))

    def _take(self, allocation: str, sweep: bool, draft: Draft) -> None:
        if not asking.take(draft, allocation) and sweep:
            asking.take_from_the_dead(draft, allocation, self._at_home.is_dead)
        asking.deny_if_in_vain(draft, allocation)

    def deallocate_resource(self, allocation_id: str) -> bool:
        """Give back what is held. Returns whether it was (False: given back before).

        Raises:
            PipelineError: It is held for a step, whose engine gives it back.
        """
        return bool(self._transact(lambda draft: asking.give_back(draft, allocation_id)))

    # -- questions ---------------------------------------------------------------------------

    def list_resources(self) -> list[str]:
        """The ids of all resources."""
        return self._tell(lambda state: list(state.resources))

    def get_resource_status(self, resource_id: str) -> dict[str, Any]:
        """The ``type capacity allocated available reserved utilization waiting`` of a resource.

        ``reserved`` is what is kept for holders and not held by them, ``available`` what is left
        for others, ``utilization`` the allocated share of the capacity, and ``waiting`` how many
        requests want some of it.

        Raises:
            PipelineError: There is no such resource.
        """
        return self._tell(lambda state: holdings.status(state, resource_id))

    def get_available_capacity(self, resource_id: str) -> float:
        """What is left of a resource. Raises PipelineError: there is none of this id."""
        return float(self.get_resource_status(resource_id)["available"])

    def get_pipeline_allocations(self, pipeline_id: str) -> list[ResourceAllocation]:
        """What is held for a pipeline, by its name, or for a run, by its id."""
        return self._tell(lambda state: holdings.of_pipeline(state, pipeline_id))

    def impossible(self, amounts: dict[str, float]) -> str | None:
        """Why amounts can never be held at once; None if they can."""
        return self._tell(lambda state: impossible(state, amounts))

    # -- where the pool is -------------------------------------------------------------------

    def attach(self, home: Home) -> None:
        """Move to the pool of an engine's log, with all that was registered, is held or waits;
        from a log whose engine was closed, with what was registered.

        Raises:
            PipelineError: The scheduler belongs to an engine on another log.
            ResourceUnavailable: What it holds is held by others there.
        """
        with self._lock:
            before = self._home
            if before is None:
                self._home = home
            elif before.owner == _ALONE or _has_left(before):
                home.keep_alive()
                with before.pool.changed:
                    move_in = partial(self._move_in, before, home)
                    home.pool.transact(home.owner, move_in)
                    self._home, self._ready = home, True
                    before.pool.changed.notify_all()
            elif before.pool is not home.pool:
                raise PipelineError(
                    "this resource_scheduler belongs to an engine on another log; make another one"
                )

    def _move_in(self, before: Home, home: Home, draft: Draft) -> None:
        self._configure(draft)
        if before.pool is not home.pool:
            alone = before.owner == _ALONE
            stock.move(draft, before.pool.state, home.owner, alone=alone)

    def prepare(self) -> SharedPool:
        """The pool, with the machine's resources in it. Any thread."""
        return self._open().pool

    def _open(self) -> Home:
        with self._lock:
            if self._home is None:
                store, clock = MemoryStore(), SystemClock()
                pool = SharedPool(store, self.pool_name, clock, threading.Event())
                self._home = Home(pool, _ALONE, lambda: None, lambda owner: owner != _ALONE)
            if not self._ready:
                self._home.pool.transact(self._home.owner, self._seed)
                self._ready = True
            return self._home

    def _seed(self, draft: Draft) -> None:
        from .machine import machine_resources  # which imports psutil

        self._configure(draft)
        stock.seed(draft, msgspec.structs.asdict(machine_resources(**self._limits)))

    def _configure(self, draft: Draft) -> None:
        if (draft.state.ordering, draft.state.fit) != (self.ordering, self.fit):
            draft.record(r.PoolConfigured(self.ordering, self.fit))

    def _transact(self, decide: Callable[[Draft], T]) -> T:
        while True:
            home = self._open()
            with home.pool.changed:
                if home is self._home:  # else it has moved meanwhile
                    return home.pool.transact(home.owner, decide)

    def _tell(self, question: Callable[[PoolState], T]) -> T:
        """An answer by the newest state; of a log that was closed, by the last."""
        pool = self._open().pool
        with pool.changed:
            pool.closed()
            return question(pool.state)

    @property
    def _at_home(self) -> Home:
        assert self._home is not None  # since it was opened
        return self._home

    def _new_id(self) -> str:
        return f"{self._id}-{next(self._numbers)}"


_ALONE = "alone"
"""Owner of what is held by a scheduler without an engine."""


def _has_left(home: Home) -> bool:
    """Whether the engine that owned this home was closed."""
    try:
        return home.is_dead(home.owner)
    except LogError:  # its log was closed with it
        return True
