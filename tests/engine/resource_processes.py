"""What the tests of shared resources run in processes of their own.

``python -c "import resource_processes as r; r.main()" MODE LOG COUNTER NAME``
"""

from __future__ import annotations

import fcntl
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep, ResourceScheduler

CAPACITY = 3


@contextmanager
def counted(counter: str, amount: int) -> Iterator[None]:
    """What is held, over all processes, stands in a file under a lock, and the most there was."""
    _add(counter, amount)
    try:
        yield
    finally:
        _add(counter, -amount)


def _add(counter: str, amount: int) -> None:
    with Path(counter).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        now, most = map(int, file.read().split())
        file.seek(0)
        file.truncate()
        file.write(f"{now + amount} {max(most, now + amount)}")


def work(data: Any, counter: str, amount: int) -> int:
    """A step that is counted while it runs."""
    with counted(counter, amount):
        time.sleep(0.01)  # the work itself: others meet it
    return amount


def hang(data: Any, go_on: str) -> int:
    """A step that runs until a file is there."""
    while not Path(go_on).exists():
        time.sleep(0.01)  # a file that another process makes
    return 7


def share(log: str, counter: str, name: str) -> None:
    """Steps, and allocations of one's own, that compete with those of others."""
    scheduler = ResourceScheduler(pool="shared", enable_gpu=False)
    steps = [
        PipelineStep(
            f"s{i}", "t", {"counter": counter, "amount": 1 + i % 2}, handler=f"{__name__}:work",
            resources={"cpu": 1 + i % 2},
        )
        for i in range(8)
    ]  # fmt: skip
    with ExecutionEngine(log, max_workers=4, resource_scheduler=scheduler) as engine:
        scheduler.register_resource("cpu", "cpu", CAPACITY)
        future = engine.execute_pipeline_async(Pipeline(name, steps))
        for _ in range(8):
            mine = scheduler.allocate_resource("cpu", "cpu", 1, name, timeout=60)
            with counted(counter, 1):
                time.sleep(0.005)
            scheduler.deallocate_resource(mine.allocation_id)
        future.result(60).raise_for_status()


def holding(go_on: str, *, waits: int = 2) -> Pipeline:
    """One step that has all there is, others that wait for it, and one that adds up."""
    options: dict[str, Any] = {"handler": f"{__name__}:hang", "resources": {"cpu": CAPACITY}}
    steps = [PipelineStep(f"s{i}", "t", {"go_on": go_on}, **options) for i in range(1 + waits)]
    last = PipelineStep(
        "sum", "t", handler=f"{__name__}:total", dependencies=[s.name for s in steps]
    )
    return Pipeline("holding", [*steps, last])


def total(data: Any) -> int:
    """The last step."""
    return sum(data.values()) if isinstance(data, dict) else data


def hold(log: str, go_on: str, name: str) -> None:
    """Take all there is, for a step or by hand, and never give it back."""
    scheduler = ResourceScheduler(pool="shared", enable_gpu=False)
    engine = ExecutionEngine(log, max_workers=4, resource_scheduler=scheduler)
    scheduler.register_resource("cpu", "cpu", CAPACITY)
    if name == "by hand":
        scheduler.allocate_resource("cpu", "cpu", CAPACITY, name)
        print("held", flush=True)
        time.sleep(600)
    future = engine.execute_pipeline_async(holding(go_on), run_id="held")
    while scheduler.get_resource_status("cpu")["waiting"] < 2:
        time.sleep(0.01)
    print("held", flush=True)
    future.result(math.inf)


def main() -> None:
    """See the module."""
    mode, log, counter, name = sys.argv[1:5]
    {"share": share, "hold": hold}[mode](log, counter, name)
