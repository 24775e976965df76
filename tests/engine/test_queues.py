"""Runs in queues: submitted, told something, claimed, resumed and handed back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import queue_steps as q
from gates import FAR, eventually, types, until_status
from leaping import LeapingClock
from making import MakeEngine

from semantica.pipeline import (
    ExecutionEngine,
    Pipeline,
    PipelineStep,
    PipelineValidationError,
    RetryPolicy,
)
from semantica.pipeline.engine.claiming import Claimed
from semantica.pipeline.engine.core.queueing import Limits
from semantica.pipeline.engine.ownership import LOOK_INTERVAL
from semantica.pipeline.engine.worker import Worker
from semantica.pipeline.events.errors import HandlerNotFound, RunConflict
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.projections.catchup import load_run


@pytest.fixture(autouse=True)
def shut() -> Iterator[None]:
    q.reset()
    yield
    q.gate.let()


def test_a_submitted_run_is_recorded_and_waits(engine: ExecutionEngine, log: Path) -> None:
    run = engine.submit(q.named("job", "a"), 1, queue="nightly", priority=3)
    store = SqliteStore(log)
    row = store.run(run)
    state = load_run(store, run).state
    store.close()
    assert row is not None
    assert (row.status, row.owner, row.priority) == ("pending", None, 3)
    assert (state.queue, state.version) == ("nightly", 1)
    assert engine.recover() == [], "who recovers runs does not begin those that wait"
    assert not q.gate.began


def test_a_run_of_an_id_is_submitted_once(engine: ExecutionEngine) -> None:
    pipeline = q.named("job", "a")
    assert engine.submit(pipeline, 1, run_id="monday") == "monday"
    assert engine.submit(pipeline, 1, run_id="monday") == "monday"
    with pytest.raises(RunConflict, match="another input"):
        engine.submit(pipeline, 2, run_id="monday")
    assert len(engine.runs()) == 1


def test_what_only_this_process_has_is_not_submitted(engine: ExecutionEngine) -> None:
    pipeline = Pipeline("job", [PipelineStep("a", "t", handler=lambda data: data)])
    with pytest.raises(PipelineValidationError, match="step 'a'"):
        engine.submit(pipeline)
    with pytest.raises(ValueError, match="name of a queue"):
        engine.submit(q.named("job", "a"), queue="")
    assert engine.runs() == []


def test_a_worker_executes_what_is_submitted_also_in_memory(make_engine: MakeEngine) -> None:
    engine = make_engine(log=":memory:")
    with q.working(engine):
        run = engine.submit(q.named("job", "a", "b"))
        assert engine.attach(run).result().output == "b"


@pytest.mark.parametrize(
    ("word", "status"), [("pause", "paused"), ("stop", "stopped"), ("cancel", "cancelled")]
)
def test_a_run_that_waits_is_controlled_without_being_executed(
    engine: ExecutionEngine, word: str, status: str
) -> None:
    run = engine.submit(q.named("job", "a"))
    assert getattr(engine, f"{word}_pipeline")(run)
    assert engine.get_status(run) == status
    assert "PipelineClaimed" not in types(engine, run)
    with q.working(engine):
        after = engine.submit(q.named("after", "b"))
        engine.attach(after).result()
        assert q.gate.began == ["b"], "it is not in its queue"
        assert engine.resume_pipeline(run) == (word != "cancel")
        if word != "cancel":
            assert engine.attach(run).result().success


def test_a_signal_to_a_run_that_waits_is_there_when_it_goes_on(engine: ExecutionEngine) -> None:
    run = engine.submit(q.named("job", "a", handler="hear"))
    assert engine.signal(run, "go", 42)
    assert engine.get_status(run) == "pending"
    with q.working(engine):
        assert engine.attach(run).result().output == 42


def test_a_deadline_passes_in_a_queue_too(make_engine: MakeEngine) -> None:
    clock = LeapingClock()
    engine = make_engine(clock=clock)
    run = engine.submit(q.named("job", "a"), deadline=60.0)
    held = engine.submit(q.named("other", "b"), deadline=60.0, queue="not served")
    with q.working(engine, queues=["default"], limits=Limits(queues={"default": 0})):
        clock.leap(61)
        until_status(engine, run, "failed")
        assert types(engine, run)[1:] == ["PipelineDeadlineExceeded", "PipelineFailed"]
        assert engine.get_status(held) == "pending"
    assert engine.resume_pipeline(run) and engine.get_status(run) == "pending"
    with q.working(engine, queues=["default"]):
        assert engine.attach(run).result().success, "resumed, it has no deadline any more"


def test_a_failed_run_goes_on_from_its_queue_where_it_was(engine: ExecutionEngine) -> None:
    once = RetryPolicy(max_retries=0)
    q.broken.update(("b", "y"))
    inner = PipelineStep("in", "pipeline", pipeline=q.named("inner", "x", "y", retry=once))
    steps = [*q.named("job", "a", "b", retry=once).steps, inner]
    run = engine.submit(Pipeline("job", steps), on_failure="continue")
    with q.working(engine):
        assert not engine.attach(run).result().success
    assert engine.resume_pipeline(run)
    assert engine.get_status(run) == "pending"
    q.broken.clear()
    with q.working(engine):
        assert engine.attach(run).result().success
    assert sorted(q.gate.began) == ["a", "b", "b", "x", "y", "y"], "what was done is not done again"


def test_who_supplies_handlers_executes_a_resumed_run(engine: ExecutionEngine) -> None:
    run = engine.submit(q.named("job", "a"))
    engine.stop_pipeline(run)
    given = Pipeline("job", [PipelineStep("a", "t", handler=lambda data: "mine")])
    assert engine.resume_pipeline(run, pipeline=given)
    assert engine.attach(run).result().output == "mine"


def test_a_worker_takes_as_many_as_it_may_and_paused_ones_aside(engine: ExecutionEngine) -> None:
    runs = [engine.submit(q.named(name, name, handler="wait")) for name in "abc"]
    with q.working(engine, concurrency=1):
        q.gate.until_began("a")
        assert [str(engine.get_status(run)) for run in runs] == ["running", "pending", "pending"]
        engine.pause_pipeline(runs[0])
        q.gate.let("a")
        q.gate.until_began("b")
        assert engine.get_status(runs[0]) == "completed", "nothing was left to do"
        assert str(engine.get_status(runs[2])) == "pending"
        q.gate.let()
        for run in runs:
            assert engine.attach(run).result().success
    assert q.gate.most == 1


def test_a_paused_run_leaves_its_worker_room(engine: ExecutionEngine) -> None:
    paused = engine.submit(q.named("p", "a", "b", handler="wait"))
    other = engine.submit(q.named("o", "c"))
    with q.working(engine, concurrency=1):
        q.gate.until_began("a")
        engine.pause_pipeline(paused)
        q.gate.let("a")
        assert engine.attach(other).result().success
        assert engine.get_status(paused) == "paused"
        q.gate.let()
        assert engine.resume_pipeline(paused)
        assert engine.attach(paused).result().success


def test_who_waits_for_a_run_does_not_take_it_from_the_worker_that_claims_it(
    engine: ExecutionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claimed in the log, and not yet in the hands of the loop, it is nobody's to recover."""
    run = engine.submit(q.named("job", "a"))
    begin = Worker._begin

    def late(worker: Worker, claimed: Claimed) -> None:
        followed = engine.attach(claimed.run.run_id)
        assert engine.recover() == []
        with pytest.raises(TimeoutError):
            followed.result(3 * LOOK_INTERVAL)  # it was looked at meanwhile
        begin(worker, claimed)

    monkeypatch.setattr(Worker, "_begin", late)
    with q.working(engine):
        assert engine.attach(run).result(FAR).success
    claims = [one.type for one in engine.history(run)].count("PipelineClaimed")
    assert claims == 1


