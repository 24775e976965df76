"""Everything that is wrong with a pipeline, found before anything runs.

The time is linear in the size of the pipeline, whatever its graph looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any
from unicodedata import category

import msgspec

from ..events.definition import RetryPolicy
from ..events.errors import nearest
from .conditions import FATAL, conditions, is_sendable
from .core import graph as graphs
from .findings import Finding, Findings, ValidationResult
from .model import (
    EXECUTORS,
    Pipeline,
    PipelineStep,
    given_by,
    handler_reference,
    known_options,
)

Known = Callable[[PipelineStep], bool]

MAX_NAME = 255
"""Characters of a name."""

MAX_SECONDS = 1e9
"""Of a timeout: 31 years; clocks and waits take no much larger figure."""

_SHOWN = 10
"""Names of a long cycle, or cycles of a component, that a message spells out."""


class PipelineValidator:
    """Checks pipelines.

    Args:
        known: Says whether a step without a handler of its own has one in the registry. None asks
            the registry of step types.
    """

    def __init__(self, known: Known | None = None) -> None:
        self._known = known

    def validate_pipeline(self, pipeline: Pipeline, **options: Any) -> ValidationResult:
        """All that is wrong with ``pipeline``.

        Args:
            strict: A step whose type has no handler is an error, not a warning.
            known: As for the class, for this call.

        Raises:
            TypeError: An unknown option.
        """
        for option in options:
            if option not in ("strict", "known"):
                raise TypeError(
                    f"validate_pipeline() has no option {option!r}"
                    f"{nearest(option, ('strict', 'known')) or '; options: strict, known'}"
                )
        shape = _Shape(pipeline)
        errors = Findings([*_structure(pipeline), *_dependencies(shape), *_options(pipeline)])
        warnings = Findings([*_disconnected(shape), *_suspicious(pipeline)])
        known = options.get("known") or self._known
        known, types = (known, ()) if known else _registered()
        for finding in (*_handlers(pipeline, known, _Hints(types)), *conditions(pipeline)):
            strict = finding.code == "no_handler" and options.get("strict", False)
            fatal = strict or finding.code == "unsendable_handler" or finding.code in FATAL
            (errors if fatal else warnings).append(finding)
        return ValidationResult(not errors, errors, warnings, shape.measures())

    def validate_dependencies(self, pipeline: Pipeline) -> ValidationResult:
        """Only missing, repeated and circular dependencies."""
        shape = _Shape(pipeline)
        errors = Findings(_dependencies(shape))
        return ValidationResult(not errors, errors, metadata=shape.measures())

    def validate_structure(self, pipeline: Pipeline) -> ValidationResult:
        """Only the presence of steps, their names, and (as warnings) their being connected."""
        shape = _Shape(pipeline)
        errors = Findings(_structure(pipeline))
        return ValidationResult(
            not errors, errors, Findings(_disconnected(shape)), shape.measures()
        )

    def detect_cycles(self, pipeline: Pipeline) -> list[list[str]]:
        """Circular dependencies: ``[a, b, c]`` says that b needs a, c needs b and a needs c.

        At most 100 in all, but one of each knot of steps at the least.
        """
        return [cycle for cycles in graphs.cycles(_Shape(pipeline).graph) for cycle in cycles]


def _registered() -> tuple[Known, Iterable[str]]:
    from .steps.registry import has_handler, known_types

    return has_handler, known_types()


def _names(items: Any) -> list[str]:
    """The names among the items; what is none is reported with the options."""
    if isinstance(items, str) or not isinstance(items, Iterable):
        return []
    return [name for name in items if isinstance(name, str)]


class _Shape:
    """The graph of a pipeline and what several checks need of it, found once.

    Steps of the same name count as one with all their dependencies.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.steps = pipeline.steps
        self.graph: dict[str, list[str]] = {}
        for step in pipeline.steps:
            if isinstance(step.name, str):
                self.graph.setdefault(step.name, []).extend(_names(step.dependencies))
        self.followers = graphs.dependents(self.graph)
        self.levels = graphs.levels(self.graph)
        self.acyclic = sum(map(len, self.levels)) == len(self.graph)

    def measures(self) -> dict[str, Any]:
        measures: dict[str, Any] = {
            "steps": len(self.steps),
            "dependencies": sum(map(len, self.graph.values())),
            "roots": self.levels[0] if self.levels else [],
            "sinks": [name for name, followers in self.followers.items() if not followers],
        }
        if self.acyclic:
            measures["depth"] = len(self.levels)
            measures["width"] = max(map(len, self.levels), default=0)
        return measures


