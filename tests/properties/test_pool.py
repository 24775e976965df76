"""A pool in a log, under several who share it, each with its own idea of the state.

They register, resize, reserve, ask, grant, release, withdraw and die, in any order, and in between
of one another. Whatever happens, the promises of the ledger hold after every event, all who look
see the same, and whoever is left in peace is served.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from properties.ledger import Ledger

from semantica.pipeline.engine import pool as pool_module
from semantica.pipeline.engine import stock
from semantica.pipeline.engine.core.capacity import impossible
from semantica.pipeline.engine.pool import Draft, SharedPool
from semantica.pipeline.events import resource as r
from semantica.pipeline.events.errors import PipelineError
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.projections.pool import (
    MAX_PASSED,
    Pool,
    PoolState,
    pool_from_bytes,
    pool_to_bytes,
)

SECOND = 10**9
KINDS = {"c1": r.ResourceType.CPU, "c2": r.ResourceType.CPU, "cpu": r.ResourceType.CPU}
KINDS |= {"g1": r.ResourceType.GPU, "g2": r.ResourceType.GPU, "gpu": r.ResourceType.GPU}
KINDS |= {"m": r.ResourceType.MEMORY}
names = st.sampled_from(sorted(KINDS))
writers = st.integers(0, 2)
holders = st.sampled_from(["A", "B", "X", "t"])
amounts = st.dictionaries(
    st.sampled_from(["c1", "cpu", "cpu", "c2", "m", "gpu", "gpu", "g1", "memory"]),
    st.sampled_from([0.1, 0.25, 0.3, 0.7, 1.0, 1.0, 2.0, 3.0]),
    min_size=1,
    max_size=3,
)


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 1_000_000 * SECOND

    def now(self) -> int:
        return self.time

    monotonic = now


def order_of(state: PoolState) -> tuple[PoolState, list[str], list[str]]:
    """A state with what equality of dicts does not see."""
    return state, list(state.resources), list(state.requests)


def replay(store: MemoryStore, stream: str, pool: Pool) -> Pool:
    for envelope in store.read(stream, pool.state.version):
        event: Any = to_event(envelope)
        pool.apply(event, version=envelope.version, at=envelope.at)
    return pool


class Sharing(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.every = pool_module.SNAPSHOT_EVENTS
        pool_module.SNAPSHOT_EVENTS = 7
        self.store, self.clock = MemoryStore(), Hand()
        self.pools = [SharedPool(self.store, "p", self.clock, threading.Event()) for _ in range(3)]
        self.lives = count(3)
        self.owners = ["w0", "w1", "w2"]
        self.numbers = count(1)
        self.ledger = Ledger()
        self.whole = True
        for name, size in (("c1", 3.0), ("g1", 2.0), ("m", 4.0)):
            self.transact(0, lambda draft, n=name, s=size: stock.register(draft, n, KINDS[n], s))
        self.earlier = pool_to_bytes(self.pools[0]._pool)

    def teardown(self) -> None:
        try:
            if self.whole:  # else that is what is to be told
                self.leave_in_peace()
        finally:
            pool_module.SNAPSHOT_EVENTS = self.every

    def transact(
        self, w: int, decide: Callable[[Draft], Any], meanwhile: Callable[[], Any] | None = None
    ) -> Any:
        """Decide; the first time, ``meanwhile`` happens before it is recorded."""
        hurry = [meanwhile] if meanwhile else []

        def decide_late(draft: Draft) -> Any:
            answer = decide(draft)
            if hurry:
                hurry.pop()()  # type: ignore[misc]
            return answer

        try:
            return self.pools[w].transact(self.owners[w], decide_late)
        finally:
            self.whole = False
            self.ledger.read(self.store.read("resource/p", self.ledger.version))
            self.whole = True

    # -- what there is ---------------------------------------------------------------------------

    @rule(w=writers, name=names, size=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 5.0]))
    def register(self, w: int, name: str, size: float) -> None:
        with suppress(ValueError):  # GPUs come whole
            self.transact(w, lambda draft: stock.register(draft, name, KINDS[name], size))

    @rule(w=writers, name=names, size=st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0]))
    def resize(self, w: int, name: str, size: float) -> None:
        with suppress(ValueError, PipelineError):
            self.transact(w, lambda draft: stock.resize(draft, name, size))

    @rule(w=writers, name=names)
    def remove(self, w: int, name: str) -> None:
        with suppress(PipelineError):
            self.transact(w, lambda draft: stock.remove(draft, name))

    @precondition(lambda self: self.ledger.resources)
    @rule(w=writers, which=st.integers(0, 9), kept=st.sampled_from([1.0, 2.0]), who=holders)
    def reserve(self, w: int, which: int, kept: float, who: str) -> None:
        key, known = str(next(self.numbers)), list(self.ledger.resources)
        name = known[which % len(known)]
        with suppress(PipelineError):
            self.transact(w, lambda draft: stock.reserve(draft, name, key, kept, who))

    @precondition(lambda self: self.ledger.reserved)
    @rule(w=writers)
    def cancel_reservation(self, w: int) -> None:
        key, kept = next(iter(self.ledger.reserved.items()))
        self.transact(w, lambda draft: draft.record(r.ResourceUnreserved(kept.resource, key)))

    @rule(w=writers, name=names, wanted=st.sampled_from([0.5, 1.0, 2.0, 6.0]))
    def enlarge(self, w: int, name: str, wanted: float) -> None:
        with suppress(PipelineError):
            self.transact(w, lambda draft: stock.make_room(draft, name, KINDS[name], wanted))

    @rule(w=writers, ordering=st.sampled_from(r.Ordering), fit=st.sampled_from(r.Fit))
    def configure(self, w: int, ordering: r.Ordering, fit: r.Fit) -> None:
        self.transact(w, lambda draft: draft.record(r.PoolConfigured(ordering, fit)))

    @rule(w=writers, limit=st.integers(0, 3), interval=st.sampled_from([1.0, 10.0]))
    def limit(self, w: int, limit: int, interval: float) -> None:
        self.transact(w, lambda draft: draft.record(r.RateLimited("t", limit, interval)))

    # -- who wants it ----------------------------------------------------------------------------

    @rule(
        w=writers,
        wanted=st.lists(amounts, min_size=1, max_size=4),
        pipeline=st.sampled_from("AB"),
        step=st.sampled_from([None, "X"]),
        step_type=st.sampled_from([None, "t", "u"]),
        priority=st.integers(0, 2),
        deadline=st.none() | st.integers(1, 3),
        most=st.integers(0, 4),
    )
    def request(self, w: int, wanted: list[dict[str, float]], most: int, **fields: Any) -> None:
        for each in wanted:
            self.ask(w, each, **fields)
        self.transact(w, self.serve(w, most))

    def ask(self, w: int, wanted: dict[str, float], **fields: Any) -> str | None:
        key = str(next(self.numbers))
        asked = r.AllocationRequested(key, self.owners[w], amounts=wanted, **fields)
        reason = impossible(
            self.pools[w].state, wanted, (asked.pipeline, asked.step, asked.step_type)
        )
        if reason is not None:
            return None
        self.transact(w, lambda draft: draft.record(asked))
        return key

    @rule(w=writers, most=st.integers(1, 4), other=st.none() | writers)
    def grant(self, w: int, most: int, other: int | None) -> None:
        """What an engine does; perhaps another one is faster."""
        race = None
        if other is not None and other != w:
            race = lambda: self.pools[other].transact("faster", self.serve(other, 1))  # noqa: E731
        self.transact(w, self.serve(w, most), race)

    def serve(self, w: int, most: int) -> Callable[[Draft], int]:
        def decide(draft: Draft) -> int:
            done = 0
            for allocation, grant in draft.survey():
                if done < most and draft.state.requests[allocation].owner == self.owners[w]:
                    self.the_overdue_go_first(draft, allocation, grant.amounts)
                    draft.record(r.AllocationGranted(allocation, grant.amounts, grant.gpus))
                    done += 1
            return done

        return decide

    def the_overdue_go_first(self, draft: Draft, allocation: str, taken: dict[str, float]) -> None:
        """What somebody waits for who came earlier and was passed by often is not taken."""
        state = draft.state
        for key, request in state.requests.items():
            if int(key) >= int(allocation):
                return
            overdue = self.ledger.passed.get(key, 0) > MAX_PASSED + len(self.ledger.passed)
            if overdue and impossible(state, request.amounts, request.names) is None:
                assert not taken.keys() & request.amounts.keys(), f"{key} is passed by again"

    @precondition(lambda self: self.ledger.held)
    @rule(w=writers, which=st.integers(0, 100))
    def release(self, w: int, which: int) -> None:
        key = list(self.ledger.held)[which % len(self.ledger.held)]
        self.transact(w, lambda draft: draft.record(r.AllocationReleased(key)))

    @precondition(lambda self: self.ledger.requests)
    @rule(w=writers, which=st.integers(0, 100))
    def withdraw(self, w: int, which: int) -> None:
        key = list(self.ledger.requests)[which % len(self.ledger.requests)]
        self.transact(w, lambda draft: draft.record(r.AllocationWithdrawn(key)))

    @rule(w=writers, other=writers)
    def die(self, w: int, other: int) -> None:
        """Its successor knows nothing of it; somebody else cleans up."""
        dead, self.owners[w] = self.owners[w], f"w{next(self.lives)}"
        self.pools[w] = SharedPool(self.store, "p", self.clock, threading.Event())
        self.transact(other, lambda draft: draft.free_the_dead(lambda owner: owner == dead))
        held = [request.owner for request, _ in self.ledger.held.values()]
        assert dead not in [*held, *(one.owner for one in self.ledger.requests.values())]

    @rule(seconds=st.sampled_from([0.1, 0.5, 1.0, 9.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.time += int(seconds * SECOND)

    @rule(w=writers, which=st.sampled_from(["look", "break off"]))
    def look_or_break_off(self, w: int, which: str) -> None:
        if which == "look":
            self.pools[w].look()
            return

        def change_my_mind(draft: Draft) -> None:
            draft.record(r.ResourceRegistered("never", r.ResourceType.CUSTOM, 1.0))
            raise KeyboardInterrupt

        with suppress(KeyboardInterrupt):
            self.pools[w].transact(self.owners[w], change_my_mind)

    # -- what holds ------------------------------------------------------------------------------

    @invariant()
    def all_see_the_same(self) -> None:
        replayed = replay(self.store, "resource/p", Pool("p"))
        snapshot = replay(self.store, "resource/p", pool_from_bytes("p", self.earlier))
        assert order_of(snapshot.state) == order_of(replayed.state)
        state = replayed.state
        for pool in self.pools:
            if pool.state.version == state.version:
                assert order_of(pool.state) == order_of(state)
        assert {*state.requests} == {*self.ledger.requests}
        assert {*state.held} == {*self.ledger.held}
        for name, resource in state.resources.items():
            assert resource.held == pytest.approx(self.ledger.held_of(name)), "held is the sum"
            assert set(resource.devices) <= {i for one in state.held.values() for i in one.gpus}
        if state.version % 5 == 0:
            self.earlier = pool_to_bytes(replayed)

    def leave_in_peace(self) -> None:
        """Everybody serves, what is held is given back in time: all that can be had is had."""
        for _ in range(2 * (len(self.ledger.requests) + len(self.ledger.held)) + 2):
            for w in range(3):
                self.transact(w, self.serve(w, 100))
            if self.ledger.held:
                key = next(iter(self.ledger.held))
                self.transact(0, lambda draft, key=key: draft.record(r.AllocationReleased(key)))
            self.clock.time += 10 * SECOND
            self.all_see_the_same()
        state = self.pools[0].state
        left = [one for one in state.requests.values() if one.owner in self.owners]
        assert all(impossible(state, one.amounts, one.names) for one in left), "somebody starves"


TestSharing = Sharing.TestCase
# To hunt a failure, add Phase.shrink: finding a small example may take a while.
TestSharing.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
