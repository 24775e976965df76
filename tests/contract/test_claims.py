"""Claiming from queues, on every store: nobody gets a run twice, and no limit is exceeded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.runs import SECOND, batch, claim, completed, define, started, submission

from semantica.pipeline.engine.claiming import Claims
from semantica.pipeline.engine.core.queueing import Limits
from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.queueing import CLAIMS
from semantica.pipeline.events.resource import Ordering
from semantica.pipeline.events.store import Member, Store
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.projections.backlog import Entry

NOW = 100 * SECOND


def put(
    store: Store, *runs: str, queue: str | None = "q", name: str = "job", **fields: object
) -> None:
    """Runs that were submitted a second apart."""
    for run in runs:
        at = (len(store.runs()) + 1) * SECOND
        first = submission(define({"a": []}, name=name), store.artifacts, queue=queue, **fields)
        assert store.append([batch(run, 0, first, epoch=0, at=at)]) == [None]


def finish(store: Store, run: str) -> None:
    head = store.head(f"run/{run}")
    assert head is not None
    events = [started("a"), completed("a"), p.PipelineCompleted((head.version + 2,))]
    assert store.append([batch(run, head.version, *events, epoch=head.epoch)]) == [None]


class Claimer:
    """A worker that lives, and claims."""

    def __init__(
        self,
        store: Store,
        owner: str,
        *queues: str,
        order: str = "priority",
        **limits: dict[str, int],
    ) -> None:
        self.store, self.owner = store, owner
        store.join(Member(owner, "host", 1, NOW + 15 * SECOND))
        self.claims = Claims(store, queues, Limits(**limits), Ordering(order))
        self.meanwhile: list[Callable[[], object]] = []
        """What happens between its choice and its append."""

    def able(self, entry: Entry) -> bool:
        while self.meanwhile:
            self.meanwhile.pop()()
        return not entry.row.run_id.startswith("foreign")

    def __call__(self, room: int = 100) -> list[str]:
        found = self.claims.claim(self.owner, room, self.able, lambda: NOW)
        for one in found:
            row = self.store.run(one.run.run_id)
            assert row is not None
            assert (row.owner, row.epoch) == (self.owner, one.run.state.epoch)
            assert row.status == one.run.status
        return [one.run.run_id for one in found]


def test_a_run_that_another_worker_takes_meanwhile_is_that_ones(store: Store) -> None:
    put(store, "one", "two")
    first, second = Claimer(store, "first"), Claimer(store, "second")
    taken: list[str] = []
    first.meanwhile.append(lambda: taken.extend(second(1)))
    assert first() == ["two"]
    assert taken == ["one"]
    assert [to_event(e).runs for e in store.read(CLAIMS)] == [("one",), ("two",)]
    assert first() == second() == []


@pytest.mark.parametrize("limits", [{"queues": {"q": 2}}, {"pipelines": {"job": 2}}])
def test_workers_that_claim_at_once_keep_a_limit_together(
    store: Store, limits: dict[str, dict[str, int]]
) -> None:
    put(store, *"abcde")
    first, second = Claimer(store, "first", **limits), Claimer(store, "second", **limits)
    taken: list[str] = []
    first.meanwhile.append(lambda: taken.extend(second(1)))
    assert (first(), taken) == (["b"], ["a"])
    assert first() == second() == []
    finish(store, "a")
    assert (second(), first()) == (["c"], [])


def test_a_limit_holds_though_two_workers_choose_different_runs(store: Store) -> None:
    """Neither run's own stream tells the one that the other has been claimed."""
    put(store, "early")
    put(store, "urgent", deadline=500 * SECOND)
    limits = {"queues": {"q": 1}}
    first = Claimer(store, "first", order="deadline", **limits)
    second = Claimer(store, "second", order="fifo", **limits)
    taken: list[str] = []
    first.meanwhile.append(lambda: taken.extend(second()))
    assert (first(), taken) == ([], ["early"])
    finish(store, "early")
    assert first() == ["urgent"]


