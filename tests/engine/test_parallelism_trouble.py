"""Tasks that fail, die, hang or are cancelled, and how a manager ends: nobody else is hurt."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parallel import (
    LONG,
    Gated,
    all_gone,
    both,
    gone,
    in_thread,
    killed,
    pid,
    values,
    wait_for,
    with_child,
)

from semantica.pipeline.engine.parallelism import ParallelismManager, Task, TaskCancelled
from semantica.pipeline.events.errors import (
    EngineClosed,
    HandlerNotFound,
    UnencodableValue,
    WorkerLost,
)

# Failures


def raising(kind: type[BaseException]) -> None:
    time.sleep(0.05)
    raise kind("mine")


@both
@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_task_raises_is_its_own(
    manager: ParallelismManager, kind: type[BaseException], processes: bool
) -> None:
    manager.set_max_workers(1)
    execute = manager.execute_with_processes if processes else manager.execute_with_threads
    bad, good = execute([Task("bad", raising, (kind,)), Task("good", pid)])
    assert (bad.success, type(bad.error), str(bad.error)) == (False, kind, "mine")
    assert bad.duration is not None and bad.duration >= 0.05
    assert good.success and good.worker == bad.worker
    if processes:
        assert bad.error is not None and "in raising" in bad.error.__notes__[0]


def abort() -> None:
    os.abort()


def exit_hard() -> None:
    os._exit(3)


@pytest.mark.parametrize(
    ("handler", "said"), [(abort, "SIGABRT"), (killed, "SIGKILL"), (exit_hard, "exit status 3")]
)
def test_the_death_of_a_process_fails_its_task_alone(
    manager: ParallelismManager, handler: Callable[[], None], said: str
) -> None:
    others = [Task(str(i), pid) for i in range(12)]
    results = manager.execute_with_processes([others[0], Task("dies", handler), *others[1:]])
    assert values(results[:1] + results[2:])
    assert isinstance(results[1].error, WorkerLost) and said in str(results[1].error)
    assert results[1].duration is not None and results[1].duration < LONG


def test_a_process_that_died_while_idle_costs_nothing() -> None:
    with ParallelismManager(1, use_processes=True) as manager:
        (first,) = values(manager.execute_parallel([Task("a", pid)]))
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: gone(first))
        assert values(manager.execute_parallel([Task("a", pid)])) != [first]


def test_no_process_can_be_started(
    manager: ParallelismManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    (result,) = manager.execute_with_processes([Task("a", pid)])
    assert isinstance(result.error, WorkerLost) and "can be started" in str(result.error)
    assert result.duration is None, "it never started"


def give_lock() -> Any:
    return threading.Lock()


class Unloadable:
    """Can be pickled, and not unpickled."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def give_unloadable() -> Any:
    return Unloadable()


def raise_oddly() -> None:
    class Odd(Exception):
        def __repr__(self) -> str:
            raise ValueError

    raise Odd("told")


