"""What the crash tests run in a process of its own, to be killed.

``python -c "import workload; workload.main()" LOG SHAPE MODE EXECUTIONS`` builds a pipeline, runs
it (``same``: with the same run id; ``recover``: by recovery once it exists), and prints its output.
Every execution of a handler first leaves a line in the file EXECUTIONS.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep

RUN_ID = "crash"
PAUSE = 0.01  # seconds a step takes, so that kills find something in flight


def work(step: PipelineStep, data: Any, context: Context, trace: str, pause: float = PAUSE) -> int:
    """Leave a trace, take some time, and add up."""
    descriptor = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{step.name} {context.attempt}\n".encode())
    os.close(descriptor)
    time.sleep(pause)  # the work itself: a kill finds it in flight
    context.metric("executions")
    return 1 + (sum(data.values()) if isinstance(data, dict) else data or 0)


def chain(trace: str, length: int = 120) -> Pipeline:
    """One after the other."""
    steps = [_step(f"s{i}", trace, [f"s{i - 1}"] if i else []) for i in range(length)]
    return Pipeline("chain", steps)


def ladder(trace: str, levels: int = 50) -> Pipeline:
    """Diamonds in a row."""
    steps = [_step("join0", trace, [])]
    for i in range(levels):
        steps += [_step(f"{side}{i}", trace, [f"join{i}"]) for side in ("left", "right")]
        steps.append(_step(f"join{i + 1}", trace, [f"left{i}", f"right{i}"]))
    return Pipeline("ladder", steps)


def fan(trace: str, width: int = 200) -> Pipeline:
    """1 -> 200 -> 1."""
    middle = [_step(f"m{i}", trace, ["first"], pause=0.03) for i in range(width)]
    last = _step("last", trace, [step.name for step in middle])
    return Pipeline("fan", [_step("first", trace, []), *middle, last])


def _step(name: str, trace: str, dependencies: list[str], **config: Any) -> PipelineStep:
    return PipelineStep(
        name, "work", {"trace": trace, **config}, dependencies, handler=f"{__name__}:work"
    )


SHAPES = {"chain": chain, "ladder": ladder, "fan": fan}


def main() -> None:
    """See the module."""
    log, shape, mode, trace = sys.argv[1:5]
    with ExecutionEngine(log, max_workers=4) as engine:
        futures = engine.recover() if mode == "recover" else []
        if not futures:
            pipeline = SHAPES[shape](trace)
            futures = [engine.execute_pipeline_async(pipeline, 0, run_id=RUN_ID)]
        result = futures[0].result()
        result.raise_for_status()
        print(json.dumps({"output": result.output, "metrics": result.metrics["executions"]}))
