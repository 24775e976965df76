"""How long steps took in earlier runs, to foresee how long they will take."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Literal

from ..events.directory import RunRow
from ..events.machines import PipelineStatus
from ..events.store import Store
from ..projections.catchup import load_run
from ..projections.progress import expected_durations
from .logs import open_existing
from .model import Pipeline

Basis = Literal["run", "type", "unknown"]
"""Where a step's duration is from: runs of its pipeline, other steps of its type, or nowhere."""

RUNS = 5
"""Completed runs of the same pipeline that count, from the newest on."""

OTHERS = 20
"""Runs of any pipeline that are looked through for steps of a type."""

Sample = dict[tuple[str, str], list[float]]


def durations(
    pipeline: Pipeline, log: str | os.PathLike[str] | Store | None
) -> dict[str, tuple[float, Basis]]:
    """Seconds that steps of ``pipeline`` are expected to take, by name, and why.

    The median of the step in the newest completed runs of this pipeline; of a step that has not run
    in those, the median of all steps of its type in the newest runs of any. A step without either
    is left out.

    Raises:
        LogError: The log cannot be read.
    """
    with _reading(log) as store:
        if store is None:
            return {}
        own = _sample(
            store,
            store.runs(name=pipeline.name, statuses=[PipelineStatus.COMPLETED], limit=RUNS),
        )
        found: dict[str, tuple[float, Basis]] = {
            step.name: (median(own[step.name, step.step_type]), "run")
            for step in pipeline.steps
            if (step.name, step.step_type) in own
        }
        rest = [step for step in pipeline.steps if step.name not in found]
        if rest:
            usual = _by_type(_sample(store, store.runs(limit=OTHERS)))
            found |= {
                step.name: (usual[step.step_type], "type")
                for step in rest
                if step.step_type in usual
            }
        return found


@contextmanager
def _reading(log: str | os.PathLike[str] | Store | None) -> Iterator[Store | None]:
    """The store of a log, or None where there is none; it is not created."""
    if log is not None and not isinstance(log, (str, os.PathLike)):
        yield log
        return
    shared = open_existing(log)
    if shared is None:
        yield None
        return
    try:
        yield shared.store
    finally:
        shared.leave()


def _sample(store: Store, rows: Iterable[RunRow]) -> Sample:
    """What the completed steps of these runs took, by name and type."""
    sample: Sample = {}
    for row in rows:
        run = load_run(store, row.run_id)
        took = expected_durations(run)
        for step in run.graph.definition.steps:
            if step.name in took:
                sample.setdefault((step.name, step.type), []).append(took[step.name])
    return sample


def _by_type(sample: Sample) -> dict[str, float]:
    types: dict[str, list[float]] = {}
    for (_, kind), took in sample.items():
        types.setdefault(kind, []).extend(took)
    return {kind: median(took) for kind, took in types.items()}
