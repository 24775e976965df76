"""Many steps that wait for resources: each costs about the same, however many there are."""

from __future__ import annotations

import time

import pytest

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep, ResourceScheduler


def processor_time(steps: int, *, rate: int = 0) -> float:
    """Seconds of the processor for a run of so many steps, of which four may run at once."""
    scheduler = ResourceScheduler(pool="test", enable_gpu=False)
    scheduler.register_resource("cpu", "cpu", 4)
    if rate:
        scheduler.set_rate_limit("t", rate, 1e-3)
    pipeline = Pipeline(
        "many",
        [PipelineStep(f"s{i}", "t", handler=len, resources={"cpu": 1}) for i in range(steps)],
    )
    with ExecutionEngine(":memory:", max_workers=8, resource_scheduler=scheduler) as engine:
        begun = time.process_time()
        engine.execute_pipeline(pipeline, "x").raise_for_status()
        spent = time.process_time() - begun
        store = engine._open().store
        assert len(list(store.read("resource/test"))) <= 3 * steps + 10
        assert len(engine.history("many")) <= 3 * steps + 10
    return spent


@pytest.mark.parametrize("rate", [0, 100_000])
def test_10000_waiting_steps_cost_ten_times_what_1000_do(rate: int) -> None:
    few = min(processor_time(1_000, rate=rate) for _ in range(2))
    assert processor_time(10_000, rate=rate) < 30 * few
