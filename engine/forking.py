"""A new run from the middle of an old one: what is kept, done again, and different."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..events import step as s
from ..events.codec import Value
from ..events.errors import HandlerNotFound, PipelineError, nearest
from ..events.machines import StepStatus
from ..events.store import Store
from ..events.upcasters import to_event
from ..projections.run import Run
from .model import Given, Pipeline, known_options, rebuild, steps_within, supply

Overrides = Mapping[str, Mapping[str, Any]]


class Fork(NamedTuple):
    """What a fork consists of."""

    pipeline: Pipeline
    reused: list[s.StepReused]


def fork(
    store: Store,
    run: Run,
    from_steps: Iterable[str],
    overrides: Overrides,
    given: Mapping[str, Given],
) -> Fork:
    """The pipeline of a run with other configuration, and the outputs that it need not produce.

    Done again are ``from_steps``, steps that are overridden or not completed, and all that follows
    from them.

    Raises:
        PipelineError: A step that does not exist, or a handler that is not to be had.
    """
    pipeline = rebuild(run.graph.definition, allow_pickle=store.artifacts.trusted)
    supply(pipeline, given)
    again = _again(run, {*from_steps, *overrides})
    for i, step in enumerate(pipeline.steps):
        _override(step, overrides.get(step.name, {}))
        inside = [] if step.pipeline is None else steps_within(step.pipeline, f"{step.name} > ")
        for path, one in [(step.name, step), *inside]:
            if i not in again:
                one.handler = one.handler or None  # it is not called any more
            elif one.handler == "":
                raise HandlerNotFound(
                    f"step {path!r}: its handler was given as a lambda, a closure or the like; "
                    "give the pipeline again (pipeline=...)"
                )
    return Fork(pipeline, _reused(store, run, again))


def _again(run: Run, names: Iterable[str]) -> set[int]:
    """The steps that are executed again, by index."""
    graph, steps = run.graph, run.state.steps
    for name in names:
        if name not in graph.index:
            raise PipelineError(
                f"run {run.run_id} ({run.state.name}) has no step {name!r}"
                f"{nearest(name, graph.index)}"
            )
    waiting = [graph.index[name] for name in names]
    waiting += [i for i, step in enumerate(steps) if not _is_kept(step.status)]
    again = set[int]()
    while waiting:
        i = waiting.pop()
        if i not in again:
            again.add(i)
            waiting.extend(graph.dependents[i])
    return again


def _is_kept(status: StepStatus) -> bool:
    return status is StepStatus.COMPLETED


def _override(step: Any, changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if key in ("name", "step_type", "dependencies"):
            raise PipelineError(f"step {step.name!r}: a fork cannot change its {key}")
        if key in known_options() and hasattr(step, key):
            setattr(step, key, value)
        else:
            step.config[key] = value


def _reused(store: Store, run: Run, again: set[int]) -> list[s.StepReused]:
    """The recorded outputs of all other steps, in the order of their completion."""
    versions = {
        step.version: run.graph.name(i) for i, step in enumerate(run.state.steps) if i not in again
    }
    reused = []
    for envelope in store.read(run.stream):
        if envelope.version in versions:
            output: Value = to_event(envelope).output
            name = versions[envelope.version]
            reused.append(s.StepReused(name, output, run.run_id, envelope.version))
    return reused
