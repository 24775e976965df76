"""Merge: what several steps have made becomes one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ....events.arguments import shown
from ...model import PipelineStep
from .. import merge as corpora
from ..configured import configured
from ..corpus import Corpus
from ..errors import StepInputError

if TYPE_CHECKING:
    from ...context import Context

Conflict = Literal["error", "first", "last"]
_Merge = Callable[[Mapping[str, Any]], Any]


class Options(msgspec.Struct, kw_only=True):
    """What ``merge`` can be told."""

    conflict: Annotated[
        Conflict,
        msgspec.Meta(
            description="which value counts where mappings have the same key and other values: "
            "of the first dependency, of the last, or none: that is an error"
        ),
    ] = "error"


@configured(Options)
def merge(data: Any, context: Context, step: PipelineStep, conflict: Conflict) -> Any:
    """Join the outputs of the step's dependencies, in their order.

    Corpora become one corpus: a record that several hold counts once, and of a document that is
    parsed in one and not in another, the parsed one. Lists and tuples are put one behind the other;
    mappings become one mapping. An output that is None, as of a step that was skipped, is left out.
    A single input is handed on as it is.

    Raises:
        StepInputError: The outputs are not of one kind, or of none of these, or two mappings
            disagree and ``conflict`` is ``"error"``.
    """
    if len(step.dependencies) < 2:
        return data
    inputs = {name: data[name] for name in step.dependencies if data.get(name) is not None}
    if not inputs:
        return None
    ways: tuple[tuple[type | tuple[type, ...], _Merge], ...] = (
        (Corpus, lambda given: corpora.merge(list(given.values()), context.artifacts)),
        ((list, tuple), lambda given: [item for part in given.values() for item in part]),
        (Mapping, lambda given: _mapping(given, conflict)),
    )
    for kind, way in ways:
        if all(isinstance(value, kind) for value in inputs.values()):
            return way(inputs)
    raise StepInputError(_not_alike(inputs))


def _mapping(inputs: Mapping[str, Mapping[Any, Any]], conflict: Conflict) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    origin: dict[Any, str] = {}
    for name, part in inputs.items():
        for key, value in part.items():
            if key not in merged or conflict == "last":
                merged[key] = value
                origin[key] = name
            elif conflict == "error" and not _same(merged[key], value):
                raise StepInputError(
                    f"merge: {origin[key]!r} and {name!r} have different values for "
                    f"{shown(key)}; say which counts by conflict='first' or 'last'"
                )
    return merged


def _same(one: Any, other: Any) -> bool:
    """Whether two values are known to be equal: asking arrays for it gives another array."""
    try:
        return bool(one == other)
    except (ValueError, TypeError):
        return False


def _not_alike(inputs: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{name!r} a {type(value).__name__}" for name, value in inputs.items())
    return (
        f"merge joins corpora, lists or mappings, all of one kind, and gets {kinds}; put a step "
        "before it that brings them into one form"
    )
