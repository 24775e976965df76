"""Pipelines in the form that JSON and YAML hold: mappings, lists, text and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..events.artifacts import MemoryArtifacts
from ..events.codec import TAG, to_plain
from ..events.definition import RetryPolicy
from ..events.errors import SerializationError, UnencodableValue
from .model import Handler, Pipeline, PipelineStep, handler_reference

_NO_ARTIFACTS = MemoryArtifacts()


def document_of(pipeline: Pipeline, around: str, allow_pickle: bool) -> dict[str, Any]:
    """``around`` is the place of a nested pipeline."""
    document = {"name": _plain(pipeline.name, f"{around}name", allow_pickle)}
    if pipeline.parallelism is not None:
        place = f"{around}parallelism"
        document["parallelism"] = _plain(pipeline.parallelism, place, allow_pickle)
    if pipeline.metadata:
        document["metadata"] = _plain_items(pipeline.metadata, f"{around}metadata", allow_pickle)
    document["steps"] = [
        _step_plain(step, f"{around}steps[{number}]", allow_pickle)
        for number, step in enumerate(pipeline.steps)
    ]
    return document


def _step_plain(step: PipelineStep, place: str, allow_pickle: bool) -> dict[str, Any]:
    """A step as a mapping; what equals its default is left out, but for the dependencies."""
    if not isinstance(step, PipelineStep):
        raise SerializationError(f"{place}: expected a PipelineStep, got {kind(step)}")
    dependencies = step.dependencies
    fields: dict[str, Any] = {
        "name": step.name,
        "type": step.step_type,
        "handler": _reference(step, step.handler, f"{place}.handler", "handler"),
        "dependencies": list(dependencies) if isinstance(dependencies, tuple) else dependencies,
        "config": step.config,
        "priority": step.priority,
        "timeout": step.timeout,
        "retry": None if step.retry is None else _retry(step.retry, place),
        "at_most_once": step.at_most_once,
        "executor": step.executor,
        "when": _reference(step, step.when, f"{place}.when", "condition"),
        "resources": step.resources,
        "compensate": _reference(step, step.compensate, f"{place}.compensate", "compensation"),
        "heartbeat_timeout": step.heartbeat_timeout,
        "cache": step.cache,
    }
    plain: dict[str, Any] = {}
    for key, value in fields.items():
        if key not in _DEFAULTS or value != _DEFAULTS[key]:
            write = _plain_items if key in ("config", "resources") else _plain
            plain[key] = write(value, f"{place}.{key}", allow_pickle)
    if step.pipeline is not None:
        plain["pipeline"] = document_of(step.pipeline, f"{place}.pipeline.", allow_pickle)
    return plain


_DEFAULTS: dict[str, Any] = {
    "handler": None,
    "config": {},
    "priority": 0,
    "timeout": None,
    "retry": None,
    "at_most_once": False,
    "executor": None,
    "when": None,
    "resources": {},
    "compensate": None,
    "heartbeat_timeout": None,
    "cache": False,
}


def _reference(
    step: PipelineStep, function: Handler | str | None, place: str, role: str
) -> str | None:
    reference = handler_reference(function)
    if reference is None and function is not None:
        mend = ", or register it for its step type" if role == "handler" else ""
        raise SerializationError(
            f"{place}: the {role} of step {step.name!r} cannot be found again by name "
            f"({function!r}); define it with def in a module{mend}"
        )
    return reference


def _retry(policy: RetryPolicy, place: str) -> dict[str, Any]:
    """Every figure of a policy, so that later defaults do not change it."""
    if not isinstance(policy, RetryPolicy):
        raise SerializationError(f"{place}.retry: expected a RetryPolicy, got {policy!r}")
    fields = {
        key: value for key, value in msgspec.structs.asdict(policy).items() if value is not None
    }
    fields["strategy"] = str(policy.strategy)
    if policy.retryable_errors is not None:
        fields["retryable_errors"] = list(policy.retryable_errors)
    return fields


def _plain(value: Any, place: str, allow_pickle: bool) -> Any:
    try:
        return to_plain(value, _NO_ARTIFACTS, allow_pickle=allow_pickle)
    except UnencodableValue as error:
        raise SerializationError(f"{place}: {error}") from error


def _plain_items(items: Mapping[str, Any], place: str, allow_pickle: bool) -> Any:
    """The values one by one, for an error to name its own; the keys as the codec likes them."""
    if not isinstance(items, Mapping):
        raise SerializationError(f"{place}: expected a mapping, got {kind(items)}")
    plain = {key: _plain(value, f"{place}.{key}", allow_pickle) for key, value in items.items()}
    if all(isinstance(key, str) and key.isascii() and key != TAG for key in plain):
        return plain
    return {TAG: "dict", "v": [[_plain(key, place, False), value] for key, value in plain.items()]}


def kind(value: Any) -> str:
    """What a value that does not belong there is called."""
    if isinstance(value, list | tuple):
        return "a list"
    return "nothing" if value is None else repr(value)[:60]
