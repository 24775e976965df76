"""What an engine allocates for its steps: never more than there is, and nobody waits in vain."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from gates import FAR, Gate, eventually, roots, scheduler, types, until, until_free, until_status
from making import MakeEngine

from semantica.pipeline import (
    Context,
    FailureHandler,
    Pipeline,
    PipelineStep,
    ResourceScheduler,
)
from semantica.pipeline.engine import ownership
from semantica.pipeline.events.upcasters import to_event

# -- how many at once -----------------------------------------------------------------------


def test_as_many_run_as_there_is_room_for_and_no_more(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler(cpu=4)
    engine = make_engine(max_workers=8, resource_scheduler=pool)
    pipeline = roots("abcdefg", gate, resources={"cpu": 2})
    future = engine.execute_pipeline_async(pipeline)
    until(engine, future.run_id, running=2, waiting=5)
    gate.until_began("a", "b")
    eventually(lambda: pool.get_resource_status("cpu")["waiting"] == 5)
    status = pool.get_resource_status("cpu")
    assert (status["allocated"], status["available"], status["waiting"]) == (4.0, 0.0, 5)
    assert len(pool.get_pipeline_allocations("p")) == 2
    assert len(pool.get_pipeline_allocations(future.run_id)) == 2
    gate.let()
    future.result(FAR).raise_for_status()
    assert gate.most == 2
    started = [to_event(e) for e in engine.history("p") if e.type == "StepStarted"]
    order = [one.step for one in started]  # type: ignore[union-attr]
    assert order == list("abcdefg"), "equals go in the order of their coming"
    until_free(pool)


def test_who_waits_holds_no_worker(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler(cpu=1)
    held = pool.allocate_resource("cpu", "cpu", 1, "somebody")
    engine = make_engine(max_workers=1, resource_scheduler=pool)
    future = engine.execute_pipeline_async(roots("a", gate, "waits", resources={"cpu": 1}))
    until(engine, future.run_id, waiting=1)
    gate.let()
    engine.execute_pipeline(roots("xyz", gate, "others")).raise_for_status()
    assert gate.began == ["x", "y", "z"]
    pool.deallocate_resource(held.allocation_id)
    future.result(FAR).raise_for_status()
    assert types(engine, future.run_id)[2:4] == ["StepQueued", "StepStarted"]


def test_higher_priorities_go_first(make_engine: MakeEngine, gate: Gate) -> None:
    engine = make_engine(max_workers=4, resource_scheduler=scheduler(cpu=1))
    steps = [
        PipelineStep(name, "t", handler=gate, priority=priority, resources={"cpu": 1})
        for name, priority in (("first", 9), ("low", 1), ("high", 3), ("middle", 2))
    ]
    future = engine.execute_pipeline_async(Pipeline("p", steps))
    gate.until_began("first")
    until(engine, future.run_id, waiting=3)
    gate.let()
    future.result(FAR).raise_for_status()
    assert gate.began == ["first", "high", "middle", "low"]


def test_earlier_deadlines_go_first(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler("deadline", cpu=1)
    held = pool.allocate_resource("cpu", "cpu", 1, "somebody")
    engine = make_engine(max_workers=4, resource_scheduler=pool)
    futures = []
    for name, deadline in (("none", None), ("late", 900), ("soon", 300), ("middle", 600)):
        pipeline = roots([name], gate, name, resources={"cpu": 1})
        futures.append(engine.execute_pipeline_async(pipeline, deadline=deadline))
        until(engine, futures[-1].run_id, waiting=1)
    gate.let()
    pool.deallocate_resource(held.allocation_id)
    for future in futures:
        future.result(FAR).raise_for_status()
    assert gate.began == ["soon", "middle", "late", "none"]


def test_pipelines_get_fair_shares(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler("fair_share", cpu=2)
    held = pool.allocate_resource("cpu", "cpu", 2, "somebody")
    engine = make_engine(max_workers=8, resource_scheduler=pool)
    many = engine.execute_pipeline_async(roots("abcdef", gate, "many", resources={"cpu": 1}))
    until(engine, many.run_id, waiting=6)
    few = engine.execute_pipeline_async(roots("xyz", gate, "few", resources={"cpu": 1}))
    until(engine, few.run_id, waiting=3)
    pool.deallocate_resource(held.allocation_id)
    for _ in range(3):
        eventually(lambda: len(gate.inside) == 2)
        assert {name in "xyz" for name in gate.inside} == {True, False}, "one of each"
        before = len(gate.began)
        gate.let(*gate.inside)
        eventually(lambda n=before: len(gate.began) == n + 2 and len(gate.inside) == 2)
    gate.let()
    for future in (many, few):
        future.result(FAR).raise_for_status()


def test_parallelism_counts_who_waits(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler(cpu=1)
    held = pool.allocate_resource("cpu", "cpu", 1, "somebody")
    engine = make_engine(max_workers=8, resource_scheduler=pool)
    pipeline = roots("abcdef", gate, resources={"cpu": 0.25})
    pipeline.parallelism = 2
    future = engine.execute_pipeline_async(pipeline)
    until(engine, future.run_id, waiting=2, pending=4)
    pool.deallocate_resource(held.allocation_id)
    gate.until_began("a", "b")
    gate.let()
    future.result(FAR).raise_for_status()
    assert gate.most == 2


def test_gpus_come_as_indices_and_no_two_steps_have_the_same(
    make_engine: MakeEngine, gate: Gate
) -> None:
    seen: list[tuple[int, ...]] = []
    together = threading.Barrier(2, timeout=FAR)

    def work(data: Any, context: Context) -> None:
        seen.append(context.gpus)
        together.wait()

    engine = make_engine(max_workers=8, resource_scheduler=scheduler(gpu1=2, gpu2=2))
    engine.execute_pipeline(roots("ab", work, resources={"gpu": 2})).raise_for_status()
    assert sorted(seen) == [(0, 1), (2, 3)]


def test_async_steps_hold_what_they_declare_until_they_end(make_engine: MakeEngine) -> None:
    most, inside = [0], [0]

    async def work(data: Any) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        async with asyncio.timeout(FAR):
            while most[0] < 3:  # all the first ones are there
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        inside[0] -= 1

    pool = scheduler(cpu=3)
    engine = make_engine(max_workers=1, resource_scheduler=pool)
    engine.execute_pipeline(roots(map(str, range(12)), work, resources={"cpu": 1}))
    assert most[0] == 3
    until_free(pool)


def test_two_engines_on_one_log_share_what_there_is(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler(cpu=2)
    engines = [make_engine(max_workers=4, resource_scheduler=pool)]
    engines.append(make_engine(max_workers=4, resource_scheduler=ResourceScheduler(pool="test")))
    futures = [
        one.execute_pipeline_async(roots("abc", gate, f"p{i}", resources={"cpu": 1}))
        for i, one in enumerate(engines)
    ]
    eventually(lambda: len(gate.inside) == 2)
    eventually(lambda: pool.get_resource_status("cpu")["waiting"] == 4)
    gate.let()
    for future in futures:
        future.result(FAR).raise_for_status()
    assert gate.most == 2
    until_free(pool)


# -- rates ----------------------------------------------------------------------------------


def test_steps_of_a_type_start_at_the_rate_that_is_set(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "LOOK_INTERVAL", 1e6)  # no looking around helps
    engine = make_engine(max_workers=8)
    engine.resource_scheduler.set_rate_limit("t", 3, 0.15)
    future = engine.execute_pipeline_async(roots(map(str, range(9)), lambda data: None))
    future.result(FAR).raise_for_status()
    stream = f"resource/{engine.resource_scheduler.pool_name}"
    events = engine._open().store.read(stream)
    starts = [one.at for one in events if one.type == "AllocationGranted"]
    assert len(starts) == 9
    for early, late in zip(starts, starts[3:], strict=False):
        assert late - early >= 0.15e9


# -- control --------------------------------------------------------------------------------


def test_a_paused_run_leaves_the_queue_and_asks_again(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler(cpu=1)
    engine = make_engine(max_workers=4, resource_scheduler=pool)
    held = pool.allocate_resource("cpu", "cpu", 1, "somebody")
    future = engine.execute_pipeline_async(roots("abc", gate, resources={"cpu": 1}))
    until(engine, future.run_id, waiting=3)
    engine.pause_pipeline(future.run_id)
    until_status(engine, future.run_id, "paused")
    eventually(lambda: pool.get_resource_status("cpu")["waiting"] == 0)
    pool.deallocate_resource(held.allocation_id)
    other = pool.allocate_resource("cpu", "cpu", 1, "other")
    assert gate.began == [], "what is free is not for a paused run"
    engine.resume_pipeline(future.run_id)
    eventually(lambda: pool.get_resource_status("cpu")["waiting"] == 3)
    gate.let()
    pool.deallocate_resource(other.allocation_id)
    future.result(FAR).raise_for_status()
    assert types(engine, future.run_id).count("StepQueued") == 3
    until_free(pool)


def test_a_cancelled_run_gives_up_what_it_has_and_waits_for(
    make_engine: MakeEngine, gate: Gate
) -> None:
    pool = scheduler(cpu=1)
    engine = make_engine(max_workers=4, resource_scheduler=pool, cancel_grace=0.05)
    future = engine.execute_pipeline_async(roots("abc", gate, resources={"cpu": 1}))
    gate.until_began("a")
    until(engine, future.run_id, waiting=2)
    engine.cancel_pipeline(future.run_id)
    assert future.result(FAR).status == "cancelled"
    eventually(lambda: pool.get_resource_status("cpu")["waiting"] == 0)
    assert pool.get_resource_status("cpu")["allocated"] == 1, "its thread has not returned"
    with pytest.raises(Exception, match="0 are free"):
        pool.allocate_resource("cpu", "cpu", 1, "other")
    gate.let()
    until_free(pool)
    assert gate.began == ["a"]


def test_after_a_failure_nothing_that_waits_begins(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler(cpu=1)
    engine = make_engine(max_workers=4, resource_scheduler=pool)

    def fail(data: Any) -> None:
        gate.until_began("holds", "long")
        eventually(lambda: pool.get_resource_status("cpu")["waiting"] == 1)
        raise ValueError("no")

    steps = [
        PipelineStep("holds", "t", handler=gate, resources={"cpu": 1}, priority=2),
        PipelineStep("waits", "t", handler=gate, resources={"cpu": 1}, priority=1),
        PipelineStep("long", "t", handler=gate),
        PipelineStep("fails", "t", handler=fail),
    ]
    future = engine.execute_pipeline_async(Pipeline("p", steps))
    until(engine, future.run_id, failed=1, waiting=1, running=2)
    gate.let("holds")
    until(engine, future.run_id, completed=1)
    eventually(lambda: pool.get_resource_status("cpu")["allocated"] == 0)
    gate.let("long")
    assert future.result(FAR).status == "failed"
    assert sorted(gate.began) == ["holds", "long"]
    until_free(pool)


def test_closing_lets_what_waits_go(make_engine: MakeEngine, gate: Gate, log: Path) -> None:
    pool = scheduler(cpu=1)
    other = make_engine(resource_scheduler=ResourceScheduler(pool="test"))
    engine = make_engine(max_workers=4, resource_scheduler=pool)
    pipeline = roots("abc", gate, resources={"cpu": 1})
    future = engine.execute_pipeline_async(pipeline)
    gate.until_began("a")
    until(engine, future.run_id, waiting=2)
    gate.let("a")
    left = engine.close(wait=False)
    assert [one.run_id for one in left] == [future.run_id]
    until_free(other.resource_scheduler)
    gate.let()
    (again,) = other.recover(pipeline=pipeline)
    again.result(FAR).raise_for_status()
    assert sorted(gate.began) == ["a", "b", "c"]


def test_every_attempt_takes_and_gives_back(make_engine: MakeEngine) -> None:
    pool = scheduler(cpu=1)
    handler = FailureHandler(default_max_retries=3, default_initial_delay=0.001)
    engine = make_engine(max_workers=4, resource_scheduler=pool, failure_handler=handler)

    def flaky(data: Any, context: Context) -> int:
        if context.attempt < 3:
            raise ConnectionError("again")
        return context.attempt

    result = engine.execute_pipeline(roots("abc", flaky, resources={"cpu": 1}))
    assert result.output == {"a": 3, "b": 3, "c": 3}
    events = [to_event(e) for e in engine.history(result.run_id) if e.type == "StepStarted"]
    assert [e.grants for e in events] == [{"cpu": 1.0}] * 9  # type: ignore[union-attr]
    until_free(pool)


def test_a_timed_out_step_keeps_its_grant_until_its_thread_returns(
    make_engine: MakeEngine, gate: Gate
) -> None:
    pool = scheduler(cpu=1)
    engine = make_engine(max_workers=4, resource_scheduler=pool, retry_on_failure=False)
    pipeline = roots("a", gate, resources={"cpu": 1}, timeout=0.05)
    assert engine.execute_pipeline(pipeline).status == "failed"
    assert pool.get_resource_status("cpu")["allocated"] == 1
    gate.let()
    until_free(pool)


def test_a_killed_process_gives_back_at_once(make_engine: MakeEngine) -> None:
    pool = scheduler(cpu=1)
    engine = make_engine(max_workers=1, resource_scheduler=pool, retry_on_failure=False)
    options: dict[str, Any] = {"resources": {"cpu": 1}, "executor": "process"}
    slow = PipelineStep("a", "t", handler="time:sleep", timeout=0.5, **options)
    assert "killed" in str(engine.execute_pipeline(Pipeline("p", [slow]), 600).errors)
    until_free(pool)
    crash = PipelineStep("a", "t", handler="os:_exit", **options)
    assert engine.execute_pipeline(Pipeline("q", [crash]), 3).status == "failed"
    until_free(pool)
