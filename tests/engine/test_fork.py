"""fork: a new run that starts with what another one has produced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from making import MakeEngine
from test_executors import recorded

from semantica.pipeline import (
    ExecutionEngine,
    HandlerNotFound,
    Pipeline,
    PipelineBuilder,
    PipelineError,
    PipelineValidationError,
    RunNotFound,
)


class Steps:
    """Handlers that note their calls."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def handler(self, name: str) -> Callable[..., Any]:
        def handle(data: Any, plus: int = 1, fail: bool = False) -> Any:
            self.ran.append(name)
            if fail:
                raise ValueError(name)
            return (sum(data.values()) if isinstance(data, dict) else data or 0) + plus

        return handle

    def diamond(self, **config: Any) -> Pipeline:
        builder = PipelineBuilder()
        builder.add_step("a", "a", handler=self.handler("a"))
        builder.add_step("b", "b", handler=self.handler("b"), **config)
        builder.add_step("c", "c", handler=self.handler("c"), dependencies=["a"])
        builder.add_step("d", "d", handler=self.handler("d"), dependencies=["b", "c"])
        return builder.build("diamond")


@pytest.fixture
def steps() -> Steps:
    return Steps()


def original(engine: ExecutionEngine, steps: Steps, **config: Any) -> Any:
    result = engine.execute_pipeline(steps.diamond(**config), 10)
    steps.ran.clear()
    return result


def test_only_the_step_and_what_follows_is_executed_again(
    make_engine: MakeEngine, steps: Steps
) -> None:
    engine = make_engine()
    first = original(engine, steps)
    future = engine.fork(first.run_id, from_step="b")
    result = future.result(10)
    assert result.run_id != first.run_id
    assert result.output == first.output
    assert steps.ran == ["b", "d"]
    reused = recorded(engine, result.run_id, "StepReused")
    assert {event["step"] for event in reused} == {"a", "c"}
    assert {event["source"] for event in reused} == {first.run_id}
    (submitted,) = recorded(engine, result.run_id, "PipelineSubmitted")
    assert submitted["forked_from"] == first.run_id
    assert engine.get_status(first.run_id) == "completed", "the other run is as it was"


def test_other_configuration(make_engine: MakeEngine, steps: Steps) -> None:
    engine = make_engine()
    first = original(engine, steps)
    result = engine.fork("diamond", overrides={"c": {"plus": 100, "timeout": 5.0}}).result(10)
    assert steps.ran == ["c", "d"]
    assert result.output == first.output + 99
    again = engine.fork(result.run_id, from_step=["d"]).result(10)
    assert again.output == result.output, "a fork of a fork keeps its configuration"


def test_a_failed_run_goes_on_otherwise(make_engine: MakeEngine, steps: Steps) -> None:
    engine = make_engine(retry_on_failure=False)
    first = original(engine, steps, fail=True)
    assert not first.success
    result = engine.fork(first.run_id, overrides={"b": {"fail": False}}).result(10)
    assert result.success
    assert steps.ran == ["b", "d"] or steps.ran == ["b", "c", "d"]
    assert "a" not in steps.ran


def test_a_fork_in_another_process_needs_handlers_only_for_what_runs(
    make_engine: MakeEngine, steps: Steps
) -> None:
    first = original(make_engine(), steps)
    other = make_engine()
    with pytest.raises(HandlerNotFound, match="step 'd': its handler was given as a lambda"):
        other.fork(first.run_id, from_step="d")
    result = other.fork(first.run_id, from_step="d", pipeline=steps.diamond()).result(10)
    assert (result.output, steps.ran) == (first.output, ["d"])


def test_a_chosen_run_id_is_executed_once(make_engine: MakeEngine, steps: Steps) -> None:
    engine = make_engine()
    original(engine, steps)
    for _ in range(2):
        assert engine.fork("diamond", from_step="d", run_id="again").result(10).success
    assert steps.ran == ["d"]


def test_what_cannot_be_forked(make_engine: MakeEngine, steps: Steps) -> None:
    engine = make_engine()
    original(engine, steps)
    with pytest.raises(RunNotFound):
        engine.fork("nobody")
    with pytest.raises(PipelineError, match="no step 'dd'; did you mean 'd'"):
        engine.fork("diamond", from_step="dd")
    with pytest.raises(PipelineError, match="a fork cannot change its dependencies"):
        engine.fork("diamond", overrides={"d": {"dependencies": []}})
    with pytest.raises(PipelineValidationError, match="takes no configuration 'minus'"):
        engine.fork("diamond", overrides={"d": {"minus": 1}})
    assert steps.ran == [] and len(engine.runs()) == 1


def test_large_outputs_are_shared(make_engine: MakeEngine) -> None:
    engine = make_engine()

    def large(data: Any) -> bytes:
        return bytes(100_000)

    def length(data: bytes) -> int:
        return len(data)

    builder = PipelineBuilder().add_step("large", "l", handler=large)
    first = engine.execute_pipeline(builder.add_step("n", "n", handler=length).build("big"))
    result = engine.fork(first.run_id, from_step="n").result(10)
    assert result.output == 100_000
    (reused,) = recorded(engine, result.run_id, "StepReused")
    (completed, _) = recorded(engine, first.run_id, "StepCompleted")
    assert reused["output"] == completed["output"]
    assert len(msgspec.json.encode(reused)) < 500
