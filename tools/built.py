"""The knowledge graph among the outputs of a run's steps."""

from __future__ import annotations

from typing import NamedTuple

from ..engine.steps.knowledge.graph import KnowledgeGraph
from ..events.codec import Value, decode, text_of
from ..events.directory import RunRow
from ..events.errors import nearest
from ..events.machines import StepStatus
from ..events.references import reference_of
from ..events.store import Store
from ..events.upcasters import to_event
from ..projections.catchup import load_run
from ..projections.run import Run
from .finding import find
from .terminal import PROGRAM, BadInput

LOOKED_AT = 100
"""Newest runs among which one with a graph is looked for."""
_LARGEST = 1 << 24
"""Bytes of an output that may still be a graph: it is a list of digests."""
_BEGINNING = f'{{"!":"object","t":"{reference_of(KnowledgeGraph)}",'.encode()


class Built(NamedTuple):
    """A graph, and the step and run that have built it; ``name`` is the pipeline's."""

    run_id: str
    name: str
    step: str
    graph: KnowledgeGraph


def graph_in(store: Store, run: str | None, step: str | None) -> Built:
    """The graph of a run, as a user names it, or of the newest run that has one.

    Args:
        step: The step that has built it; None: the last one that has built any.

    Raises:
        BadInput: There is none.
        RunNotFound, AmbiguousRun: No run is meant, or several are.
    """
    if run is not None:
        row = find(store, run)
        built = _built(store, row, step)
        if built is None:
            who = "no step of it has" if step is None else f"its step {step!r} has not"
            raise BadInput(
                f"run {row.run_id} ({row.name}, {row.status}) has no knowledge graph: {who} built "
                "one, as build_kg and build_graph do"
            )
        return built
    for row in store.runs(limit=LOOKED_AT):
        built = _built(store, row, step)
        if built is not None:
            return built
    raise BadInput(
        f"no run in {store.location} has built a knowledge graph: steps of the types build_kg and "
        f"build_graph do; '{PROGRAM} run kg_construction' has one"
    )


def _built(store: Store, row: RunRow, step: str | None) -> Built | None:
    run = load_run(store, row.run_id)
    names = [one.name for one in run.graph.definition.steps]
    if step is not None and step not in names:
        raise BadInput(f"run {row.run_id} ({row.name}) has no step {step!r}{nearest(step, names)}")
    states = run.state.steps
    for number in sorted(range(len(names)), key=lambda one: -states[one].version):
        if step in (None, names[number]) and states[number].status is StepStatus.COMPLETED:
            value = _output(store, run, number)
            if value is not None and _is_graph(store, value):
                graph = decode(value, store.artifacts, allow_pickle=False)
                return Built(row.run_id, row.name, names[number], graph)
    return None


def _output(store: Store, run: Run, number: int) -> Value | None:
    """What a completed step has given: the state lets go of it when all have taken it."""
    state = run.state.steps[number]
    if state.output is not None or not state.version:
        return state.output
    envelope = next(iter(store.read(run.stream, state.version - 1)))
    return getattr(to_event(envelope), "output", None)


def _is_graph(store: Store, value: Value) -> bool:
    return value.size < _LARGEST and text_of(value, store.artifacts).startswith(_BEGINNING)
