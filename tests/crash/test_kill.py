"""``kill -9`` at random moments, dozens of times, loses nothing and repeats nothing completed."""

from __future__ import annotations

from pathlib import Path

import pytest
from killing import never_executed_after_completion, survive

KILLS = 5  # per case; tests/crash/long_run.py takes any number


@pytest.mark.parametrize("mode", ["same", "recover"])
@pytest.mark.parametrize(("shape", "output"), [("chain", 120), ("ladder", None), ("fan", 401)])
def test_a_run_survives_being_killed(
    tmp_path: Path, shape: str, mode: str, output: int | None
) -> None:
    outcome = survive(tmp_path, shape, mode, KILLS, seed=len(shape) + len(mode))
    if output is None:  # each diamond doubles and adds: x -> 2 (x + 1) + 1
        output = 1
        for _ in range(50):
            output = 2 * (output + 1) + 1
    assert outcome.output == output, "the output differs from an undisturbed run's"
    assert outcome.kills >= 3
    never_executed_after_completion(outcome)
    interrupted = [e for e in outcome.history if e.type == "StepInterrupted"]
    claims = [e for e in outcome.history if e.type == "PipelineClaimed"]
    assert len(claims) >= 2
    assert interrupted, "no kill found a step in flight: the test shows nothing"
