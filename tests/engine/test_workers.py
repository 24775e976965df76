"""The number of workers may change while they work."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline.engine.backends.worker_process import WorkerProcess
from semantica.pipeline.engine.backends.workers import Workers

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["acquire", "acquire", "release", "abandon", "resize"]), st.integers(1, 6)
    ),
    min_size=10,
    max_size=40,
)


@given(st.integers(1, 6), OPERATIONS)
def test_no_more_workers_than_the_maximum_take_new_work(
    maximum: int, operations: list[tuple[str, int]]
) -> None:
    workers = Workers(maximum)
    busy: list[str] = []
    for operation, number in operations:
        if operation == "resize":
            maximum = number
            workers.resize(maximum)
        elif operation == "acquire":
            worker = workers.acquire()
            assert (worker is None) == (len(busy) >= maximum)
            busy += [worker] if worker else []
        elif busy:
            worker = busy.pop(number % len(busy))
            getattr(workers, operation)(worker)
        assert len(workers) == max(maximum, len(busy))
        assert all(workers.keeps(worker) == (len(busy) <= maximum) for worker in busy)
    free = [worker for _ in range(10) if (worker := workers.acquire())]
    assert len(free) == max(0, maximum - len(busy)), "and each of those can be had"
    assert len({*free, *busy}) == len(free) + len(busy)


def test_a_worker_that_is_too_many_ends_with_its_job() -> None:
    workers = Workers(2)
    begun, go = threading.Barrier(3), threading.Event()
    threads: list[threading.Thread] = []

    def job(_: object) -> None:
        threads.append(threading.current_thread())
        begun.wait(20)
        go.wait(20)

    names = [workers.acquire(), workers.acquire()]
    for name in names:
        assert name is not None
        workers.give(name, job)
    begun.wait(20)
    workers.resize(1)
    go.set()
    assert names[0] is not None and names[1] is not None
    workers.release(names[0])
    workers.release(names[1])
    assert workers.acquire() == names[1]
    assert workers.acquire() is None
    ended = next(thread for thread in threads if thread.name == f"semantica-{names[0]}")
    ended.join(20)
    assert [thread.is_alive() for thread in threads].count(True) == 1
    workers.close()


def test_a_process_that_was_killed_is_not_used_again_while_it_dies() -> None:
    process = WorkerProcess()
    assert process.alive
    process.kill()
    assert not process.alive
    process.close()