class Shut(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(4)


def raise_shut() -> None:
    raise Shut


@pytest.mark.parametrize(
    ("task", "kind", "said", "ran"),
    [
        (Task("t", lambda: 1), HandlerNotFound, "define it at the top level of a module", False),
        (Task("t", pid, kwargs={"a": Unloadable}), None, "", True),
        (Task("t", pid, kwargs={"a": Unloadable()}), UnencodableValue, "its arguments", False),
        (Task("t", pid, kwargs={"a": give_lock()}), UnencodableValue, "its arguments", False),
        (Task("t", give_lock), UnencodableValue, "its result, of type lock", True),
        (Task("t", give_unloadable), UnencodableValue, "cannot be loaded here", True),
        (Task("t", raise_oddly), RuntimeError, "raised in its worker process", True),
        (Task("t", raise_shut), RuntimeError, "Shut", True),
    ],
)
def test_what_cannot_cross_the_border_is_told(
    task: Task, kind: type[Exception] | None, said: str, ran: bool
) -> None:
    with ParallelismManager(1, use_processes=True) as manager:
        result, after = manager.execute_parallel([task, Task("after", pid)])
    assert type(result.error) is (kind or type(None))
    assert kind is None or said in str(result.error)
    assert (result.duration is not None) == ran
    assert after.success


# Giving up


def test_a_process_that_takes_too_long_is_killed_with_what_it_started(tmp_path: Path) -> None:
    with ParallelismManager(1, use_processes=True) as manager:
        values(manager.execute_parallel([Task("warms up", pid)]))
        task = Task("slow", with_child, (str(tmp_path / "pids"),), timeout=1.5)
        late, after = manager.execute_parallel([task, Task("after", pid)])
        assert isinstance(late.error, TimeoutError) and not late.cancelled and not late.abandoned
        assert str(late.error) == "task 'slow' took longer than 1.5 s and its process was killed"
        assert late.duration is not None and 1.4 < late.duration < LONG
        assert after.success
        wait_for(lambda: all_gone(tmp_path / "pids"))


def test_a_thread_that_takes_too_long_is_abandoned_and_replaced() -> None:
    gated = Gated()
    with ParallelismManager(1) as manager:
        late, after = manager.execute_parallel(
            [gated.task("slow", timeout=0.1), Task("after", pid)]
        )
        assert isinstance(late.error, TimeoutError) and late.abandoned and not late.cancelled
        assert "task 'slow' took longer than 0.1 s; its thread cannot be killed" in str(late.error)
        assert after.success and after.worker != late.worker
        assert manager.get_worker_count() == 1
        gated.let_go()


def test_a_timeout_runs_from_the_start_of_its_task() -> None:
    with ParallelismManager(1) as manager:
        tasks = [Task("slow", time.sleep, (0.8,)), Task("b", time.sleep, (0.01,), timeout=0.6)]
        assert len(values(manager.execute_parallel(tasks))) == 2


@both
def test_the_timeout_of_a_call_ends_what_has_not_ended(processes: bool) -> None:
    tasks = [Task("done", pid), Task("runs", time.sleep, (60,)), Task("waits", pid)]
    with ParallelismManager(1, processes) as manager:
        values(manager.execute_parallel([Task("warms up", pid)]))
        done, runs, waits = manager.execute_parallel(tasks, timeout=1.5)
        assert values(manager.execute_with_threads([Task("next", pid)])) == [os.getpid()]
    assert done.success and not done.cancelled
    for result in (runs, waits):
        assert isinstance(result.error, TimeoutError) and result.cancelled
        assert "had not ended after the 1.5 s of its call" in str(result.error)
    assert str(waits.error).endswith("it was cancelled before it started")
    assert (waits.duration, waits.worker) == (None, None)
    assert runs.duration is not None and runs.abandoned is not processes


def test_what_waits_goes_on_when_the_timeout_of_another_call_is_over() -> None:
    gated = Gated()
    with ParallelismManager(1) as manager:
        stuck = in_thread(manager.execute_parallel, [gated.task("stuck")], timeout=0.5)
        assert gated.next() == "stuck"
        assert values(manager.execute_parallel([Task("other", pid)])) == [os.getpid()]
        assert stuck.result(LONG)[0].abandoned
        gated.let_go()


def test_a_task_that_waits_and_is_cancelled_never_starts() -> None:
    gated = Gated()
    with ParallelismManager(1) as manager:
        call = in_thread(manager.execute_parallel, [gated.task(name) for name in "abc"])
        assert gated.next() == "a"
        assert manager.cancel("b")
        assert not manager.cancel("b"), "it has ended"
        assert not manager.cancel("other")
        gated.let_go()
        assert gated.next() == "c"
        a, b, c = call.result(LONG)
    assert a.success and c.success
    assert isinstance(b.error, TaskCancelled) and b.cancelled and b.duration is None
    assert str(b.error) == "task 'b' was cancelled before it started"


def test_a_thread_that_is_cancelled_is_abandoned_and_what_it_returns_is_lost() -> None:
    gated = Gated()
    with ParallelismManager(1) as manager:
        call = in_thread(manager.execute_parallel, [gated.task("a"), gated.task("b")])
        assert gated.next() == "a"
        assert manager.cancel("a")
        assert gated.next() == "b", "another worker has taken its place"
        gated.let_go()
        a, b = call.result(LONG)
    assert b.success and b.worker != a.worker
    assert isinstance(a.error, TaskCancelled) and a.cancelled and a.abandoned
    assert a.result is None


def test_a_process_that_is_cancelled_is_killed(manager: ParallelismManager, tmp_path: Path) -> None:
    file = tmp_path / "pids"
    call = in_thread(manager.execute_with_processes, [Task("a", with_child, (str(file),))])
    wait_for(file.exists)
    assert manager.cancel("a")
    (a,) = call.result(LONG)
    assert str(a.error) == "task 'a' was cancelled and its process was killed"
    assert a.cancelled and not a.abandoned and a.duration is not None
    wait_for(lambda: all_gone(file))


# The end


def test_a_closed_manager_says_so() -> None:
    manager = ParallelismManager(2)
    values(manager.execute_parallel([Task("a", pid)]))
    manager.close()
    manager.close()
    assert manager.get_worker_count() == 0
    for use in (manager.execute_parallel, lambda _: manager.set_max_workers(1)):
        with pytest.raises(EngineClosed, match="this parallelism manager is closed"):
            use([])


def test_closing_waits_for_calls_of_other_threads_also_nested_ones() -> None:
    gated = Gated()
    manager = ParallelismManager(1)

    def outer() -> list[Any]:
        gated._handle("a")
        return values(manager.execute_parallel([Task("inner", pid)]))

    gated.task("a")
    call = in_thread(manager.execute_parallel, [Task("outer", outer)])
    gated.next()
    closing = in_thread(manager.close)  # type: ignore[arg-type]
    wait_for(lambda: manager._scheduler._closed)
    assert not closing.done()
    gated.let_go()
    closing.result(LONG)
    assert values(call.result(LONG)) == [[os.getpid()]]


def test_closing_without_waiting_cancels() -> None:
    gated = Gated()
    manager = ParallelismManager(1)
    call = in_thread(manager.execute_parallel, [gated.task("a"), gated.task("b")])
    gated.next()
    manager.close(wait=False)
    a, b = call.result(LONG)
    assert a.abandoned and a.cancelled and b.cancelled and b.duration is None
    gated.let_go()


def test_a_task_cannot_wait_for_itself() -> None:
    with ParallelismManager(1) as manager:
        (result,) = manager.execute_parallel([Task("a", manager.close)])
        assert isinstance(result.error, RuntimeError)
        assert "close(wait=False)" in str(result.error)
        (result,) = manager.execute_parallel([Task("a", lambda: manager.close(wait=False))])
        assert result.cancelled


def test_a_manager_that_is_forgotten_ends_its_workers() -> None:
    manager = ParallelismManager(2)
    (worker,) = values(manager.execute_parallel([Task("a", threading.current_thread)]))
    (beside,) = values(manager.execute_with_processes([Task("a", pid)]))
    del manager
    gc.collect()
    worker.join(LONG)
    assert not worker.is_alive()
    wait_for(lambda: gone(beside))


def script(folder: Path, code: str, **options: Any) -> subprocess.Popen[str]:
    file = folder / "script.py"
    file.write_text(f"from semantica.pipeline.engine.parallelism import *\n{code}")
    return subprocess.Popen(
        [sys.executable, file],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_an_abandoned_thread_does_not_keep_the_interpreter(tmp_path: Path) -> None:
    code = """
import time
manager = ParallelismManager(2)
results = manager.execute_parallel([Task("a", time.sleep, (600,)), Task("b", int)], timeout=0.3)
print([result.abandoned for result in results])
"""
    out, err = script(tmp_path, code).communicate(timeout=LONG)
    assert (out, err) == ("[True, False]\n", "")


def test_an_interrupted_call_leaves_nothing_behind(tmp_path: Path) -> None:
    code = """
import sys, parallel
if __name__ == "__main__":
    manager = ParallelismManager(1)
    task = Task("a", parallel.with_child, ("pids",))
    try:
        manager.execute_with_processes([task, task.__class__("b", int)])
    except KeyboardInterrupt:
        print("interrupted", len([*manager._scheduler._calls]))
        print([r.success for r in manager.execute_with_processes([Task("c", int)])])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    process = script(tmp_path, code, env=environment)
    wait_for((tmp_path / "pids").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LONG)
    assert out == "interrupted 0\n[True]\n", err
    wait_for(lambda: all_gone(tmp_path / "pids"))


MAIN = """
def double(number):
    return number * 2

manager = ParallelismManager(2, use_processes=True)
{guard}
    for result in manager.execute_parallel([Task("a", double, (21,))]):
        print(result.result, result.error)
"""


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ('if __name__ == "__main__":', "42 None"),
        ("if True:", "put what executes them under: if __name__ == '__main__':"),
    ],
)
def test_a_handler_of_the_main_script_is_found(tmp_path: Path, guard: str, said: str) -> None:
    out, err = script(tmp_path, MAIN.format(guard=guard)).communicate(timeout=LONG)
    assert said in out, err
    assert len(out.splitlines()) == 1
    assert err == ""


def test_a_handler_that_was_typed_in_is_not(tmp_path: Path) -> None:
    code = "from semantica.pipeline.engine.parallelism import *\n" + MAIN.format(guard="if True:")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=LONG
    )
    assert "defined in a script without a file; put it in a module" in done.stdout, done.stderr


FORK = """
import os, time
def say(*words):  # in one piece: two processes write to one pipe
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

manager = ParallelismManager(1)
(worker,) = manager.execute_with_processes([Task("a", os.getpid, timeout=60)])
child = os.fork()
if not child:
    for use in (manager.execute_parallel, lambda _: manager.set_max_workers(2)):
        try:
            use([])
        except Exception as error:
            say(error)
    manager.close()
    with ParallelismManager(1) as mine:
        results = mine.execute_with_processes([Task("slow", time.sleep, (60,), timeout=0.3)])
        say(type(results[0].error).__name__)
    time.sleep(60)
say(worker.result, child)
os.waitpid(child, 0)
"""


def test_a_fork_needs_a_manager_of_its_own_and_keeps_no_worker_alive(tmp_path: Path) -> None:
    parent = script(tmp_path, FORK)
    assert parent.stdout is not None
    lines = sorted(parent.stdout.readline().rstrip() for _ in range(4))
    worker, child = map(int, lines[0].split())
    assert lines[1] == "TimeoutError"
    assert set(lines[2:]) == {
        "this parallelism manager was made before a fork; make one in the child process"
    }
    assert not gone(worker)
    parent.kill()
    try:
        wait_for(lambda: gone(worker))
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate()
