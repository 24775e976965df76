"""Where steps run: in processes that may crash, in threads that cannot be killed, and waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from making import MakeEngine

from semantica.pipeline import (
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    ResourceScheduler,
    RetryPolicy,
)
from semantica.pipeline.events.errors import PipelineValidationError


def one(handler: Any, **options: Any) -> Pipeline:
    return PipelineBuilder().add_step("one", "one", handler=handler, **options).build("one")


def recorded(engine: ExecutionEngine, run_id: str, kind: str) -> list[Any]:
    """The payloads of the events of one type."""
    history = engine.history(run_id)
    return [msgspec.json.decode(event.payload) for event in history if event.type == kind]


def abort() -> None:
    os.abort()


def exit_hard() -> None:
    os._exit(3)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    import ctypes

    ctypes.string_at(0)


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (abort, "SIGABRT"),
        (crash, "SIGSEGV"),
        (killed, "SIGKILL (as the system does when memory runs out)"),
        (exit_hard, "exit status 3"),
    ],
)
def test_a_crash_fails_its_attempt_alone(
    make_engine: MakeEngine, handler: Callable[[], None], said: str
) -> None:
    engine = make_engine(default_max_retries=0)
    neighbour = engine.execute_pipeline_async(one(nap, executor="process", seconds=0.5))
    result = engine.execute_pipeline(one(handler, executor="process"))
    assert not result.success
    assert said in result.errors[0]
    (event,) = recorded(engine, result.run_id, "StepFailed")
    assert event["error"]["category"] == "worker_lost"
    assert neighbour.result().success
    assert engine.execute_pipeline(one(pid, executor="process")).success


def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "rested"


def pid() -> int:
    return os.getpid()


def crash_once(data: str) -> str:
    mark = Path(data)
    if mark.exists():
        return "survived"
    mark.touch()
    os.abort()


def test_a_crash_is_retried(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine()
    pipeline = one(crash_once, executor="process", retry=RetryPolicy(initial_delay=0))
    result = engine.execute_pipeline(pipeline, str(tmp_path / "mark"))
    assert result.output == "survived"
    assert result.metrics["steps_retried"] == 1


def test_a_worker_that_was_killed_while_idle_costs_nothing(make_engine: MakeEngine) -> None:
    engine = make_engine(max_workers=1, executor="process", default_max_retries=0)
    first = engine.execute_pipeline(one(pid)).output
    assert first != os.getpid()
    assert engine.execute_pipeline(one(pid)).output == first, "a worker is used again"
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    result = engine.execute_pipeline(one(pid))
    assert result.success, result.errors
    assert result.output not in (first, os.getpid())


def test_a_timeout_kills_the_process_and_what_it_started(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine(default_max_retries=0)
    file = tmp_path / "pids"
    engine.execute_pipeline(one(pid, executor="process"))  # starting a worker takes time, too
    result = engine.execute_pipeline(one(with_child, executor="process", timeout=2.0), str(file))
    assert "took longer than 2 s and was killed" in result.errors[0]
    for number in map(int, file.read_text().split()):
        assert gone(number)


def with_child(data: str) -> None:
    child = subprocess.Popen(["sleep", "600"])
    Path(data).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)


def gone(number: int) -> bool:
    for _ in range(500):
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_cancelling_kills_a_process_that_does_not_listen(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine(cancel_grace=0.2)
    file = tmp_path / "pids"
    future = engine.execute_pipeline_async(one(with_child, executor="process"), str(file))
    wait_for(file.exists)
    assert engine.cancel_pipeline(future.run_id)
    assert future.result().status == "cancelled"
    (event,) = recorded(engine, future.run_id, "StepCancelled")
    assert event["how"] == "killed"
    assert all(gone(int(number)) for number in file.read_text().split())


def listen(data: str, context: Any) -> None:
    Path(data).touch()
    while not context.cancelled:
        time.sleep(0.005)


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_a_cancel_is_heard(make_engine: MakeEngine, tmp_path: Path, executor: str) -> None:
    engine = make_engine(cancel_grace=30)
    file = tmp_path / "begun"
    future = engine.execute_pipeline_async(one(listen, executor=executor), str(file))
    wait_for(file.exists)
    engine.cancel_pipeline(future.run_id)
    future.result(timeout=20)
    (event,) = recorded(engine, future.run_id, "StepCancelled")
    assert event["how"] == "cooperative"


def deaf(data: str) -> None:
    Path(data).touch()
    time.sleep(2)


def test_a_thread_that_ignores_its_cancellation_is_said_to_be_abandoned(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine(cancel_grace=0.1, max_workers=1)
    file = tmp_path / "begun"
    future = engine.execute_pipeline_async(one(deaf), str(file))
    wait_for(file.exists)
    engine.cancel_pipeline(future.run_id)
    assert future.result(timeout=1.5).status == "cancelled"
    (event,) = recorded(engine, future.run_id, "StepCancelled")
    assert event["how"] == "abandoned"
    assert engine.execute_pipeline(one(pid)).success, "another worker has taken its place"


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never came true")


def tell(data: Any, context: Any, size: int) -> Any:
    context.progress(3, 4, "nearly")
    context.metric("told", 2)
    context.log.info("something", number=1)
    return {"attempt": context.attempt, "key": context.idempotency_key, "data": data * size}


@pytest.mark.parametrize("size", [1, 100_000], ids=["small", "artifact"])
def test_the_context_works_across_the_border(
    make_engine: MakeEngine, capfd: pytest.CaptureFixture[str], size: int
) -> None:
    engine = make_engine()
    result = engine.execute_pipeline(one(tell, executor="process", size=size), ("a", 1))
    whole = result.output["data"] == ("a", 1) * size
    assert whole, result.errors
    assert result.output["key"] == f"{result.run_id}/one"
    assert result.metrics["told"] == 2
    (event,) = recorded(engine, result.run_id, "StepProgressed")
    assert (event["done"], event["message"]) == (3, "nearly")
    captured = capfd.readouterr()
    assert "something" in captured.err
    assert result.run_id in captured.err


def test_where_a_step_ran_is_recorded(make_engine: MakeEngine) -> None:
    engine = make_engine(executor="process")
    pipeline = (
        PipelineBuilder()
        .add_step("a", "a", handler=pid)
        .add_step("b", "b", handler=pid, executor="thread", dependencies=["a"])
        .build("two")
    )
    result = engine.execute_pipeline(pipeline)
    assert result.output == os.getpid()
    started = recorded(engine, result.run_id, "StepStarted")
    assert [event.get("backend", "thread") for event in started] == ["process", "thread"]


def test_what_cannot_be_sent_is_refused_before_anything_is_recorded(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine()
    with pytest.raises(PipelineValidationError, match="unsendable_handler: step 'one'"):
        engine.execute_pipeline(one(lambda data: data, executor="process"))
    assert engine.runs() == []
    with pytest.raises(PipelineValidationError, match="the executor 'proces' must be 'thread' or"):
        engine.execute_pipeline(one(pid, executor="proces"))


def test_a_lambda_in_an_engine_of_processes_fails_clearly(make_engine: MakeEngine) -> None:
    engine = make_engine(executor="process")
    with pytest.raises(PipelineValidationError, match="at the top level of a module, or use exec"):
        engine.execute_pipeline(one(lambda data: data))
    assert engine.runs() == []


SCRIPT = """
from semantica.pipeline import ExecutionEngine, PipelineBuilder
def double(data):
    return data * 2
{guard}
    pipeline = PipelineBuilder().add_step("a", "a", handler=double, executor="process").build("p")
    with ExecutionEngine("script.db") as engine:
        result = engine.execute_pipeline(pipeline, 21)
        print(result.output, result.errors, len(engine.runs()))
