"""The public model: what a user builds, and how it becomes the definition that is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from ..events.artifacts import MemoryArtifacts
from ..events.codec import from_plain, to_plain
from ..events.definition import PipelineDefinition, RetryPolicy, StepDefinition
from ..events.errors import PipelineValidationError, UnencodableValue, UnreadableValue
from ..events.references import reference_of, resolve_reference

Handler = Callable[..., Any]


class Given(NamedTuple):
    """The callables that a pipeline brings along for a step."""

    handler: Handler | None = None
    when: Handler | None = None
    compensate: Handler | None = None
    nested: Mapping[str, Given] = {}
    """Of the steps of a step that is a pipeline."""


@dataclass
class PipelineStep:
    """A step of a pipeline.

    Args:
        name: Unique within the pipeline.
        step_type: Names the handler in the registry, unless ``handler`` is given.
        config: The handler's configuration.
        dependencies: Names of the steps whose outputs this step receives.
        handler: A callable, or its ``module:qualname``.
        priority: Among steps that are ready, higher ones start first.
        timeout: Seconds an attempt may take; None for no limit.
        retry: Overrides the retry policy of the run.
        at_most_once: Never executed again after an attempt that was interrupted, lost its process
            or took too long; the step fails instead.
        executor: ``"thread"``, or ``"process"``: in a process of its own, which can be killed and
            whose crash fails only the attempt; None: as the engine says.
        when: A function of the step's input, or its ``module:qualname``: if it returns something
            false, the step is skipped, and with it what has no input but through it. Asked at
            every attempt, where the step runs.
        resources: Amounts that must be free for the step to start, by type or id of a resource;
            see :class:`ResourceScheduler`.
        heartbeat_timeout: Seconds within which an attempt must show life, by progress, a checkpoint
            or ``context.heartbeat()``; None for no limit.
        cache: Whether the output of an earlier step of this log serves, which had the same type,
            code, configuration and input: True, or for how many seconds it does.
        compensate: A function of the step's output, or its ``module:qualname``, that undoes what
            the step did, when its run is rolled back; runs in a thread, and is retried as the step
            is.
        pipeline: What the step is, instead of a handler: a pipeline that is executed as a run of
            its own, with the step's input, whose output is the step's.
    """

    name: str
    step_type: str
    config: dict[str, Any] = field(default_factory=dict)
    dependencies: list[str] = field(default_factory=list)
    handler: Handler | str | None = None
    priority: int = 0
    timeout: float | None = None
    retry: RetryPolicy | None = None
    at_most_once: bool = False
    executor: str | None = None
    when: Handler | str | None = None
    resources: dict[str, float] = field(default_factory=dict)
    compensate: Handler | str | None = None
    heartbeat_timeout: float | None = None
    cache: bool | float = False
    pipeline: Pipeline | None = None


@dataclass
class Pipeline:
    """A graph of steps. ``parallelism`` caps how many of its steps run at once; None: no cap."""

    name: str
    steps: list[PipelineStep] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    parallelism: int | None = None

    def step(self, name: str) -> PipelineStep:
        """The step of that name. Raises KeyError."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


def given_by(step: PipelineStep) -> Given:
    """What a step has that is callable."""
    return Given(
        step.handler if callable(step.handler) else None,
        step.when if callable(step.when) else None,
        step.compensate if callable(step.compensate) else None,
        handlers_of(step.pipeline) if step.pipeline is not None else {},
    )


def handlers_of(pipeline: Pipeline) -> dict[str, Given]:
    """The callables that a pipeline brings along, by step."""
    return {step.name: given for step in pipeline.steps if any(given := given_by(step))}


def steps_within(pipeline: Pipeline, path: str = "") -> Iterator[tuple[str, PipelineStep]]:
    """All steps of a pipeline and of what is nested in it, each with its path."""
    for step in pipeline.steps:
        yield f"{path}{step.name}", step
        if step.pipeline is not None:
            yield from steps_within(step.pipeline, f"{path}{step.name} > ")


