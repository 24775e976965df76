"""What a run of a million events costs: ``python tests/growth_long.py [--events 1000000]``.

A process executes a run until its last step, and there it kills itself. Printed are: how fast it
went and its peak memory; how many snapshots it took, their bytes and their share of the time; then,
each in a process of its own, how long another engine takes to recover the run (until the last step
runs again), and how long all events take without a snapshot. Shapes: ``fan`` (1 -> n -> 1, three
events a step), ``chain``, ``items`` (one step that maps n items), ``checkpoints`` (one step that
saves its place n times).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep
from semantica.pipeline.engine import loop
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.projections.catchup import load_run

RUN_ID = "growth"


def grow(data: Any) -> int:
    """A step that does nothing."""
    return 1


def same(item: int) -> int:
    """An item that does nothing."""
    return item


def items(context: Context, count: int) -> int:
    """One step of many items; the first life ends after them."""
    report(started=time.time())
    done = len(context.map(same, range(count)))
    die_once(context)
    return done


def checkpoints(context: Context, count: int) -> int:
    """One step that saves its place again and again; the first life ends after that."""
    report(started=time.time())
    for number in range(context.checkpoint("place") or 0, count):
        context.checkpoint("place", number + 1)
    die_once(context)
    return count


def last(data: Any, context: Context) -> int:
    """The step at which the first life ends."""
    report(started=time.time())
    die_once(context)
    return 1


def die_once(context: Context) -> None:
    """SIGKILL in the first attempt; later ones say when they got here."""
    if context.attempt == 1:
        report(events=None)
        os.kill(os.getpid(), signal.SIGKILL)
    report(arrived=time.time())


def build(shape: str, events: int) -> Pipeline:
    """A pipeline that records about so many events."""
    if shape in ("items", "checkpoints"):
        return Pipeline(
            shape, [PipelineStep("all", "t", {"count": events}, handler=globals()[shape])]
        )
    steps = events // 2 - 1
    names = [f"s{i}" for i in range(steps)]
    before = (lambda i: [names[i - 1]]) if shape == "chain" else (lambda i: [names[0]])
    made = [
        PipelineStep(name, "t", handler=grow, dependencies=before(i) if i else [])
        for i, name in enumerate(names)
    ]
    after = names[-1:] if shape == "chain" else names[1:]
    return Pipeline(shape, [*made, PipelineStep("last", "t", handler=last, dependencies=after)])


SNAPSHOTS: dict[str, float] = {"snapshots": 0, "snapshot_seconds": 0.0}


def counting(store: Any, run: Any) -> Any:
    """``save_snapshot``, measured."""
    begun = time.perf_counter()
    answer = SAVE(store, run)
    SNAPSHOTS["snapshots"] += 1
    SNAPSHOTS["snapshot_seconds"] += time.perf_counter() - begun
    return answer


SAVE = loop.save_snapshot


def report(**facts: Any) -> None:
    """Say what is known to the parent, which may be the last that this process does."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    cpu = time.process_time()
    print(json.dumps({"peak_mib": peak, "cpu": cpu, **SNAPSHOTS, **facts}), flush=True)


def child(role: str, log: str, shape: str, events: int) -> None:
    """A process of the measurement."""
    begun = time.time()
    if role == "execute":
        loop.save_snapshot = counting
        engine = ExecutionEngine(log, max_workers=2, durability="off")
        engine.execute_pipeline(build(shape, events), 0, run_id=RUN_ID)
    elif role == "recover":
        with ExecutionEngine(log, max_workers=2) as engine:
            (future,) = engine.recover()
            assert future.result().success
            report(begun=begun)
    else:
        store = SqliteStore(log)
        run = load_run(store, RUN_ID, snapshots=role != "replay")
        report(seconds=time.time() - begun, events=run.state.version)
        store.close()


def start(role: str, log: Path, shape: str, events: int) -> tuple[dict[str, Any], float]:
    """Run a child; what it said, and how long it took."""
    begun = time.perf_counter()
    command = [sys.executable, __file__, "--child", role, "--log", str(log), "--shape", shape]
    done = subprocess.run(
        [*command, "--events", str(events)], stdout=subprocess.PIPE, text=True, check=False
    )
    took = time.perf_counter() - begun
    assert done.returncode in (0, -signal.SIGKILL), done.stdout
    facts: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        facts |= json.loads(line)
    return facts, took


def measure(shape: str, events: int) -> None:
    """One shape, from its first event to its last."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "growth.db"
        executed, took = start("execute", log, shape, events)
        store = SqliteStore(log)
        snapshot = store.load_snapshot(f"run/{RUN_ID}")
        row = store._connection._connection.execute("SELECT count(*) FROM events").fetchone()
        store.close()
        size, version = (len(snapshot.data), snapshot.version) if snapshot else (0, 0)
        loaded, _ = start("load", log, shape, events)
        replayed, _ = start("replay", log, shape, events)
        recovered, _ = start("recover", log, shape, events)
        ready = recovered["started"] - recovered["begun"]
        arrived = recovered["arrived"] - recovered["begun"]
        print(
            f"{shape}: {row[0]:,} events in {took:.0f} s ({took / row[0] * 1e6:.0f} us each), "
            f"{log.stat().st_size / 2**20:.0f} MiB, peak {executed['peak_mib']} MiB\n"
            f"  {executed['snapshots']} snapshots, {executed['snapshot_seconds']:.1f} s in all, "
            f"the last of {size / 2**20:.1f} MiB at version {version:,} "
            f"({row[0] - version:,} events after it)\n"
            f"  state from snapshot and tail in {loaded['seconds']:.1f} s ({loaded['cpu']:.1f} of "
            f"CPU), peak {loaded['peak_mib']} MiB; from all events in {replayed['seconds']:.1f} s "
            f"({replayed['cpu']:.1f} of CPU), peak {replayed['peak_mib']} MiB\n"
            f"  recovered: its step runs after {ready:.1f} s, is there after {arrived:.1f} s, "
            f"peak {recovered['peak_mib']} MiB",
            flush=True,
        )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    shapes = ["fan", "chain", "items", "checkpoints"]
    parser.add_argument("--shapes", nargs="+", choices=shapes, default=shapes)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--log", help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.log, options.shape, options.events)
        return
    for shape in options.shapes:
        measure(shape, options.events)


if __name__ == "__main__":
    main()
