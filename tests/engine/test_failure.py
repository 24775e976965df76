"""Failure handlers: delays, kinds of errors, and what is decided about a failure."""

from __future__ import annotations

import asyncio
import errno
import random
import weakref
from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline import (
    ErrorRecovery,
    ErrorSeverity,
    FailureHandler,
    FallbackHandler,
    PipelineError,
    PipelineStep,
    RecordedError,
    RetryPolicy,
    RetryStrategy,
)
from semantica.pipeline.engine import failure
from semantica.pipeline.engine.classify import describe, recorded_error
from semantica.pipeline.events.errors import HandlerNotFound, LogCorrupt, WorkerLost
from semantica.pipeline.events.values import ErrorInfo

FLAKY = ConnectionError("Connection timeout")


class Busy(Exception):
    """Of a service."""


class VeryBusy(Busy):
    """Worse."""


def step(name: str = "s", step_type: str = "network_step", **options: Any) -> PipelineStep:
    return PipelineStep(name, step_type, **options)


def retried(handler: FailureHandler, name: str) -> None:
    handler.register_retry_policy("t", RetryPolicy(retryable_errors=[name]))


def failures(
    handler: FailureHandler, of: PipelineStep, error: Exception = FLAKY, **options: Any
) -> list[ErrorRecovery]:
    """What is decided about one failure after the other, up to the last decision."""
    recoveries = [handler.handle_step_failure(of, error, **options)]
    while recoveries[-1].should_retry:
        recoveries.append(handler.handle_step_failure(of, error, **options))
    return recoveries


# -- delays ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "delays"),
    [
        ({"initial_delay": 1.0, "backoff_factor": 2.0}, [1, 2, 4, 8, 16]),
        ({"strategy": RetryStrategy.EXPONENTIAL}, [1, 2, 4, 8, 16]),
        (
            {"strategy": RetryStrategy.LINEAR, "initial_delay": 1.0, "backoff_factor": 1.0},
            [1, 2, 3, 4, 5],
        ),
        ({"strategy": "linear", "initial_delay": 0.5, "backoff_factor": 2}, [0.5, 1.5, 2.5, 3.5]),
        ({"strategy": RetryStrategy.FIXED, "initial_delay": 2.0}, [2, 2, 2, 2]),
        ({"max_delay": 5.0}, [1, 2, 4, 5, 5]),
        ({"strategy": "linear", "max_delay": 2.5, "backoff_factor": 1}, [1, 2, 2.5, 2.5]),
        ({"strategy": "fixed", "initial_delay": 9.0, "max_delay": 2.5}, [2.5, 2.5]),
    ],
)
def test_the_delays_are_those_of_the_guide(options: dict[str, Any], delays: list[float]) -> None:
    policy = RetryPolicy(max_retries=len(delays), **options)
    recoveries = failures(FailureHandler(), step(), retry_policy=policy)
    assert [recovery.retry_delay for recovery in recoveries] == [*delays, 0]
    assert [recovery.attempt for recovery in recoveries] == list(range(1, len(delays) + 2))
    actions = [recovery.recovery_action for recovery in recoveries]
    assert actions == ["retry"] * len(delays) + ["fail"]


