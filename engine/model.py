"""The public model: what a user builds, and how it becomes the definition that is recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..events.artifacts import MemoryArtifacts
from ..events.codec import from_plain, to_plain
from ..events.definition import PipelineDefinition, RetryPolicy, StepDefinition
from ..events.errors import PipelineValidationError, UnencodableValue, UnreadableValue
from ..events.references import reference_of, resolve_reference

Handler = Callable[..., Any]


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
    if code is None:
        return None
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

    steps = [_define_step(step, plain) for step in pipeline.steps]
    metadata = {key: plain(value, f"metadata {key!r}") for key, value in pipeline.metadata.items()}
    if errors:
        raise PipelineValidationError(pipeline.name, errors)
    return PipelineDefinition(
        name=pipeline.name,
        steps=tuple(steps),
        parallelism=pipeline.parallelism,
        metadata=metadata,
    )


def _define_step(step: PipelineStep, plain: Callable[[Any, str], Any]) -> StepDefinition:
    handler = step.handler
    return StepDefinition(
        name=step.name,
        type=step.step_type,
        dependencies=tuple(step.dependencies),
        config={
            key: plain(value, f"step {step.name!r}, {key!r}") for key, value in step.config.items()
        },
        handler=handler_reference(handler),
        fingerprint=fingerprint(handler) if callable(handler) else None,
        priority=step.priority,
        timeout=step.timeout,
        retry=step.retry,
        at_most_once=step.at_most_once,
        executor=step.executor,
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


def known_options() -> Iterable[str]:
    """The step options that are not a handler's configuration."""
    return ("handler", "dependencies", "priority", "timeout", "retry", "at_most_once", "executor")


EXECUTORS = ("thread", "process")
"""Where an attempt may be carried out."""

RESERVED_OPTIONS = frozenset(
    {"heartbeat_timeout", "when", "compensate", "deadline", "resources", "cache"}
)
"""Names kept for options to come; using one is an error, not silently configuration."""

_NO_ARTIFACTS = MemoryArtifacts()
"""Configuration is plain data: it is never written to artifacts."""


def definition_bytes(definition: PipelineDefinition) -> bytes:
    """The JSON text of a definition, the same for equal definitions."""
    return msgspec.json.encode(definition)