def supply(pipeline: Pipeline, given: Mapping[str, Given]) -> None:
    """Put callables where a pipeline that was rebuilt has names, also in what is nested in it."""
    for step in pipeline.steps:
        here = given.get(step.name, Given())
        step.handler = here.handler or step.handler
        step.when = here.when or step.when
        step.compensate = here.compensate or step.compensate
        if step.pipeline is not None:
            supply(step.pipeline, here.nested)


def handler_reference(handler: Handler | str | None) -> str | None:
    """``module:qualname`` of a handler, or None for one that no other process could find."""
    if handler is None or isinstance(handler, str):
        return handler
    try:
        return reference_of(handler)
    except UnencodableValue:
        return None


def fingerprint(handler: Handler) -> str | None:
    """A short digest of the handler's code, to notice that it changed between attempts."""
    code = getattr(handler, "__code__", None)
    return None if code is None else _digest_of_code(code)


@lru_cache(maxsize=1024)  # asked for at every attempt
def _digest_of_code(code: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    _feed(digest, code)
    return digest.hexdigest()


def _feed(digest: Any, code: Any) -> None:
    """Byte code, names and constants; line numbers and file names do not count."""
    digest.update(code.co_code)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            _feed(digest, constant)
        elif isinstance(constant, frozenset):
            digest.update(repr(sorted(constant, key=repr)).encode())
        else:
            digest.update(repr(constant).encode())


def define(pipeline: Pipeline, *, allow_pickle: bool = True) -> PipelineDefinition:
    """The recorded form of ``pipeline``: a private copy that later changes do not touch.

    Raises:
        PipelineValidationError: Configuration or metadata that cannot be recorded.
    """
    errors: list[str] = []

    def plain(value: Any, place: str) -> Any:
        try:
            return to_plain(value, _NO_ARTIFACTS, allow_pickle=allow_pickle)
        except UnencodableValue as error:
            errors.append(f"{place}: {error}")
            return None

    definition = _define(pipeline, plain, "")
    if errors:
        raise PipelineValidationError(pipeline.name, errors)
    return definition


_Plain = Callable[[Any, str], Any]


def _define(pipeline: Pipeline, plain: _Plain, around: str) -> PipelineDefinition:
    """``around`` is the path to a nested pipeline."""
    metadata = {
        key: plain(value, f"{around}metadata {key!r}") for key, value in pipeline.metadata.items()
    }
    return PipelineDefinition(
        name=pipeline.name,
        steps=tuple([_define_step(step, plain, around) for step in pipeline.steps]),
        parallelism=pipeline.parallelism,
        metadata=metadata,
    )


def _define_step(step: PipelineStep, plain: _Plain, around: str) -> StepDefinition:
    handler = step.handler
    return StepDefinition(
        name=step.name,
        type=step.step_type,
        dependencies=tuple(step.dependencies),
        config={
            key: plain(value, f"{around}step {step.name!r}, {key!r}")
            for key, value in step.config.items()
        },
        handler=None if handler is None else handler_reference(handler) or "",
        fingerprint=fingerprint(handler) if callable(handler) else None,
        priority=step.priority,
        timeout=step.timeout,
        retry=step.retry,
        at_most_once=step.at_most_once,
        executor=step.executor,
        when=None if step.when is None else handler_reference(step.when) or "",
        resources=dict(step.resources),
        compensate=None if step.compensate is None else handler_reference(step.compensate) or "",
        heartbeat_timeout=step.heartbeat_timeout,
        cache=FOR_EVER if step.cache is True else float(step.cache) or None,
        pipeline=None
        if step.pipeline is None
        else _define(step.pipeline, plain, f"{around}{step.name} > "),
    )


def rebuild(definition: PipelineDefinition, *, allow_pickle: bool = True) -> Pipeline:
    """The pipeline of a definition; handlers stay names until a step runs.

    Raises:
        UnreadableValue: Configuration of a class that cannot be imported here.
    """
    return Pipeline(
        name=definition.name,
        steps=[rebuild_step(step, allow_pickle=allow_pickle) for step in definition.steps],
        metadata=plain_to_value(definition.metadata, allow_pickle=allow_pickle),
        parallelism=definition.parallelism,
    )


def rebuild_step(step: StepDefinition, *, allow_pickle: bool = True) -> PipelineStep:
    """One step of a definition, with its configuration decoded afresh."""
    return PipelineStep(
        name=step.name,
        step_type=step.type,
        config=plain_to_value(step.config, allow_pickle=allow_pickle),
        dependencies=list(step.dependencies),
        handler=step.handler,
        priority=step.priority,
        timeout=step.timeout,
        retry=step.retry,
        at_most_once=step.at_most_once,
        executor=step.executor,
        when=step.when,
        resources=dict(step.resources),
        compensate=step.compensate,
        heartbeat_timeout=step.heartbeat_timeout,
        cache=step.cache or False,
        pipeline=None
        if step.pipeline is None
        else rebuild(step.pipeline, allow_pickle=allow_pickle),
    )


def plain_to_value(plain: dict[str, Any], *, allow_pickle: bool = True) -> dict[str, Any]:
    """Decode configuration; its keys are names, even one called ``!``."""
    return {
        key: from_plain(value, _NO_ARTIFACTS, allow_pickle=allow_pickle)
        for key, value in plain.items()
    }


def find_handler(reference: str) -> Handler:
    """Import the handler ``module:qualname``. Raises UnreadableValue."""
    handler = resolve_reference(reference)
    if not callable(handler):
        raise UnreadableValue(f"{reference!r} is not callable")
    return handler  # type: ignore[no-any-return]


FOR_EVER = 1e12
"""Seconds: how long an output is cached with ``cache=True``."""


def known_options() -> Iterable[str]:
    """The step options that are not a handler's configuration."""
    return (
        "handler",
        "dependencies",
        "priority",
        "timeout",
        "retry",
        "at_most_once",
        "executor",
        "when",
        "resources",
        "compensate",
        "heartbeat_timeout",
        "cache",
        "pipeline",
        *RESOURCE_OPTIONS,
    )


RESOURCE_OPTIONS = {
    "cpu_cores": "cpu",
    "memory_gb": "memory",
    "gpu": "gpu",
    "disk_gb": "disk",
    "network_mbps": "network",
}
"""Options that each ask for an amount of a resource; ``resources`` asks for any."""


EXECUTORS = ("thread", "process")
"""Where an attempt may be carried out."""


def demand(resources: Mapping[str, float] | None, options: Mapping[str, float]) -> dict[str, float]:
    """What a step asks for, by resource: that of ``resources`` and of ``RESOURCE_OPTIONS``.

    Raises:
        TypeError: Something is asked for twice, or ``resources`` is not a mapping.
    """
    if resources is not None and not isinstance(resources, Mapping):
        raise TypeError(f"resources must be a mapping such as {{'cpu': 2}}, not {resources!r:.60}")
    asked = dict(resources or {})
    for option, amount in options.items():
        name = RESOURCE_OPTIONS[option]
        if name in asked:
            raise TypeError(f"{option} and resources[{name!r}] ask for the same; give one of them")
        asked[name] = amount
    return {name: amount for name, amount in asked.items() if amount != 0}


RESERVED_OPTIONS = frozenset({"deadline"})
"""Names kept for options to come; using one is an error, not silently configuration."""

_NO_ARTIFACTS = MemoryArtifacts()
"""Configuration is plain data: it is never written to artifacts."""


def definition_bytes(definition: PipelineDefinition) -> bytes:
    """The JSON text of a definition, the same for equal definitions."""
    return msgspec.json.encode(definition)
