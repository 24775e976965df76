"""Whether what a pipeline holds can be recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..events.arguments import shown
from ..events.artifacts import MemoryArtifacts
from ..events.codec import to_plain
from ..events.errors import UnencodableValue
from .findings import Finding
from .model import Pipeline, PipelineStep, known_options
from .wellformed import label

_OPTIONS = (
    "name",
    "step_type",
    *(option for option in known_options() if option in PipelineStep.__dataclass_fields__),
)
_PLAIN = frozenset((bool, int, float, type(None)))
_NO_ARTIFACTS = MemoryArtifacts()


def unrecordable(pipeline: Pipeline) -> Iterator[Finding]:
    """Options and configuration of a pipeline, well-formed otherwise, that have no recorded form.

    Subclasses of text and of numbers have none as options, such as NumPy's: what is read back would
    be of another type.
    """
    for problem in _configuration(pipeline.metadata, "metadata"):
        yield Finding("unrecordable", problem)
    for step in pipeline.steps:
        for problem in (*_options(step), *_configuration(step.config, "configuration")):
            yield Finding("unrecordable", problem, label(step))


def _options(step: PipelineStep) -> Iterator[str]:
    given = {option: _recorded(getattr(step, option)) for option in _OPTIONS}
    if _refusal(given) is None:
        return
    for option, value in given.items():
        refusal = _refusal(value)
        if refusal is not None:
            yield f"{option}={shown(value)} cannot be recorded ({refusal}); give a plain value"


def _recorded(value: Any) -> Any:
    """Of functions, only the name is; what is nested is looked at by itself."""
    return None if callable(value) or isinstance(value, Pipeline) else value


def _refusal(value: Any) -> str | None:
    try:
        msgspec.json.encode(value)
    except Exception as error:
        return str(error)
    return None


def _configuration(items: dict[str, Any], role: str) -> Iterator[str]:
    for key, value in items.items():
        if type(value) in _PLAIN:
            continue
        try:
            to_plain(value, _NO_ARTIFACTS)
        except UnencodableValue as error:
            yield f"{role} {key!r}: {error}"
        except Exception as error:  # a class of the user's may raise anything
            yield f"{role} {key!r} cannot be recorded: {type(error).__name__}: {error}"