# Structure


def _structure(pipeline: Pipeline) -> Iterator[Finding]:
    problem = _name_problem(pipeline.name)
    if problem:
        yield Finding("invalid_name", f"the pipeline's name {_short(pipeline.name)} {problem}")
    if not pipeline.steps:
        yield Finding("empty_pipeline", "the pipeline has no steps; add one with add_step()")
    places: dict[Any, list[int]] = {}
    for number, step in enumerate(pipeline.steps, 1):
        problem = _name_problem(step.name)
        if problem:
            message = f"the name {_short(step.name)} of step number {number} {problem}"
            yield Finding("invalid_name", message)
        problem = _name_problem(step.step_type)
        if problem:
            message = f"the type {_short(step.step_type)} {problem}"
            yield Finding("invalid_name", message, _label(step))
        if isinstance(step.name, str):
            places.setdefault(step.name, []).append(number)
    for name, numbers in places.items():
        if len(numbers) > 1:
            listing = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." * (len(numbers) > _SHOWN))
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


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _label(step: PipelineStep) -> str:
    return step.name if isinstance(step.name, str) else repr(step.name)


def _disconnected(shape: _Shape) -> Iterator[Finding]:
    if len(shape.graph) < 2:
        return
    for name, followers in shape.followers.items():
        if not followers and not shape.graph[name]:
            message = "nothing leads to this step and nothing follows from it; is that meant?"
            yield Finding("disconnected_step", message, name)


# Dependencies


def _dependencies(shape: _Shape) -> Iterator[Finding]:
    hint = _Hints(shape.graph)
    for step in shape.steps:
        seen: set[str] = set()
        for name in _names(step.dependencies):
            if name in seen:
                message = f"depends on {_short(name)} more than once"
                yield Finding("duplicate_dependency", message, _label(step))
            elif name not in shape.graph:
                message = f"depends on {_short(name)}, which is not a step{hint(name)}"
                yield Finding("missing_dependency", message, _label(step))
            seen.add(name)
    if not shape.acyclic:
        yield from _circular(shape.graph)