@given(jitter=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_jitter_shortens_a_delay_by_no_more_than_its_share(jitter: float, seed: int) -> None:
    random.seed(seed)
    policy = RetryPolicy(max_retries=4, jitter=jitter)
    recoveries = failures(FailureHandler(), step(), retry_policy=policy)[:-1]
    for longest, recovery in zip([1, 2, 4, 8], recoveries, strict=True):
        assert longest * (1 - jitter) <= recovery.retry_delay <= longest


def test_jitter_differs_from_one_failure_to_the_next() -> None:
    policy = RetryPolicy(max_retries=50, strategy=RetryStrategy.FIXED, jitter=0.5)
    recoveries = failures(FailureHandler(), step(), retry_policy=policy)[:-1]
    assert len({recovery.retry_delay for recovery in recoveries}) > 40


def test_no_retry_starts_later_than_max_elapsed() -> None:
    handler, policy = FailureHandler(), RetryPolicy(max_retries=9, max_elapsed=3.9)
    recoveries = failures(handler, step(), retry_policy=policy)
    assert [recovery.retry_delay for recovery in recoveries] == [1, 2, 0], "4 s are too many"


# -- what is retried ---------------------------------------------------------------------------


@pytest.mark.parametrize("named", [Busy, f"{__name__}:Busy"])
def test_retryable_errors_are_those_classes_their_subclasses_and_no_others(named: Any) -> None:
    handler, policy = FailureHandler(), RetryPolicy(retryable_errors=[named])
    assert handler.should_retry(Busy(), 1, policy)
    assert handler.should_retry(VeryBusy(), 1, policy)
    assert not handler.should_retry(FLAKY, 1, policy)
    assert handler.should_retry(TypeError(), 1, RetryPolicy(retryable_errors=[TypeError]))
    assert not handler.should_retry(FLAKY, 1, RetryPolicy(retryable_errors=[]))


def test_a_class_that_cannot_be_imported_here_matches_nothing_and_breaks_nothing() -> None:
    """As in a process that recovers the run of a script: its __main__ is another one."""
    policy = RetryPolicy(retryable_errors=["__main__:Gone", "no_such_module:Error", Busy])
    handler = FailureHandler()
    assert handler.should_retry(Busy(), 1, policy)
    assert not handler.should_retry(ValueError("x"), 1, policy)
    assert describe(FLAKY, policy).retryable is False


def test_should_retry_counts_attempts_from_one() -> None:
    handler = FailureHandler(default_max_retries=2)
    assert [handler.should_retry(FLAKY, attempt) for attempt in (1, 2, 3)] == [True, True, False]
    assert handler.should_retry(FLAKY, 5, RetryPolicy(max_retries=5))
    assert not handler.should_retry(FLAKY, 6, RetryPolicy(max_retries=5))
    assert not handler.should_retry(TypeError(), 1)


# -- kinds of errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "severity", "category", "retryable"),
    [
        (Exception("Connection timeout"), "medium", "transient", True),
        (Exception("Temporary failure"), "medium", "transient", True),
        (Exception("429 Too Many Requests"), "medium", "transient", True),
        (Exception("who knows"), "medium", "unknown", True),
        (MemoryError(), "critical", "resource", False),
        (OSError(errno.ENOSPC, "No space left on device"), "critical", "resource", False),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "critical", "resource", False),
        (LogCorrupt("event 7"), "critical", "corruption", False),
        (TypeError("connection"), "high", "programming", False),
        (NotImplementedError(), "high", "programming", False),
        (RecursionError(), "high", "programming", False),
        (SystemExit(1), "high", "programming", False),
        (KeyboardInterrupt(), "high", "interrupted", False),
        (GeneratorExit(), "high", "interrupted", False),
        (HandlerNotFound("x"), "high", "programming", False),
        (WorkerLost("SIGSEGV"), "high", "worker_lost", True),
        (TimeoutError(), "medium", "timeout", True),
        (ConnectionResetError(), "medium", "network", True),
        (OSError(errno.EHOSTUNREACH, "No route"), "medium", "network", True),
        (BlockingIOError(), "low", "resource", True),
        (ValueError("timeout must be positive"), "medium", "data", False),
        (KeyError("x"), "medium", "data", False),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "medium", "data", False),
        (ZeroDivisionError(), "medium", "data", False),
        (FileNotFoundError(2, "No such file"), "medium", "input", False),
        (PermissionError(13, "denied"), "medium", "input", False),
        (OSError(errno.EIO, "Input/output error"), "medium", "unknown", True),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else "",
)
def test_an_error_is_classified(
    error: BaseException, severity: str, category: str, retryable: bool
) -> None:
    found = FailureHandler().classify_error(error)
    assert found == {"severity": severity, "category": category, "retryable": retryable}
    assert isinstance(found["severity"], ErrorSeverity)
    assert (found["severity"] == ErrorSeverity.CRITICAL) == (severity == "critical")


def test_what_was_registered_comes_first_the_newest_before_the_older() -> None:
    handler = FailureHandler()
    handler.register_error(Busy, category="busy", severity="low", retryable=False)
    handler.register_error("QUOTA of .* spent", category="quota", retryable=False)
    assert handler.classify_error(VeryBusy("no")) == {
        "severity": ErrorSeverity.LOW,
        "category": "busy",
        "retryable": False,
    }
    assert handler.classify_error(ConnectionError("the quota of Ann is spent"))["category"] == (
        "quota"
    )
    assert handler.classify_error(FLAKY)["category"] == "network"
    assert not handler.should_retry(Busy(), 1)
    handler.register_error(VeryBusy, category="very busy", retryable=True)
    assert handler.classify_error(VeryBusy("no"))["category"] == "very busy"
    assert handler.classify_error(Busy("no"))["category"] == "busy"
    handler.register_error("no", category="refused", severity=ErrorSeverity.HIGH, retryable=True)
    assert handler.classify_error(VeryBusy("NO"))["category"] == "refused"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_whose_text_cannot_be_had_is_classified_all_the_same() -> None:
    handler = FailureHandler()
    handler.register_error("RuntimeError", category="mute", retryable=False)
    assert handler.classify_error(Mute())["category"] == "mute"


