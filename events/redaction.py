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
from .step import ChildEnd
from .values import ErrorInfo

HIDDEN_TEXT = "(encrypted)"
"""Stands for the text of an error."""
HIDDEN = Value(inline=msgspec.Raw(b'{"!":"%b"}' % ENCRYPTED.encode()))
"""Stands for a small value; a large one is an artifact, whose name tells nothing."""

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


def redacted(
    event: Any, alias: Callable[[str], str], definition: PipelineDefinition | None = None
) -> Any:
    """An event without its contents.

    Args:
        event: What happened to a run.
        alias: Gives what stands for a name.
        definition: Of a PipelineSubmitted: the body that it names.
    """
    kind = type(event).__name__
    shown = _struct(event)
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if (kind, name) in _NAMES and value is not None:
            shown = replace(shown, **{name: alias(value)})
    if definition is not None:
        body = msgspec.json.encode(_skeleton(definition))
        shown = replace(shown, definition=Value(inline=msgspec.Raw(body)))
    return shown


def _struct(value: Any) -> Any:
    fields = msgspec.structs.fields(value)
    return type(value)(
        **{field.name: _shown(getattr(value, field.name), field) for field in fields}
    )


def _shown(value: Any, field: FieldInfo) -> Any:
    """What of the value of a field may be seen."""
    if value is None or isinstance(value, int | float | Parent):
        return value
    if isinstance(value, Value):
        return _value(value)
    if isinstance(value, ErrorInfo):
        return replace(value, message=HIDDEN_TEXT, traceback=None, causes=())
    if isinstance(value, ChildEnd):
        outputs = {name: _value(output) for name, output in value.outputs.items()}
        return replace(_struct(value), outputs=outputs)
    if field.name in _SHOWN:
        return value
    if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
        return value
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return ""  # a text that must be there


def _value(value: Value) -> Value:
    return HIDDEN if value.artifact is None else value


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