class _Hints:
    """The nearest known name, while the comparisons stay within a bound for all hints together."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self.budget = 20_000
        self.given: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self.given:
            self.budget -= len(self.names)
            self.given[name] = nearest(name[:MAX_NAME], self.names) if self.budget >= 0 else ""
        return self.given[name]


def _circular(graph: graphs.Graph) -> Iterator[Finding]:
    """One error for each knot of steps that wait for one another."""
    for cycles in graphs.cycles(graph):
        first = cycles[0][0]
        if cycles == [[first]]:
            yield Finding("circular_dependency", "the step depends on itself", first)
            continue
        shown = "; ".join(map(_arrows, cycles[:_SHOWN]))
        rest = "; and more" if len(cycles) > _SHOWN else ""
        message = f"steps wait for one another: {shown}{rest}; remove a dependency of each circle"
        yield Finding("circular_dependency", message, first)


def _arrows(cycle: list[str]) -> str:
    if len(cycle) > _SHOWN:
        return f"{' -> '.join(cycle[:_SHOWN])} -> ... ({len(cycle)} steps) -> {cycle[0]}"
    return " -> ".join([*cycle, cycle[0]])


# Options


def _options(pipeline: Pipeline) -> Iterator[Finding]:
    level = pipeline.parallelism
    if level is not None and not (_is_int(level) and 1 <= level < 2**63):
        message = f"the parallelism {_short(level)} must be a whole number from 1, or None"
        yield Finding("invalid_option", message)
    for step in pipeline.steps:
        for problem in _step_problems(step):
            yield Finding("invalid_option", problem, _label(step))


def _step_problems(step: PipelineStep) -> Iterator[str]:
    dependencies = step.dependencies
    if not isinstance(dependencies, list | tuple) or len(_names(dependencies)) < len(dependencies):
        yield f"dependencies must be a list of step names, not {_short(dependencies)}"
    if not isinstance(step.config, dict) or not all(isinstance(key, str) for key in step.config):
        yield f"the configuration must be a dict with text as keys, not {_short(step.config)}"
    if not _is_int(step.priority) or not -(2**63) <= step.priority < 2**63:
        yield f"the priority {_short(step.priority)} must be a whole number of 64 bits"
    if step.timeout is not None and not _is_seconds(step.timeout):
        yield (
            f"the timeout {_short(step.timeout)} must be a number of seconds above 0, at most "
            f"{MAX_SECONDS:.0e}, or None for no limit"
        )
    if not isinstance(step.at_most_once, bool):
        yield f"at_most_once must be True or False, not {_short(step.at_most_once)}"
    if step.executor not in (None, *EXECUTORS):
        yield f"the executor {_short(step.executor)} must be 'thread' or 'process'"
    if isinstance(step.handler, str):
        module, _, name = step.handler.partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
            yield f"the handler {_short(step.handler)} must be 'module:name' or a callable"
    elif step.handler is not None and not callable(step.handler):
        yield f"the handler {_short(step.handler)} is not callable"
    yield from _retry_problems(step.retry)


def _retry_problems(retry: Any) -> Iterator[str]:
    if not isinstance(retry, RetryPolicy):
        if retry is not None:
            yield f"retry must be a RetryPolicy, not {_short(retry)}"
        return
    fields = msgspec.structs.asdict(retry)
    try:
        msgspec.convert(fields, RetryPolicy)
    except msgspec.ValidationError as error:
        yield f"the retry policy: {error}"
    for name, value in fields.items():
        if isinstance(value, int | float) and not value < 2**63:
            yield f"retry.{name} must be finite, and less than 2**63"


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return (_is_int(value) or isinstance(value, float)) and 0 < value <= MAX_SECONDS


def _suspicious(pipeline: Pipeline) -> Iterator[Finding]:
    """Configuration that looks like a misspelt option; handlers may still mean it."""
    meant: dict[str, list[str]] = {}
    for step in pipeline.steps:
        for key in _names(step.config):
            if key not in meant:
                meant[key] = get_close_matches(key[:MAX_NAME], known_options(), n=1, cutoff=0.85)
            if meant[key]:
                message = (
                    f"{_short(key)} is handed to the handler as configuration; "
                    f"did you mean the option {meant[key][0]!r}?"
                )
                yield Finding("suspicious_option", message, _label(step))


# Handlers


def _handlers(pipeline: Pipeline, known: Known, hint: _Hints) -> Iterator[Finding]:
    for step in pipeline.steps:
        name = _label(step)
        if step.handler is None:
            if isinstance(step.step_type, str) and not known(step):
                kind = step.step_type
                mend = hint(kind) or "; register one with @step(...) or give handler="
                message = f"passes its input through: no handler for type {_short(kind)}{mend}"
                yield Finding("no_handler", message, name)
            continue
        if not isinstance(step.handler, str) and not callable(step.handler):
            continue  # reported with the options
        reference = handler_reference(step.handler)
        if (
            step.executor == "process"
            and reference is None
            and not is_sendable(given_by(step)._replace(when=None))
        ):
            message = (
                "the step runs in a process, where its handler cannot be found; define it at the "
                "top level of a module, or use executor='thread'"
            )
            yield Finding("unsendable_handler", message, name)
        elif reference is None:
            message = (
                "the handler is a lambda, a closure or a method, so another process cannot recover "
                "the run unless it is given the pipeline again; define it with def in a module"
            )
            yield Finding("unrecoverable_handler", message, name)
        elif reference.startswith("__main__:"):
            message = (
                f"the handler {reference} lives in the script, so only the same script can "
                "recover the run; define it in a module"
            )
            yield Finding("main_handler", message, name)
