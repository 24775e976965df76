"""``replay --against``: would changed code have decided otherwise on what is recorded?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...engine.core.reconsidering import Divergence
from ...engine.model import Pipeline, define
from ...engine.upgrading import Verdict, judged
from ...events.definition import PipelineDefinition
from ...events.directory import RunRow
from ...events.store import Store
from ...projections.catchup import load_run
from ...projections.difference import definition_changes
from ..terminal import BadInput, clean, moment, paint, print_json


def against(
    store: Store, row: RunRow | None, pipeline: Pipeline, limit: int, *, as_json: bool
) -> int:
    """Decide anew on recorded runs with another pipeline; returns the exit status, 1 if any of them
    would have gone another way.

    Args:
        row: Which one; None: the newest of the pipeline's name, at most ``limit``.

    Raises:
        BadInput: There is none.
    """
    rows = [row] if row else store.runs(name=pipeline.name, roots=True, limit=limit)
    if not rows:
        raise BadInput(f"{store.location} has no run of {pipeline.name!r}; name one: replay RUN")
    now = define(pipeline)
    verdicts = [one for row in rows for one in judged(store, row, now)]
    changes = list(_changes(load_run(store, rows[0].run_id).graph.definition, now))
    differs = not all(one.passes for one in verdicts)
    if as_json:
        print_json({"same": not differs, "changes": changes, "runs": verdicts})
        return int(differs)
    _show(rows[0], changes, verdicts)
    return int(differs)


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
    diverging = sum(not one.passes for one in verdicts)
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
