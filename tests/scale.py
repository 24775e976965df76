"""How cost grows: ``python tests/scale.py [--sizes 1000 100000] [--rounds 3]``.

Prints microseconds per step of a chain (declared in reverse) and of a fan 1 -> n -> 1, on a log in
memory and in SQLite, and their ratio to the smallest size. Medians of several rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep


def grow(data: int) -> int:
    """The handler of every step."""
    return data + 1


def chain(length: int) -> Pipeline:
    """One after the other, the last one declared first."""
    steps = [
        PipelineStep(f"s{i}", "t", handler=grow, dependencies=[f"s{i - 1}"] if i else [])
        for i in range(length)
    ]
    return Pipeline("chain", steps[::-1])


def fan(width: int) -> Pipeline:
    """1 -> width -> 1."""
    middle = [
        PipelineStep(f"m{i}", "t", handler=grow, dependencies=["first"]) for i in range(width)
    ]
    last = PipelineStep("last", "t", handler=len, dependencies=[step.name for step in middle])
    return Pipeline("fan", [PipelineStep("first", "t", handler=grow), *middle, last])


def microseconds_per_step(pipeline: Pipeline, log: str) -> float:
    """Build, validate and run it once; the whole cost over its steps."""
    with ExecutionEngine(log, max_workers=4) as engine:
        begun = time.perf_counter()
        engine.execute_pipeline(pipeline, 0).raise_for_status()
        return (time.perf_counter() - begun) / len(pipeline.steps) * 1e6


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for shape in (chain, fan):
        for place in (":memory:", "sqlite"):
            smallest = 0.0
            for size in options.sizes:
                figures = []
                for _ in range(options.rounds):
                    with tempfile.TemporaryDirectory() as folder:
                        log = place if place == ":memory:" else str(Path(folder) / "scale.db")
                        figures.append(microseconds_per_step(shape(size), log))
                median = statistics.median(figures)
                smallest = smallest or median
                print(
                    f"{shape.__name__:5} {place:8} {size:7} steps: {median:4.0f} us a step "
                    f"({min(figures):.0f} to {max(figures):.0f}), {median / smallest:.2f} times",
                    flush=True,
                )


if __name__ == "__main__":
    main()
