"""Steps that ask for more than there is, or is left, and owners that are lost."""

from __future__ import annotations

from typing import Any

import pytest
from gates import FAR, Gate, eventually, roots, scheduler, types, until, until_free, until_status
from making import MakeEngine

from semantica.pipeline import (
    Pipeline,
    PipelineStep,
    PipelineValidationError,
    ResourceScheduler,
)
from semantica.pipeline.engine.loop import Loop
from semantica.pipeline.events.pipeline import PipelineClaimed
from semantica.pipeline.events.store import Batch
from semantica.pipeline.events.upcasters import to_new

# -- less than there was --------------------------------------------------------------------


def test_what_can_never_be_had_is_refused_before_anything_is_recorded(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(resource_scheduler=scheduler(cpu=2, gpu=1))
    steps = [
        PipelineStep("fits", "t", resources={"cpu": 2}),
        PipelineStep("large", "t", resources={"cpu": 3}),
        PipelineStep("odd", "t", resources={"licence": 1}),
    ]
    with pytest.raises(PipelineValidationError) as refused:
        engine.execute_pipeline(Pipeline("p", steps))
    told = str(refused.value)
    assert "3 cpu are wanted, and there are 2" in told
    assert "there is no resource 'licence' (registered: cpu" in told
    assert engine.runs() == []


def test_who_waits_for_more_than_is_left_fails_and_goes_on_when_there_is_more(
    make_engine: MakeEngine, gate: Gate
) -> None:
    pool = scheduler(cpu=4)
    engine = make_engine(max_workers=4, resource_scheduler=pool)
    steps = [
        PipelineStep("holds", "t", handler=gate, resources={"cpu": 2}),
        PipelineStep("large", "t", handler=gate, resources={"cpu": 4}),
    ]
    pipeline = Pipeline("p", steps)
    future = engine.execute_pipeline_async(pipeline, on_failure="continue")
    gate.until_began("holds")
    until(engine, future.run_id, waiting=1)
    pool.resize_resource("cpu", 3)
    until(engine, future.run_id, failed=1)
    gate.let()
    result = future.result(FAR)
    assert "4 cpu are wanted, and there are 3" in str(result.errors)
    events = engine._open().store.read("resource/test")
    assert [e.type for e in events].count("AllocationDenied") == 1
    pool.register_resource("cpu", "cpu", 4)
    engine.resume_pipeline(future.run_id, pipeline=pipeline)
    engine.attach(future.run_id).result(FAR).raise_for_status()
    assert gate.began == ["holds", "large"]


def test_a_run_resumed_where_there_is_less_says_so(make_engine: MakeEngine, gate: Gate) -> None:
    pool = scheduler(cpu=4)
    held = pool.allocate_resource("cpu", "cpu", 1, "somebody")
    pipeline = roots("a", gate, resources={"cpu": 4})
    engine = make_engine(resource_scheduler=pool)
    future = engine.execute_pipeline_async(pipeline)
    until(engine, future.run_id, waiting=1)
    engine.pause_pipeline(future.run_id)
    until_status(engine, future.run_id, "paused")
    pool.deallocate_resource(held.allocation_id)
    engine.close(wait=False)

    smaller = ResourceScheduler(pool="another machine", enable_gpu=False)
    smaller.register_resource("cpu", "cpu", 2)
    engine = make_engine(resource_scheduler=smaller)
    engine.resume_pipeline(future.run_id, pipeline=pipeline)
    result = engine.attach(future.run_id).result(FAR)
    assert "4 cpu are wanted, and there are 2" in str(result.errors)
    assert types(engine, future.run_id)[-2:] == ["StepFailed", "PipelineFailed"]
    gate.let()
    smaller.register_resource("cpu", "cpu", 4)
    engine.resume_pipeline(future.run_id, pipeline=pipeline)
    engine.attach(future.run_id).result(FAR).raise_for_status()
    assert gate.began == ["a"]


def test_what_is_reserved_for_others_is_not_waited_for(make_engine: MakeEngine) -> None:
    pool = scheduler(cpu=4)
    pool.reserve_resource("cpu", 3, "critical")
    engine = make_engine(resource_scheduler=pool)
    both = Pipeline("critical", roots("ab", lambda data: 1, resources={"cpu": 4}).steps)
    engine.execute_pipeline(both).raise_for_status()  # one waits for the other
    pipeline = roots("a", len, "plain", resources={"cpu": 2})
    result = engine.execute_pipeline_async(pipeline).result(FAR)
    assert "there are 1 that are not reserved for others" in str(result.errors)


def test_a_reservation_made_while_somebody_waits_is_noticed(
    make_engine: MakeEngine, gate: Gate
) -> None:
    pool = scheduler(cpu=4)
    held = pool.allocate_resource("cpu", "cpu", 2, "critical")
    engine = make_engine(resource_scheduler=pool)
    future = engine.execute_pipeline_async(roots("a", gate, resources={"cpu": 3}))
    until(engine, future.run_id, waiting=1)
    pool.reserve_resource("cpu", 2, "critical")
    assert "not reserved for others" in str(future.result(FAR).errors)
    assert pool.deallocate_resource(held.allocation_id)


# -- owners ---------------------------------------------------------------------------------


def test_what_was_withdrawn_while_we_slept_is_asked_for_again(
    make_engine: MakeEngine, gate: Gate
) -> None:
    pool = scheduler(cpu=1)
    held = pool.allocate_resource("cpu", "cpu", 1, "somebody")
    engine = make_engine(resource_scheduler=pool)
    future = engine.execute_pipeline_async(roots("ab", gate, resources={"cpu": 1}))
    until(engine, future.run_id, waiting=2)
    eventually(lambda: pool.get_resource_status("cpu")["waiting"] == 2)
    shared = pool.prepare()
    shared.transact("another", lambda draft: draft.free_the_dead(lambda owner: True))
    gate.let()
    future.result(FAR).raise_for_status()
    assert pool.deallocate_resource(held.allocation_id) is False, "that one is gone"


def test_what_a_lost_run_was_granted_is_free(
    make_engine: MakeEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another owner takes the run over between the grant and the commit of its start."""
    pool = scheduler(cpu=1)
    engine = make_engine(resource_scheduler=pool)
    launch = Loop.launch
    taken: list[str] = []

    def launch_too_late(self: Loop, live: Any, *rest: Any) -> bool:
        if not taken:
            taken.append(live.run.run_id)
            claim = {"owner": "other", "host": "h", "pid": 1, "code": "0"}
            event = to_new(PipelineClaimed(**claim))  # type: ignore[arg-type]
            batch = Batch(live.run.stream, live.recorded, 9, "other", self.now, [event])
            assert self.store.append([batch]) == [None]
        return launch(self, live, *rest)

    held = pool.allocate_resource("cpu", "cpu", 1, "somebody")
    future = engine.execute_pipeline_async(roots("a", gate, resources={"cpu": 1}))
    until(engine, future.run_id, waiting=1)
    monkeypatch.setattr(Loop, "launch", launch_too_late)
    pool.deallocate_resource(held.allocation_id)
    eventually(lambda: bool(taken))
    gate.let()
    until_free(pool)
