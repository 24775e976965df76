"""What the engine does about failures: policies, fallbacks, and what is recorded of both."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from leaping import LeapingClock
from making import MakeEngine

import semantica.pipeline
from semantica.pipeline import (
    Context,
    ExecutionEngine,
    FailureHandler,
    Pipeline,
    PipelineBuilder,
    PipelineStatus,
    PipelineStep,
    RecordedError,
    RetryPolicy,
    RetryStrategy,
    RunFailed,
)

HERE = Path(__file__).parent
FIXED = RetryPolicy(strategy=RetryStrategy.FIXED, initial_delay=0.0, max_retries=2)


class Refused(Exception):
    """What a service says, with more than a text."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


def refuse(data: Any) -> None:
    try:
        raise KeyError("token")
    except KeyError as error:
        raise Refused(401) from error


def flaky(data: Any) -> None:
    raise ConnectionError("reset")


def crash(data: Any) -> None:
    os.abort()


def one(handler: Any = flaky, kind: str = "net", **options: Any) -> Pipeline:
    """A step that fails, and one that depends on it."""
    made = PipelineBuilder().add_step("bad", kind, handler=handler, **options)
    return made.add_step("after", "after", handler=lambda data: ["after", data]).build("one")


def instead(step: PipelineStep, error: Exception) -> str:
    return f"{step.name}: {error}"


def handler_with(fallback: Any = instead, kind: str = "net", **options: Any) -> FailureHandler:
    handler = FailureHandler(default_initial_delay=0.0, **options)
    handler.register_fallback(kind, fallback)
    return handler


def recorded(engine: ExecutionEngine, run_id: str, *kinds: str) -> list[tuple[str, Any]]:
    """The events of these types (all of steps, if none is named), with their payloads."""
    return [
        (event.type, msgspec.json.decode(event.payload))
        for event in engine.history(run_id)
        if event.type in kinds or (not kinds and event.type.startswith("Step"))
    ]


def types(engine: ExecutionEngine, run_id: str) -> list[str]:
    return [kind for kind, _ in recorded(engine, run_id)]


# -- policies ----------------------------------------------------------------------------------


def delays(engine: ExecutionEngine, run_id: str) -> list[float]:
    found = recorded(engine, run_id, "StepRetryScheduled")
    return [payload["delay"] for _, payload in found]


def test_a_registered_policy_is_used_and_its_delays_are_recorded(make_engine: MakeEngine) -> None:
    clock, handler = LeapingClock(), FailureHandler()
    policy = RetryPolicy(max_retries=4, strategy=RetryStrategy.LINEAR, backoff_factor=1.0)
    handler.register_retry_policy("net", policy)
    engine = make_engine(failure_handler=handler, clock=clock)
    result = clock.result(engine.execute_pipeline_async(one()))
    assert result.errors == ["step 'bad': ConnectionError: reset"]
    assert delays(engine, result.run_id) == [1, 2, 3, 4]
    events = engine.history(result.run_id)
    for before, event in pairwise(events):
        if event.type == "StepRetryScheduled":
            told = msgspec.json.decode(event.payload)
            assert told["due"] == event.at + int(told["delay"] * 10**9)
            assert before.type == "StepFailed"
    (_, submitted), *_ = recorded(engine, result.run_id, "PipelineSubmitted")
    assert submitted["policies"] == {
        "net": {"max_retries": 4, "strategy": "linear", "backoff_factor": 1.0}
    }


@pytest.mark.parametrize(
    ("own", "of_type", "expected"),
    [
        (RetryPolicy(max_retries=1, initial_delay=7.0), True, [7]),
        (None, True, [5, 10]),
        (None, False, [3, 9, 27]),
    ],
)
def test_the_steps_own_policy_comes_before_that_of_its_type_and_that_before_the_default(
    make_engine: MakeEngine, own: RetryPolicy | None, of_type: bool, expected: list[float]
) -> None:
    clock = LeapingClock()
    handler = FailureHandler(default_initial_delay=3.0, default_backoff_factor=3.0)
    if of_type:
        handler.register_retry_policy("net", RetryPolicy(max_retries=2, initial_delay=5.0))
    engine = make_engine(failure_handler=handler, clock=clock)
    result = clock.result(engine.execute_pipeline_async(one(retry=own)))
    assert delays(engine, result.run_id) == expected


