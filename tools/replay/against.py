"""``replay --against``: would changed code have decided otherwise on what is recorded?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ...engine.core.reconsidering import Divergence, Recorded, reconsider
from ...engine.model import Pipeline, define
from ...events.definition import PipelineDefinition
from ...events.directory import RunRow
from ...events.errors import PipelineError
from ...events.step import StepSuspended
from ...events.store import Store
from ...events.upcasters import to_event
from ...projections.catchup import load_run
from ...projections.difference import definition_changes
from ..finding import find
from ..terminal import BadInput, clean, moment, paint, print_json


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came out for one run.

    Args:
        path: The steps around it, of a run that is a step.
        divergence: Where the other code would have decided otherwise; None: nowhere.
        problem: Why the history could not be judged.
    """

    run_id: str
    status: str
    events: int
    path: tuple[str, ...] = ()
    divergence: Divergence | None = None
    problem: str | None = None


def against(store: Store, run: str | None, pipeline: Pipeline, limit: int, *, as_json: bool) -> int:
    """Decide anew on recorded runs with another pipeline; returns the exit status, 1 if any of them
    would have gone another way.

    Args:
        run: Which one; None: the newest of the pipeline's name, at most ``limit``.

    Raises:
        BadInput: There is none.
    """
    rows = [find(store, run)] if run else store.runs(name=pipeline.name, roots=True, limit=limit)
    if not rows:
        raise BadInput(f"{store.location} has no run of {pipeline.name!r}; name one: replay RUN")
    now = define(pipeline)
    verdicts = [one for row in rows for one in _judged(store, row, now)]
    changes = list(_changes(load_run(store, rows[0].run_id).graph.definition, now))
    differs = any(one.divergence or one.problem for one in verdicts)
    if as_json:
        print_json({"same": not differs, "changes": changes, "runs": verdicts})
        return int(differs)
    _show(rows[0], changes, verdicts)
    return int(differs)


def _judged(
    store: Store, row: RunRow, now: PipelineDefinition, path: tuple[str, ...] = ()
) -> Iterator[Verdict]:
    """The verdict on a run, and on those of its steps that are pipelines in both."""
    try:
        run = load_run(store, row.run_id, snapshots=False)
        history = [Recorded(e.version, e.at, e.epoch, to_event(e)) for e in store.read(row.stream)]
        found = reconsider(row.run_id, run.graph.definition, now, history)
    except PipelineError as error:
        yield Verdict(row.run_id, str(row.status), 0, path, problem=str(error))
        return
    yield Verdict(row.run_id, str(row.status), len(history), path, found)
    steps = {step.name: step.pipeline for step in now.steps}
    begun = dict.fromkeys(
        (one.event.step, one.event.run)
        for one in history
        if isinstance(one.event, StepSuspended) and one.event.run is not None
    )
    for name, child in begun:
        inner, inside = steps.get(name), store.run(child)
        if inner is not None and inside is not None:
            yield from _judged(store, inside, inner, (*path, name))


def _changes(before: PipelineDefinition, now: PipelineDefinition) -> Iterator[dict[str, Any]]:
    """What is defined otherwise than in the newest of the runs."""
    old = {step.name: step for step in before.steps}
    new = {step.name: step for step in now.steps}
    for name in {**old, **new}:
        if name not in old or name not in new:
            yield {"step": name, "change": "is new" if name in new else "is gone"}
            continue
        for change in definition_changes(old[name], new[name]):
            yield {"step": name, "change": str(change)}


def _show(newest: RunRow, changes: Sequence[dict[str, Any]], verdicts: Sequence[Verdict]) -> None:
    if changes:
        print(f"changed since run {newest.run_id}:")
        for change in changes:
            print(clean(f"  {change['step']}: {change['change']}"))
    for one in verdicts:
        place = f" ({' > '.join(one.path)})" if one.path else ""
        told = paint("the same decisions", "green")
        if one.problem:
            told = f"{paint('cannot be judged:', 'red')} {clean(one.problem)}"
        elif one.divergence:
            told = paint("goes another way", "red")
        print(f"{one.run_id}{clean(place)} {one.status}, {one.events:,} events: {told}")
        if one.divergence:
            _show_divergence(one.divergence)
    diverging = sum(1 for one in verdicts if one.divergence or one.problem)
    count = f"{len(verdicts):,} {'history' if len(verdicts) == 1 else 'histories'}"
    if diverging:
        print(f"{count}: {paint(f'{diverging:,} would not go the same way', 'red')}")
    else:
        print(f"{count}: {paint('all would have gone the same way', 'green')}; what handlers")
        print("return, and how long they take, is taken as recorded")


def _show_divergence(found: Divergence) -> None:
    print(clean(f"  at version {found.version}, {moment(found.at)}: {found.reason}"))
    print(f"    recorded: {', '.join(found.recorded) or 'nothing more'}")
    print(f"    now:      {', '.join(found.decided) or 'nothing of it'}")
