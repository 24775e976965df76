"""Building a pipeline step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Self

from ..events.definition import RetryPolicy
from ..events.errors import PipelineValidationError, nearest
from .findings import Finding, ValidationResult
from .model import RESERVED_OPTIONS, Handler, Pipeline, PipelineStep, demand


class PipelineBuilder:
    """Collects steps and connections, in any order, and builds pipelines of them.

    Args:
        name: The name of what is built, unless :meth:`build` gets another.
        metadata: Metadata of all that is built.
    """

    def __init__(self, name: str = "pipeline", metadata: Mapping[str, Any] | None = None) -> None:
        self._name = name
        self._metadata = dict(metadata or {})
        self._parallelism: int | None = None
        self._steps: dict[str, PipelineStep] = {}
        self._chained: dict[str, str] = {}  # steps that follow the one before unless connected
        self._connections: dict[tuple[str, str], None] = {}

    def add_step(
        self,
        name: str,
        step_type: str | None = None,
        *,
        pipeline: Pipeline | None = None,
        handler: Handler | str | None = None,
        dependencies: Iterable[str] | None = None,
        priority: int = 0,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        at_most_once: bool = False,
        executor: str | None = None,
        when: Handler | str | None = None,
        resources: Mapping[str, float] | None = None,
        cpu_cores: float = 0,
        memory_gb: float = 0,
        gpu: float = 0,
        disk_gb: float = 0,
        network_mbps: float = 0,
        compensate: Handler | str | None = None,
        heartbeat_timeout: float | None = None,
        cache: bool | float = False,
        **config: Any,
    ) -> Self:
        """Add a step. Every other keyword is its handler's configuration.

        Args:
            name: Unique among the builder's steps.
            step_type: Names the handler in the registry, unless ``handler`` is given; of a nested
                pipeline it may be left out.
            pipeline: What the step is, instead of a handler: a pipeline that is executed as a run
                of its own, with the step's input, whose output is the step's.
            handler: A callable, or its ``module:qualname``.
            dependencies: Names of steps, added before or after. None makes the step follow the
                one added before it, if nothing is connected to it; ``[]`` makes it a root.
            priority: Among steps that are ready, higher ones start first.
            timeout: Seconds an attempt may take; None for no limit.
            retry: Overrides the retry policy of the run.
            at_most_once: Never executed again after an attempt that was interrupted, lost its
                process or took too long; the step fails instead.
            executor: ``"thread"`` or ``"process"``; None: as the engine says.
            when: A function of the step's input, or its ``module:qualname``; if it returns
                something false, the step is skipped, and what has no input but through it.
            resources: Amounts that must be free for the step to start, by type or id.
            heartbeat_timeout: Seconds within which an attempt must show life, by progress, a
                checkpoint or ``context.heartbeat()``.
            cache: Whether the output of an earlier step of this log serves, which had the same
                type, code, configuration and input: True, or for how many seconds it does.
            compensate: A function of the step's output that undoes what it did, or its
                ``module:qualname``; see ``on_failure="rollback"``.
            cpu_cores, memory_gb, gpu, disk_gb, network_mbps: The same for the usual types: cores,
                10**9 bytes, devices (or a share of one), 10**9 bytes, 10**6 bits a second.

        Raises:
            PipelineValidationError: The name is taken.
            TypeError: An option that is reserved or given twice, or is no list or mapping; or the
                type is missing.
        """
        if step_type is None:
            if pipeline is None:
                raise TypeError(f"step {name!r}: give its type, or pipeline=")
            step_type = "pipeline"
        reserved = sorted(RESERVED_OPTIONS & config.keys())
        if reserved:
            raise TypeError(
                f"step {name!r}: the option {reserved[0]!r} is reserved and not supported by this "
                "version; use another name for the handler's configuration"
            )
        if isinstance(dependencies, str):
            raise TypeError(
                f"step {name!r}: dependencies must be a list of step names; "
                f"write dependencies=[{dependencies!r}]"
            )
        usual = {
            "cpu_cores": cpu_cores,
            "memory_gb": memory_gb,
            "gpu": gpu,
            "disk_gb": disk_gb,
            "network_mbps": network_mbps,
        }
        try:
            asked = demand(resources, {option: n for option, n in usual.items() if n != 0})
        except TypeError as error:
            raise TypeError(f"step {name!r}: {error}") from None
        if name in self._steps:
            problem = Finding("duplicate_step", "this name is taken; names must differ", name)
            raise PipelineValidationError(self._name, [problem])
        if dependencies is None and self._steps:
            self._chained[name] = next(reversed(self._steps))
        self._steps[name] = PipelineStep(
            name=name,
            step_type=step_type,
            config=_copied(config),
            dependencies=list(dependencies or ()),
            handler=handler,
            priority=priority,
            timeout=timeout,
            retry=retry,
            at_most_once=at_most_once,
            executor=executor,
            when=when,
            resources=asked,
            compensate=compensate,
            heartbeat_timeout=heartbeat_timeout,
            cache=cache,
            pipeline=pipeline,
        )
        return self

    def connect_steps(self, from_step: str, to_step: str) -> Self:
        """Hand the output of ``from_step`` to ``to_step``, both added before or after.

        A step that is connected explicitly no longer follows the step added before it.
        """
        self._connections[from_step, to_step] = None
        return self

    def set_parallelism(self, level: int | None) -> Self:
        """Let at most ``level`` steps of a run be in flight at once; None for no cap.

        Raises:
            ValueError: It is not a whole number from 1.
        """
        if level is not None and (
            not isinstance(level, int) or isinstance(level, bool) or level < 1
        ):
            raise ValueError(f"the parallelism must be a whole number from 1, not {level!r}")
        self._parallelism = level
        return self

    def build(
        self,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more_metadata: Any,
    ) -> Pipeline:
        """A pipeline of the steps so far, which nothing done to the builder later changes.

        Missing and circular dependencies are left for :meth:`validate` and for the execution.

        Args:
            name: Overrides the builder's name.
            metadata: Added to the builder's; single entries can also be given as keywords.

        Raises:
            PipelineValidationError: A connection to a step that was not added.
        """
        if metadata is not None and not isinstance(metadata, Mapping):
            raise TypeError(f"metadata must be a mapping, not {type(metadata).__name__}")
        name = self._name if name is None else name
        loose = self._loose_ends()
        if loose:
            raise PipelineValidationError(name, loose)
        return self._built(name, {**(metadata or {}), **more_metadata})

    def validate(self, **options: Any) -> ValidationResult:
        """All that is wrong with the steps so far.

        Args:
            options: Those of :meth:`PipelineValidator.validate_pipeline`.
        """
        from .validator import PipelineValidator  # who only builds does not need it

        result = PipelineValidator().validate_pipeline(self._built(self._name, {}), **options)
        result.errors.extend(self._loose_ends())
        result.valid = not result.errors
        return result

    def serialize(
        self, pipeline: Pipeline, format: str = "json", *, allow_pickle: bool = False
    ) -> str:
        """The text of ``pipeline``; see :func:`.serialize.serialize`."""
        from .serialize import serialize  # who only builds does not need it

        return serialize(pipeline, format, allow_pickle=allow_pickle)

    def deserialize(
        self,
        data: str | bytes | Mapping[str, Any],
        format: str = "json",
        *,
        allow_pickle: bool = False,
    ) -> Pipeline:
        """The pipeline of a text; see :func:`.serialize.deserialize`."""
        from .serialize import deserialize  # who only builds does not need it

        return deserialize(data, format, allow_pickle=allow_pickle)

    def _built(self, name: str, metadata: Mapping[str, Any]) -> Pipeline:
        incoming: dict[str, list[str]] = {}
        for source, target in self._connections:
            incoming.setdefault(target, []).append(source)
        steps = []
        for step in self._steps.values():
            connected = incoming.get(step.name, [])
            if step.name in self._chained and not connected:
                connected = [self._chained[step.name]]
            fresh = [source for source in connected if source not in step.dependencies]
            dependencies = step.dependencies + fresh
            steps.append(replace(step, config=_copied(step.config), dependencies=dependencies))
        return Pipeline(name, steps, _copied({**self._metadata, **metadata}), self._parallelism)

    def _loose_ends(self) -> list[Finding]:
        """Connections to steps that do not exist, which no pipeline could hold."""
        return [
            Finding(
                "missing_dependency",
                f"connect_steps({source!r}, {target!r}) leads to {target!r}, which is not a "
                f"step{nearest(target, self._steps)}",
            )
            for source, target in self._connections
            if target not in self._steps
        ]


def _copied(items: Mapping[str, Any]) -> dict[str, Any]:
    """The values with all that is in them; what cannot be copied (a lock) is shared."""
    return {key: _copy(value) for key, value in items.items()}


def _copy(value: Any) -> Any:
    try:
        return deepcopy(value)
    except Exception:  # a class of the user's may raise anything; recording it will say so
        return value
