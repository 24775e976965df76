"""Whether changed code can be trusted with histories of the code before."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..events.definition import PipelineDefinition
from ..events.directory import RunRow
from ..events.errors import MissingKey, PipelineError
from ..events.step import StepSuspended
from ..events.store import Store
from ..events.upcasters import to_event
from ..projections.catchup import load_run
from .core.reconsidering import Divergence, Recorded, reconsider
from .encrypting import is_readable


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

    @property
    def passes(self) -> bool:
        """Whether the other code would have decided the same."""
        return self.divergence is None and self.problem is None

    def __str__(self) -> str:
        """In a line."""
        if self.divergence is not None:
            return f"version {self.divergence.version}: {self.divergence.reason}"
        return self.problem or "the same decisions"


def judged(
    store: Store, row: RunRow, now: PipelineDefinition, path: tuple[str, ...] = ()
) -> Iterator[Verdict]:
    """The verdict on a run, and on those of its steps that are pipelines in both."""
    try:
        run = load_run(store, row.run_id, snapshots=False)
        if not is_readable(store, run.state.encoding):
            raise MissingKey("it is encrypted and its key is not here, so that what was decided on "
                             "cannot be read")  # fmt: skip
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
            yield from judged(store, inside, inner, (*path, name))
