"""What users' code, other processes and bad timing must not be able to do."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from making import MakeEngine

from semantica.pipeline import (
    AttemptCancelled,
    Context,
    EngineClosed,
    ExecutionEngine,
    FailureHandler,
    PipelineBuilder,
    PipelineFuture,
    PipelineStatus,
    RunConflict,
)
from semantica.pipeline.engine.classify import describe, recorded_error
from semantica.pipeline.engine.core.commands import Cancel
from semantica.pipeline.events.envelope import NewEvent
from semantica.pipeline.events.errors import LogCorrupt
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.store import Batch
from semantica.pipeline.events.values import ErrorInfo


def one(handler: Any, name: str = "one") -> Any:
    return PipelineBuilder().add_step("s", "t", handler=handler).build(name)


def waiting(go: threading.Event, entered: threading.Event) -> Any:
    def wait(data: Any) -> Any:
        entered.set()
        assert go.wait(20)
        return data

    return wait


def test_a_run_id_given_twice_at_once_is_one_run(engine: ExecutionEngine) -> None:
    ran: list[int] = []
    pipeline = one(lambda data: ran.append(1) or data)
    futures = [engine.execute_pipeline_async(pipeline, 5, run_id="x") for _ in range(5)]
    assert [future.result(10).output for future in futures] == [5] * 5
    assert ran == [1]
    other = engine.execute_pipeline_async(pipeline, 6, run_id="x")
    with pytest.raises(RunConflict):
        other.result(10)


def test_who_follows_a_run_does_not_claim_it_twice(make_engine: MakeEngine) -> None:
    go, entered = threading.Event(), threading.Event()
    ran: list[int] = []

    def second(data: Any) -> Any:
        ran.append(1)
        threading.Event().wait(0.3)  # longer than between two looks around
        return data

    pipeline = (
        PipelineBuilder()
        .add_step("first", "t", handler=waiting(go, entered))
        .add_step("second", "t", handler=second)
        .build("followed")
    )
    before = make_engine()
    before.execute_pipeline_async(pipeline, 1, run_id="x")
    assert entered.wait(10)
    before.pause_pipeline("x")
    go.set()
    while before.get_status("x") is not PipelineStatus.PAUSED:
        threading.Event().wait(0.01)
    before.close()
    engine = make_engine()
    future = engine.attach("x")
    assert engine.resume_pipeline("x", pipeline=pipeline)
    assert future.result(10).output == 1
    assert ran == [1]
    assert [e.type for e in engine.history("x")].count("PipelineClaimed") == 2


def test_numbers_of_other_libraries_are_numbers(engine: ExecutionEngine) -> None:
    def count(data: Any, context: Context) -> None:
        context.progress(np.float64(1), np.int64(2))
        context.metric("loss", np.float64(0.5))
        context.metric("many", 10**30)

    result = engine.execute_pipeline(one(count))
    assert result.metrics["loss"] == 0.5 and result.metrics["many"] == 1e30

    def overflow(data: Any, context: Context) -> None:
        context.metric("x", 1e308)
        context.metric("x", 1e308)

    assert "finite" in engine.execute_pipeline(one(overflow)).errors[0]


def test_a_handler_cannot_claim_to_have_been_cancelled(engine: ExecutionEngine) -> None:
    def pretend(data: Any) -> None:
        raise AttemptCancelled

    assert engine.execute_pipeline(one(pretend)).status is PipelineStatus.FAILED


def test_a_callback_that_exits_ends_nothing(engine: ExecutionEngine) -> None:
    def leave(progress: Any) -> None:
        raise SystemExit(1)

    assert engine.execute_pipeline(one(lambda data: 3), progress_callback=leave).output == 3


def test_waiting_in_a_futures_callback_is_refused_and_beginning_is_not(
    engine: ExecutionEngine,
) -> None:
    told: list[Any] = []
    done = threading.Event()
    pipeline = one(lambda data: data)

    def after(future: PipelineFuture) -> None:
        try:
            engine.execute_pipeline(pipeline)
        except RuntimeError as error:
            told.append(str(error))
        following = engine.execute_pipeline_async(pipeline, 2)
        following.add_done_callback(lambda last: (told.append(last.result().output), done.set()))

    go, entered = threading.Event(), threading.Event()
    future = engine.execute_pipeline_async(one(waiting(go, entered)))
    assert entered.wait(10)
    future.add_done_callback(after)  # type: ignore[arg-type]
    go.set()
    assert done.wait(10)
    assert "execute_pipeline_async" in told[0] and told[1] == 2


@pytest.mark.parametrize("error", [SystemExit, ValueError])
def test_a_callback_of_a_future_cannot_take_the_engine_down(
    make_engine: MakeEngine, error: type[BaseException]
) -> None:
    engine, go_on = make_engine(), threading.Event()

    def wait(data: int) -> int:
        assert go_on.wait(30)
        return abs(data)

    def raises(_: object) -> None:
        raise error

    future = engine.execute_pipeline_async(one(wait), -1)
    future.add_done_callback(raises)
    go_on.set()
    assert future.result(30).output == 1
    assert engine.execute_pipeline_async(one(wait), -2).result(30).output == 2


def test_a_command_that_came_too_late_is_void(engine: ExecutionEngine) -> None:
    broken = [True]

    def fail_once(data: Any) -> int:
        if broken[0]:
            raise ValueError("no")
        return 1

    result = engine.execute_pipeline(one(fail_once))
    store = engine._open().store
    store.send(f"run/{result.run_id}", b'{"type":"Cancel"}', actor="late", at=1)
    broken[0] = False
    assert engine.resume_pipeline(result.run_id, pipeline=one(fail_once))
    assert engine.attach(result.run_id).result(10).output == 1
    assert store.inbox() == []


def take_over(engine: ExecutionEngine, run_id: str) -> None:
    """What another owner does to a run whose owner seems dead."""
    store = engine._open().store
    last = engine.history(run_id)[-1]
    claim = NewEvent("PipelineClaimed", 1, b'{"owner":"other","host":"h","pid":1,"code":"0"}')
    batch = Batch(last.stream, last.version, last.epoch + 1, "other", last.at + 1, [claim])
    assert store.append([batch]) == [None]


def test_a_lost_run_leaves_its_worker_to_others(make_engine: MakeEngine) -> None:
    engine = make_engine(max_workers=1)
    go, entered = threading.Event(), threading.Event()
    lost = engine.execute_pipeline_async(one(waiting(go, entered)), run_id="lost")
    assert entered.wait(10)
    waits = engine.execute_pipeline_async(one(lambda data: 7, "waits"))
    take_over(engine, "lost")
    # The command meets a refused append, and is asked again of whoever owns the run now: that one
    # is dead, so the run comes back here and is cancelled.
    assert engine.control("lost", Cancel()) == "lost"
    assert waits.result(10).output == 7
    assert lost.result(10).status is PipelineStatus.CANCELLED
    go.set()


def test_threads_may_close_an_engine_together(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.execute_pipeline(one(lambda data: 1))
    threads = [threading.Thread(target=engine.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    with pytest.raises(EngineClosed):
        engine.execute_pipeline(one(lambda data: 1))


@pytest.mark.parametrize(
    "trouble",
    [
        "pathlib.Path(log + '.artifacts').write_text('in the way'); big = 'x' * 10_000",
        "shell = sqlite3.connect(log, isolation_level=None); shell.execute('BEGIN IMMEDIATE'); "
        "big = 1",
    ],
    ids=["artifacts", "locked"],
)
def test_a_process_whose_log_cannot_be_written_still_ends(log: Path, trouble: str) -> None:
    code = f"""
        import pathlib, sqlite3, sys, threading
        from semantica.pipeline import ExecutionEngine, PipelineBuilder
        from semantica.pipeline.engine import writing
        from semantica.pipeline.events.sqlite import SqliteStore
        writing.EXIT_PATIENCE = 1.0
        log = sys.argv[1]
        entered = threading.Event()

        def work(data):
            global shell
            {trouble}
            entered.set()
            return big

        engine = ExecutionEngine(SqliteStore(log, busy_timeout=0.05))
        engine.execute_pipeline_async(PipelineBuilder().add_step("s", "t", handler=work).build())
        entered.wait(10)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(log)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


