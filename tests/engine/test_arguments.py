"""Arguments of a wrong type, or out of their range: an error that names them, at the call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from making import MakeEngine

from semantica.pipeline import (
    ExecutionEngine,
    FailureHandler,
    ParallelismManager,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    RetryPolicy,
    RetryStrategy,
)
from semantica.pipeline.engine.configuration import MAX_WORKERS, PipelineConfig
from semantica.pipeline.events.errors import ConfigurationError
from semantica.pipeline.events.pipeline import Origin

INF, NAN = float("inf"), float("nan")
REFUSED = (TypeError, ValueError)


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def made(handler: Any = lambda data: data, **options: Any) -> Pipeline:
    return PipelineBuilder().add_step("a", "t", handler=handler, **options).build("p")


# -- engines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("max_workers", [0, -1, 2.5, INF, NAN, True, False, "4", MAX_WORKERS + 1, 10**5000]),
        ("executor", ["", "gpu", 1, np.str_("gpu")]),
        ("retry_on_failure", ["no", 0, 1, "yes"]),
        ("default_max_retries", [1.5, -1, True, "3", 2**63]),
        ("strict", ["no", 1]),
        ("allow_pickle", ["no", 0]),
        ("cancel_grace", [-1, INF, NAN, "2", True, None, Hostile()]),
        ("failure_handler", [{}, "x", 0]),
        ("resource_scheduler", [{}, "x", 0]),
        ("parallelism_manager", [{}, "x", 0]),
        ("config", [{}, "x", 0]),
    ],
)
def test_an_option_of_an_engine_is_checked(option: str, values: list[Any]) -> None:
    before = threading.active_count()
    for value in values:
        with pytest.raises(REFUSED, match=option):
            ExecutionEngine(":memory:", **{option: value})
    assert threading.active_count() <= before, "nothing was started"


@pytest.mark.parametrize("count", [0, False, 2.5])
def test_a_number_of_workers_is_no_less_wrong_with_a_manager(count: Any) -> None:
    with (
        ParallelismManager(max_workers=2) as manager,
        pytest.raises(REFUSED, match="max_workers"),
    ):
        ExecutionEngine(":memory:", max_workers=count, parallelism_manager=manager)


@pytest.mark.parametrize("make", [ParallelismManager, ExecutionEngine, FailureHandler])
def test_far_too_many_workers_are_refused_wherever_they_are_configured(
    make: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_MAX_WORKERS", "2147483647")
    with pytest.raises(ConfigurationError, match=r"PIPELINE_MAX_WORKERS: .*<= 10000"):
        make()


@pytest.mark.parametrize("log", [5, b"p.db", object()])
def test_what_is_no_log_is_named(log: Any) -> None:
    with pytest.raises(TypeError, match=r"is no log: give a path, 'sqlite:///path', ':memory:'"):
        ExecutionEngine(log)


@pytest.mark.parametrize("log", [":memory:", "p.db"])
def test_a_durability_is_one(log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="durability must be 'full', 'normal' or 'off', not 'max'"):
        ExecutionEngine(log, durability="max")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [ParallelismManager, FailureHandler])
def test_a_configuration_is_one(make: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="config must be a PipelineConfig"):
        make(config={})


def test_as_many_workers_as_may_be_had_are_cheap_until_they_are_needed() -> None:
    before = threading.active_count()
    with ParallelismManager(max_workers=MAX_WORKERS, config=PipelineConfig()) as manager:
        assert manager.get_worker_count() == MAX_WORKERS
        assert threading.active_count() == before


# -- runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("priority", ["1", 2.5, NAN, True, None, 2**63, -(2**64), Hostile()]),
        ("deadline", ["10", INF, NAN, True, 0, -5, 1e10, [], Hostile()]),
        ("deadline", [datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)]),
        ("deadline", [datetime(2999, 1, 1)]),
        ("origin", ["x", {}, Origin("x", "\ud800"), Origin(5, "x")]),  # type: ignore[arg-type]
        ("progress_callback", [5, "print", {}]),
        ("on_failure", ["no", None, 1]),
        ("run_id", ["", 5, "\ud800", "a\n"]),
        ("pipeline", [None, 5, [], PipelineBuilder()]),
    ],
)
def test_an_argument_of_a_run_is_checked_before_anything_is_recorded(
    engine: ExecutionEngine, option: str, values: list[Any]
) -> None:
    for value in values:
        with pytest.raises(REFUSED, match=option):
            engine.execute_pipeline(**{"pipeline": made(), option: value})
    assert engine.runs() == []
    assert engine.execute_pipeline(made(), 5).output == 5


def test_numbers_of_numpy_are_as_good_as_pythons(make_engine: MakeEngine) -> None:
    policy = RetryPolicy(
        max_retries=np.int64(2),  # type: ignore[arg-type]
        initial_delay=np.float32(0.0),  # type: ignore[arg-type]
        max_elapsed=np.float64(9.0),
    )
    assert policy == RetryPolicy(max_retries=2, initial_delay=0.0, max_elapsed=9.0)
    assert msgspec.json.decode(msgspec.json.encode(policy), type=RetryPolicy) == policy
    engine = make_engine(max_workers=np.int64(2), cancel_grace=np.float64(1))
    result = engine.execute_pipeline(
        made(retry=policy), 1, priority=np.int64(3), deadline=np.int8(99)
    )  # type: ignore[arg-type]
    assert result.output == 1 and engine.max_workers == 2


@pytest.mark.parametrize(
    "ask",
    [
        *("cancel_pipeline", "pause_pipeline", "stop_pipeline", "resume_pipeline"),
        *("get_status", "get_progress", "report", "history", "timeline", "attach"),
    ],
)
def test_a_run_is_named_by_text(engine: ExecutionEngine, ask: str) -> None:
    """None, above all, does not mean the newest run."""
    go = threading.Event()
    future = engine.execute_pipeline_async(made(lambda data: go.wait(20)))
    for nothing in (None, 5, b"p"):
        with pytest.raises(TypeError, match="pipeline_id must be the id of a run"):
            getattr(engine, ask)(nothing)
    go.set()
    assert future.result(10).success


@pytest.mark.parametrize(
    "options",
    [
        {"priority": np.int64(1)},
        {"timeout": np.float64(5)},
        {"resources": {"cpu": np.float64(1)}},
        {"dependencies": [np.str_("root")]},
        {"executor": np.str_("thread")},
        {"when": np.str_("operator:truth")},
    ],
    ids=repr,
)
def test_what_has_no_recorded_form_is_said_of_the_step(
    engine: ExecutionEngine, options: dict[str, Any]
) -> None:
    pipeline = Pipeline("p", [PipelineStep("root", "t"), PipelineStep("a", "t", **options)])
    with pytest.raises(Exception, match=f"step 'a': .*{next(iter(options))}"):
        engine.execute_pipeline(pipeline)
    assert engine.runs() == []


# -- retry policies ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("max_retries", [1.5, "3", True, None, -1, 2**63, NAN]),
        ("initial_delay", ["1", True, None, -1, INF, NAN, 1.1e9]),
        ("backoff_factor", ["1", None, -1, INF, NAN]),
        ("max_delay", ["1", None, -1, INF, 1e10]),
        ("max_elapsed", ["1", True, -1, INF, 2**62]),
        ("jitter", ["0", None, -0.1, 1.1, NAN]),
        ("strategy", ["quadratic", None, 1]),
        ("retryable_errors", ["ConnectionError", ConnectionError, 5, [5], [int], [None]]),
        ("retryable_errors", [["no such thing"], [""], [":x"], ["a:"], ["a:b:c"]]),
    ],
)
def test_a_retry_policy_is_checked_by_type_and_range(option: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(REFUSED) as caught:
            RetryPolicy(**{option: value})
        assert f"RetryPolicy.{option}" in str(caught.value), value


def test_one_name_given_for_a_list_is_told_apart() -> None:
    with pytest.raises(TypeError, match=r"give a list .* such as \['builtins:ConnectionError'\]"):
        RetryPolicy(retryable_errors="builtins:ConnectionError")  # type: ignore[arg-type]


def test_limits_are_allowed() -> None:
    most = RetryPolicy(
        max_retries=2**63 - 1, initial_delay=1e9, backoff_factor=0, max_delay=1e9, jitter=1
    )
    assert msgspec.json.decode(msgspec.json.encode(most), type=RetryPolicy) == most
    assert RetryPolicy(strategy="fixed").strategy is RetryStrategy.FIXED  # type: ignore[arg-type]
