"""Algorithms and Methods."""

from __future__ import annotations

from itertools import pairwise

from guide.case import Script, case
from guide.handlers import Meeting, Recorder, one_after_another, spans

from semantica.pipeline import ExecutionEngine, PipelineBuilder

_SORT = "Topological Sort (Dependency Resolution)"


@case(f"Algorithms and Methods > Pipeline Execution Algorithms > {_SORT}")
def execution_order(script: Script) -> None:
    """The block is a drawing: the pipeline it draws is executed in the order it says."""
    script.run()
    paths = [line[2:].split(" → ") for line in script.block.text.splitlines() if "→" in line]
    assert paths == [["step1", "step2", "step4"], ["step1", "step3", "step4"]]
    arrows = {arrow for path in paths for arrow in pairwise(path)}
    Recorder("alone")
    Meeting(2, "parallel")
    builder = PipelineBuilder()
    for name in ("step4", "step3", "step2", "step1"):  # whatever the order of their declaration
        kind = "parallel" if name in ("step2", "step3") else "alone"
        before = sorted(source for source, target in arrows if target == name)
        builder.add_step(name, kind, dependencies=before)
    engine, pipeline = ExecutionEngine(), builder.build()
    assert engine.execute_pipeline(pipeline).success, "step2 and step3 meet"
    times = spans(engine, pipeline)
    for path in paths:
        assert one_after_another(times, path)