@pytest.mark.parametrize(
    ("register", "said"),
    [
        (
            lambda h: h.register_retry_policy("t", 3),
            "step type 't': the policy must be a RetryPolicy",
        ),
        (lambda h: h.register_fallback("t", "text"), "a fallback is a function"),
        (lambda h: h.register_fallback("t", max), "nobody can tell what the fallback max takes"),
        (lambda h: h.register_error(Busy, category=404, retryable=True), "category must be text"),
        (lambda h: h.register_error(Busy, category="\ud800", retryable=True), "category must be"),
        (lambda h: h.register_error(Busy, category="", retryable=True), "category must be"),
        (lambda h: h.register_error(Busy, category="c", retryable=None), "retryable must be True"),
        (lambda h: h.register_error(Busy, category="c", retryable="no"), "retryable must be True"),
        (lambda h: retried(h, "ConectionError"), "did you mean 'ConnectionError'?"),
        (lambda h: retried(h, "asyncio.TimeoutError"), "write it as 'module:qualname'"),
        (lambda h: retried(h, f"{__name__}:Bussy"), "did you mean 'Busy'?"),
        (lambda h: retried(h, "builtins:int"), "is no class of exceptions"),
        (lambda h: h.should_retry(FLAKY, 0), "attempt must be"),
        (lambda h: h.should_retry(FLAKY, 1, "often"), "policy must be a RetryPolicy"),
        (lambda h: h.register_fallback("t", lambda error: 1), "function(step, error)"),
        (lambda h: h.register_fallback("t", lambda s, e, more: 1), "'more'"),
        (lambda h: h.register_error(Exception(), category="x", retryable=True), "a class"),
        (lambda h: h.register_error(Busy, category="x", severity="bad", retryable=True), "bad"),
        (lambda h: h.register_error("(", category="x", retryable=True), "unterminated"),
        (lambda h: FailureHandler(default_max_retries=-1), "max_retries"),
        (lambda h: FailureHandler(default_max_delay=float("inf")), "max_delay"),
    ],
)
def test_what_cannot_be_registered_is_refused_at_once(
    register: Callable[[FailureHandler], object], said: str
) -> None:
    with pytest.raises(Exception) as raised:
        register(FailureHandler())
    assert said in str(raised.value)


# -- decisions ---------------------------------------------------------------------------------


def test_the_policy_is_the_one_given_else_the_steps_own_else_that_of_its_type() -> None:
    handler = FailureHandler(default_initial_delay=4.0)
    handler.register_retry_policy("network_step", RetryPolicy(initial_delay=3.0))
    own, given_one = RetryPolicy(initial_delay=2.0), RetryPolicy(initial_delay=1.0)
    decide = handler.handle_step_failure
    assert decide(step(retry=own), FLAKY, retry_policy=given_one).retry_delay == 1
    assert decide(step(retry=own), FLAKY).retry_delay == 2
    assert decide(step(), FLAKY).retry_delay == 3
    assert decide(step(step_type="other"), FLAKY).retry_delay == 4
    assert handler.get_retry_policy("network_step").initial_delay == 3
    assert handler.get_retry_policy("other") == RetryPolicy(initial_delay=4.0)


def test_failures_are_counted_for_each_step_object_until_it_is_given_up() -> None:
    handler = FailureHandler(default_max_retries=2)
    one, twin = step(), step()
    assert one == twin
    assert [r.retry_delay for r in failures(handler, one)] == [1, 2, 0]
    assert handler.handle_step_failure(twin, FLAKY).attempt == 1
    assert [r.attempt for r in failures(handler, one)] == [1, 2, 3], "it begins again"
    handler.handle_step_failure(one, FLAKY)
    handler.forget(one)
    assert handler.handle_step_failure(one, FLAKY).attempt == 1


