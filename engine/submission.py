"""From a pipeline and its input to the event that begins a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ..events.artifacts import Artifacts, digest_of
from ..events.codec import Value, encode
from ..events.definition import PipelineDefinition, RetryPolicy, StepDefinition
from ..events.envelope import CLEAR
from ..events.pipeline import Origin, Parent, PipelineSubmitted
from ..projections.run import Run
from .failure import Answers
from .model import definition_bytes

MAX_WARNINGS = 100
"""Warnings about a pipeline that are recorded."""


def submitted(
    definition: PipelineDefinition,
    data: Any,
    artifacts: Artifacts,
    *,
    engine: str,
    priority: int,
    on_failure: str,
    deadline: int | None,
    parallelism: int | None,
    retry: RetryPolicy | None,
    answers: Answers,
    allow_pickle: bool,
    origin: Origin | None,
    warnings: Sequence[str],
    queue: str | None = None,
    encoding: str = CLEAR,
) -> PipelineSubmitted:
    """The event; what is too large for it is an artifact, durable on return.

    Args:
        parallelism: Steps in flight at once, where the pipeline does not say it.

    Raises:
        UnencodableValue: ``data`` cannot be recorded.
        LogUnavailable: The artifact cannot be written.
    """
    types = sorted(set(_types(definition)))
    policies, fallbacks, _ = answers
    return PipelineSubmitted(
        name=definition.name,
        definition=Value.of_text(definition_bytes(definition), artifacts),
        identity=identity_of(definition),
        data=encode(data, artifacts, allow_pickle=allow_pickle),
        engine=engine,
        on_failure=on_failure,
        priority=priority,
        deadline=deadline,
        parallelism=definition.parallelism or parallelism,
        retry=retry,
        policies={kind: policies[kind] for kind in types if kind in policies},
        fallbacks={kind: fallbacks[kind].reference for kind in types if kind in fallbacks},
        allow_pickle=allow_pickle,
        origin=origin,
        warnings=tuple(map(str, warnings[:MAX_WARNINGS])),
        queue=queue,
        encoding=encoding,
    )


def submitted_as_step(
    run: Run, i: int, data: Value, artifacts: Artifacts, engine: str, deadline: int | None
) -> tuple[PipelineSubmitted, PipelineDefinition]:
    """The event that begins the run of a step, which answers failures as the run around it does.

    It is never rolled back by itself: that is for the run around it, once it has given up.

    Raises:
        LogUnavailable: The artifact of a large definition cannot be written.
    """
    step, state = run.graph.definition.steps[i], run.state
    assert step.pipeline is not None  # as who asks has seen
    event = PipelineSubmitted(
        name=step.pipeline.name,
        definition=Value.of_text(definition_bytes(step.pipeline), artifacts),
        identity=identity_of(step.pipeline),
        data=data,
        engine=engine,
        on_failure="continue" if state.on_failure == "continue" else "stop",
        priority=state.priority,
        deadline=deadline,
        parallelism=step.pipeline.parallelism or state.parallelism,
        retry=state.retry,
        policies=state.policies,
        fallbacks=state.fallbacks,
        allow_pickle=state.allow_pickle,
        parent=Parent(run.run_id, step.name),
        encoding=state.encoding,
    )
    return event, step.pipeline


def _types(definition: PipelineDefinition) -> Iterator[str]:
    for step in definition.steps:
        yield step.type
        if step.pipeline is not None:
            yield from _types(step.pipeline)


def identity_of(definition: PipelineDefinition) -> str:
    """A digest that is equal for the same pipeline, also after its code has changed."""
    return digest_of(definition_bytes(_without_fingerprints(definition)))


def _without_fingerprints(definition: PipelineDefinition) -> PipelineDefinition:
    from msgspec.structs import replace

    def bare(step: StepDefinition) -> StepDefinition:
        inner = step.pipeline and _without_fingerprints(step.pipeline)
        return replace(step, fingerprint=None, pipeline=inner)

    return replace(definition, steps=tuple([bare(step) for step in definition.steps]))


def new_id() -> str:
    """A run id; later ones sort after earlier ones (UUID version 7, RFC 9562)."""
    from uuid_utils.compat import uuid7

    return str(uuid7())


def checked_id(run_id: str) -> str:
    """A run id that a user chose. Raises ValueError."""
    if not isinstance(run_id, str) or not 0 < len(run_id) <= 200 or not run_id.isprintable():
        raise ValueError(f"a run_id is 1 to 200 printable characters, not {run_id!r}")
    return run_id


def actor() -> str:
    """Who asks: user and process, for the audit."""
    import getpass

    try:
        return f"{getpass.getuser()}/{os.getpid()}"
    except (KeyError, OSError):  # a user id without a name
        return f"uid{os.getuid()}/{os.getpid()}"
