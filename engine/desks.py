"""The desks at which the loop gets resources for steps, one for each pool.

A step that declares resources, or whose type is limited in rate, starts when the pool has granted
what it needs, in an append of its own before the run's. If it must wait, it holds no worker; its
request stands in the pool's queue, beside those of other engines.
"""

from __future__ import annotations

import threading
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from ..events import resource as r
from ..events.errors import LogError, ResourceUnavailable
from ..events.upcasters import PoolEvent
from ..projections.pool import Request
from .classify import describe
from .core import commands as c
from .core.admission import is_failing
from .core.capacity import Grant, Survey, impossible
from .core.decide import decide
from .core.effects import Acquire
from .grants import MustWait
from .live import LiveRun, Owner
from .pool import Draft, SharedPool

if TYPE_CHECKING:
    from .loop import Loop

SWEEP_INTERVAL = 1_000_000_000
"""Least nanoseconds between two looks for owners that have died."""


class Held(NamedTuple):
    """What an attempt holds, and where."""

    desk: Desk
    allocation: str
    grant: Grant


class _Asked(NamedTuple):
    live: LiveRun
    step: int


class Desk:
    """A pool, and what the runs of this process want of it."""

    def __init__(self, pool: SharedPool) -> None:
        self.pool = pool
        self.asked: dict[str, _Asked] = {}
        """Who waits, by allocation."""
        self.places: dict[str, dict[int, str]] = {}
        """The allocations that are asked for, by run and step."""
        self.waiting: dict[str, int] = {}
        """How many are asked for, by owner."""
        self.unsent: dict[str, r.AllocationRequested] = {}
        self.over: list[PoolEvent] = []
        """Releases and withdrawals that are not recorded yet."""
        self.swept_at = 0
        self.checked = 0
        """Version up to which it is known of all who wait that they do not do so in vain."""
        self.timer = 0
        """When (monotonic ns) a limited rate is looked at again; 0: it is not."""

    def add(self, request: r.AllocationRequested, live: LiveRun, step: int) -> None:
        """A step waits."""
        self.asked[request.allocation] = _Asked(live, step)
        self.places.setdefault(live.run.run_id, {})[step] = request.allocation
        self.waiting[live.owner.id] = self.waiting.get(live.owner.id, 0) + 1

    def take_off(self, allocation: str) -> _Asked:
        """A step does not wait any more."""
        asked = self.asked.pop(allocation)
        run_id = asked.live.run.run_id
        del self.places[run_id][asked.step]
        if not self.places[run_id]:
            del self.places[run_id]
        self.waiting[asked.live.owner.id] -= 1
        return asked

    def withdraw(self, allocation: str) -> None:
        """A step does not wait any more, and its request is void."""
        self.take_off(allocation)
        self.unsent.pop(allocation, None)
        self.void(allocation)

    def void(self, allocation: str) -> None:
        """An allocation is void, whatever of it may have been recorded before the log failed."""
        self.over += (r.AllocationWithdrawn(allocation), r.AllocationReleased(allocation))

    def send(self, draft: Draft) -> None:
        """Record what has not been recorded yet."""
        for event in self.over:
            known = draft.state.held if _is_release(event) else draft.state.requests
            if event.allocation in known:  # type: ignore[union-attr] # all of them have one
                draft.record(event)
        for request in self.unsent.values():
            draft.record(request)

    def sent(self) -> None:
        """It is recorded."""
        self.over.clear()
        self.unsent.clear()


def _is_release(event: PoolEvent) -> bool:
    return isinstance(event, r.AllocationReleased)