@pytest.mark.parametrize(
    ("options", "retries"),
    [
        ({}, 2),
        ({"default_max_retries": 1}, 1),
        ({"retry_on_failure": False}, 0),
        ({"retry_on_failure": False, "default_max_retries": 5}, 0),
    ],
)
def test_the_engines_options_count_for_steps_without_a_policy(
    make_engine: MakeEngine, options: dict[str, Any], retries: int
) -> None:
    handler = FailureHandler(default_max_retries=2, default_initial_delay=0.0)
    handler.register_retry_policy("sturdy", FIXED)
    engine = make_engine(failure_handler=handler, **options)
    assert engine.execute_pipeline(one()).metrics["steps_retried"] == retries
    sturdy = engine.execute_pipeline(one(kind="sturdy"))
    assert sturdy.metrics["steps_retried"] == 2, "a policy of its type is one of its own"


def test_a_failure_handler_of_another_kind_is_refused(make_engine: MakeEngine) -> None:
    with pytest.raises(TypeError, match="must be a FailureHandler, not RetryPolicy"):
        make_engine(failure_handler=RetryPolicy())


def test_only_the_errors_of_a_registered_policy_are_retried(make_engine: MakeEngine) -> None:
    handler = FailureHandler()
    policy = RetryPolicy(initial_delay=0.0, retryable_errors=[ConnectionError, TimeoutError])
    handler.register_retry_policy("net", policy)
    engine = make_engine(failure_handler=handler)
    assert engine.execute_pipeline(one()).metrics["steps_retried"] == 3
    assert engine.execute_pipeline(one(refuse)).metrics["steps_retried"] == 0


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_registered_kinds_of_errors_count_in_threads_and_in_processes(
    make_engine: MakeEngine, executor: str
) -> None:
    handler = FailureHandler(default_initial_delay=0.0, default_max_retries=1)
    handler.register_error(ConnectionError, category="dull", severity="low", retryable=False)
    handler.register_error(r"code \d+", category="refusal", severity="high", retryable=True)
    engine = make_engine(failure_handler=handler)
    result = engine.execute_pipeline(one(executor=executor))
    assert result.metrics["steps_retried"] == 0
    ((_, failed),) = recorded(engine, result.run_id, "StepFailed")
    assert (failed["error"]["category"], failed["error"]["severity"]) == ("dull", "low")
    result = engine.execute_pipeline(one(refuse, executor=executor))
    assert result.metrics["steps_retried"] == 1
    (_, failed), _ = recorded(engine, result.run_id, "StepFailed")
    assert (failed["error"]["category"], failed["error"]["severity"]) == ("refusal", "high")


def test_what_is_registered_after_a_submission_is_for_later_runs(make_engine: MakeEngine) -> None:
    """Even if the engine has not got round to the run."""
    busy, go = threading.Event(), threading.Event()
    handler = handler_with(default_max_retries=0)
    engine = make_engine(failure_handler=handler)

    def keep_the_engine_busy(_: object) -> None:
        busy.set()
        assert go.wait(20)

    engine.execute_pipeline_async(one()).add_done_callback(keep_the_engine_busy)
    assert busy.wait(10)
    first = engine.execute_pipeline_async(one())
    bare = engine.execute_pipeline_async(one(kind="bare"))
    handler.register_retry_policy("net", FIXED)
    handler.register_error(ConnectionError, category="new", retryable=True)
    for kind in ("net", "bare"):
        handler.register_fallback(kind, lambda step, error: "new")
    go.set()
    assert first.result(10).output == ["after", "bad: reset"]
    assert not bare.result(10).success
    assert types(engine, first.run_id).count("StepRetryScheduled") == 0
    (_, failed), *_ = recorded(engine, first.run_id, "StepFailed")
    assert failed["error"]["category"] == "network"
    second = engine.execute_pipeline(one())
    assert second.output == ["after", "new"] and second.metrics["steps_retried"] == 2