def test_a_paused_run_keeps_its_place_and_a_stopped_one_gives_it_up(store: Store) -> None:
    put(store, *"abc")
    worker = Claimer(store, "worker", queues={"q": 1})
    assert worker() == ["a"]
    store.append([batch("a", 2, p.PipelinePauseRequested(), p.PipelinePaused())])
    assert worker() == []
    store.append([batch("a", 4, p.PipelineStopRequested(), p.PipelineStopped())])
    assert worker() == ["b"]


def test_queues_share_fairly_and_within_one_the_urgent_go_first(store: Store) -> None:
    put(store, "a1", "a2", "a3", queue="a")
    put(store, "b1", queue="b")
    put(store, "b2", queue="b", priority=5)
    worker = Claimer(store, "worker")
    assert [worker(1) for _ in range(5)] == [["b2"], ["a1"], ["a2"], ["b1"], ["a3"]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("fifo", ["x1", "x2", "y1", "y2"]),
        ("fair_share", ["x1", "y1", "x2", "y2"]),
        ("deadline", ["y2", "x1", "x2", "y1"]),
        ("priority", ["y1", "x1", "x2", "y2"]),
    ],
)
def test_the_one_ordering_decides_in_a_queue(store: Store, order: str, expected: list[str]) -> None:
    put(store, "x1", "x2", name="x")
    put(store, "y1", name="y", priority=1)
    put(store, "y2", name="y", deadline=500 * SECOND)
    worker = Claimer(store, "worker", order=order)
    assert [run for _ in range(4) for run in worker(1)] == expected


def test_only_what_is_served_and_can_be_executed_is_claimed(store: Store) -> None:
    put(store, "foreign", "mine", queue="a")
    put(store, "other", queue="b")
    put(store, "direct", queue=None)
    assert Claimer(store, "worker", "a")() == ["mine"]
    assert Claimer(store, "all")() == ["other"]


def test_the_runs_of_the_dead_come_first_and_those_of_the_living_stay(store: Store) -> None:
    put(store, "waits", "theirs", "lost", "elsewhere")
    put(store, "direct", queue=None)
    put(store, "other", queue="b")
    store.join(Member("living", "host", 2, NOW + 15 * SECOND))
    store.join(Member("late", "host", 3, NOW - 1))
    for run, owner in (
        ("theirs", "living"),
        ("lost", "late"),
        ("direct", "gone"),
        ("other", "gone"),
    ):
        store.append([batch(run, 1, claim(owner), started("a"))])
    worker = Claimer(store, "worker", "q", queues={"q": 2})
    assert worker() == ["lost"], "it had its place already; there is none for another"
    assert [e.type for e in store.read("run/lost")][-2:] == ["PipelineClaimed", "StepInterrupted"]
    assert Claimer(store, "all", queues={"q": 2})() == ["direct", "other"]


def test_a_run_that_somebody_takes_without_a_queue_is_not_stolen(store: Store) -> None:
    """Whoever executes it directly appends nothing to the stream of claims."""
    put(store, "a")
    worker = Claimer(store, "worker")
    store.join(Member("person", "host", 2, NOW + 15 * SECOND))
    worker.meanwhile.append(lambda: store.append([batch("a", 1, claim("person"))]))
    assert worker() == []
    row = store.run("a")
    assert row is not None and row.owner == "person"


def test_a_run_back_in_its_queue_goes_on_where_it_was(store: Store) -> None:
    put(store, "a")
    worker = Claimer(store, "worker")
    assert worker() == ["a"]
    halted = (p.PipelineStopRequested(), p.PipelineStopped(), p.PipelineQueued())
    store.append([batch("a", 2, started("a"), completed("a"), *halted)])
    (found,) = worker.claims.claim("worker", 1, worker.able, lambda: NOW)
    assert found.resumed and found.run.state.completed == 1
    assert [e.type for e in store.read("run/a", 7)] == ["PipelineResumed", "PipelineClaimed"]
