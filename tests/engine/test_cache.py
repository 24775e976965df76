"""Steps whose work was done before need not run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from leaping import LeapingClock
from making import MakeEngine
from test_executors import recorded

from semantica.pipeline import Pipeline, PipelineBuilder, PipelineValidationError

ran: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    ran.clear()


def double(data: int, by: int = 2) -> int:
    ran.append(data)
    return data * by


def triple(data: int, by: int = 3) -> int:
    ran.append(data)
    return data * by


def pipeline(handler: Callable[..., Any] = double, **options: Any) -> Pipeline:
    builder = PipelineBuilder().add_step("work", "work", handler=handler, **options)
    return builder.add_step("after", "after", handler=abs).build("cached")


def test_the_same_work_is_done_once(make_engine: MakeEngine) -> None:
    engine = make_engine()
    first = engine.execute_pipeline(pipeline(cache=True), 5)
    second = engine.execute_pipeline(pipeline(cache=True), 5)
    assert (first.output, second.output, ran) == (10, 10, [5])
    (reused,) = recorded(engine, second.run_id, "StepReused")
    assert (reused["step"], reused["source"]) == ("work", first.run_id)
    assert [e.type for e in engine.history(second.run_id)].count("StepStarted") == 1


def test_it_serves_in_another_process_and_in_other_pipelines(make_engine: MakeEngine) -> None:
    make_engine().execute_pipeline(pipeline(cache=True), 5)
    other = PipelineBuilder().add_step("other", "work", handler=double, cache=True).build("other")
    assert make_engine().execute_pipeline(other, 5).output == 10
    assert ran == [5]


@pytest.mark.parametrize(
    ("other", "data"),
    [
        (pipeline(cache=True), 6),
        (pipeline(cache=True, by=4), 5),
        (pipeline(triple, cache=True), 5),
        (pipeline(), 5),
    ],
    ids=["input", "configuration", "code", "not cached"],
)
def test_other_work_is_done(make_engine: MakeEngine, other: Pipeline, data: int) -> None:
    engine = make_engine()
    engine.execute_pipeline(pipeline(cache=True), 5)
    assert engine.execute_pipeline(other, data).success
    assert len(ran) == 2


def test_an_output_serves_for_a_time(make_engine: MakeEngine) -> None:
    clock = LeapingClock()
    engine = make_engine(clock=clock)
    for leap in (0, 50, 61):
        clock.leap(leap)
        assert engine.execute_pipeline(pipeline(cache=60), 5).output == 10
    assert ran == [5, 5]


def test_failures_are_not_cached(make_engine: MakeEngine) -> None:
    engine = make_engine(retry_on_failure=False)

    def fails(data: Any) -> None:
        ran.append(data)
        raise ValueError

    for _ in range(2):
        assert not engine.execute_pipeline(pipeline(fails, cache=True), 1).success
    assert ran == [1, 1]


def test_many_cached_steps_at_the_end_of_a_run(make_engine: MakeEngine) -> None:
    """The run ends although none of them is executed."""
    builder = PipelineBuilder()
    for number in range(50):
        builder.add_step(f"s{number}", "work", handler=double, dependencies=[], cache=True)
    engine = make_engine()
    assert engine.execute_pipeline(builder.build("wide"), 1).success
    done = len(ran)
    result = engine.execute_pipeline(builder.build("wide"), 1)
    assert result.success and len(ran) == done
    assert result.metrics["steps_executed"] == 50


@pytest.mark.parametrize("wrong", [-1, "yes", 0.0, float("nan")])
def test_wrong_times_are_refused(make_engine: MakeEngine, wrong: Any) -> None:
    with pytest.raises(PipelineValidationError, match="cache must be"):
        make_engine().execute_pipeline(pipeline(cache=wrong), 1)
