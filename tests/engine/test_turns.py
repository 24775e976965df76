"""Turns: one at a time, in whichever thread, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from semantica.pipeline.engine.mailbox import Mailbox, Message
from semantica.pipeline.engine.turns import Turns

PATIENCE = 30.0
"""Far more than anything here takes."""


class Worked:
    """Turns that call their messages, and note in which thread."""

    def __init__(self) -> None:
        self.box = Mailbox()
        self.turns = Turns(self.box, self._have, lambda: self.patience)
        self.patience: float | None = None
        self.had: list[str] = []
        self._busy = threading.Lock()

    def _have(self, messages: list[Message]) -> None:
        assert self._busy.acquire(blocking=False), "two turns at once"
        self.had += [threading.current_thread().name] * len(messages)
        for message in messages:
            message()
        self._busy.release()

    def quietly(self, message: Message) -> None:
        """As a worker does."""
        assert self.box.post(message, ring=False)
        self.turns.take_one()


@contextmanager
def started() -> Iterator[Worked]:
    worked = Worked()
    worked.turns.start()
    yield worked
    worked.turns.stop()


def nothing() -> None:
    """A message."""


def in_thread(act: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=act, name="worker")
    thread.start()
    return thread


def test_a_worker_has_the_turn_that_it_is_the_reason_for() -> None:
    with started() as worked:
        here = list[bool]()
        worked.quietly(lambda: here.append(worked.turns.here))
        assert worked.had == [threading.current_thread().name]
        assert here == [True]
        assert not worked.turns.here


def test_what_comes_in_a_turn_has_the_next_one_and_nobody_waits_for_it() -> None:
    within, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def long() -> None:
        within.set()
        assert go_on.wait(PATIENCE)

    with started() as worked:
        worker = in_thread(lambda: worked.quietly(long))
        assert within.wait(PATIENCE)
        worked.quietly(done.set)  # returns, although the other one is in its turn
        assert worked.had == ["worker"]
        go_on.set()
        assert done.wait(PATIENCE)
        worker.join()
    assert worked.had == ["worker", "semantica-loop"], "a worker has one turn, and returns"


def test_a_turn_that_brings_the_next_one_forward_is_kept_in_time() -> None:
    """The loop's thread sleeps for ever, or would."""
    fired = threading.Event()
    with started() as worked:
        asleep = threading.Event()
        worked.box.post(asleep.set)
        assert asleep.wait(PATIENCE)

        def soon() -> None:
            worked.patience = 0.01
            worked.turns._have = lambda messages: fired.set()

        worked.quietly(soon)
        assert fired.wait(PATIENCE)


def test_the_end_waits_for_the_turn_that_a_worker_is_in() -> None:
    within, go_on, over = threading.Event(), threading.Event(), threading.Event()

    def last() -> None:
        within.set()
        assert go_on.wait(PATIENCE)
        over.set()

    with started() as worked:
        worker = in_thread(lambda: worked.quietly(last))
        assert within.wait(PATIENCE)
        threading.Timer(0.05, go_on.set).start()
    assert over.is_set(), "stop() returned before"
    worker.join()


def test_whoever_posts_at_the_same_time_nothing_is_forgotten() -> None:
    counted = list[int]()
    with started() as worked:

        def work(number: int) -> None:
            for _ in range(300):
                worked.quietly(lambda: counted.append(number))

        workers = [in_thread(lambda i=i: work(i)) for i in range(4)]  # type: ignore[misc]
        for worker in workers:
            worker.join()
    assert sorted(counted) == [i for i in range(4) for _ in range(300)]