def test_a_step_object_that_is_gone_leaves_nothing_to_another_in_its_place() -> None:
    handler = FailureHandler()
    for _ in range(100):
        assert handler.handle_step_failure(step(), FLAKY).attempt == 1


class Slotted:
    __slots__ = ("name", "retry", "step_type")

    def __init__(self) -> None:
        self.name, self.step_type, self.retry = "s", "t", None


@pytest.mark.parametrize(
    "make",
    [
        Slotted,
        lambda: SimpleNamespace(name="s", step_type="t", retry=None),
        lambda: namedtuple("Tuple", "name step_type retry")("s", "t", None),
    ],
)
def test_any_object_with_name_type_and_policy_is_a_step(make: Callable[[], Any]) -> None:
    handler, one, twin = FailureHandler(default_max_retries=2), make(), make()
    assert [r.attempt for r in failures(handler, one)] == [1, 2, 3]
    assert handler.handle_step_failure(one, FLAKY).attempt == 1
    assert handler.handle_step_failure(twin, FLAKY).attempt == 1
    assert handler.handle_step_failure(one, FLAKY, attempt=2).attempt == 2


def test_no_more_steps_are_kept_than_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "MAX_COUNTED", 3)
    handler = FailureHandler(default_max_retries=99)
    first, *others = steps = [step() for _ in range(4)]
    decide = handler.handle_step_failure
    assert [decide(one, FLAKY).attempt for one in steps] == [1, 1, 1, 1]
    assert [decide(one, FLAKY).attempt for one in others] == [2, 2, 2]
    assert decide(first, FLAKY).attempt == 1, "it waited for longest"
    for one in steps:
        handler.forget(one)
    gone = weakref.ref(first)
    del first, one, steps, others
    assert gone() is None, "nothing holds on to it"


@pytest.mark.parametrize("attempt", [0, -1, float("nan"), True, 1.5, "1"])
def test_an_attempt_that_is_none_is_refused(attempt: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="attempt must be a whole number from 1"):
        FailureHandler().handle_step_failure(step(), FLAKY, attempt=attempt)


def test_nothing_is_counted_of_attempts_that_are_told() -> None:
    handler, one = FailureHandler(), step()
    for attempt in (1, 2, 3):
        handler.handle_step_failure(one, FLAKY, attempt=attempt)
    assert handler.handle_step_failure(one, FLAKY).attempt == 1


def test_a_delay_of_nothing_stays_nothing_however_often() -> None:
    policy = RetryPolicy(max_retries=10**6, initial_delay=0.0)
    decide = FailureHandler().handle_step_failure
    assert decide(step(), FLAKY, attempt=5000, retry_policy=policy).retry_delay == 0
    policy = RetryPolicy(max_retries=10**6, initial_delay=0.1)
    assert decide(step(), FLAKY, attempt=5000, retry_policy=policy).retry_delay == 60


def test_a_built_in_exception_needs_no_module() -> None:
    policy = RetryPolicy(retryable_errors=["ConnectionError"])
    assert policy == RetryPolicy(retryable_errors=[ConnectionError])
    assert FailureHandler().should_retry(FLAKY, 1, policy)


def test_a_policy_for_errors_of_a_module_that_is_not_here_can_be_registered() -> None:
    """The process that runs the step may have it."""
    retried(FailureHandler(), "no_such_module:Error")
    retried(FailureHandler(), "__main__:Gone")


def test_an_attempt_that_is_told_is_not_counted() -> None:
    handler = FailureHandler()
    recovery = handler.handle_step_failure(step(), FLAKY, attempt=3)
    assert (recovery.retry_delay, recovery.attempt) == (4.0, 3)
    assert handler.handle_step_failure(step(), FLAKY, attempt=4).recovery_action == "fail"


def test_a_failure_for_good_keeps_its_error_and_its_kind() -> None:
    error = TypeError("no")
    recovery = FailureHandler().handle_step_failure(step(), error)
    assert recovery == ErrorRecovery(
        should_retry=False,
        retry_delay=0.0,
        recovery_action="fail",
        attempt=1,
        classification={"severity": "high", "category": "programming", "retryable": False},
        error=error,
    )


