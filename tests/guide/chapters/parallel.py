"""Parallel Execution."""

from __future__ import annotations

import os
import threading
from itertools import count

from guide.case import Script, case
from guide.handlers import (
    PATIENCE,
    Meeting,
    Recorder,
    meet,
    one_after_another,
    process_id,
    spans,
)

from semantica.pipeline import ParallelismManager, PipelineBuilder, Task


@case("Parallel Execution > Basic Parallel Execution")
def basic(script: Script) -> None:
    main = script.run()
    assert script.printed == [f"task{number}: Processed doc{number}" for number in (1, 2, 3, 4)]

    barrier = threading.Barrier(4, timeout=PATIENCE)
    meeting = [main.Task(f"task{number}", meet, args=(barrier,)) for number in range(4)]
    results = main.manager.execute_parallel(meeting)
    assert [one.error for one in results] == [None] * 4, "four at once"
    assert all(0 <= one.duration < PATIENCE for one in results)

    broken = [main.Task("good", str, args=(1,)), main.Task("bad", int, args=("one",))]
    good, bad = main.manager.execute_parallel(broken)
    assert (good.task_id, good.success, good.result) == ("good", True, "1")
    assert (bad.task_id, bad.success, bad.result) == ("bad", False, None)
    assert isinstance(bad.error, ValueError)


@case("Parallel Execution > Task Priority")
def priority(script: Script) -> None:
    """Each task returns its place in the order of starting; the first two start together."""

    def begin_anew() -> None:
        nonlocal places, barrier
        places, barrier = count(), threading.Barrier(2, timeout=PATIENCE)

    def handler() -> int:
        place = next(places)
        if place < 2:  # both workers are taken until the first two have begun
            meet(barrier)
        return place

    places, barrier = count(), threading.Barrier(2, timeout=PATIENCE)
    main = script.run(handler=handler)
    results = main.results
    for _ in range(5):
        places_of = {one.task_id: one.result for one in results}
        assert places_of["low_priority"] == 2, "the lowest priority comes last"
        assert sorted(places_of.values()) == [0, 1, 2]
        begin_anew()
        results = main.manager.execute_parallel(main.tasks[::-1])  # in whatever order they come


@case("Parallel Execution > Thread vs Process Execution")
def threads_and_processes(script: Script) -> None:
    tasks = [Task(name, process_id) for name in ("one", "two")]
    main = script.run(tasks=tasks)
    for results in (main.thread_results, main.process_results):
        assert [(one.task_id, one.success) for one in results] == [("one", True), ("two", True)]
    assert {one.result for one in main.thread_results} == {os.getpid()}
    elsewhere = {one.result for one in main.process_results}
    assert os.getpid() not in elsewhere
    by_default = ParallelismManager(max_workers=1)
    assert by_default.execute_parallel(tasks)[0].result == os.getpid()


@case("Parallel Execution > Parallel Pipeline Steps")
def pipeline_steps(script: Script) -> None:
    recorder = Recorder("type1", "type4")
    Meeting(2, "type2", "type3")
    main = script.run(PipelineBuilder=PipelineBuilder)
    assert main.result.success, "steps 2 and 3 meet"
    times = spans(main.engine, main.pipeline)
    assert one_after_another(times, ["step1", "step2", "step4"])
    assert one_after_another(times, ["step1", "step3", "step4"])
    assert recorder.data["step4"] == {"step2": "step2 done", "step3": "step3 done"}


@case("Parallel Execution > Load Balancing")
def load_balancing(script: Script) -> None:
    barrier = threading.Barrier(3, timeout=PATIENCE)

    def handler() -> None:
        meet(barrier)

    names = ("quick_handler", "slow_handler", "medium_handler")
    main = script.run(Task=Task, **dict.fromkeys(names, handler))
    assert [one.error for one in main.results] == [None] * 3, "each has a worker of its own"

    quick_ones = threading.Semaphore(0)

    def slow() -> None:
        for _ in range(20):
            assert quick_ones.acquire(timeout=PATIENCE), "quick tasks wait behind a slow one"

    tasks = [Task(f"quick{number}", quick_ones.release) for number in range(20)]
    for workers in (4, 2):
        main.manager.set_max_workers(workers)
        slow_ones = [Task(f"slow{number}", slow) for number in range(workers - 1)]
        quick = [
            Task(f"{task.task_id} for {one.task_id}", task.handler)
            for task in tasks
            for one in slow_ones
        ]
        results = main.manager.execute_parallel([*slow_ones, *quick])
        assert [one.error for one in results if one.error] == []