"""


def test_a_handler_of_the_main_script_is_found(tmp_path: Path) -> None:
    done = script(tmp_path, 'if __name__ == "__main__":')
    assert done.stdout.startswith("42 [] 1"), done.stderr


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    done = script(tmp_path, "if True:")
    assert "put what starts pipelines under: if __name__ == '__main__':" in done.stdout, done.stderr
    assert done.stdout.rstrip().endswith("1"), "the worker has not begun a run of its own"


def script(folder: Path, guard: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    file = folder / "script.py"
    file.write_text(SCRIPT.format(guard=guard))
    return subprocess.run(
        [sys.executable, file], cwd=cwd or folder, capture_output=True, text=True, timeout=60
    )


def test_workers_die_with_their_engine(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    code = (
        "import sys\nfrom semantica.pipeline import ExecutionEngine\n"
        "sys.path.insert(0, sys.argv[1])\nfrom test_executors import one, with_child\n"
        "pipeline = one(with_child, executor='process')\n"
        "ExecutionEngine('die.db').execute_pipeline(pipeline, sys.argv[2])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(file)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    wait_for(lambda: file.exists() and len(file.read_text().split()) == 2)
    process.kill()
    process.wait()
    assert all(gone(int(number)) for number in file.read_text().split())


# Coroutines


async def wait_for_all(data: int) -> int:
    await asyncio.sleep(0.5)
    return 1


def test_thousands_of_coroutines_wait_at_once_without_holding_a_worker(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(max_workers=2)
    builder = PipelineBuilder()
    for i in range(2000):
        builder.add_step(f"wait{i}", "wait", handler=wait_for_all, dependencies=[])
    result = engine.execute_pipeline(builder.build("many"), 0)
    assert sum(result.output.values()) == 2000
    assert result.metrics["total_time"] < 100, "one after another they would take 500 s"


async def for_ever(data: str) -> None:
    Path(data).touch()
    await asyncio.sleep(3600)


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_cancelling_ends_a_coroutine(
    make_engine: MakeEngine, tmp_path: Path, executor: str
) -> None:
    engine = make_engine(cancel_grace=30)
    file = tmp_path / "begun"
    future = engine.execute_pipeline_async(one(for_ever, executor=executor), str(file))
    wait_for(file.exists)
    engine.cancel_pipeline(future.run_id)
    future.result(timeout=20)
    (event,) = recorded(engine, future.run_id, "StepCancelled")
    assert event["how"] == "cooperative"


def test_a_coroutine_that_takes_too_long(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(default_max_retries=0)
    file = str(tmp_path / "begun")
    result = engine.execute_pipeline(one(for_ever, timeout=0.2), file)
    assert "took longer than 0.2 s and was" in result.errors[0]


async def raises(kind: str) -> None:
    await asyncio.sleep(0)
    raise {"exit": SystemExit, "value": ValueError, "cancelled": asyncio.CancelledError}[kind]("x")


@pytest.mark.parametrize("kind", ["exit", "value", "cancelled"])
def test_what_a_coroutine_raises_ends_its_attempt_alone(make_engine: MakeEngine, kind: str) -> None:
    engine = make_engine(default_max_retries=0)
    result = engine.execute_pipeline(one(raises, kind=kind))
    assert not result.success
    assert engine.execute_pipeline(one(wait_for_all), 0).output == 1


# What handlers must not be able to do


def leave_a_thread(data: Any, context: Any) -> str:
    import threading

    def later() -> None:
        time.sleep(0.3)
        context.progress(1, 1, "stale")
        context.log.info("stale")
        context.checkpoint("stale", "of another run")

    threading.Thread(target=later, daemon=True).start()
    return "left"


def look(data: Any, context: Any) -> Any:
    time.sleep(0.8)
    return context.checkpoint("stale")


def test_a_thread_left_by_one_attempt_says_nothing_in_the_next(
    make_engine: MakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = make_engine(max_workers=1, executor="process")
    assert engine.execute_pipeline(one(leave_a_thread)).output == "left"
    result = engine.execute_pipeline(one(look))
    assert (result.success, result.output) == (True, None)
    assert recorded(engine, result.run_id, "StepProgressed") == []
    assert recorded(engine, result.run_id, "StepCheckpointed") == []


class Unloadable:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


class OddText(str):
    def __reduce__(self) -> Any:
        return int, ("no number",)


def log_oddly(data: Any, context: Any) -> str:
    context.log.info("odd", value=OddText("text"), other=Unloadable())
    return "logged"


def test_odd_values_can_be_logged(make_engine: MakeEngine) -> None:
    engine = make_engine(max_workers=1, executor="process", default_max_retries=0)
    assert engine.execute_pipeline(one(log_oddly)).output == "logged"
    assert engine.execute_pipeline(one(nap, seconds=0)).output == "rested"


def raise_oddly() -> None:
    class Odd(Exception):
        def __reduce__(self) -> Any:
            return int, ("no number",)

    raise Odd("told")


def test_an_exception_that_cannot_be_sent_is_still_told(make_engine: MakeEngine) -> None:
    engine = make_engine(executor="process", default_max_retries=0)
    assert "told" in engine.execute_pipeline(one(raise_oddly)).errors[0]


def stuck(data: Any) -> None:
    """Holds the interpreter's lock, so that no other thread of the worker can run."""
    import re

    re.match(r"(a+)+$", "a" * 40 + "b")


