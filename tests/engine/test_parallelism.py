"""Tasks in parallel: in what order they start, and that nothing one of them does hurts another."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parallel import (
    LONG,
    Gated,
    Results,
    all_gone,
    both,
    gone,
    in_thread,
    killed,
    pid,
    queued,
    values,
    wait_for,
    with_child,
)

from semantica.pipeline import ExecutionEngine
from semantica.pipeline.engine.backends import alarm
from semantica.pipeline.engine.parallelism import ParallelismManager, Task, TaskCancelled
from semantica.pipeline.events.errors import WorkerLost

# What the guide says


def process_document(doc_id: str) -> str:
    return f"Processed {doc_id}"


@both
def test_results_come_in_the_order_of_the_tasks(processes: bool) -> None:
    with ParallelismManager(max_workers=4, use_processes=processes) as manager:
        tasks = [Task(f"task{i}", process_document, args=(f"doc{i}",)) for i in range(20)]
        results = manager.execute_parallel(tasks)
    assert [result.task_id for result in results] == [task.task_id for task in tasks]
    assert values(results) == [f"Processed doc{i}" for i in range(20)]


def test_also_when_they_end_in_another_one(manager: ParallelismManager) -> None:
    gated = Gated()
    results = in_thread(manager.execute_parallel, [gated.task(name) for name in "abcd"])
    assert {gated.next() for _ in "abcd"} == set("abcd")
    for name in "cbda":
        gated.let_go(name)
    assert values(results.result(LONG)) == [*"abcd"]


def test_threads_are_the_default_and_each_call_can_say_otherwise(
    manager: ParallelismManager,
) -> None:
    task = Task("where", pid, kwargs={"any": 1})
    assert not manager.use_processes
    assert values(manager.execute_parallel([task])) == [os.getpid()]
    assert values(manager.execute_with_processes([task])) != [os.getpid()]
    with ParallelismManager(use_processes=True) as other:
        assert other.max_workers == other.get_worker_count() >= 4
        (where,) = values(other.execute_parallel([task]))
        assert where != os.getpid()
        assert values(other.execute_parallel([task])) == [where], "a process is used again"
        assert values(other.execute_with_threads([task])) == [os.getpid()]


def test_nothing_to_do() -> None:
    assert ParallelismManager(1).execute_parallel([]) == []


def test_a_slow_task_holds_up_one_worker_only() -> None:
    gated = Gated()
    with ParallelismManager(max_workers=2) as manager:
        quick = [
            Task(f"quick{i}", gated.let_go, ("slow",) if i == 49 else ("x",)) for i in range(50)
        ]
        gated.task("x")
        results = manager.execute_parallel([gated.task("slow"), *quick])
    assert values(results)[0] == "slow"
    assert {result.worker for result in results[1:]} == {results[1].worker} != {results[0].worker}


async def double_later(number: int) -> int:
    await asyncio.sleep(0.01)
    return number * 2


@both
def test_an_async_handler_is_run_to_its_end(manager: ParallelismManager, processes: bool) -> None:
    execute = manager.execute_with_processes if processes else manager.execute_with_threads
    assert values(execute([Task("a", double_later, (21,))])) == [42]


# The order of start

PRIORITIES = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


def expected(priorities: list[int]) -> list[str]:
    """Highest first, and in turns among equals."""
    return [str(i) for i in sorted(range(len(priorities)), key=lambda i: (-priorities[i], i))]


@given(PRIORITIES)
def test_one_worker_starts_by_priority(priorities: list[int]) -> None:
    started: list[str] = []
    with ParallelismManager(1) as manager:
        manager.execute_parallel(
            [Task(str(i), started.append, (str(i),), priority=p) for i, p in enumerate(priorities)]
        )
    assert started == expected(priorities)


@settings(deadline=None)
@given(PRIORITIES, st.integers(2, 4), st.randoms(use_true_random=False))
def test_several_workers_start_by_priority(priorities: list[int], workers: int, draw: Any) -> None:
    gated = Gated()
    order = expected(priorities)
    tasks = [gated.task(str(i), priority=p) for i, p in enumerate(priorities)]
    with ParallelismManager(workers) as manager:
        results = in_thread(manager.execute_parallel, tasks)
        running = [gated.next() for _ in order[:workers]]
        assert sorted(running) == sorted(order[:workers])
        for following in order[workers:]:
            gated.let_go(running.pop(draw.randrange(len(running))))
            running.append(gated.next())
            assert running[-1] == following
        gated.let_go()
        values(results.result(LONG))


@settings(deadline=None, max_examples=30)
@given(st.lists(PRIORITIES, min_size=2, max_size=4), st.data())
def test_the_order_holds_over_calls_from_several_threads(
    calls: list[list[int]], data: st.DataObject
) -> None:
    gated = Gated()
    started: list[str] = []
    with ParallelismManager(1) as manager:
        waiting = [in_thread(manager.execute_parallel, [gated.task("first")])]
        gated.next()
        for number, priorities in enumerate(calls):
            tasks = [
                Task(str(i), started.append, (f"{number}/{i}",), priority=p)
                for i, p in enumerate(priorities)
            ]
            waiting.append(in_thread(manager.execute_parallel, tasks))
            queued(manager, number + 2)
        cancelled = data.draw(st.sampled_from([*map(str, range(12)), "none"]))
        manager.cancel(cancelled)
        gated.let_go()
        for one in waiting:
            one.result(LONG)
    given = [(-p, n, i) for n, priorities in enumerate(calls) for i, p in enumerate(priorities)]
    assert started == [f"{n}/{i}" for _, n, i in sorted(given) if str(i) != cancelled]


def test_a_task_that_arrives_later_starts_earlier_if_it_is_more_urgent() -> None:
    gated = Gated()
    with ParallelismManager(1) as manager:
        early = in_thread(
            manager.execute_parallel, [gated.task("first", priority=9), gated.task("low")]
        )
        assert gated.next() == "first"
        late = in_thread(manager.execute_parallel, [gated.task("high", priority=1)])
        queued(manager, 2)
        gated.let_go()
        assert (gated.next(), gated.next()) == ("high", "low")
        values(early.result(LONG) + late.result(LONG))


# Durations


@both
def test_a_duration_is_of_the_task_and_not_of_its_waiting(processes: bool) -> None:
    with ParallelismManager(1, processes) as manager:
        slow, quick = manager.execute_parallel(
            [Task("slow", time.sleep, (0.6,)), Task("quick", time.sleep, (0,))]
        )
    assert slow.duration is not None and 0.6 <= slow.duration < 5
    assert quick.duration is not None and 0 <= quick.duration < 0.5


# The number of workers


def test_growth_takes_effect_at_once() -> None:
    gated = Gated()
    with ParallelismManager(1) as manager:
        call = in_thread(manager.execute_parallel, [gated.task(name) for name in "abc"])
        assert gated.next() == "a"
        manager.set_max_workers(3)
        assert {gated.next(), gated.next()} == {"b", "c"}
        gated.let_go()
        assert len({result.worker for result in call.result(LONG)}) == 3


def test_shrinking_lets_busy_workers_finish_and_go() -> None:
    gated = Gated()
    with ParallelismManager(3) as manager:
        more = [Task(str(i), pid) for i in range(20)]
        call = in_thread(manager.execute_parallel, [*map(gated.task, "abc"), *more])
        assert {gated.next() for _ in "abc"} == {*"abc"}
        manager.set_max_workers(1)
        assert (manager.max_workers, manager.get_worker_count()) == (1, 3)
        gated.let_go("a", "b")
        wait_for(lambda: manager.get_worker_count() == 1)
        gated.let_go("c")
        results = call.result(LONG)
        assert len(values(results)) == 23
        assert {result.worker for result in results[3:]} == {results[2].worker}


def meet(barrier: threading.Barrier) -> threading.Thread:
    barrier.wait(LONG)
    return threading.current_thread()


def test_shrinking_ends_idle_threads_and_processes() -> None:
    with ParallelismManager(4) as manager:
        barrier = threading.Barrier(4)
        threads = values(
            manager.execute_parallel([Task(str(i), meet, (barrier,)) for i in range(4)])
        )
        pids = values(manager.execute_with_processes([Task(str(i), nap) for i in range(4)]))
        assert len(set(threads)) == len(set(pids)) == 4
        manager.set_max_workers(1)
        assert manager.get_worker_count() == 1
        wait_for(lambda: sum(thread.is_alive() for thread in threads) == 1)
        wait_for(lambda: sum(not gone(one) for one in pids) == 1)
        assert values(manager.execute_parallel([Task("a", pid)])) == [os.getpid()]


def nap() -> int:
    time.sleep(0.5)
    return os.getpid()


def test_who_follows_learns_of_every_new_maximum(manager: ParallelismManager) -> None:
    told: list[int] = []
    unsubscribe = manager.subscribe(told.append)
    manager.set_max_workers(7)
    manager.set_max_workers(2)
    unsubscribe()
    unsubscribe()
    manager.set_max_workers(3)
    assert told == [7, 2]


def test_a_listener_that_raises_keeps_the_news_from_nobody(manager: ParallelismManager) -> None:
    def broken(count: int) -> None:
        raise RuntimeError("no news, please")

    told: list[int] = []
    manager.subscribe(broken)
    manager.subscribe(told.append)
    manager.set_max_workers(7)
    manager.set_max_workers(2)
    assert told == [7, 2]


def test_a_listener_may_close_an_engine_that_follows_the_manager(
    manager: ParallelismManager,
) -> None:
    """Which ends its own subscription meanwhile, in another thread."""
    engine = ExecutionEngine(":memory:", parallelism_manager=manager)
    manager.subscribe(lambda count: engine.close())
    in_thread(manager.set_max_workers, 3).result(LONG)
    manager.set_max_workers(2)


def test_a_listener_may_change_the_maximum_here_or_wait_for_who_does(
    manager: ParallelismManager,
) -> None:
    told: list[int] = []

    def change(count: int) -> None:
        if count == 7:
            manager.set_max_workers(5)
            in_thread(manager.set_max_workers, 6).result(LONG)

    manager.subscribe(change)
    manager.subscribe(told.append)
    in_thread(manager.set_max_workers, 7).result(LONG)
    assert told == [7, 5, 6] and manager.max_workers == 6, "one after the other, the newest last"


def test_ctrl_c_in_a_listener_leaves_the_rest_for_the_next_change(
    manager: ParallelismManager,
) -> None:
    told: list[int] = []

    def interrupted(count: int) -> None:
        if count == 7:
            raise KeyboardInterrupt

    manager.subscribe(interrupted)
    manager.subscribe(told.append)
    with pytest.raises(KeyboardInterrupt):
        manager.set_max_workers(7)
    manager.set_max_workers(2)
    assert told == [2]


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "4", 10_001, 2**31 - 1])
def test_a_number_of_workers_that_means_nothing_is_refused(
    manager: ParallelismManager, count: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match="max_workers must be"):
        manager.set_max_workers(count)
    with pytest.raises((TypeError, ValueError), match="max_workers must be"):
        ParallelismManager(count)


# Calls within calls


def fibonacci(manager: ParallelismManager, n: int) -> int:
    if n < 2:
        return n
    tasks = [Task(str(m), fibonacci, (manager, m)) for m in (n - 1, n - 2)]
    return sum(values(manager.execute_parallel(tasks)))


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_task_may_call_its_own_manager(workers: int) -> None:
    with ParallelismManager(workers) as manager:
        before = threading.active_count()
        assert values(manager.execute_parallel([Task("f", fibonacci, (manager, 12))])) == [144]
        assert threading.active_count() <= before + workers


def test_a_lent_worker_may_use_its_process(manager: ParallelismManager) -> None:
    manager.set_max_workers(1)

    def outer() -> Results:
        return manager.execute_with_processes(
            [Task("dies", killed), Task("slow", time.sleep, (60,), timeout=0.3), Task("good", pid)]
        )

    (results,) = values(manager.execute_with_threads([Task("outer", outer)]))
    assert isinstance(results[0].error, WorkerLost)
    assert isinstance(results[1].error, TimeoutError)
    assert values(results[2:]) != [os.getpid()]


def test_what_waits_for_nested_tasks_takes_them_along(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    seen: list[Results] = []
    over = threading.Event()

    def outer() -> None:
        tasks = [Task("child", with_child, (str(file),)), Task("waits", pid)]
        seen.append(manager.execute_with_processes(tasks))
        try:
            manager.execute_parallel([Task("more", pid)])
        except TaskCancelled:
            over.set()

    with ParallelismManager(1) as manager:
        call = in_thread(manager.execute_parallel, [Task("outer", outer)])
        wait_for(file.exists)
        assert manager.cancel("outer")
        assert call.result(LONG)[0].abandoned
        wait_for(lambda: all_gone(file))
        assert over.wait(LONG), "it can begin nothing more"
        assert all(isinstance(result.error, TaskCancelled) for result in seen[0])
        assert values(manager.execute_parallel([Task("next", pid)])) == [os.getpid()]


def test_nested_calls_are_not_remembered() -> None:
    with ParallelismManager(1) as manager:

        def outer() -> int:
            for _ in range(500):
                values(manager.execute_parallel([Task("inner", pid)]))
            return len(manager._scheduler._calls._heap)

        (left,) = values(manager.execute_parallel([Task("outer", outer), Task("waits", pid)]))[:1]
        assert left < 50


# Many


def test_many_threads_may_call_at_once(manager: ParallelismManager) -> None:
    lock, running = threading.Lock(), 0

    def count(n: int, i: int) -> tuple[int, int]:
        nonlocal running
        with lock:
            running += 1
            assert running <= 4
        time.sleep(0)
        with lock:
            running -= 1
        return n, i

    def tasks(n: int) -> list[Task]:
        return [Task(str(i), count, (n, i), priority=(n * i) % 5) for i in range(50)]

    calls = [in_thread(manager.execute_parallel, tasks(n)) for n in range(20)]
    for n, call in enumerate(calls):
        assert values(call.result(LONG)) == [(n, i) for i in range(50)]


def test_ten_thousand_tasks_need_few_threads_and_linear_time(manager: ParallelismManager) -> None:
    before = threading.active_count()

    def seconds(count: int) -> float:
        tasks = [
            Task(str(i), threading.active_count, priority=i % 7, timeout=3600) for i in range(count)
        ]
        at = time.perf_counter()
        peak = max(values(manager.execute_parallel(tasks)))
        assert peak <= before + 4 + 1, "the workers, and the alarm"
        return time.perf_counter() - at

    few, many = min(seconds(1000) for _ in range(3)), seconds(10_000)
    assert many < 60 * few, "quadratic time would be a hundredfold"
    assert alarm._alarm is not None
    assert not alarm._alarm._due, "no timeout is left behind"


# Wrong use


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Task("a", pid, prioritty=1), "no option 'prioritty'; did you mean 'priority'"),
        (lambda: Task("a", "pid"), "task 'a': its handler must be callable, not 'pid'"),
        (lambda: Task(1, pid), "id must be text"),
        (lambda: Task("", pid), "must not be empty"),
        (lambda: Task("a", pid, "doc1"), "args must be a tuple such as"),
        (lambda: Task("a", pid, 5), "args must be a tuple such as"),
        (lambda: Task("a", pid, kwargs=[1]), "kwargs must be a dictionary"),
        (lambda: Task("a", pid, priority="high"), "priority must be an integer"),
        (lambda: Task("a", pid, timeout=0), "timeout must be finite and above 0"),
        (lambda: Task("a", pid, timeout=float("nan")), "timeout must be finite and above 0"),
        (lambda: Task("a", pid, timeout="1"), "timeout must be a number of seconds"),
        (lambda: ParallelismManager(1).execute_parallel([pid]), "must be Task objects"),
        (
            lambda: ParallelismManager(1).execute_parallel([Task("a", pid), Task("a", killed)]),
            "task 'a' is given twice",
        ),
        (lambda: ParallelismManager(1).execute_parallel([], timeout=-1), "timeout must be finite"),
        (lambda: ParallelismManager(1).execute_parallel([], time_out=1), "time_out"),
    ],
)
def test_what_means_nothing_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        make()