def test_a_policy_whose_class_is_gone_does_not_keep_the_attempt_from_failing(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine()
    policy = RetryPolicy(retryable_errors=["no_such_module:Error"])
    result = engine.execute_pipeline_async(one(retry=policy)).result(10)
    assert result.errors == ["step 'bad': ConnectionError: reset"]


def test_a_run_keeps_the_policies_it_was_submitted_with_wherever_it_goes_on(
    make_engine: MakeEngine,
) -> None:
    handler = FailureHandler()
    handler.register_retry_policy("net", FIXED)
    engine = make_engine(failure_handler=handler)
    pipeline = one()
    engine.execute_pipeline(pipeline, run_id="r")
    engine.close()
    engine = make_engine()
    assert engine.resume_pipeline("r", pipeline=pipeline)
    assert not engine.attach("r").result(10).success
    assert delays(engine, "r") == [0, 0, 0, 0]


def test_no_registered_kind_makes_an_at_most_once_step_run_again(make_engine: MakeEngine) -> None:
    handler = FailureHandler(default_initial_delay=0.0)
    handler.register_error("SIGABRT", category="memory", retryable=True)
    handler.register_error(Refused, category="worker_lost", retryable=True)
    engine = make_engine(failure_handler=handler)
    result = engine.execute_pipeline(one(crash, executor="process", at_most_once=True))
    assert "must not run again" in result.errors[0]
    assert result.metrics["steps_retried"] == 0
    result = engine.execute_pipeline(one(refuse, at_most_once=True))
    assert result.metrics["steps_retried"] == 3, "it was not cut off, whatever it is called"


# -- fallbacks ---------------------------------------------------------------------------------


def test_a_fallback_follows_the_last_retry_and_its_output_is_the_steps(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(failure_handler=handler_with(default_max_retries=2))
    result = engine.execute_pipeline(one())
    assert result.output == ["after", "bad: reset"] and result.errors == []
    assert result.metrics["steps_retried"] == 2
    attempt = ["StepStarted", "StepFailed"]
    assert types(engine, result.run_id) == [
        *(*attempt, "StepRetryScheduled") * 2,
        *(*attempt, "StepFallbackScheduled"),
        *("StepStarted", "StepCompleted") * 2,
    ]
    started = [told for _, told in recorded(engine, result.run_id, "StepStarted")]
    flags = [(told["step"], told["attempt"], told.get("fallback", False)) for told in started]
    assert flags == [
        ("bad", 1, False),
        ("bad", 2, False),
        ("bad", 3, False),
        ("bad", 4, True),
        ("after", 1, False),
    ]
    (_, submitted), *_ = recorded(engine, result.run_id, "PipelineSubmitted")
    assert submitted["fallbacks"] == {"net": "test_fallbacks:instead"}


def test_what_is_not_retryable_falls_back_at_once(make_engine: MakeEngine) -> None:
    engine = make_engine(failure_handler=handler_with())
    result = engine.execute_pipeline(one(lambda data: data + 1), "text")
    assert result.success and result.metrics["steps_retried"] == 0
    assert types(engine, result.run_id)[:3] == [
        "StepStarted",
        "StepFailed",
        "StepFallbackScheduled",
    ]


def test_a_fallback_is_told_the_step_the_error_its_causes_the_input_and_the_context(
    make_engine: MakeEngine,
) -> None:
    seen: dict[str, Any] = {}

    def fallback(step: PipelineStep, error: Exception, context: Context, data: Any) -> str:
        seen.update(step=step, error=error, data=data, attempt=context.attempt)
        context.metric("saved")
        context.checkpoint("so far", 1)
        return "saved"

    engine = make_engine(failure_handler=handler_with(fallback, default_max_retries=0))
    result = engine.execute_pipeline(one(refuse, priority=5), {"in": (1, 2)})
    assert result.output == ["after", "saved"] and result.metrics["saved"] == 1
    assert (seen["step"].name, seen["step"].priority) == ("bad", 5)
    assert (seen["data"], seen["attempt"]) == ({"in": (1, 2)}, 2)
    error = seen["error"]
    assert type(error) is Refused and str(error) == "code 401" and not hasattr(error, "code")
    assert repr(error.__cause__) == "KeyError('token')"


def test_an_async_fallback_is_awaited(make_engine: MakeEngine) -> None:
    async def fallback(step: PipelineStep, error: Exception, data: Any) -> Any:
        await asyncio.sleep(0)
        return data

    engine = make_engine(failure_handler=handler_with(fallback, default_max_retries=0))
    assert engine.execute_pipeline(one(), "in").output == ["after", "in"]


def test_a_process_that_crashed_falls_back_in_the_engines_own(make_engine: MakeEngine) -> None:
    def fallback(step: PipelineStep, error: Exception) -> Any:
        return os.getpid(), type(error).__name__, str(error)

    engine = make_engine(failure_handler=handler_with(fallback, default_max_retries=0))
    result = engine.execute_pipeline(one(crash, executor="process"))
    pid, kind, said = result.output[1]
    assert (pid, kind) == (os.getpid(), "WorkerLost") and "SIGABRT" in said
    started = [told for _, told in recorded(engine, result.run_id, "StepStarted")]
    assert [told.get("backend", "thread") for told in started] == ["process", "thread", "thread"]


def test_a_step_that_cannot_be_called_at_all_falls_back(make_engine: MakeEngine) -> None:
    """Neither handler nor input need to be found for it."""
    engine = make_engine(failure_handler=handler_with())
    assert engine.execute_pipeline(one("no_such_module:f", executor="process")).success


def chain_of(result: Any) -> list[str]:
    """What a failed run raises, and what caused it, one after the other."""
    with pytest.raises(RunFailed) as raised:
        result.raise_for_status()
    chain, cause = [], raised.value.__cause__
    while cause is not None:
        chain.append(repr(cause))
        cause = cause.__cause__
    return chain


class Worse(Exception):
    """Of a fallback."""


def raise_worse(step: PipelineStep, error: Exception) -> None:
    raise Worse("no luck")


def raise_from(step: PipelineStep, error: Exception) -> None:
    raise Worse("no luck") from error


def raise_again(step: PipelineStep, error: Exception) -> None:
    raise error


async def raise_later(step: PipelineStep, error: Exception) -> None:
    await asyncio.sleep(0)
    raise Worse("no luck") from LookupError("nothing")


def give_a_lock(step: PipelineStep, error: Exception) -> Any:
    return threading.Lock()


BEFORE = ["Refused('code 401')", "KeyError('token')"]


@pytest.mark.parametrize(
    ("fallback", "line", "chain"),
    [
        (raise_worse, "Worse: no luck", ["Worse('no luck')", *BEFORE]),
        (raise_from, "Worse: no luck", ["Worse('no luck')", *BEFORE]),
        (raise_again, "Refused: code 401", BEFORE),
        (raise_later, "Worse: no luck", ["Worse('no luck')", "LookupError('nothing')", *BEFORE]),
    ],
)
def test_a_fallback_that_raises_fails_the_step_with_the_whole_chain(
    make_engine: MakeEngine, fallback: Any, line: str, chain: list[str]
) -> None:
    engine = make_engine(failure_handler=handler_with(fallback, default_max_retries=0))
    result = engine.execute_pipeline(one(refuse))
    assert result.errors == [f"step 'bad': {line}"]
    assert chain_of(result) == chain
    assert types(engine, result.run_id)[-3:] == [
        "StepFallbackScheduled",
        "StepStarted",
        "StepFailed",
    ]
    other = engine.attach(result.run_id).result(10)
    assert chain_of(other) == chain, "and so it is read from the log"


def test_a_fallback_is_not_retried_and_has_no_fallback_of_its_own(make_engine: MakeEngine) -> None:
    calls = []

    def fallback(step: PipelineStep, error: Exception) -> None:
        calls.append(error)
        raise ConnectionError("reset")

    engine = make_engine(failure_handler=handler_with(fallback))
    result = engine.execute_pipeline(one())
    assert not result.success and len(calls) == 1


def test_a_fallback_whose_output_cannot_be_recorded_fails_the_step(make_engine: MakeEngine) -> None:
    engine = make_engine(failure_handler=handler_with(give_a_lock, default_max_retries=0))
    result = engine.execute_pipeline(one(refuse))
    assert "UnencodableValue" in result.errors[0]
    assert chain_of(result)[-2:] == BEFORE


def test_a_fallback_that_takes_too_long_fails_the_step_with_the_whole_chain(
    make_engine: MakeEngine,
) -> None:
    async def for_ever(step: PipelineStep, error: Exception) -> None:
        await asyncio.Event().wait()

    engine = make_engine(failure_handler=handler_with(for_ever, default_max_retries=0))
    result = engine.execute_pipeline(one(refuse, timeout=0.2))
    assert "attempt 2 took longer than 0.2 s" in result.errors[0]
    timeout, *before = chain_of(result)
    assert timeout.startswith("TimeoutError(") and before == BEFORE


def test_independent_branches_go_on_while_a_fallback_is_tried(make_engine: MakeEngine) -> None:
    def build(kind: str) -> Pipeline:
        made = PipelineBuilder().add_step("bad", kind, handler=flaky, dependencies=[])
        made.add_step("after", "t", handler=lambda data: data, dependencies=["bad"])
        return made.add_step("good", "t", handler=lambda data: 1, dependencies=[]).build()

    handler = handler_with(default_max_retries=0)
    handler.register_fallback("hopeless", raise_worse)
    engine = make_engine(failure_handler=handler)
    result = engine.execute_pipeline(build("net"), on_failure="continue")
    assert result.output == {"after": "bad: reset", "good": 1}
    result = engine.execute_pipeline(build("hopeless"), on_failure="continue")
    assert not result.success
    states = {step.name: str(step.status) for step in engine.report(result.run_id).steps}
    assert states == {"bad": "failed", "after": "skipped", "good": "completed"}


def test_a_failed_run_that_is_resumed_begins_with_the_handler_again(
    make_engine: MakeEngine,
) -> None:
    calls = []

    def handler(data: Any) -> str:
        calls.append("handler")
        if len(calls) < 4:
            raise ConnectionError("reset")
        return "well"

    def fallback(step: PipelineStep, error: Exception) -> None:
        calls.append("fallback")
        raise Worse("no luck")

    engine = make_engine(failure_handler=handler_with(fallback, default_max_retries=0))
    pipeline = one(handler)
    result = engine.execute_pipeline(pipeline)
    assert calls == ["handler", "fallback"]
    for expected in ("failed", "completed"):
        assert engine.resume_pipeline(result.run_id, pipeline=pipeline)
        assert engine.attach(result.run_id).result(10).status == expected
    assert calls == ["handler", "fallback", "handler", "fallback", "handler"]


def waits_for(engine: ExecutionEngine, run_id: str, status: PipelineStatus) -> str | None:
    """What the first step of a run waits for, once the run has this status."""
    pause = threading.Event()
    for _ in range(1000):
        if engine.get_status(run_id) is status:
            return engine.report(run_id).steps[0].waits_for
        pause.wait(0.01)
    raise AssertionError(f"still {engine.get_status(run_id)}, not {status}")


@pytest.mark.parametrize("then", ["resume", "cancel", "stop"])
def test_a_fallback_that_waits_keeps_to_what_the_run_is_told(
    make_engine: MakeEngine, then: str
) -> None:
    entered, go, called = threading.Event(), threading.Event(), []

    def wait(data: Any) -> None:
        entered.set()
        assert go.wait(20)
        raise ConnectionError("reset")

    def fallback(step: PipelineStep, error: Exception) -> str:
        called.append(step.name)
        return "saved"

    engine = make_engine(failure_handler=handler_with(fallback, default_max_retries=0))
    pipeline = one(wait)
    future = engine.execute_pipeline_async(pipeline)
    assert entered.wait(10) and engine.pause_pipeline(future.run_id)
    go.set()
    assert waits_for(engine, future.run_id, PipelineStatus.PAUSED) == "the run to go on"
    assert types(engine, future.run_id)[-1] == "StepFallbackScheduled" and not called
    getattr(engine, f"{then}_pipeline")(future.run_id)
    result = future.result(10)
    if then == "stop":
        assert result.status is PipelineStatus.STOPPED and not called
        assert engine.resume_pipeline(future.run_id, pipeline=pipeline)
        result = engine.attach(future.run_id).result(10)
    if then == "cancel":
        assert result.status is PipelineStatus.CANCELLED and not called
        assert chain_of(result) == [], "no error has ended it"
    else:
        assert result.output == ["after", "saved"] and called == ["bad"]


def test_a_cancel_interrupts_a_fallback_and_nothing_follows_it(make_engine: MakeEngine) -> None:
    entered = threading.Event()

    def fallback(step: PipelineStep, error: Exception, context: Context) -> None:
        entered.set()
        pause = threading.Event()
        while not context.cancelled:
            pause.wait(0.005)

    engine = make_engine(failure_handler=handler_with(fallback, default_max_retries=0))
    future = engine.execute_pipeline_async(one())
    assert entered.wait(10) and engine.cancel_pipeline(future.run_id)
    assert future.result(10).status is PipelineStatus.CANCELLED
    assert types(engine, future.run_id)[-1] == "StepCancelled"


# -- after a crash -----------------------------------------------------------------------------


def die_once(step: PipelineStep, error: Exception, data: Any) -> str:
    mark = Path(data)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return f"after all: {type(error).__name__} {error}"


def die_in_handler(data: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def begin(log: str, mark: str, how: str) -> None:
    """In a process of its own, which a fallback kills."""
    fallback = (
        die_once if how == "importable" else lambda step, error, data: die_once(step, error, data)
    )
    handler = die_in_handler if how == "at_most_once" else refuse
    pipeline = PipelineBuilder().add_step(
        "bad", "net", handler=handler, at_most_once=how == "at_most_once"
    )
    handlers = handler_with(fallback, default_max_retries=0)
    engine = ExecutionEngine(log, failure_handler=handlers)
    engine.execute_pipeline(pipeline.build("dies"), mark, run_id="dies")


def die(log: Path, mark: Path, how: str) -> None:
    code = "import sys, test_fallbacks; test_fallbacks.begin(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, log, mark, how],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_fallback_whose_process_was_killed_is_found_by_name_and_runs_again(
    log: Path, make_engine: MakeEngine, tmp_path: Path
) -> None:
    die(log, tmp_path / "mark", "importable")
    engine = make_engine()
    (future,) = engine.recover()
    assert future.result(10).output == "after all: Refused code 401"
    assert types(engine, "dies") == [
        *("StepStarted", "StepFailed", "StepFallbackScheduled"),
        *("StepStarted", "StepInterrupted", "StepStarted", "StepCompleted"),
    ]


def test_a_fallback_without_a_name_is_given_again_or_a_clear_error(
    log: Path, make_engine: MakeEngine, tmp_path: Path
) -> None:
    die(log, tmp_path / "mark", "lambda")
    (future,) = make_engine().recover()
    result = future.result(10)
    (line,) = result.errors
    assert "the fallback of step type 'net' cannot be found" in line
    assert "lambda or closure" in line and "failure_handler" in line
    assert chain_of(result)[-2:] == BEFORE
    engine = make_engine(failure_handler=handler_with(lambda step, error: f"given {error}"))
    assert engine.resume_pipeline("dies")
    assert engine.attach("dies").result(10).output == "given code 401"


def test_a_lambda_given_to_the_engine_that_recovers_is_used(
    log: Path, make_engine: MakeEngine, tmp_path: Path
) -> None:
    die(log, tmp_path / "mark", "lambda")
    engine = make_engine(failure_handler=handler_with(lambda step, error: f"given {error}"))
    (future,) = engine.recover()
    assert future.result(10).output == "given code 401"
    assert types(engine, "dies").count("StepFallbackScheduled") == 1


def test_an_at_most_once_step_that_was_cut_off_falls_back_once(
    log: Path, make_engine: MakeEngine, tmp_path: Path
) -> None:
    """Its fallback is another function, and may look what has come of it."""
    die(log, tmp_path / "mark", "at_most_once")
    engine = make_engine(failure_handler=handler_with())
    (future,) = engine.recover()
    result = future.result(10)
    assert result.success, result.errors
    assert "at_most_once" in result.output and "lost with its process" in result.output
    assert types(engine, "dies") == [
        *("StepStarted", "StepFailed", "StepFallbackScheduled"),
        *("StepStarted", "StepCompleted"),
    ]


def test_a_failed_run_tells_its_recorded_cause_whoever_reads_it(engine: ExecutionEngine) -> None:
    result = engine.execute_pipeline(one(refuse, retry=RetryPolicy(max_retries=0)))
    assert result.errors == ["step 'bad': Refused: code 401"]
    assert chain_of(result) == BEFORE
    hidden = type("Hidden", (Exception,), {"__module__": "nowhere"})

    def hide(data: Any) -> None:
        raise hidden("no")

    result = engine.execute_pipeline(one(hide, retry=RetryPolicy(max_retries=0)))
    (cause,) = chain_of(result)
    assert cause == "RecordedError('nowhere.Hidden: no')"
    assert RecordedError is semantica.pipeline.RecordedError