def test_a_worker_that_listens_to_nobody_does_not_stop_the_engine(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine(default_max_retries=0)
    future = engine.execute_pipeline_async(one(stuck, executor="process", timeout=2.0))
    for _ in range(50):
        engine.pause_pipeline(future.run_id)
        engine.resume_pipeline(future.run_id)
    assert engine.execute_pipeline(one(nap, seconds=0)).success
    result = engine.attach(future.run_id).result(timeout=30)
    assert "took longer than 2 s and was killed" in result.errors[0]


def leave_a_program() -> None:
    os.system("sleep 20 &")
    os._exit(3)


def close_everything() -> None:
    os.closerange(3, 100)


@pytest.mark.parametrize("handler", [leave_a_program, close_everything])
def test_a_ruined_worker_is_noticed_at_once(
    make_engine: MakeEngine, handler: Callable[[], None]
) -> None:
    engine = make_engine(default_max_retries=0)
    future = engine.execute_pipeline_async(one(handler, executor="process"))
    assert "WorkerLost" in future.result(timeout=15).errors[0]


def test_a_module_of_the_current_folder_is_not_taken_for_one_of_pythons(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "code").mkdir()
    done = script(tmp_path / "code", 'if __name__ == "__main__":', cwd=tmp_path)
    assert done.stdout.startswith("42 [] 1"), done.stderr


async def end_the_loop() -> None:
    async def sub() -> None:
        raise SystemExit(1)

    await asyncio.gather(sub())


def test_a_task_that_exits_does_not_end_the_loop_of_the_others(make_engine: MakeEngine) -> None:
    engine = make_engine(default_max_retries=0)
    assert not engine.execute_pipeline_async(one(end_the_loop)).result(timeout=20).success
    assert engine.execute_pipeline_async(one(wait_for_all), 0).result(timeout=20).output == 1


@pytest.mark.parametrize(("handler", "timeout"), [(killed, None), (with_child, 1.0)])
def test_at_most_once_is_not_retried_when_its_attempt_was_cut_off(
    make_engine: MakeEngine, tmp_path: Path, handler: Any, timeout: float | None
) -> None:
    pipeline = one(
        handler,
        executor="process",
        timeout=timeout,
        at_most_once=True,
        retry=RetryPolicy(initial_delay=0),
    )
    result = make_engine().execute_pipeline(pipeline, str(tmp_path / "pids"))
    assert "the step is at_most_once and must not run again" in result.errors[0]
    assert result.metrics["steps_retried"] == 0


def devices(data: Any, context: Any) -> Any:
    return context.gpus, os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("present", "seen"),
    [(None, ["0,1", "2", None]), ("4,GPU-b,7", ["4,GPU-b", "7", "4,GPU-b,7"])],
)
def test_a_process_sees_the_gpus_of_its_step_alone(
    make_engine: MakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    present: str | None,
    seen: list[str | None],
) -> None:
    """Whatever the process before it, on the same worker, has seen."""
    if present is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", present)
    scheduler = ResourceScheduler()
    scheduler.register_resource("gpu", "gpu", capacity=3)
    builder = PipelineBuilder()
    for name, gpu in (("two", 2), ("one", 1), ("none", 0)):
        builder.add_step(name, "gpu", handler=devices, dependencies=[], gpu=gpu)
    engine = make_engine(executor="process", resource_scheduler=scheduler, max_workers=3)
    output = engine.execute_pipeline(builder.build("gpus")).output
    assert [output[name][1] for name in ("two", "one", "none")] == seen
    assert [output[name][0] for name in ("two", "one", "none")] == [(0, 1), (2,), ()]
