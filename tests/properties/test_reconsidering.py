"""Decisions taken anew by other code: the first that comes out otherwise is found, and no other.

That the same code decides the same is in ``simulation/test_same_decisions.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from semantica.pipeline import Pipeline, PipelineBuilder, RetryPolicy
from semantica.pipeline.engine.core.reconsidering import Divergence, Recorded, reconsider
from semantica.pipeline.engine.model import PipelineStep, define
from semantica.pipeline.events.store import Store
from semantica.pipeline.events.upcasters import to_event
from semantica.pipeline.testing import SimulatedEngine


def recorded(store: Store, run_id: str) -> list[Recorded]:
    events = store.read(f"run/{run_id}")
    return [Recorded(e.version, e.at, e.epoch, to_event(e)) for e in events]


def one(data: Any = None, **_: Any) -> int:
    return 1


def flaky(data: Any = None, context: Any = None, **_: Any) -> int:
    if context.attempt < 2:
        raise ConnectionError("not yet")
    return 2


def hangs(data: Any = None, context: Any = None, **_: Any) -> None:
    while not context.cancelled:
        time.sleep(0.001)


def never(data: Any = None) -> bool:
    return False


RETRY = RetryPolicy(max_retries=2, initial_delay=1.0, jitter=0.5)


def built() -> Pipeline:
    return (
        PipelineBuilder()
        .add_step("a", "t", handler=one, dependencies=[])
        .add_step("b", "t", handler=flaky, dependencies=["a"], retry=RETRY)
        .add_step("maybe", "t", handler=one, dependencies=["a"], when=never)
        .add_step("c", "t", handler=one, dependencies=["b"], timeout=5.0)
        .build("job")
    )


@pytest.fixture(scope="module")
def history() -> list[Recorded]:
    with SimulatedEngine() as engine:
        engine.execute_pipeline(built(), run_id="r")
        return recorded(engine._open().store, "r")


def judged(history: list[Recorded], change: Callable[[Pipeline], Any]) -> Divergence | None:
    changed = built()
    change(changed)
    return reconsider("r", define(built()), define(changed), history)


def at(history: list[Recorded], kind: str, step: str | None = None) -> int:
    """The version of the first event of a type."""
    return next(
        one.version
        for one in history
        if type(one.event).__name__ == kind and step in (None, getattr(one.event, "step", ""))
    )


def set_on(step: str, **fields: Any) -> Callable[[Pipeline], None]:
    def change(pipeline: Pipeline) -> None:
        for name, value in fields.items():
            setattr(pipeline.step(step), name, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda p: None,
        set_on("a", config={"size": 3}),
        set_on("b", handler=one),
        set_on("b", retry=RetryPolicy(max_retries=9, initial_delay=1.0, jitter=0.5)),
        set_on("c", timeout=500.0),
        set_on("c", priority=4),
    ],
    ids=["nothing", "configuration", "code", "more retries", "a longer timeout", "a priority"],
)
def test_what_decides_nothing_is_no_divergence(
    history: list[Recorded], change: Callable[[Pipeline], Any]
) -> None:
    assert judged(history, change) is None


@pytest.mark.parametrize(
    ("change", "kind", "step", "reason"),
    [
        (set_on("b", retry=RetryPolicy(max_retries=0)), "StepRetryScheduled", "b",
         "'b' would not have been tried again"),
        (set_on("b", retry=RetryPolicy(initial_delay=7.0)), "StepRetryScheduled", "b",
         "now StepRetryScheduled (step b, delay 7.0)"),
        (set_on("c", dependencies=["b", "maybe"]), "StepStarted", "c",
         "(step c, attempt 1, inputs ("),
        (set_on("b", dependencies=["maybe"]), "StepStarted", "b", "would not have started"),
        (lambda p: p.steps.append(PipelineStep("new", "t", dependencies=["c"])),
         "PipelineCompleted", None, "step 'new' has not been done"),
        (lambda p: p.steps.pop(2), "StepStarted", "maybe", "no step 'maybe' any more"),
        (set_on("maybe", when=None), "StepSkipped", "maybe", "it has none now"),
        (set_on("a", executor="process"), "StepStarted", "a", "would start in a process"),
        (set_on("a", resources={"gpu": 1.0}), "StepStarted", "a", "would start with 1 gpu"),
        (lambda p: setattr(p, "parallelism", 1), "StepStarted", "maybe", "at most 1 at once"),
    ],
)  # fmt: skip
def test_the_first_decision_that_comes_out_otherwise_is_named(
    history: list[Recorded],
    change: Callable[[Pipeline], Any],
    kind: str,
    step: str | None,
    reason: str,
) -> None:
    found = judged(history, change)
    assert found is not None
    assert reason in found.reason
    if "at once" in reason:  # whichever of both started second
        assert found.version > at(history, "StepStarted", "a")
    else:
        assert (found.version, found.recorded[0]) == (at(history, kind, step), kind)


def test_timeouts_are_judged_by_how_long_it_took() -> None:
    pipeline = PipelineBuilder().add_step("h", "t", handler=hangs, timeout=0.05).build("job")
    with SimulatedEngine(retry_on_failure=False) as engine:
        engine.execute_pipeline(pipeline, run_id="r", hanging="h")
        history = recorded(engine._open().store, "r")
    before = define(pipeline)
    assert reconsider("r", before, before, history) is None
    for timeout, told in ((None, "it has no such limit now"), (60.0, "it may take 60 s now")):
        pipeline.step("h").timeout = timeout
        found = reconsider("r", before, define(pipeline), history)
        assert found is not None and found.recorded == ("StepTimedOut",)
        assert told in found.reason


def test_a_tighter_timeout_would_have_cut_off_what_took_longer() -> None:
    def slow(data: Any = None) -> None:
        time.sleep(0.02)

    pipeline = PipelineBuilder().add_step("s", "t", handler=slow).build("job")
    with SimulatedEngine() as engine:
        engine.execute_pipeline(pipeline, run_id="r")
        history = recorded(engine._open().store, "r")
    before = define(pipeline)
    pipeline.step("s").timeout = 0.01
    found = reconsider("r", before, define(pipeline), history)
    assert found is not None and found.recorded == ("StepCompleted",)
    assert "now it is given up after 0.01 s" in found.reason