def test_a_fallback_runs_after_the_last_retry_and_at_once_for_what_is_not_retryable() -> None:
    handler, seen = FailureHandler(default_max_retries=1), []

    def instead(step: PipelineStep, error: Exception) -> dict[str, str]:
        seen.append((step.name, error))
        return {"status": "fallback_executed"}

    handler.register_fallback("network_step", FallbackHandler(instead))
    one = step()
    assert handler.handle_step_failure(one, FLAKY).recovery_action == "retry"
    assert seen == []
    recovery = handler.handle_step_failure(one, FLAKY)
    assert (recovery.recovery_action, recovery.should_retry) == ("fallback", False)
    assert recovery.result == {"status": "fallback_executed"}
    assert recovery.error is None
    assert handler.handle_step_failure(one, FLAKY).recovery_action == "retry", "counted anew"
    wrong = TypeError("no")
    assert handler.handle_step_failure(step("b"), wrong).recovery_action == "fallback"
    assert handler.handle_step_failure(step("c", "other"), wrong).recovery_action == "fail"
    assert seen == [("s", FLAKY), ("b", wrong)]


def test_a_fallback_that_raises_leaves_both_errors() -> None:
    def worse(step: PipelineStep, error: Exception) -> None:
        raise RuntimeError("worse")

    handler, wrong = FailureHandler(), TypeError("no")
    handler.register_fallback("network_step", worse)
    recovery = handler.handle_step_failure(step(), wrong)
    assert recovery.recovery_action == "fail" and recovery.result is None
    assert repr(recovery.error) == "RuntimeError('worse')"
    assert recovery.error is not None and recovery.error.__cause__ is wrong


def test_a_fallback_that_raises_the_same_error_makes_no_circle_of_causes() -> None:
    def again(step: PipelineStep, error: Exception) -> None:
        raise error

    handler, wrong = FailureHandler(), TypeError("no")
    handler.register_fallback("network_step", again)
    recovery = handler.handle_step_failure(step(), wrong)
    assert recovery.error is wrong and wrong.__cause__ is None


def test_an_async_fallback_gives_its_coroutine_to_be_awaited() -> None:
    async def later(step: PipelineStep, error: Exception) -> str:
        return f"{step.name}: {error}"

    handler = FailureHandler()
    handler.register_fallback("network_step", later)
    recovery = handler.handle_step_failure(step(), TypeError("no"))
    assert asyncio.run(recovery.result) == "s: no"


# -- errors as they were recorded --------------------------------------------------------------


class Outer:
    class Inner(Exception):
        pass


class Particular(Exception):
    def __new__(cls, code: int, text: str) -> Particular:
        return super().__new__(cls, code, text)


class Coded(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        ValueError(""),
        KeyError("name"),
        KeyError(("a", 1)),
        OSError(errno.ENOSPC, "No space left on device"),
        LogCorrupt("event 7: damaged"),
        Coded(7, "seven"),
        Outer.Inner("nested"),
    ],
    ids=repr,
)
def test_a_recorded_error_is_of_its_class_and_text_again(error: Exception) -> None:
    again = recorded_error(describe(error))
    assert type(again) is type(error) and str(again) == str(error)


class Local:
    """Makes an error of a class that no other process has."""

    @staticmethod
    def error() -> Exception:
        class Hidden(Exception):
            pass

        return Hidden("no")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Particular(1, "x"), "test_failure.Particular: (1, 'x')"),
        (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ExceptionGroup: two"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyError(object), "KeyError: <class 'object'>"),
        (Mute(), "test_failure.Mute: (its __str__ raised RuntimeError)"),
        (Local.error(), "test_failure.Local.error.<locals>.Hidden: no"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_class_that_cannot_be_made_again_gives_way_to_recorded_error(
    error: BaseException, told: str
) -> None:
    again = recorded_error(describe(error))
    assert type(again) is RecordedError and isinstance(again, PipelineError)
    assert told in str(again)


def test_a_recorded_error_has_its_causes() -> None:
    try:
        try:
            try:
                raise KeyError("id")
            except KeyError as error:
                raise VeryBusy("again: later") from error
        except VeryBusy:
            raise ValueError("no")  # noqa: B904 - the context counts as well
    except ValueError as error:
        info = describe(error)
    again: BaseException | None = recorded_error(info)
    chain = []
    while again is not None:
        chain.append(repr(again))
        again = again.__cause__
    assert chain == ["ValueError('no')", "VeryBusy('again: later')", "KeyError('id')"]


def test_an_error_that_never_was_an_exception_is_told_as_it_is() -> None:
    info = ErrorInfo("semantica.pipeline.StepInterrupted", "attempt 1 was lost")
    assert str(recorded_error(info)) == "semantica.pipeline.StepInterrupted: attempt 1 was lost"
