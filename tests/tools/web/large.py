"""Large logs, recorded without running anything: many runs, a run of many steps, many events."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from contract.runs import batch, claim, completed, started, submission, value

from semantica.pipeline.events.definition import PipelineDefinition, StepDefinition
from semantica.pipeline.events.lines import LogLine, payload_of
from semantica.pipeline.events.pipeline import PipelineCompleted, PipelineFailed
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.step import (
    StepCompleted,
    StepFailed,
    StepInterrupted,
    StepProgressed,
    StepStarted,
)
from semantica.pipeline.events.store import Batch
from semantica.pipeline.events.upcasters import Event
from semantica.pipeline.events.values import ErrorInfo

BEGIN = 1_790_000_000_000_000_000
SECOND = 1_000_000_000
NAMES = ("nightly-index", "mail-import", "training", "report", "graph-of-people")


def many_runs(log: Path, count: int) -> None:
    """So many runs of one step, a minute apart; every seventh has failed."""
    store = SqliteStore(log, durability="off")
    batches = (one for number in range(count) for one in _run(number))
    while group := list(islice(batches, 600)):
        assert not any(store.append(group))
    store.close()


def _run(number: int) -> Iterator[Batch]:
    run_id, at = f"run-{number:06}", BEGIN + number * 60 * SECOND
    define = PipelineDefinition(NAMES[number % len(NAMES)], (StepDefinition("a", "work"),))
    yield batch(run_id, 0, submission(define), claim(), started("a"), at=at)
    error = ErrorInfo("ValueError", "no good")
    ends: list[Event] = [completed("a"), PipelineCompleted((4,))]
    if not number % 7:
        ends = [StepFailed("a", 1, error), PipelineFailed("a", error)]
    yield batch(run_id, 3, *ends, at=at + (number % 50 + 1) * SECOND)


def wide_run(log: Path, files: int, *, progress: int = 0, run_id: str = "wide") -> None:
    """A run that reads, parses and embeds so many files, side by side, and merges them: three
    steps a file; every hundredth file is parsed in two attempts, and what is last runs still.

    Args:
        progress: Events of progress in each step.
    """
    steps = [StepDefinition("list", "list")]
    for i in range(files):
        steps.append(StepDefinition(f"read-{i}", "read", ("list",)))
        steps.append(StepDefinition(f"parse-{i}", "parse", (f"read-{i}",)))
        steps.append(StepDefinition(f"embed-{i}", "embed", (f"parse-{i}",)))
    merge = tuple(f"embed-{i}" for i in range(files))
    steps.append(StepDefinition("merge", "merge", merge))
    store = SqliteStore(log, durability="off")
    first = submission(PipelineDefinition("wide", tuple(steps)), store.artifacts)
    events: list[Event] = [first, claim(), *_done("list", 0)]
    for i in range(files):
        events += _done(f"read-{i}", progress)
        if not i % 100:
            events += [StepStarted(f"parse-{i}", 1, "worker-2"), StepInterrupted(f"parse-{i}", 1)]
        events += _done(f"parse-{i}", progress, attempt=1 if i % 100 else 2)
        events += _done(f"embed-{i}", progress)
    events.append(StepStarted("merge", 1, "worker-1"))
    for after in range(0, len(events), 500):
        part = events[after : after + 500]
        assert store.append([batch(run_id, after, *part, at=BEGIN + after * SECOND // 50)]) == [
            None
        ]
    store.close()


def talkative(log: Path, run_id: str, count: int) -> None:
    """The step ``merge`` of a run has said so many lines, one a second."""
    store = SqliteStore(log, durability="off")
    said = (payload_of({"event": f"line {n}"}) for n in range(count))
    lines = [
        LogLine(run_id, "merge", 1, BEGIN + n * SECOND, "info", payload, encoding=encoding)
        for n, (payload, encoding) in enumerate(said)
    ]
    store.append([], lines=lines)
    store.close()


def _done(step: str, progress: int, attempt: int = 1) -> list[Event]:
    told = [StepProgressed(step, attempt, i + 1, progress) for i in range(progress)]
    end = StepCompleted(step, attempt, value(step), 0.05, metrics={"documents": 1})
    return [StepStarted(step, attempt, "worker-1"), *told, end]
