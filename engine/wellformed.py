"""What is wrong with the parts of a pipeline one by one: names, options, keys of configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any
from unicodedata import category

from ..events.arguments import MAX_SECONDS, shown
from ..events.definition import RetryPolicy
from .findings import SHOWN, Finding
from .model import EXECUTORS, Pipeline, PipelineStep, known_options

MAX_NAME = 255
"""Characters of a name."""

MAX_AMOUNT = 1e12
"""Of a resource."""


def unsound(pipeline: Pipeline) -> Iterator[Finding]:
    """What is among the steps of a pipeline, or in their place, without being a step."""
    steps = pipeline.steps
    if not isinstance(steps, list | tuple):
        message = f"the steps must be a list of PipelineStep, not {shown(steps)}"
        yield Finding("invalid_steps", message)
        return
    for number, step in enumerate(steps, 1):
        if not isinstance(step, PipelineStep):
            message = f"step number {number} must be a PipelineStep, not {shown(step)}"
            yield Finding("invalid_steps", message)


def names_in(items: Any) -> list[str]:
    """The names among the items; what is none, :func:`options` reports."""
    if isinstance(items, str) or not isinstance(items, Iterable):
        return []
    return [name for name in items if isinstance(name, str)]


def label(step: PipelineStep) -> str:
    """A step as messages call it."""
    return step.name if isinstance(step.name, str) else repr(step.name)


# Names


def structure(pipeline: Pipeline) -> Iterator[Finding]:
    """The pipeline has a name and steps, and these have types and names of their own."""
    problem = _name_problem(pipeline.name)
    if problem:
        yield Finding("invalid_name", f"the pipeline's name {shown(pipeline.name)} {problem}")
    if not pipeline.steps:
        yield Finding("empty_pipeline", "the pipeline has no steps; add one with add_step()")
    places: dict[Any, list[int]] = {}
    for number, step in enumerate(pipeline.steps, 1):
        problem = _name_problem(step.name)
        if problem:
            message = f"the name {shown(step.name)} of step number {number} {problem}"
            yield Finding("invalid_name", message)
        problem = _name_problem(step.step_type)
        if problem:
            message = f"the type {shown(step.step_type)} {problem}"
            yield Finding("invalid_name", message, label(step))
        if isinstance(step.name, str):
            places.setdefault(step.name, []).append(number)
    for name, numbers in places.items():
        if len(numbers) > 1:
            listing = ", ".join(map(str, numbers[:SHOWN])) + (", ..." * (len(numbers) > SHOWN))
            message = f"{len(numbers)} steps have this name (numbers {listing}); names must differ"
            yield Finding("duplicate_step", message, name)


def _name_problem(name: Any) -> str | None:
    if not isinstance(name, str):
        return f"must be text, not {type(name).__name__}"
    if not name.strip():
        return "is empty"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters; at most {MAX_NAME} are allowed"
    if not name.isprintable() and any(category(c) in ("Cc", "Cs") for c in name):
        return "holds a control character or half a surrogate pair"
    return None


# Options


def options(pipeline: Pipeline) -> Iterator[Finding]:
    """Each option is of its type, and within its range."""
    if not has_names(pipeline.metadata):
        message = f"the metadata must be a dict with text as keys, not {shown(pipeline.metadata)}"
        yield Finding("invalid_option", message)
    level = pipeline.parallelism
    if level is not None and not (_is_int(level) and 1 <= level < 2**63):
        message = f"the parallelism {shown(level)} must be a whole number from 1, or None"
        yield Finding("invalid_option", message)
    for step in pipeline.steps:
        for problem in _step_problems(step):
            yield Finding("invalid_option", problem, label(step))


def _step_problems(step: PipelineStep) -> Iterator[str]:
    dependencies = step.dependencies
    if not isinstance(dependencies, list | tuple) or len(names_in(dependencies)) < len(
        dependencies
    ):
        yield f"dependencies must be a list of step names, not {shown(dependencies)}"
    if not has_names(step.config):
        yield f"the configuration must be a dict with text as keys, not {shown(step.config)}"
    if not _is_int(step.priority) or not -(2**63) <= step.priority < 2**63:
        yield f"the priority {shown(step.priority)} must be a whole number of 64 bits"
    for option in ("timeout", "heartbeat_timeout"):
        seconds = getattr(step, option)
        if seconds is not None and not _is_seconds(seconds):
            yield (
                f"the {option} {shown(seconds)} must be a number of seconds above 0, at most "
                f"{MAX_SECONDS:.0e}, or None for no limit"
            )
    if not isinstance(step.cache, bool) and not _is_seconds(step.cache):
        yield f"cache must be True, False or a number of seconds above 0, not {shown(step.cache)}"
    if not isinstance(step.at_most_once, bool):
        yield f"at_most_once must be True or False, not {shown(step.at_most_once)}"
    if step.executor not in (None, *EXECUTORS):
        yield f"the executor {shown(step.executor)} must be 'thread' or 'process'"
    if isinstance(step.handler, str):
        if not is_reference(step.handler):
            yield f"the handler {shown(step.handler)} must be 'module:name' or a callable"
    elif step.handler is not None and not callable(step.handler):
        yield f"the handler {shown(step.handler)} is not callable"
    if step.retry is not None and not isinstance(step.retry, RetryPolicy):
        yield f"retry must be a RetryPolicy, not {shown(step.retry)}"
    yield from _resource_problems(step.resources)


def _resource_problems(resources: Any) -> Iterator[str]:
    if not has_names(resources):
        yield f"resources must be a dict such as {{'cpu': 2}}, not {shown(resources)}"
        return
    for name, amount in resources.items():
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not 0 < amount <= MAX_AMOUNT:
            yield f"{shown(amount)} of {shown(name)} are asked for; a number above 0 is needed"


def is_reference(text: str) -> bool:
    """Whether a text has the form ``module:qualname``."""
    module, _, name = text.partition(":")
    return all(part.isidentifier() for part in [*module.split("."), *name.split(".")])


def has_names(config: Any) -> bool:
    """Whether a configuration is a dict with text as keys."""
    return isinstance(config, dict) and all(map(_is_text, config))


def _is_text(key: Any) -> bool:
    """Whether a key is text that JSON can hold: no half of a surrogate pair."""
    if not isinstance(key, str):
        return False
    return key.isascii() or key.encode(errors="ignore").decode() == key


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return (_is_int(value) or isinstance(value, float)) and 0 < value <= MAX_SECONDS


def suspicious(pipeline: Pipeline) -> Iterator[Finding]:
    """Configuration that looks like a misspelt option; handlers may still mean it."""
    meant: dict[str, list[str]] = {}
    for step in pipeline.steps:
        for key in names_in(step.config):
            if key not in meant:
                meant[key] = get_close_matches(key[:MAX_NAME], known_options(), n=1, cutoff=0.85)
            if meant[key]:
                message = (
                    f"{shown(key)} is handed to the handler as configuration; "
                    f"did you mean the option {meant[key][0]!r}?"
                )
                yield Finding("suspicious_option", message, label(step))
