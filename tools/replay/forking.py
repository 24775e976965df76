"""``fork``: a new run that goes on from what another one has done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...engine.model import Pipeline
from ...events.directory import RunRow
from ...events.errors import nearest
from ...projections.catchup import load_run
from ..attending import Ended, Interrupts, attend
from ..executing import EngineOptions, original
from ..finding import Log
from ..follow import Follower
from ..loading import check_settable, parsed
from ..terminal import BadInput


def fork(
    log: Log,
    options: EngineOptions,
    row: RunRow,
    pipeline: Pipeline | None,
    from_steps: Sequence[str],
    settings: Sequence[str],
    run_id: str | None,
) -> Ended:
    """Begin the new run here and wait for its end.

    Raises:
        BadInput: The run has no such step, a setting is none, or the id is taken.
    """
    overrides = _overrides(settings)
    names = load_run(log.store, row.run_id).graph.index
    for step in (*from_steps, *overrides):
        if step not in names:
            hint = nearest(step, names) or f"; its steps: {', '.join(list(names)[:20])}"
            raise BadInput(f"run {row.run_id} ({row.name}) has no step {step!r}{hint}")
    if run_id is not None and log.store.run(run_id) is not None:
        raise BadInput(f"there is a run {run_id} already; choose another id for the fork")
    with Interrupts() as interrupts:
        engine = options.engine(log)
        future = engine.fork(
            row.run_id,
            from_step=from_steps,
            overrides=overrides,
            pipeline=pipeline or original(log.store, row),
            run_id=run_id,
        )
        followers = [Follower(log.store, future.run_id, new=True)]
        return attend(engine, log.store, [future], followers, interrupts, quiet=options.as_json)


def _overrides(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for step, key, value in parsed(settings):
        check_settable(step, key)
        found.setdefault(step, {})[key] = value
    return found
