"""Who gets what of a pool of resources.

Pure: reads the pool's state and says what could be granted. Requests are served in the pool's
order. What the first ones wait for is kept for them: those behind get only what is left over, so
that a large request is not starved by small ones. A request that others have passed by too often
is the next one, whatever the order says; but nobody waits for one that its rate does not allow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Generator, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from ...events.resource import Fit, Ordering, ResourceType
from ...projections.pool import PoolState, Request, Resource, amount
from .ordering import Rank, rank


class Grant(NamedTuple):
    """Amounts that can be held, by resource id, and the indices of the GPUs among them."""

    amounts: dict[str, float]
    gpus: tuple[int, ...]


def impossible(
    state: PoolState, amounts: dict[str, float], names: Collection[str | None] | None = None
) -> str | None:
    """Why amounts can never be held at once, even if nothing else were; None if they can.

    Args:
        state: Of the pool.
        amounts: By resource id or type.
        names: Of who wants them, as reservations know them; None: reservations do not count.
    """
    left = {key: resource.capacity for key, resource in state.resources.items()}
    if names is not None:
        left = {key: size - reserved(state, key, names, 0) for key, size in left.items()}
    asked: set[str] = set()
    for name, wanted in _ids_first(state, amounts):
        found = candidates(state, name)
        if not found:
            known = ", ".join(sorted(state.resources)) or "none"
            return f"there is no resource {name!r} (registered: {known})"
        gpu = state.resources[found[0]].type is ResourceType.GPU
        if gpu and wanted > 1 and wanted % 1:
            return f"{wanted:g} {name} are wanted; GPUs come whole, or as a share of one"
        if gpu and asked & set(found):
            return f"GPUs are wanted as {min(asked & set(found))!r} and as {name!r}; ask in one way"
        sizes = [left[key] for key in found]
        most = sum(int(max(0, size)) for size in sizes) if gpu and wanted >= 1 else max(sizes)
        if wanted > amount(most):
            rest = " that are not reserved for others" if names and state.reservations else ""
            return f"{wanted:g} {name} are wanted, and there are {max(0, most):g}{rest}"
        if name in left:
            left[name] -= wanted
            asked.add(name)
    return None


def candidates(state: PoolState, name: str) -> list[str]:
    """The resources that are meant by an id or a type."""
    if name in state.resources:
        return [name]
    return [key for key, resource in state.resources.items() if resource.type == name]


def _ids_first(state: PoolState, amounts: dict[str, float]) -> list[tuple[str, float]]:
    """The amounts, those of a certain resource before those of any of a type, which can go round
    them."""
    return sorted(amounts.items(), key=lambda item: item[0] not in state.resources)


def free(state: PoolState, resource_id: str, request: Request | None = None) -> float:
    """What is left of a resource for ``request``: less what is kept for others."""
    resource = state.resources[resource_id]
    names = request.names if request is not None else ()
    return amount(resource.capacity - resource.held - reserved(state, resource_id, names))


def reserved(
    state: PoolState, resource_id: str, names: Collection[str | None], counted: int = 1
) -> float:
    """What is kept of a resource for others than ``names``, less what they hold of it (``counted``
    0: as if they held nothing)."""
    kept_for: dict[str, float] = {}
    for kept in state.reservations.values():
        if kept.resource == resource_id and kept.holder not in names:
            before = kept_for.get(kept.holder, -counted * kept.held)  # the same in all of theirs
            kept_for[kept.holder] = before + kept.amount
    return sum(max(0.0, rest) for rest in kept_for.values())


def rate_allows_in(state: PoolState, step_type: str | None, now: int) -> int:
    """In how many ns the next step of a type may start, as far as its rate is limited."""
    limit = state.limits.get(step_type or "")
    if limit is None or len(limit.starts) < limit.limit:
        return 0
    interval = int(limit.interval * 1e9)
    passed = now - limit.starts[-limit.limit]
    return max(0, interval - passed) if passed >= 0 else 0  # else the clock was set back


class Waiting:
    """Those who wait, in queues of those that want the same, so that a look at who is next costs
    as much as there are different wishes, however many wait.

    Told of every request that is added; those that are gone it finds out by itself.
    """

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._queues: dict[object, list[tuple[Rank, str]]] = {}
        self._arrivals: dict[object, deque[str]] = {}
        """The same queues, in the order of coming."""
        self._holders = {kept.holder for kept in state.reservations.values()}
        for allocation in state.requests:
            self.add(allocation)

    def add(self, allocation: str) -> None:
        """A request was added."""
        request = self._state.requests[allocation]
        step = request.step if request.step in self._holders else None
        wish = (request.pipeline, request.step_type, step, tuple(sorted(request.amounts.items())))
        # Shares change all the time; but all of a queue are of one pipeline.
        entry = (self._rank(request, 0.0), allocation)
        heappush(self._queues.setdefault(wish, []), entry)
        self._arrivals.setdefault(wish, deque()).append(allocation)

    def queues(self) -> Iterator[list[tuple[Rank, str]]]:
        """The queues, whoever is next in front; again after each time that their first was taken
        off. Who is asked of the same queue twice has not taken it off: it is left."""
        heads: list[tuple[Rank, int, list[tuple[Rank, str]]]] = []
        for wish in [wish for wish, queue in self._queues.items() if not self._first(queue)]:
            del self._queues[wish]
        for number, queue in enumerate(self._queues.values()):
            heads.append((self._now(queue), number, queue))
        heapify(heads)
        while heads:
            place, number, queue = heappop(heads)
            if (now := self._now(queue)) > place:  # its pipeline has got something meanwhile
                heappush(heads, (now, number, queue))
                continue
            before = len(queue)
            yield queue
            if len(queue) < before and self._first(queue):
                heappush(heads, (self._now(queue), number, queue))

    def overdue(self) -> list[str]:
        """Who was passed by too often: the oldest of each queue, the oldest of them first."""
        requests, found = self._state.requests, []
        for wish, arrivals in list(self._arrivals.items()):
            while arrivals and arrivals[0] not in requests:
                arrivals.popleft()
            if not arrivals:
                del self._arrivals[wish]
            elif requests[arrivals[0]].patience < self._state.granted:
                found.append(arrivals[0])
        return sorted(found, key=lambda allocation: requests[allocation].order)

    def _first(self, queue: list[tuple[Rank, str]]) -> str | None:
        while queue and queue[0][1] not in self._state.requests:
            heappop(queue)
        return queue[0][1] if queue else None

    def _now(self, queue: list[tuple[Rank, str]]) -> Rank:
        if self._state.ordering is not Ordering.FAIR_SHARE:
            return queue[0][0]
        request = self._state.requests[queue[0][1]]
        return self._rank(request, share(self._state, request.pipeline))

    def _rank(self, request: Request, share: float) -> Rank:
        return rank(
            self._state.ordering,
            order=request.order,
            priority=request.priority,
            deadline=request.deadline,
            share=share,
        )


class Survey:
    """A walk over those who wait, in the order in which they are served.

    Args:
        state: Of the pool; what is granted during the walk must be folded into it at once.
        waiting: Its requests.
        now: ns, UTC.
    """

    def __init__(self, state: PoolState, waiting: Waiting, now: int) -> None:
        self._state = state
        self._waiting = waiting
        self._now = now
        self._kept: dict[tuple[str, str | None], float] = {}
        """What those in front wait for, by resource: all of them, and those for whom something of
        it is reserved."""
        self.soonest: int | None = None
        """In how many ns a limited rate will allow a start that it does not allow now."""

    def __iter__(self) -> Iterator[tuple[str, Grant]]:
        """Requests that fit now, with what they would hold. Whoever asks for the next one has
        granted this one, or it is kept for whom it is."""
        overdue: set[str] = set()
        while late := [one for one in self._waiting.overdue() if one not in overdue]:
            overdue.update(late)
            for allocation in late:
                yield from self._offer(allocation)
        aside: list[tuple[list[tuple[Rank, str]], tuple[Rank, str]]] = []
        try:
            for queue in self._waiting.queues():
                allocation = queue[0][1]
                if allocation in overdue or (yield from self._offer(allocation)):
                    aside.append((queue, heappop(queue)))
        finally:
            for queue, entry in aside:
                if entry[1] in self._state.requests:
                    heappush(queue, entry)

    def _offer(self, allocation: str) -> Generator[tuple[str, Grant], None, bool]:
        """Offer what fits; returns whether it did."""
        request = self._state.requests[allocation]
        wait = rate_allows_in(self._state, request.step_type, self._now)
        if wait:
            self.soonest = wait if self.soonest is None else min(self.soonest, wait)
            return False
        if impossible(self._state, request.amounts, request.names) is not None:
            return False  # its owner will notice
        grant = self.place(request)
        if grant is not None:
            yield allocation, grant
        if allocation in self._state.requests:
            self._keep(request)
        return grant is not None

    def place(self, request: Request) -> Grant | None:
        """Where its amounts would be held now; None where they do not fit."""
        placed: dict[str, float] = {}
        gpus: tuple[int, ...] = ()
        for name, wanted in _ids_first(self._state, request.amounts):
            found = candidates(self._state, name)
            left = {key: amount(self._left(key, request) - placed.get(key, 0.0)) for key in found}
            if found and self._state.resources[found[0]].type is ResourceType.GPU:
                devices = self._devices(left, wanted)
                if devices is None:
                    return None
                for key, index in devices:
                    placed[key] = amount(placed.get(key, 0.0) + min(1.0, wanted))
                    gpus = (*gpus, index)
                continue
            roomy = [key for key in found if left[key] >= wanted]
            if not roomy:
                return None
            best = self._state.fit is Fit.BEST
            key = min(roomy, key=lambda one: left[one]) if best else roomy[0]
            placed[key] = amount(placed.get(key, 0.0) + wanted)
        return Grant(placed, gpus)

    def _left(self, resource_id: str, request: Request) -> float:
        left = free(self._state, resource_id, request)
        kept = self._kept.get((resource_id, None), 0.0)
        rest = left - free(self._state, resource_id)
        if rest > 0:  # others cannot have what is reserved for it, and do not keep it from it
            mine = max(self._kept.get((resource_id, name), 0.0) for name in request.names if name)
            kept = mine + min(kept - mine, max(0.0, left - rest))
        return amount(left - kept)

    def _devices(self, left: dict[str, float], wanted: float) -> list[tuple[str, int]] | None:
        """Devices for an amount of GPUs: free ones, or, for a share, the fullest that has it."""
        resources = self._state.resources
        if wanted >= 1:
            whole = [
                (key, index)
                for key, room in left.items()
                for index in _idle(resources[key])[: max(0, int(room))]
            ]
            return whole[: int(wanted)] if len(whole) >= wanted else None
        roomy = [key for key, room in left.items() if room >= wanted]
        shared = [
            (1.0 - held, key, index)
            for key in roomy
            for index, held in resources[key].devices.items()
            if index in resources[key].indices and held <= amount(1.0 - wanted)
        ]
        if shared:
            return [min(shared)[1:]]
        idle = [(key, index) for key in roomy for index in _idle(resources[key])]
        return idle[:1] or None

    def _keep(self, request: Request) -> None:
        """Those behind cannot have what this one waits for."""
        holders = {kept.holder for kept in self._state.reservations.values()}
        for name, wanted in request.amounts.items():
            for key in candidates(self._state, name):
                for holder in (None, *holders.intersection(request.names)):
                    self._kept[key, holder] = self._kept.get((key, holder), 0.0) + wanted


def share(state: PoolState, pipeline: str) -> float:
    """The largest part that a pipeline holds of any resource ("dominant share"; A. Ghodsi et al.,
    "Dominant Resource Fairness", NSDI 2011)."""
    held: dict[str, float] = {}
    for allocation in state.held.values():
        if allocation.request.pipeline == pipeline:
            for name, granted in allocation.grants.items():
                held[name] = held.get(name, 0.0) + granted
    return max(
        (
            total / state.resources[name].capacity
            for name, total in held.items()
            if name in state.resources and state.resources[name].capacity
        ),
        default=0.0,
    )


def _idle(resource: Resource) -> list[int]:
    """Indices of the devices of which nothing is held."""
    return [index for index in resource.indices if not resource.devices.get(index)]
