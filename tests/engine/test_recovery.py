"""Going on with what another owner left behind."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from making import MakeEngine

from semantica.pipeline import Pipeline, PipelineBuilder, PipelineStep
from semantica.pipeline.engine.core.commands import Claim, Start
from semantica.pipeline.engine.core.decide import decide
from semantica.pipeline.engine.model import define, definition_bytes
from semantica.pipeline.events.codec import Value, encode
from semantica.pipeline.events.pipeline import PipelineSubmitted
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.store import Batch
from semantica.pipeline.events.upcasters import Event, to_new
from semantica.pipeline.projections.run import Run


def grow(data: int) -> int:
    return data + 1


def leave_behind(log: Path, pipeline: Pipeline, *, lives: int = 1) -> str:
    """A run whose first step was in flight when its owners died, one after the other."""
    store = SqliteStore(log)
    definition = define(pipeline)
    run = Run("left", definition)
    submitted = PipelineSubmitted(
        name=pipeline.name,
        definition=Value.of_text(definition_bytes(definition), store.artifacts),
        identity="",
        data=encode(1, store.artifacts),
        engine="gone",
    )
    append(store, run, 1, [submitted])
    for life in range(1, lives + 1):
        claim = Claim("gone", socket.gethostname(), 1, "0")
        append(store, run, life, decide(run, claim, life))
        append(store, run, life, decide(run, Start(0, "thread-1"), life))
    store.close()
    return run.run_id


def append(store: SqliteStore, run: Run, epoch: int, events: list[Event]) -> None:
    after = run.state.version
    for event in events:
        run.apply(event, version=run.state.version + 1, at=epoch, epoch=epoch)
    new = [to_new(event) for event in events]
    assert store.append([Batch(run.stream, after, epoch, "gone", epoch, new)]) == [None]


def two_steps(**options: Any) -> Pipeline:
    return Pipeline(
        "two",
        [
            PipelineStep("a", "t", handler=grow, **options),
            PipelineStep("b", "t", handler=grow, dependencies=["a"]),
        ],
    )


def test_an_attempt_of_a_dead_owner_is_executed_again(log: Path, make_engine: MakeEngine) -> None:
    run_id = leave_behind(log, two_steps())
    engine = make_engine()
    (future,) = engine.recover()
    assert future.run_id == run_id and future.result(10).output == 3
    types = [e.type for e in engine.history(run_id)]
    assert types[3:5] == ["PipelineClaimed", "StepInterrupted"]
    assert [e.epoch for e in engine.history(run_id)][-1] == 2
    assert engine.recover() == []


def test_an_at_most_once_step_fails_instead(log: Path, make_engine: MakeEngine) -> None:
    leave_behind(log, two_steps(at_most_once=True))
    (future,) = make_engine().recover()
    (error,) = future.result(10).errors
    assert "at_most_once" in error and "lost with its process" in error


def test_an_attempt_lost_three_times_in_a_row_fails_its_step(
    log: Path, make_engine: MakeEngine
) -> None:
    leave_behind(log, two_steps(), lives=3)
    engine = make_engine()
    (future,) = engine.recover()
    assert "3rd time in a row" in future.result(10).errors[0]
    assert [e.type for e in engine.history("two")].count("StepInterrupted") == 2


def test_a_run_of_a_living_owner_is_left_alone_and_can_be_followed(
    make_engine: MakeEngine,
) -> None:
    entered, go = threading.Event(), threading.Event()

    def wait(data: Any) -> str:
        entered.set()
        assert go.wait(20)
        return "done"

    owner, other = make_engine(), make_engine()
    future = owner.execute_pipeline_async(
        PipelineBuilder().add_step("s", "t", handler=wait).build()
    )
    assert entered.wait(10)
    assert other.recover() == []
    followed = other.attach(future.run_id)
    go.set()
    assert followed.result(10).output == "done"


def test_closing_without_waiting_leaves_a_run_to_recover(make_engine: MakeEngine) -> None:
    entered, go = threading.Event(), threading.Event()

    def wait(data: Any) -> str:
        entered.set()
        assert go.wait(20)
        return "done"

    pipeline = (
        PipelineBuilder()
        .add_step("first", "t", handler=wait)
        .add_step("second", "t", handler=lambda data: data * 2)
        .build("cut")
    )
    engine = make_engine()
    future = engine.execute_pipeline_async(pipeline)
    assert entered.wait(10)
    threading.Timer(0.05, go.set).start()
    (left,) = engine.close(wait=False)
    assert (left.completed, left.total) == (1, 2), "what was in flight was waited for and recorded"
    later = make_engine()
    (recovered,) = later.recover(pipeline=pipeline)
    assert recovered.run_id == future.run_id and recovered.result(10).output == "donedone"
    assert [e.type for e in later.history("cut")].count("StepInterrupted") == 0


def test_a_handler_that_cannot_be_found_is_a_clear_error(
    log: Path, make_engine: MakeEngine
) -> None:
    pipeline = Pipeline("lost", [PipelineStep("a", "t", handler="no_such_module:f")])
    leave_behind(log, pipeline)
    (future,) = make_engine().recover()
    (error,) = future.result(10).errors
    assert "no_such_module" in error and "pipeline=" in error


def test_a_lambda_that_is_not_given_again_does_not_pass_its_input_through(
    log: Path, make_engine: MakeEngine
) -> None:
    """A step without a handler does; one that had a handler must not."""
    pipeline = PipelineBuilder().add_step("a", "a", handler=lambda data: data * 10).build("left")
    leave_behind(log, pipeline)
    (future,) = make_engine().recover()
    result = future.result(timeout=10)
    assert result.status == "failed"
    assert "step 'a': HandlerNotFound" in result.errors[0]
    assert "give the pipeline again" in result.errors[0]
    engine = make_engine()
    assert engine.resume_pipeline("left", pipeline=pipeline)
    assert engine.attach("left").result(timeout=10).output == 10


def test_a_changed_handler_is_a_warning(
    make_engine: MakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    first = PipelineBuilder().add_step("s", "t", handler=grow).build("changing")
    engine = make_engine()
    future = engine.execute_pipeline_async(first, "text", run_id="same")
    assert not engine.attach("same").result(10).success
    assert future.result(10).warnings == []

    def repaired(data: str) -> str:
        return data + "!"

    first.steps[0].handler = repaired
    other = make_engine()
    assert other.resume_pipeline("same", pipeline=first)
    result = other.attach("same").result(10)
    assert result.output == "text!"
    assert "its handler changed since the run was submitted" in capsys.readouterr().err