def test_what_a_worker_hands_back_another_one_goes_on_with(make_engine: MakeEngine) -> None:
    first, second = make_engine(), make_engine()
    run = first.submit(q.named("job", "a", "b", handler="wait"))
    with q.working(first):
        q.gate.until_began("a")
    with q.working(second):
        q.gate.let("a")
        (left,) = first.close(wait=False)
        assert (left.run_id, left.completed) == (run, 1)
        q.gate.let()
        assert second.attach(run).result().success
    assert q.gate.began == ["a", "b"]


def test_a_run_that_cannot_be_executed_here_is_left_to_others(make_engine: MakeEngine) -> None:
    engine, other = make_engine(), make_engine()
    foreign = engine.submit(q.named("foreign", "a"))
    mine = engine.submit(q.named("mine", "b"))

    def handlers(row: object) -> dict[str, object]:
        if getattr(row, "run_id", "") == foreign:
            raise HandlerNotFound("there is no module of that name here")
        return {}

    with q.working(engine, concurrency=1, handlers=handlers):
        assert engine.attach(mine).result().success
        assert engine.get_status(foreign) == "pending"
        with q.working(other):
            assert other.attach(foreign).result().success


def test_the_limits_of_a_worker_are_checked(engine: ExecutionEngine) -> None:
    for limits in (Limits({"job": -1}), Limits(queues={"q": True})):
        with pytest.raises((ValueError, TypeError), match="the limit of"):
            q.Worker(engine, limits=limits)
    with pytest.raises(ValueError, match="concurrency"):
        q.Worker(engine, concurrency=-1)


def test_a_worker_without_work_keeps_its_lease(make_engine: MakeEngine) -> None:
    clock = LeapingClock()
    engine = make_engine(clock=clock)
    store = engine._open().store
    with q.working(engine):
        for _ in range(4):
            eventually(lambda: store.alive(engine.id, clock.now()))
            clock.leap(10)
        eventually(lambda: store.alive(engine.id, clock.now()))
