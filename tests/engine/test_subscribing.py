"""Consumers follow a log: in order, at least once, from where they were; projections of one's own
fold each event exactly once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from contract.runs import batch, completed, opening

from semantica.pipeline import (
    ExecutionEngine,
    LogError,
    PipelineBuilder,
    Projection,
    Record,
    subscribe,
)
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.step import StepCompleted, StepProgressed
from semantica.pipeline.events.store import Store


def give(data: object) -> int:
    return 1


work = PipelineBuilder().add_step("a", "t", handler=give).add_step("b", "t", handler=give)


def rest(log: Path | Store, name: str = "me") -> list[int]:
    """The positions of what comes, up to the end."""
    with subscribe(log, name, follow=False) as events:
        return [record.envelope.position for record in events]


def test_it_goes_on_where_it_was(log: Path) -> None:
    with ExecutionEngine(log) as engine:
        engine.execute_pipeline(work.build("p"), run_id="r")
        with subscribe(log, "me", follow=False) as events:
            seen = list(events)
        assert [one.envelope for one in seen] == engine.history("r")
        assert {one.run_id for one in seen} == {"r"}
        outputs = [one.event.step for one in seen if isinstance(one.event, StepCompleted)]
        assert outputs == ["a", "b"]
        assert rest(log) == []
        engine.execute_pipeline(work.build("p"), run_id="s")
        assert len(rest(log)) == len(engine.history("s")) and rest(log) == []
    assert len(rest(log, "another")) == 2 * len(seen)


def test_the_event_in_hand_comes_again_unless_acknowledged() -> None:
    store = MemoryStore()
    store.append([opening("r")])
    with subscribe(store, "me") as events:
        assert next(events).envelope.position == 1
        assert next(events).envelope.position == 2
        assert events.position == 1
    with subscribe(store, "me") as events:
        assert (next(events).envelope.position, events.state) == (2, b"")
        events.acknowledge(b"mine")
    with pytest.raises(ZeroDivisionError), subscribe(store, "me") as events:
        assert (next(events).envelope.position, events.state) == (3, b"mine")
        raise ZeroDivisionError
    assert rest(store) == [3]


def test_it_waits_for_what_others_record_and_is_stopped(log: Path) -> None:
    seen: list[int] = []
    other, half = SqliteStore(log), threading.Event()

    def consume() -> None:
        with subscribe(log, "me") as events:
            half.set()
            for record in events:
                seen.append(record.envelope.position)
                if len(seen) == 4:
                    events.stop()

    thread = threading.Thread(target=consume)
    thread.start()
    assert half.wait(20)
    other.append([opening("r")])
    other.append([batch("r", 3, completed("a"))])
    thread.join(20)
    other.close()
    assert seen == [1, 2, 3, 4] and not thread.is_alive()
    assert rest(log) == [], "what was processed before the stop is done with"


def test_it_follows_what_an_engine_of_this_process_works_on(log: Path) -> None:
    with ExecutionEngine(log, durability="off") as engine:
        engine.execute_pipeline(work.build("p"), run_id="r")
        assert len(rest(log)) == len(engine.history("r"))


def test_one_consumer_of_a_name_at_a_time(log: Path) -> None:
    with (
        subscribe(log, "me", follow=False),
        pytest.raises(LogError, match="as 'me' just now; end it first"),
    ):
        subscribe(log, "me")
    for wrong in ("", "a\nb", "x" * 201):
        with pytest.raises(ValueError, match="1 to 200 printable"):
            subscribe(log, wrong)
    with pytest.raises(TypeError, match="name"):
        subscribe(log, 5)  # type: ignore[arg-type]


CONSUMER = """
import os, sys
from semantica.pipeline import subscribe
with subscribe(sys.argv[1], "me") as events:
    for record in events:
        os.write(1, b"%d\\n" % record.envelope.position)
"""


def test_killed_again_and_again_it_misses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    store = SqliteStore(log)
    seen: list[int] = []
    store.append([opening("r")])
    for life in range(3):
        store.append([batch("r", 3 + 40 * life, *(StepProgressed("a", 1, n) for n in range(40)))])
        until = 43 + 40 * life - (5 if life < 2 else 0)
        lived = []
        command = [sys.executable, "-c", CONSUMER, log]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while not lived or lived[-1] < until:
                lived.append(int(process.stdout.readline()))
            process.kill()
            lived += map(int, process.stdout)  # not communicate(): lines are buffered
        assert lived == list(range(lived[0], lived[0] + len(lived))), "in order, without gaps"
        assert not seen or lived[0] <= seen[-1] + 1, "nothing was left out"
        seen += lived
    assert set(seen) == set(range(1, 124))
    store.close()


def count(state: dict[str, int], record: Record) -> dict[str, int]:
    """How many steps of each run were completed."""
    if isinstance(record.event, StepCompleted):
        run = str(record.run_id)
        state[run] = state.get(run, 0) + 1
    return state


def test_a_projection_folds_each_event_once_and_anew_when_told() -> None:
    store, counts = MemoryStore(), Projection("counts", count, {})
    assert counts.catch_up(store) == {}
    store.append([opening("r")])
    store.append([batch("r", 3, completed("a"))])
    assert counts.catch_up(store) == counts.catch_up(store) == {"r": 1}
    assert counts.of(store.read("run/r")) == {"r": 1}
    folded = Counter[int]()

    def watched(state: dict[str, int], record: Record) -> dict[str, int]:
        folded[record.envelope.position] += 1
        return count(state, record)

    store.append([opening("s")])
    again = Projection("counts", watched, {})
    assert again.catch_up(store) == {"r": 1} and set(folded) == {5, 6, 7}
    assert again.catch_up(store, anew=True) == {"r": 1}
    assert folded == Counter({**dict.fromkeys(range(1, 5), 1), **dict.fromkeys(range(5, 8), 2)})
    changed = Projection("counts", lambda n, record: n + 1, 0, version=2)
    assert changed.catch_up(store) == 7, "another version begins anew"


class Sums(msgspec.Struct):
    done: int = 0


def test_a_fold_that_fails_loses_nothing() -> None:
    store = MemoryStore()
    store.append([opening("r")])

    def add(state: Sums, record: Record) -> Sums:
        if record.envelope.type == "StepProgressed" and broken:
            raise ZeroDivisionError
        state.done += 1
        return state

    broken, sums = True, Projection("sums", add, Sums())
    assert sums.catch_up(store) == Sums(3)
    store.append([batch("r", 3, StepProgressed("a", 1, 1))])
    with pytest.raises(ZeroDivisionError):
        sums.catch_up(store)
    broken = False
    assert sums.catch_up(store) == Sums(4)


def test_what_cannot_be_a_projection_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not survive JSON"):
        Projection("p", count, {1: 2})  # type: ignore[arg-type]
    store = MemoryStore()
    store.append([opening("r")])
    rest(store, "p")
    with pytest.raises(LogError, match="'p' is a subscription"):
        Projection("p", count, {}).catch_up(store)
    assert store.subscriptions.names() == ["p"]
