"""Pipelines as JSON or YAML text, written by this library or by people.

::

    name: documents
    parallelism: 2
    metadata: {version: "1.0"}
    steps:
      - name: ingest
        type: ingest
        config: {source: ./documents, recursive: true}
      - name: parse
        type: parse
        handler: my_package.parsing:parse
        dependencies: [ingest]
        retry: {max_retries: 5, retryable_errors: ["builtins:ConnectionError"]}

A step without ``dependencies`` follows the step before it; ``dependencies: []`` makes a root.
A step may have a ``pipeline`` in place of a type and a handler, which is written as this one is.
Values that JSON has no word for travel in the tagged form of the event codec. Reading never
unpickles unless it is told to, since a text may come from anybody; it does import the classes that
are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..events.artifacts import MemoryArtifacts
from ..events.codec import TAG, from_plain
from ..events.definition import RetryPolicy, RetryStrategy
from ..events.errors import PipelineError, SerializationError, nearest
from . import json_safe
from .depth import bottomless
from .model import (
    RESERVED_OPTIONS,
    RESOURCE_OPTIONS,
    Pipeline,
    PipelineStep,
    demand,
)
from .plain_form import document_of, kind

MAX_TEXT = 64 * 2**20
"""Characters of a text; a pipeline of 100,000 steps has some 10 million."""

_NO_ARTIFACTS = MemoryArtifacts()


class _Step(msgspec.Struct, kw_only=True):
    """The schema of a step, also the order of its keys."""

    name: str
    type: str
    handler: str | None = None
    dependencies: list[str] | msgspec.UnsetType = msgspec.UNSET
    config: dict[str, Any] = {}
    priority: int = 0
    timeout: float | None = None
    retry: RetryPolicy | None = None
    at_most_once: bool = False
    executor: str | None = None
    when: str | None = None
    resources: dict[str, float] = {}
    cpu_cores: float = 0
    memory_gb: float = 0
    gpu: float = 0
    disk_gb: float = 0
    network_mbps: float = 0
    compensate: str | None = None
    heartbeat_timeout: float | None = None
    cache: bool | float = False
    pipeline: dict[str, Any] | None = None


class _Document(msgspec.Struct, kw_only=True):
    """The schema of a pipeline."""

    name: str = "pipeline"
    parallelism: int | None = None
    metadata: dict[str, Any] = {}
    steps: list[_Step]


def serialize(pipeline: Pipeline, format: str = "json", *, allow_pickle: bool = False) -> str:
    """The text of ``pipeline``, from which :func:`deserialize` makes an equal one.

    Handlers are written as ``module:qualname``.

    Args:
        pipeline: Valid or not: a cycle is written as well.
        format: ``"json"`` or ``"yaml"``.
        allow_pickle: Write configuration of other classes as pickles, which a reader must allow.

    Raises:
        SerializationError: A value or a handler that another process could not read back.
    """
    _check_format(format)
    for finding in bottomless(pipeline):
        raise SerializationError(finding)
    document = document_of(pipeline, "", allow_pickle)
    _read(document, allow_pickle)  # what cannot be read back must not be written
    return _text(_written(document, format))


def deserialize(
    data: str | bytes | Mapping[str, Any], format: str = "json", *, allow_pickle: bool = False
) -> Pipeline:
    """The pipeline of a text. Its handlers stay names until a step runs.

    Args:
        data: The text, the mapping it stands for, or (JSON) the text as a JSON string again, as
            ``json.dump(serialized, file)`` writes it.
        format: ``"json"`` or ``"yaml"``.
        allow_pickle: Read pickles, which run code of whoever wrote them.

    Raises:
        SerializationError: What is wrong with the text, and where.
    """
    _check_format(format)
    plain = dict(data) if isinstance(data, Mapping) else _parsed(_text(data), format)
    return _read(plain, allow_pickle)


# Reading


def _text(data: str | bytes) -> str:
    if isinstance(data, bytes | bytearray | memoryview):
        try:
            data = bytes(data).decode("utf-8")
        except UnicodeDecodeError as error:
            raise SerializationError(f"the text is not UTF-8: {error}") from None
    if not isinstance(data, str):
        raise SerializationError(f"expected text or a mapping, got {type(data).__name__}")
    if len(data) > MAX_TEXT:
        raise SerializationError(f"the text has {len(data)} characters, more than {MAX_TEXT}")
    return data.removeprefix("\ufeff")


def _read(plain: Any, allow_pickle: bool) -> Pipeline:
    _check(plain, allow_pickle)
    return _read_within(plain, "", allow_pickle)


def _read_within(plain: Any, around: str, allow_pickle: bool) -> Pipeline:
    """``around`` is the place of a nested pipeline."""
    document = _decoded(plain, around.removesuffix("."), _Document, allow_pickle)
    if isinstance(document.get("steps"), list | tuple):
        document["steps"] = [
            _decoded(step, f"{around}steps[{number}]", _Step, allow_pickle)
            for number, step in enumerate(document["steps"])
        ]
    try:
        converted = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise _schema_error(error, around) from None
    pipeline = _pipeline(converted, around)
    for number, step in enumerate(converted.steps):
        if step.pipeline is not None:
            place = f"{around}steps[{number}].pipeline."
            pipeline.steps[number].pipeline = _read_within(step.pipeline, place, allow_pickle)
    return pipeline


def _pipeline(document: _Document, around: str) -> Pipeline:
    pipeline = Pipeline(document.name, [], document.metadata, document.parallelism)
    before: list[str] = []
    for number, step in enumerate(document.steps):
        pipeline.steps.append(
            PipelineStep(
                name=step.name,
                step_type=step.type,
                config=step.config,
                dependencies=before if step.dependencies is msgspec.UNSET else step.dependencies,
                handler=step.handler,
                priority=step.priority,
                timeout=step.timeout,
                retry=step.retry,
                at_most_once=step.at_most_once,
                executor=step.executor,
                when=step.when,
                resources=_demand(step, f"{around}steps[{number}]"),
                compensate=step.compensate,
                heartbeat_timeout=step.heartbeat_timeout,
                cache=step.cache,
            )
        )
        before = [step.name]
    return pipeline


def _demand(step: _Step, place: str) -> dict[str, float]:
    usual = {option: getattr(step, option) for option in RESOURCE_OPTIONS}
    try:
        return demand(step.resources, {option: n for option, n in usual.items() if n != 0})
    except TypeError as error:
        raise SerializationError(f"{place}: {error}") from None


def _decoded(
    plain: Any, place: str, schema: type[msgspec.Struct], allow_pickle: bool
) -> dict[str, Any]:
    """The mapping with its values in their own types; steps and nested pipelines come later."""
    _known_keys(plain, place, schema.__struct_fields__)
    result = {}
    for key, value in plain.items():
        inner = f"{place}.{key}".lstrip(".")
        if key in ("config", "metadata") and isinstance(value, dict) and TAG not in value:
            result[key] = {k: _value(v, f"{inner}.{k}", allow_pickle) for k, v in value.items()}
        else:
            nested = key in ("steps", "pipeline")
            result[key] = value if nested else _value(value, inner, allow_pickle)
        if key == "retry" and value is not None:
            _known_keys(result[key], inner, RetryPolicy.__struct_fields__)
            _error_names(result[key].get("retryable_errors"), inner)
    return result


def _value(plain: Any, place: str, allow_pickle: bool) -> Any:
    if not isinstance(plain, dict | list):
        return plain
    try:
        return from_plain(plain, _NO_ARTIFACTS, allow_pickle=allow_pickle)
    except PipelineError as error:
        raise SerializationError(f"{place}: {error}") from error


def _known_keys(plain: Any, place: str, known: Iterable[str]) -> None:
    where = place or "the document"
    if not isinstance(plain, dict):
        raise SerializationError(f"{where}: expected a mapping, got {kind(plain)}")
    for key in plain:
        if key in known:
            continue
        if key in RESERVED_OPTIONS:
            problem = f"{key!r} is reserved and not supported by this version"
        else:
            hint = nearest(str(key)[:60], known) or f"; known keys: {', '.join(known)}"
            if "config" in known:
                hint += " (what is meant for the handler goes under 'config')"
            problem = f"unknown key {kind(key)}{hint}"
        raise SerializationError(f"{where}: {problem}")


def _error_names(names: Any, place: str) -> None:
    if isinstance(names, list) and not all(isinstance(name, str) for name in names):
        raise SerializationError(
            f"{place}.retryable_errors: expected names such as 'builtins:ConnectionError'"
        )


def _schema_error(error: msgspec.ValidationError, around: str) -> SerializationError:
    """msgspec's words, with the place in front."""
    problem, _, place = str(error).partition(" - at ")
    place = place.replace("`key` in ", "the keys of ").replace("`", "").replace("$.", "")
    if place.endswith("retry.strategy"):
        problem += f": use one of {', '.join(RetryStrategy)}"
    place = f"{around}{place}".removesuffix(".")
    return SerializationError(f"{place or 'the document'}: {problem}")


def _check(plain: Any, allow_pickle: bool) -> None:
    """Refuse what is nested too deeply, too large, or a pickle."""
    for value, place in json_safe.walk(plain):
        tag = value.get(TAG, "") if isinstance(value, dict) else ""
        if not isinstance(tag, str):
            problem = f"{TAG!r} names a kind of value, not {kind(tag)}"
            raise SerializationError(f"{json_safe.path(place)}: {problem}")
        if tag == "pickle" and not allow_pickle:
            raise SerializationError(
                f"{json_safe.path(place)}: a pickle, which would run code of whoever wrote it; "
                "allow_pickle=True reads it, if you trust them"
            )


# JSON and YAML


def _check_format(format: str) -> None:
    if format not in ("json", "yaml"):
        raise SerializationError(f"the format {format!r} is not known; use 'json' or 'yaml'")


def _parsed(text: str, format: str) -> Any:
    if format == "yaml":
        from . import yaml_safe

        return yaml_safe.load(text)
    value = json_safe.load(text)
    return json_safe.load(value) if isinstance(value, str) else value  # json.dump of serialize()


def _written(document: Any, format: str) -> str:
    if format == "yaml":
        from . import yaml_safe

        return yaml_safe.dump(document)
    return json_safe.dump(document)
