"""What may be seen of an event of an encrypted run: that it happened, to which step, when, how
long it took and how it ended.

An event without its contents is an event: it obeys the law, and folds to the same states. So
whatever reads a log works on a run whose key is not there, too. What is shown is listed; whatever
else a field holds, also one that is added later, is hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import FieldInfo, replace

from .codec import Value
from .definition import PipelineDefinition, StepDefinition
from .pipeline import Parent
from .plain_reader import ENCRYPTED
from .plain_writer import TAG
from .step import ChildEnd, StepReused
from .values import ErrorInfo

HIDDEN_TEXT = "(encrypted)"
"""Stands for the text of an error."""

_SHOWN = frozenset(
    {
        *("name", "step", "worker", "backend", "reason", "cause", "how", "source", "run"),
        *("owner", "engine", "host", "code", "on_failure", "encoding", "forked_from"),
        *("due", "grants"),  # by step and by resource
    }
)
"""Fields whose texts are shown: names of pipelines, steps, engines, and the log's own words."""
_NAMES = frozenset(
    {
        ("SignalReceived", "name"),
        ("StepSuspended", "signal"),
        ("StepWoken", "signal"),
        ("StepSuspended", "key"),
        ("StepWoken", "key"),
        ("StepCheckpointed", "key"),
        ("StepItemCompleted", "key"),
        ("StepItemFailed", "key"),
    }
)
"""Names that a fold tells apart, for which others stand."""


class _Hidden(msgspec.Struct, frozen=True):
    """The form of what stands for a small value: the event that has it (a large one is an artifact,
    whose name tells nothing)."""

    kind: str = msgspec.field(name=TAG)
    place: str = msgspec.field(name="v")


_hidden = msgspec.json.Decoder(_Hidden)
_HIDDEN = b'{"%b":"%b",' % (TAG.encode(), ENCRYPTED.encode())


def hidden_at(value: Value) -> str | None:
    """The place of a value that is not shown, as ``RUN@VERSION``; None for any other."""
    text = bytes(value.inline)
    return _hidden.decode(text).place if text.startswith(_HIDDEN) else None


def redacted(
    event: Any,
    alias: Callable[[str], str],
    place: str,
    definition: PipelineDefinition | None = None,
) -> Any:
    """An event without its contents.

    Args:
        event: What happened to a run.
        alias: Gives what stands for a name.
        place: The run and the version, as ``RUN@VERSION``.
        definition: Of a PipelineSubmitted: the body that it names.
    """
    if isinstance(event, StepReused):  # it is the same value
        place = f"{event.source}@{event.version}"
    kind = type(event).__name__
    shown = _struct(event, place)
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if (kind, name) in _NAMES and value is not None:
            shown = replace(shown, **{name: alias(value)})
    if definition is not None:
        body = msgspec.json.encode(_skeleton(definition))
        shown = replace(shown, definition=Value(inline=msgspec.Raw(body)))
    return shown


_fields: dict[type[Any], tuple[FieldInfo, ...]] = {}
"""Of the types that were met; to look them up takes long."""


def _struct(value: Any, place: str) -> Any:
    fields = _fields.get(type(value))
    if fields is None:
        fields = _fields[type(value)] = msgspec.structs.fields(value)
    return type(value)(
        **{field.name: _shown(getattr(value, field.name), field, place) for field in fields}
    )


def _shown(value: Any, field: FieldInfo, place: str) -> Any:
    """What of the value of a field may be seen."""
    if value is None or isinstance(value, int | float | Parent):
        return value
    if isinstance(value, Value):
        return _value(value, place)
    if isinstance(value, ErrorInfo):
        return replace(value, message=HIDDEN_TEXT, traceback=None, causes=())
    if isinstance(value, ChildEnd):
        outputs = {name: _value(output, place) for name, output in value.outputs.items()}
        return replace(_struct(value, place), outputs=outputs)
    if field.name in _SHOWN:
        return value
    if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
        return value
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return ""  # a text that must be there


def _value(value: Value, place: str) -> Value:
    if value.artifact is not None:
        return value
    return Value(inline=msgspec.Raw(msgspec.json.encode(_Hidden(ENCRYPTED, place))))


def _skeleton(definition: PipelineDefinition) -> PipelineDefinition:
    """The graph: names, types, order, limits; neither configuration nor code."""
    return replace(definition, steps=tuple(map(_bare, definition.steps)), metadata={})


def _bare(step: StepDefinition) -> StepDefinition:
    return StepDefinition(
        step.name,
        step.type,
        step.dependencies,
        handler=_there(step.handler),
        priority=step.priority,
        timeout=step.timeout,
        at_most_once=step.at_most_once,
        executor=step.executor,
        when=_there(step.when),
        resources=step.resources,
        heartbeat_timeout=step.heartbeat_timeout,
        cache=step.cache,
        compensate=_there(step.compensate),
        pipeline=step.pipeline and _skeleton(step.pipeline),
    )


def _there(reference: str | None) -> str | None:
    """That there is a function, but not which."""
    return None if reference is None else ""
