"""Error Handling."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
from guide.case import Script, case
from guide.handlers import chain, failing, recorded_delays

from semantica.pipeline import (
    ErrorRecovery,
    ErrorSeverity,
    ExecutionEngine,
    FailureHandler,
    PipelineStep,
    RetryPolicy,
    RetryStrategy,
)


def _raising(error: BaseException) -> Any:
    def execute_step(step: PipelineStep) -> None:
        raise error

    return execute_step


@case("Error Handling > Basic Error Handling")
def basic(script: Script) -> None:
    step = PipelineStep("one", "given")
    lost = ConnectionError("lost")
    main = script.run(step=step, execute_step=_raising(lost))
    assert script.printed == ["Retrying after 1.0s"]
    more = [main.handler.handle_step_failure(step, lost, retry_policy=main.policy) for _ in "123"]
    assert [(one.should_retry, one.retry_delay) for one in more] == [
        (True, 2.0),
        (True, 4.0),
        (False, 0.0),
    ], "max_retries=3"
    late = msgspec.structs.replace(main.policy, max_retries=20)
    recovery = main.handler.handle_step_failure(step, lost, retry_policy=late, attempt=12)
    assert recovery.retry_delay == 60.0, "max_delay"


@case("Error Handling > Basic Error Handling")
def basic_hopeless(script: Script) -> None:
    """What no retry can help is not retried."""
    main = script.run(step=PipelineStep("one", "given"), execute_step=_raising(TypeError("no")))
    assert script.printed == []
    assert main.recovery.recovery_action == "fail"


@case("Error Handling > Retry Strategies")
def strategies(script: Script) -> None:
    main = script.run()
    told = [
        [float(seconds) for seconds in re.findall(r"(\d+)s", line)]
        for line in script.block.text.splitlines()
        if line.startswith("# Delays:")
    ]
    assert told == [[1, 2, 4, 8], [1, 2, 3, 4], [2, 2, 2, 2]], "the comments of the guide"
    handler, step = FailureHandler(), PipelineStep("one", "given")
    policies = [main.exponential_policy, main.linear_policy, main.fixed_policy]
    for policy, delays in zip(policies, told, strict=True):
        longer = msgspec.structs.replace(policy, max_retries=len(delays))
        assert [
            handler.handle_step_failure(
                step, OSError("busy"), retry_policy=longer, attempt=number
            ).retry_delay
            for number in range(1, len(delays) + 1)
        ] == delays
        assert delays_by_engine(longer) == [delay / 100 for delay in delays]
    assert RetryPolicy().strategy is RetryStrategy.EXPONENTIAL, "the default"


def delays_by_engine(policy: RetryPolicy) -> list[float]:
    """What an engine waits for between attempts by a policy that is a hundred times faster."""
    faster = msgspec.structs.replace(policy, initial_delay=policy.initial_delay / 100)
    failing("busy", policy.max_retries, lambda: OSError("busy"))
    handler = FailureHandler()
    handler.register_retry_policy("busy", faster)
    engine = ExecutionEngine(failure_handler=handler)
    pipeline = chain("one", step_type="busy")
    assert engine.execute_pipeline(pipeline).success
    return [round(delay, 6) for delay in recorded_delays(engine, pipeline)]


@case("Error Handling > Error Classification")
def classification(script: Script) -> None:
    main = script.run()
    assert script.printed == ["Severity: medium", "Category: transient", "Retryable: True"]
    worst = main.handler.classify_error(MemoryError())
    assert worst["severity"] == ErrorSeverity.CRITICAL
    assert not worst["retryable"]
    assert main.handler.classify_error(TypeError("no"))["severity"] == ErrorSeverity.HIGH
    assert main.handler.classify_error(InterruptedError())["severity"] == ErrorSeverity.LOW

    recorder = failing("given", 1, lambda: main.error)
    handler = FailureHandler(default_initial_delay=0)
    engine = ExecutionEngine(failure_handler=handler)
    assert engine.execute_pipeline(chain("one")).success, "it is retryable"
    assert recorder.calls == ["one", "one"]


@case("Error Handling > Fallback Handlers")
def fallback_handlers(script: Script) -> None:
    broken = ValueError("broken")
    main = script.run(step=PipelineStep("one", "step_type"), error=broken)
    assert script.printed == ["Fallback for step one: broken", "Fallback handler executed"]
    assert main.recovery.result == {"status": "fallback_executed"}

    recorder = failing("step_type", 9, lambda: broken)
    pipeline = chain("one", step_type="step_type")
    result = ExecutionEngine(failure_handler=main.handler).execute_pipeline(pipeline)
    assert result.output == {"status": "fallback_executed"}
    assert recorder.calls == ["one"]


@case("Error Handling > Fallback Handlers")
def fallback_after_retries(script: Script) -> None:
    step, error = PipelineStep("one", "step_type"), ConnectionError("lost")
    main = script.run(step=step, error=error)
    assert script.printed == [], "retries come first"
    actions = [main.recovery.recovery_action]
    actions += [main.handler.handle_step_failure(step, error).recovery_action for _ in range(3)]
    assert actions == ["retry", "retry", "retry", "fallback"]


@case("Error Handling > Error Recovery")
def recovery(script: Script) -> None:
    began = time.monotonic()
    main = script.run(step=PipelineStep("one", "given"), time=time)
    assert script.printed == ["Retrying in 1.0 seconds"]
    assert time.monotonic() - began >= 1.0
    assert isinstance(main.recovery, ErrorRecovery)


@case("Error Handling > Error Recovery")
def no_recovery(script: Script) -> None:
    spent = PipelineStep("one", "given", retry=RetryPolicy(max_retries=0))
    main = script.run(step=spent, time=time)
    assert script.printed == ["Recovery action: fail"]
    assert main.recovery.error is main.error


@case("Error Handling > Custom Retry Policies")
def custom_policies(script: Script) -> None:
    main = script.run(RetryStrategy=RetryStrategy)
    engine = ExecutionEngine(failure_handler=main.handler)
    pipeline = chain("fetch", step_type="network_step", name="lost twice")
    recorder = failing("network_step", 2, lambda: ConnectionError("lost"))
    assert engine.execute_pipeline(pipeline).success
    assert recorder.calls == ["fetch"] * 3
    assert recorded_delays(engine, pipeline) == [0.5, 0.75], "used automatically"

    recorder = failing("network_step", 1, lambda: OSError("neither of retryable_errors"))
    assert not engine.execute_pipeline(pipeline).success
    assert recorder.calls == ["fetch"]

    recorder = failing("other", 1, lambda: ConnectionError("lost"))
    others = chain("one", step_type="other", name="others")
    assert engine.execute_pipeline(others).success
    assert recorded_delays(engine, others) == [1.0], "only for its type"
    assert main.handler.get_retry_policy("network_step").max_retries == 5