def test_a_child_after_a_fork_makes_its_own_engine(log: Path) -> None:
    code = """
        import os, sys
        from semantica.pipeline import ExecutionEngine, PipelineBuilder
        pipeline = PipelineBuilder().add_step("s", "t").build("p")
        engine = ExecutionEngine(sys.argv[1])
        engine.execute_pipeline(pipeline)
        if os.fork() == 0:
            assert engine.close() == []
            with ExecutionEngine(sys.argv[1]) as own:
                assert own.execute_pipeline(pipeline, 4).output == 4
            print("child done", flush=True)
            os._exit(0)
        os.wait()
        assert engine.execute_pipeline(pipeline).success
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(log)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == "child done\n" and done.returncode == 0, done.stderr


def test_no_effect_precedes_the_commit_that_orders_it(engine: ExecutionEngine) -> None:
    """A handler finds its own StepStarted, and the output it was given, in the log."""
    store = engine._open().store
    seen: list[list[str]] = []

    def look(data: Any, context: Context) -> str:
        seen.append([envelope.type for envelope in store.read(f"run/{context.run_id}")])
        return "x"

    pipeline = PipelineBuilder().add_step("a", "t", handler=look).add_step("b", "t", handler=look)
    engine.execute_pipeline(pipeline.build("ordered"))
    assert seen[0] == ["PipelineSubmitted", "PipelineClaimed", "StepStarted"]
    assert seen[1] == [*seen[0], "StepCompleted", "StepStarted"]


def test_a_log_that_fails_for_good_costs_an_engine_no_worker() -> None:
    store = MemoryStore()
    append = store.append
    with ExecutionEngine(store, max_workers=1) as engine:
        engine.execute_pipeline(one(lambda data: 1))

        def broken(*_: Any, **__: Any) -> Any:
            raise LogCorrupt("the disk is gone")

        store.append = broken  # type: ignore[method-assign]
        with pytest.raises(LogCorrupt, match="gone"):
            engine.execute_pipeline(one(lambda data: 1))
        store.append = append  # type: ignore[method-assign]
        future = engine.execute_pipeline_async(one(lambda data: 2))
        assert future.result(10).output == 2


@pytest.mark.parametrize("data", ["theirs", "mine"])
def test_who_loses_the_race_for_a_run_id_joins_or_is_refused(data: str) -> None:
    """Another owner records a run of this id between our look and our append."""
    store = MemoryStore()
    append, pipeline = store.append, one(lambda data: data)
    with ExecutionEngine(store) as engine:
        engine.execute_pipeline(pipeline, "theirs", run_id="model")
        (submitted, *_) = engine.history("model")

        def late(batches: Any, **how: Any) -> Any:
            store.append = append  # type: ignore[method-assign]
            new = NewEvent(submitted.type, submitted.schema, submitted.payload)
            assert append([Batch("run/x", 0, 1, "other", 1, [new])]) == [None]
            return append(batches, **how)

        store.append = late  # type: ignore[method-assign]
        if data == "theirs":
            assert engine.execute_pipeline(pipeline, data, run_id="x").output == "theirs"
        else:
            with pytest.raises(RunConflict, match="input"):
                engine.execute_pipeline(pipeline, data, run_id="x")


# -- exceptions that cannot be looked at ---------------------------------------------------------


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Interrupts(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Causeless(Exception):
    @property
    def __cause__(self) -> Any:
        raise RuntimeError("no cause")


class Classless(Exception):
    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")


class Closed(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(4)


class Homeless(Exception):
    __module__ = None  # type: ignore[assignment]


class Misnamed(Exception):
    """As none can be written down."""


Misnamed.__qualname__ = "\ud800"
HOSTILE = [Exits, Interrupts, Causeless, Classless, Closed, Homeless, Misnamed]


def raises(data: Any, kind: int) -> None:
    raise HOSTILE[kind]


async def raises_later(data: Any, kind: int) -> None:
    raise HOSTILE[kind]


def maps(data: Any, kind: int, context: Context) -> list[Any]:
    return context.map(lambda _: raises(None, kind), [1, 2])


def gives(data: Any, kind: int) -> Any:
    return HOSTILE[kind]()


@pytest.mark.parametrize("kind", range(len(HOSTILE)), ids=[one.__name__ for one in HOSTILE])
@pytest.mark.parametrize("executor", ["thread", "process"])
def test_an_exception_that_cannot_be_looked_at_fails_its_step(
    make_engine: MakeEngine, kind: int, executor: Any
) -> None:
    engine = make_engine(max_workers=1, executor=executor, default_max_retries=0)
    said = HOSTILE[kind].__name__.replace("Misnamed", "\\ud800")
    for handler in (raises, raises_later, maps):
        pipeline = PipelineBuilder().add_step("s", "t", handler=handler, kind=kind).build()
        result = engine.execute_pipeline_async(pipeline).result(20)
        (error,) = result.errors
        assert said in error and "SIGKILL" not in error
        assert engine.report(result.run_id).steps[0].status == "failed", "as it is read again"
    odd = PipelineBuilder().add_step("s", "t", handler=gives, kind=kind).build()
    assert engine.execute_pipeline_async(odd).result(20).status.finished

    async def innocent(data: Any) -> str:
        return "fine"

    after = one(innocent)
    after.steps[0].executor = "thread"
    assert engine.execute_pipeline_async(after).result(20).output == "fine"


@pytest.mark.parametrize("kind", HOSTILE)
def test_neither_does_a_fallback_that_raises_one_hang(
    make_engine: MakeEngine, kind: type[Exception]
) -> None:
    def fallback(step: Any, error: Exception) -> None:
        raise kind

    def fails(data: Any) -> None:
        raise kind

    handler = FailureHandler(default_max_retries=0)
    handler.register_fallback("t", fallback)
    engine = make_engine(failure_handler=handler)
    assert engine.execute_pipeline_async(one(fails)).result(20).status is PipelineStatus.FAILED


@pytest.mark.parametrize("kind", HOSTILE)
def test_describing_an_error_never_raises_and_keeps_what_can_be_had(
    kind: type[Exception],
) -> None:
    try:
        raise kind
    except BaseException as error:
        told = describe(error)
        caused = RuntimeError("outer")
        BaseException.__setattr__(caused, "__cause__", error)
    assert msgspec.json.decode(msgspec.json.encode(told), type=ErrorInfo) == told
    assert told.traceback is not None and "raise kind" in told.traceback, "the place is told"
    assert len(describe(caused).causes) == 1
    assert recorded_error(told) is not None
