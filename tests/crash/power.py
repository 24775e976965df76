"""Cut the power at every moment of a recording, and look what a new process finds."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import power_workload
from power_disk import Disk
from power_recording import Operation, record

from semantica.pipeline.events.envelope import Envelope, first_break
from semantica.pipeline.events.errors import LogError
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.projections.catchup import load_run

SHARES = (0.0, 0.5, 0.95, 1.0)
"""Of what was not synced: none, some, nearly all, all (as when the process alone is killed)."""
LOG = "data/log/pipeline.db"
"""Within the recorded folder: its own folders are new as well."""


class Recording(NamedTuple):
    """What a process did, and the whole log that it left."""

    root: Path
    operations: list[Operation]
    log: list[Envelope]


class Loss(AssertionError):
    """A cut of the power took what was promised."""


def make(folder: Path, durability: str, fault: str = "none") -> Recording:
    """Record the workload."""
    root = folder / "disk"
    root.mkdir()
    log = root / LOG
    operations = record(
        folder / "trace", root, power_workload.__file__, str(log), durability, fault
    )
    with closing(SqliteStore(log)) as store:
        return Recording(root, operations, list(store.read_all()))


def cuts(
    recording: Recording, seed: int, rounds: int = 1, every: int = 1
) -> Iterator[tuple[float, str]]:
    """Cut at every ``every``-th operation, in as many ways as there are shares, ``rounds`` times.

    Yields:
        The share, and what was found: ``whole: EVENTS ACKNOWLEDGED``, ``empty: ACKNOWLEDGED``
        (there is no log), or ``damaged: ...``, as it was said.
    """
    chance = Random(seed)
    disk = Disk(recording.root)
    memory = Path("/dev/shm")
    fast = memory if memory.is_dir() else None
    for number, operation in enumerate(recording.operations):
        disk.apply(operation)
        if number % every:
            continue
        for share in SHARES * rounds:
            place = Path(tempfile.mkdtemp(dir=fast))
            try:
                disk.lose_power(place, chance, share)
                yield share, _look(place / LOG, recording, disk.acknowledged)
            except Loss as error:
                error.add_note(f"cut after operation {number}, {operation[:4]}, share {share}")
                raise
            finally:
                shutil.rmtree(place)


def _look(log: Path, recording: Recording, acknowledged: int) -> str:
    """What a new process finds. Raises Loss."""
    if not log.exists():
        return f"empty: {acknowledged}"
    try:
        found = _read(log)
    except LogError as error:
        return f"damaged: {error}"
    if found != recording.log[: len(found)]:
        raise Loss("there is what was never recorded, or something is missing within")
    return f"whole: {len(found)} {acknowledged}"


def _read(log: Path) -> list[Envelope]:
    """All events, if everything is as it should be. Raises LogError and Loss."""
    with closing(SqliteStore(log)) as store:
        events = list(store.read_all())
        with store._connection.reading() as connection:
            (said,) = connection.execute("PRAGMA integrity_check").fetchone()
            if said != "ok":
                raise LogError(f"the file is damaged: {said}")
        for row in store.runs():
            if first_break(list(store.read(row.stream))) is not None:
                raise LogError(f"{row.stream}: the chain of digests is broken")
            if (
                load_run(store, row.run_id).state
                != load_run(store, row.run_id, snapshots=False).state
            ):
                raise Loss("a snapshot says something else")
        for envelope in events:
            for digest in artifacts_in(json.loads(envelope.payload)):
                store.artifacts.get(digest)
    return events


def artifacts_in(plain: Any) -> Iterator[str]:
    """The digests that a payload names."""
    if isinstance(plain, dict):
        if isinstance(plain.get("artifact"), str):
            yield plain["artifact"]
        plain = list(plain.values())
    if isinstance(plain, list):
        for one in plain:
            yield from artifacts_in(one)


def survives(recording: Recording, promise: str, **options: int) -> Counter[str]:
    """Cut, and hold ``promise`` (of a durability) against what is found. Raises Loss."""
    seen: Counter[str] = Counter()
    for share, found in cuts(recording, **options):
        held = "full" if share == 1.0 else promise  # the process alone was killed
        kind, _, told = found.partition(": ")
        seen[kind] += 1
        if kind == "damaged" and held != "off":
            raise Loss(told)
        if kind == "empty" and held != "off" and told != "0":
            raise Loss(f"no log, and {told} events were acknowledged")
        if kind == "whole" and held == "full":
            there, acknowledged = map(int, told.split())
            if there < acknowledged:
                raise Loss(f"{acknowledged} events were acknowledged, {there} are there")
    return seen