class Desks:
    """The desks of a loop; all methods but :meth:`pool` belong to its thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._desks: dict[str, Desk] = {}
        self._numbers = count(1)
        self._opening = threading.Lock()

    # -- before a step starts ----------------------------------------------------------------

    def take(self, live: LiveRun, i: int) -> Held | None:
        """What a step needs, if it can be had now.

        Returns:
            None: it needs nothing.

        Raises:
            MustWait: It is taken, and has been asked for; or it can never be had, which
                :meth:`perform` says of whoever waits.
        """
        definition = live.run.graph.definition.steps[i]
        desk = self._desks.get(live.owner.supply.pool) or self._open(live.owner)
        if not definition.resources and definition.type not in desk.pool.state.limits:
            return None
        asked = self._request(live, i)
        with desk.pool.changed:
            if _in_vain(desk, asked) is not None:
                raise MustWait
            could_be = self._could_be(desk, asked)
        if not could_be:
            self._stand(desk, asked, live, i, sent=False)
            raise MustWait
        try:
            grant = desk.pool.transact(live.owner.id, partial(self._try, desk, asked))
        except LogError:
            desk.void(asked.allocation)
            raise
        desk.sent()
        if grant is None:
            self._stand(desk, asked, live, i, sent=True)
            raise MustWait
        return Held(desk, asked.allocation, grant)

    def _try(self, desk: Desk, asked: r.AllocationRequested, draft: Draft) -> Grant | None:
        desk.send(draft)
        draft.record(asked)
        for offered, grant in draft.survey():
            if offered == asked.allocation:
                draft.record(r.AllocationGranted(offered, grant.amounts, grant.gpus))
                return grant
        return None

    def _could_be(self, desk: Desk, asked: r.AllocationRequested) -> bool:
        """Whether it is worth an append; who waits already is not looked at."""
        state, waiting = desk.pool.state, desk.pool.waiting
        request = Request(
            asked.owner, asked.pipeline, asked.amounts, 0, 0, step=asked.step,
            step_type=asked.step_type,
        )  # fmt: skip
        return Survey(state, waiting, self._loop.now).place(request) is not None

    def _stand(
        self, desk: Desk, asked: r.AllocationRequested, live: LiveRun, i: int, *, sent: bool
    ) -> None:
        desk.add(asked, live, i)
        if not sent:
            desk.unsent[asked.allocation] = asked

    def _request(self, live: LiveRun, i: int) -> r.AllocationRequested:
        definition = live.run.graph.definition.steps[i]
        return r.AllocationRequested(
            allocation=f"{live.owner.id}-{next(self._numbers)}",
            owner=live.owner.id,
            pipeline=live.run.state.name,
            amounts=definition.resources,
            priority=definition.priority + live.run.state.priority,
            deadline=live.run.state.deadline,
            run=live.run.run_id,
            step=definition.name,
            step_type=definition.type,
        )

    def limited(self) -> bool:
        """Whether rates are limited in some pool."""
        return any(desk.pool.state.limits for desk in list(self._desks.values()))

    def _open(self, owner: Owner) -> Desk:
        owner.scheduler().prepare()
        return self._desks[owner.supply.pool]

    def pool(self, name: str) -> SharedPool:
        """A pool of this log, opened when it is first asked for. Any thread."""
        with self._opening:
            if name not in self._desks:
                pool = SharedPool(self._loop.store, name, self._loop.clock, self._loop.closing)
                pool.listeners.append(self._loop.grants.noticed)
                self._desks[name] = Desk(pool)
            return self._desks[name].pool

    # -- effects -----------------------------------------------------------------------------

    def perform(self, live: LiveRun, effect: Acquire) -> None:
        """See to it that a waiting step stands in the queue, or does not."""
        desk = self._desks.get(live.owner.supply.pool) or self._open(live.owner)
        standing = desk.places.get(live.run.run_id, {}).get(effect.step)
        if effect.wanted and standing is None:
            asked = self._request(live, effect.step)
            with desk.pool.changed:
                problem = _in_vain(desk, asked)
            if problem is not None:
                self._loop.post(partial(self._deny, live, effect.step, problem))
                return
            self._stand(desk, asked, live, effect.step, sent=False)
            self._loop.wake()
        elif not effect.wanted and standing is not None:
            desk.withdraw(standing)
            self._loop.wake()

    def _deny(self, live: LiveRun, i: int, problem: str) -> None:
        if self._loop.holds(live):
            error = describe(ResourceUnavailable(problem))
            self._loop.record(live, decide(live.run, c.Deny(i, error), self._loop.now))

    def drop(self, live: LiveRun) -> None:
        """A run is let go: nothing of it waits any more."""
        for desk in list(self._desks.values()):
            for allocation in list(desk.places.get(live.run.run_id, {}).values()):
                desk.withdraw(allocation)
                self._loop.wake()

    def release(self, held: Held) -> None:
        """An attempt is really over: what it held is free."""
        held.desk.over.append(r.AllocationReleased(held.allocation))

    # -- every turn --------------------------------------------------------------------------

    def serve(self) -> None:
        """Record what is over, and start what can be granted and has a worker."""
        for desk in list(self._desks.values()):
            if desk.asked or desk.over:
                self._serve(desk)

    def _serve(self, desk: Desk) -> None:
        spare: dict[str, list[str]] = {}
        for owner in [self._loop.owners.get(name) for name, n in desk.waiting.items() if n]:
            if owner is not None and not owner.draining:
                spare[owner.id] = _idle(owner, desk.waiting[owner.id])
        actor = next(iter(spare), "") or next(iter(self._loop.owners), "")
        try:
            granted, denied, version = desk.pool.transact(actor, partial(self._decide, desk, spare))
            desk.sent()
            for allocation, problem in denied:
                live, step = desk.take_off(allocation)
                self._loop.post(partial(self._deny, live, step, problem))
            for allocation, grant in granted:
                live, step = desk.take_off(allocation)
                worker = spare[live.owner.id].pop()
                held = Held(desk, allocation, grant)
                if not self._loop.launch(live, step, worker, held):
                    spare[live.owner.id].append(worker)
                    self.release(held)
                    self._loop.wake()
            if desk.pool.swept > desk.checked:
                self._ask_again(desk)
            desk.checked = version
        finally:
            for name, workers in spare.items():
                for worker in workers:
                    self._loop.owners[name].backend.release(worker)

    def _decide(
        self, desk: Desk, spare: dict[str, list[str]], draft: Draft
    ) -> tuple[list[tuple[str, Grant]], list[tuple[str, str]], int]:
        desk.send(draft)
        self._sweep(desk, draft)
        denied = self._denied(desk, draft)
        granted: list[tuple[str, Grant]] = []
        left = {name: len(workers) for name, workers in spare.items()}
        survey = draft.survey()
        for allocation, grant in survey:
            if not any(left.values()):
                break
            asked = desk.asked.get(allocation)
            if asked is None or is_failing(asked.live.run):
                continue
            if left.get(asked.live.owner.id):
                draft.record(r.AllocationGranted(allocation, grant.amounts, grant.gpus))
                granted.append((allocation, grant))
                left[asked.live.owner.id] -= 1
        if survey.soonest is not None:
            self._look_again(desk, survey.soonest)
        return granted, denied, draft.state.version

    def _ask_again(self, desk: Desk) -> None:
        """Others took us for dead, and withdrew what we ask for: perhaps the machine slept."""
        with desk.pool.changed:
            known = desk.pool.state.requests
            lost = [key for key in desk.asked if key not in known and key not in desk.unsent]
        for allocation in lost:
            live, step = desk.take_off(allocation)
            self._stand(desk, self._request(live, step), live, step, sent=False)
            self._loop.wake()

    def _denied(self, desk: Desk, draft: Draft) -> list[tuple[str, str]]:
        """Requests of ours that cannot be granted any more, since there is less to be had."""
        if desk.pool.narrowed <= desk.checked:
            return []
        denied = []
        for allocation in desk.asked:
            request = draft.state.requests.get(allocation)
            if request is None:  # taken for dead; it will be asked for again
                continue
            problem = impossible(draft.state, request.amounts, request.names)
            if problem is not None:
                draft.record(r.AllocationDenied(allocation, problem))
                denied.append((allocation, problem))
        return denied

    def _sweep(self, desk: Desk, draft: Draft) -> None:
        now = self._loop.clock.monotonic()
        if desk.asked and now - desk.swept_at >= SWEEP_INTERVAL:
            desk.swept_at = now
            draft.free_the_dead(self._loop.grants.is_dead)

    def _look_again(self, desk: Desk, wait: int) -> None:
        due = self._loop.clock.monotonic() + wait
        if not desk.timer or due < desk.timer:
            desk.timer = due
            self._loop.timers.after(wait / 1e9, partial(self._looked, desk, due))

    def _looked(self, desk: Desk, due: int) -> None:
        if desk.timer == due:
            desk.timer = 0

    def look(self) -> None:
        """Others have changed the log."""
        for desk in list(self._desks.values()):
            desk.pool.look()

    def present(self) -> set[str]:
        """Our owners that hold something or wait for it, whose leases must not lapse."""
        found: set[str] = set()
        for desk in list(self._desks.values()):
            with desk.pool.changed:
                state = desk.pool.state
                found.update(held.request.owner for held in state.held.values())
                found.update(request.owner for request in state.requests.values())
        return found & self._loop.owners.keys()


def _in_vain(desk: Desk, asked: r.AllocationRequested) -> str | None:
    return impossible(desk.pool.state, asked.amounts, (asked.pipeline, asked.step, asked.step_type))


def _idle(owner: Owner, wanted: int) -> list[str]:
    workers: list[str] = []
    while len(workers) < wanted and (worker := owner.backend.acquire()) is not None:
        workers.append(worker)
    return workers
