"""Large graphs and many runs: no recursion, and nothing left in memory. Timings: tests/scale.py."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc

import pytest
from scale import chain, fan, grow

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineBuilder


@pytest.mark.parametrize(("pipeline", "output"), [(chain(30_000), 30_000), (fan(30_000), 30_000)])
def test_30000_steps_build_validate_and_run(pipeline: Pipeline, output: int) -> None:
    with ExecutionEngine(":memory:", max_workers=4) as engine:
        assert engine.execute_pipeline(pipeline, 0).output == output


def test_4000_pipelines_through_one_engine_leave_nothing_behind() -> None:
    pipeline = PipelineBuilder().add_step("s", "t", handler=grow).build("many")
    with ExecutionEngine(":memory:", max_workers=2) as engine:
        store = engine._open().store

        def execute(number: int) -> int:
            """Bytes that the engine holds beyond the log itself (which is in memory here)."""
            futures = [engine.execute_pipeline_async(pipeline, i) for i in range(number)]
            assert all(future.result(60).success for future in futures)
            del futures
            for part in (store._log, store._streams, store._directory):  # type: ignore[attr-defined]
                part.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = execute(2_000)  # tables keep the size that their fullest moment took
            after = execute(2_000)
        finally:
            tracemalloc.stop()
        assert after - before < 50_000, "more than 25 bytes a run are left"


def test_importing_is_quick_and_pulls_in_nothing_heavy() -> None:
    """The time itself is measured by tests/scale.py's kind of scripts, not here."""
    code = "import sys, semantica.pipeline; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {
        "numpy", "pyarrow", "selectolax", "markdown_it", "charset_normalizer", "click", "rich",
        "sqlite_utils", "sqlite3", "structlog", "yaml", "asyncio",
    }  # fmt: skip
    assert not loaded & heavy
