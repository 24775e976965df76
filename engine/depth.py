"""Pipelines that are steps of others: how deep they lie, and what they are not told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .findings import Finding
from .model import Pipeline, PipelineStep
from .wellformed import label

MAX_DEPTH = 64
"""Levels of pipelines within one another. Each of them is a run, and a level of three in a text."""

_OF_NO_USE = {
    "handler": "a nested pipeline takes the place of a handler; give one of them",
    "config": "a nested pipeline takes no configuration; give it to the steps in it",
    "executor": "say it of the steps in the nested pipeline",
    "resources": "the steps of a nested pipeline ask for resources themselves; declare them there",
    "heartbeat_timeout": "say it of the steps in the nested pipeline; timeout= works",
    "cache": "say it of the steps in the nested pipeline",
    "at_most_once": "say it of the steps in the nested pipeline",
}
"""Options that a step which is a pipeline cannot have, and what to do instead."""


def nested_in(pipeline: Pipeline) -> Iterator[tuple[str, Pipeline]]:
    """The pipelines that are steps of one, by the names of the steps."""
    steps = pipeline.steps if isinstance(pipeline.steps, list | tuple) else ()
    for step in steps:
        if isinstance(step, PipelineStep) and isinstance(step.pipeline, Pipeline):
            yield label(step), step.pipeline


def nesting(pipeline: Pipeline) -> Iterator[Finding]:
    """What steps that are pipelines are told, and cannot be."""
    for step in pipeline.steps:
        nested: Any = step.pipeline
        if nested is None:
            continue
        if not isinstance(nested, Pipeline):
            kind = type(nested).__name__
            message = f"pipeline must be a Pipeline, as build() makes it, not {kind}"
            yield Finding("invalid_option", message, label(step))
        for option, mend in _OF_NO_USE.items():
            if getattr(step, option):
                yield Finding("invalid_option", f"{option}: {mend}", label(step))


def bottomless(pipeline: Pipeline) -> Iterator[Finding]:
    """A pipeline that contains itself, or holds pipelines too deep within one another."""
    if not isinstance(pipeline, Pipeline):
        return
    depths: dict[int, int] = {}
    path: list[tuple[str, Pipeline]] = [("", pipeline)]
    work = [iter(list(nested_in(pipeline)))]
    around = {id(pipeline)}
    while work:
        name, nested = next(work[-1], ("", None))
        if nested is None:
            work.pop()
            _, left = path.pop()
            around.discard(id(left))
            inner = [depths[id(one)] for _, one in nested_in(left)]
            depths[id(left)] = 1 + max(inner, default=0)
        elif id(nested) in around:
            where = " > ".join([*(step for step, _ in path[1:]), name])
            message = f"the pipeline {nested.name!r} contains itself, as {where!r}"
            yield Finding("circular_nesting", message)
            return
        elif id(nested) not in depths:
            path.append((name, nested))
            around.add(id(nested))
            work.append(iter(list(nested_in(nested))))
    deep = depths[id(pipeline)]
    if deep > MAX_DEPTH:
        message = f"pipelines are nested {deep} deep; at most {MAX_DEPTH} are allowed"
        yield Finding("deep_nesting", message)
