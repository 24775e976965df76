"""A pool that several processes share, some of which are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import resource_processes as r
from making import MakeEngine

from semantica.pipeline import ResourceScheduler
from semantica.pipeline.events.upcasters import to_event

FAR = 60.0
"""Seconds that nothing here takes."""


def start(mode: str, log: Path, counter: Path, name: str) -> subprocess.Popen[str]:
    command = "import resource_processes as r; r.main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, mode, str(log), str(counter), name],
        cwd=Path(r.__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def shared() -> ResourceScheduler:
    return ResourceScheduler(pool="shared", enable_gpu=False)


def test_several_processes_never_have_more_than_there_is(
    log: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]
) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0 0")
    processes += [start("share", log, counter, f"p{i}") for i in range(3)]
    for process in processes:
        _, told = process.communicate(timeout=FAR)
        assert process.returncode == 0, told
    now, most = map(int, counter.read_text().split())
    assert now == 0
    assert 1 < most <= r.CAPACITY


@pytest.mark.parametrize("name", ["by hand", "for a step"])
def test_what_a_killed_process_held_is_for_others(
    log: Path,
    tmp_path: Path,
    make_engine: MakeEngine,
    processes: list[subprocess.Popen[str]],
    name: str,
) -> None:
    go_on = tmp_path / "go on"
    processes.append(start("hold", log, go_on, name))
    assert processes[0].stdout is not None
    assert processes[0].stdout.readline() == "held\n", processes[0].stderr
    scheduler = shared()
    engine = make_engine(max_workers=4, resource_scheduler=scheduler)
    assert scheduler.get_resource_status("cpu")["available"] == 0
    mine = engine.execute_pipeline_async(r.holding(str(go_on), waits=0))
    processes[0].kill()
    processes[0].wait()
    go_on.touch()
    assert mine.result(FAR).output == 7
    held = scheduler.allocate_resource("cpu", "cpu", r.CAPACITY, "me", timeout=FAR)
    assert scheduler.get_resource_status("cpu")["waiting"] == 0, "its requests are gone as well"
    assert scheduler.deallocate_resource(held.allocation_id)
    events = engine._open().store.read("resource/shared")
    lost = [to_event(e) for e in events if "owner_lost" in e.payload.decode()]
    assert len(lost) == (1 if name == "by hand" else 3)


def test_who_waits_by_hand_gets_what_a_killed_process_held(
    log: Path, tmp_path: Path, make_engine: MakeEngine, processes: list[subprocess.Popen[str]]
) -> None:
    processes.append(start("hold", log, tmp_path / "x", "by hand"))
    assert processes[0].stdout is not None
    assert processes[0].stdout.readline() == "held\n"
    scheduler = shared()
    make_engine(resource_scheduler=scheduler)
    processes[0].kill()
    processes[0].wait()
    begun = time.monotonic()
    scheduler.allocate_resource("cpu", "cpu", 1, "me")  # at once
    assert time.monotonic() - begun < 5


def test_a_killed_run_is_recovered_with_what_it_ran_and_what_waited(
    log: Path, tmp_path: Path, make_engine: MakeEngine, processes: list[subprocess.Popen[str]]
) -> None:
    go_on = tmp_path / "go on"
    processes.append(start("hold", log, go_on, "for a step"))
    assert processes[0].stdout is not None
    assert processes[0].stdout.readline() == "held\n"
    processes[0].kill()
    processes[0].wait()
    scheduler = shared()
    engine = make_engine(max_workers=4, resource_scheduler=scheduler)
    (future,) = engine.recover()
    go_on.touch()
    assert future.result(FAR).output == 21
    types = [e.type for e in engine.history("held")]
    assert types.count("StepInterrupted") == 1
    assert types.count("StepStarted") == 5
    assert scheduler.get_resource_status("cpu")["allocated"] == 0
    assert scheduler.get_resource_status("cpu")["waiting"] == 0
