"""From a pipeline and its input to the event that begins a run."""

from __future__ import annotations

import os
from typing import Any

from ..events.artifacts import Artifacts, digest_of
from ..events.codec import Value, encode
from ..events.definition import PipelineDefinition, RetryPolicy
from ..events.pipeline import Origin, PipelineSubmitted
from .failure import Answers
from .model import Given, Pipeline, definition_bytes, given_by

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
    warnings: list[str],
) -> PipelineSubmitted:
    """The event; what is too large for it is an artifact, durable on return.

    Args:
        parallelism: Steps in flight at once, where the pipeline does not say it.

    Raises:
        UnencodableValue: ``data`` cannot be recorded.
        LogUnavailable: The artifact cannot be written.
    """
    types = sorted({step.type for step in definition.steps})
    policies, fallbacks, _ = answers
    return PipelineSubmitted(
        name=definition.name,
        definition=Value.of_text(definition_bytes(definition), artifacts),
        identity=digest_of(definition_bytes(_without_fingerprints(definition))),
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
    )


def handlers_of(pipeline: Pipeline) -> dict[str, Given]:
    """The callables that a pipeline brings along, by step."""
    return {step.name: given for step in pipeline.steps if any(given := given_by(step))}


def _without_fingerprints(definition: PipelineDefinition) -> PipelineDefinition:
    from msgspec.structs import replace

    steps = tuple([replace(step, fingerprint=None) for step in definition.steps])
    return replace(definition, steps=steps)


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
