"""Test your own pipelines: their retries, waits, timeouts, deadlines, signals and recovery::

    from semantica.pipeline.testing import SimulatedEngine

    with SimulatedEngine() as engine:
        result = engine.execute_pipeline(pipeline, data)  # leaps over whatever takes time
        assert engine.attempts(result.run_id) == {"fetch": 3, "load": 1}

:func:`record_run` and :func:`replay` keep what happened once for the code of later.
"""

from pathlib import Path
from typing import Any

from semantica.pipeline.engine.execution import ExecutionEngine
from semantica.pipeline.engine.model import Pipeline, define
from semantica.pipeline.engine.mortal import SimulatedCrash
from semantica.pipeline.engine.simulation import SimulatedEngine
from semantica.pipeline.engine.upgrading import judged
from semantica.pipeline.projections import recording


def record_run(engine: ExecutionEngine, pipeline_id: str, path: str | Path) -> None:
    """Write the history of a run, and what it came to, to a new file, for :func:`replay`.

    Raises:
        RunNotFound: There is no such run.
        FileExistsError: ``path`` exists; recordings are kept as they are.
    """
    recording.record(engine._open().store, engine.find(pipeline_id).run_id, Path(path))


def replay(path: str | Path, pipeline: Pipeline | None = None) -> dict[str, Any]:
    """Fold a recorded run with the code of today, and return what it comes to.

    Args:
        pipeline: As it is today: every decision that was recorded is taken anew with it, on what
            handlers returned and raised then.

    Raises:
        AssertionError: Something else than what was recorded, or a decision that comes out
            otherwise; the message says what differs.
        LogCorrupt: The file is damaged, or is no recording.
        IllegalTransition, UnknownEvent: Today's code cannot fold what happened then.
    """
    found = recording.replay(Path(path))
    if pipeline is not None:
        store, _, _ = recording.restored(Path(path))
        for verdict in judged(store, store.runs()[0], define(pipeline)):
            if not verdict.passes:
                raise AssertionError(f"{path}: {verdict}")
    return found


__all__ = ["SimulatedCrash", "SimulatedEngine", "record_run", "replay"]
