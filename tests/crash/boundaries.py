"""Kill a process right before and right after every one of its commits, and let another go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import boundary
from invariants import check_log

from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.events.upcasters import to_event

AT_ONCE = 2
"""Processes."""


class Seen(NamedTuple):
    """A shape, undisturbed and with a crash at every boundary."""

    output: Any
    appends: int
    crashes: int
    repeated: int
    """Executions beyond the first of an item or a step's attempt: what had not been recorded."""


def cross(folder: Path, shape: str) -> Seen:
    """Crash at every boundary of ``shape``. Raises AssertionError."""
    calm = folder / "calm"
    calm.mkdir(parents=True)
    told = _run(calm, shape, "never")
    assert told is not None
    _look(calm, shape)
    points = [f"{side} {n}" for n in range(1, told["appends"] + 1) for side in ("before", "after")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(partial(_crash_at, folder, shape, told["output"]), points))
    crashes, repeated = (sum(one) for one in zip(*results, strict=True))
    return Seen(told["output"], told["appends"], crashes, repeated)


def _crash_at(folder: Path, shape: str, output: Any, point: str) -> tuple[int, int]:
    here = folder / point.replace(" ", "-")
    here.mkdir()
    told = _run(here, shape, point)
    crashes = int(told is None)
    seen = _events(here)
    if told is None:
        told = _run(here, shape, "never")
    assert told is not None
    assert told["output"] == output, f"{shape}, killed {point}: another output"
    assert _events(here)[: len(seen)] == seen, f"{shape}, killed {point}: an event was lost"
    return crashes, _look(here, shape)


def _run(here: Path, shape: str, point: str) -> dict[str, Any] | None:
    """What the process told; None if it was killed."""
    arguments = [str(here / "log.db"), shape, str(here / "trace"), point]
    done = subprocess.run(
        [sys.executable, boundary.__file__, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, f"{shape}, {point}: {done.stderr}"
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _events(here: Path) -> list[Any]:
    log = here / "log.db"
    if not log.exists():
        return []
    store = SqliteStore(log)
    try:
        return list(store.read_all())
    finally:
        store.close()


def _look(here: Path, shape: str) -> int:
    """Check the log against what was executed; returns how many executions were repetitions."""
    store = SqliteStore(here / "log.db")
    try:
        check_log(store)
        rows = store.runs()
        assert [row.run_id for row in rows if row.parent is None] == [boundary.RUN_ID]
        assert all(row.status.finished for row in rows), "a nested run was forgotten"
        history = [envelope for row in rows for envelope in store.read(row.stream)]
    finally:
        store.close()
    executed = Counter((here / "trace").read_text().splitlines())
    ended: dict[tuple[str, str], int] = {}
    started: set[tuple[str, str, int]] = set()
    items: Counter[str] = Counter()
    for envelope in history:
        event: Any = to_event(envelope)
        if envelope.type in ("StepStarted", "StepCompensationStarted"):
            kind = "do" if envelope.type == "StepStarted" else "undo"
            assert (kind, event.step) not in ended, f"{event.step} started after its end"
            started.add((kind, event.step, event.attempt))
        elif envelope.type in ("StepCompleted", "StepCompensated"):
            kind = "do" if envelope.type == "StepCompleted" else "undo"
            ended[kind, event.step] = event.attempt
        elif envelope.type == "StepItemCompleted":
            items[event.key] += 1
    assert all(count == 1 for count in items.values()), "a recorded item was done again"
    for line, count in executed.items():
        kind, name, attempt = line.split()
        if kind != "item":
            assert count == 1, f"attempt {attempt} of {name} was executed twice"
            assert (kind, name, int(attempt)) in started, "it was executed before it was recorded"
            assert int(attempt) <= ended.get((kind, name), int(attempt)), "executed when completed"
    names = Counter((kind, name) for kind, name, _ in map(str.split, executed))
    done = {key for key in ended if key in names}
    return sum(names[key] - 1 for key in done) + sum(
        count - 1 for line, count in executed.items() if line.startswith("item")
    )
