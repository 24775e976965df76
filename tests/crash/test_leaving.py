"""Archiving and vacuuming, killed at any moment: the log is whole, and doing it again finishes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from crash import leaving

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep


def large(data: int) -> str:
    return f"{data}" * 10_000


def broken(data: str) -> None:
    raise ValueError(data[:1])


def test_killed_before_and_after_every_change(tmp_path: Path) -> None:
    steps = [
        PipelineStep("large", "t", handler=large),
        PipelineStep("broken", "t", handler=broken, dependencies=["large"]),
    ]
    with ExecutionEngine(tmp_path / "log.db", durability="off") as engine:
        engine.execute_pipeline(Pipeline("good", steps[:1]), 1, run_id="good")
        engine.execute_pipeline(Pipeline("bad", steps), 2, run_id="bad")
        events = {f"run/{run}": len(engine.history(run)) for run in ("good", "bad")}
    done = subprocess.run(
        [sys.executable, leaving.__file__, tmp_path], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) > 20, "moments"
    for moment, one in enumerate(told, start=1):
        assert one["early"] == [], f"killed at {moment}"
        assert one["late"] == [], f"killed at {moment}, and finished"
        assert one["log"] == [{"archive/runs": 2, "stubs": 2}, []]
        held, artifacts = one["archive"]
        assert held == events and len(artifacts) == 2
