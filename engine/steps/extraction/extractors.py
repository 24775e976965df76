"""Extractors by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from ....events.errors import nearest
from ..errors import StepConfigError
from .found import ExtractionError, Extractor, Mention, Statement

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "semantica.pipeline.extractors"
"""Entry point group: name -> a class or function that takes what follows the colon, if anything."""


def _rules(_: str) -> Extractor:
    from .rules import Rules

    return Rules()


def _spacy(model: str) -> Extractor:
    from .spacy_model import Spacy

    return Spacy(model)


def _openai(model: str) -> Extractor:
    from .chat import Chat

    return Chat(model)


_KINDS: Mapping[str, Callable[[str], Extractor]] = {
    "rules": _rules,
    "spacy": _spacy,
    "openai": _openai,
}


def extractor(name: str) -> Extractor:
    """The extractor of that name.

    Args:
        name: ``"rules"``; ``"spacy:<model>"``; ``"openai:<model>"`` at the endpoint that
            ``OPENAI_BASE_URL`` names; one of the entry points :data:`GROUP`, with ``:argument`` if
            it takes one; or ``"module:attribute"``: an :class:`.found.Extractor`, a class of one,
            or a function that takes a text and gives mentions.

    Raises:
        StepConfigError: There is none of that name, or it cannot be loaded.
        MissingExtra: It needs a library that is not installed.
    """
    kind, colon, rest = name.partition(":")
    if kind in ("spacy", "openai") and not rest:
        raise StepConfigError(f"extract: extractor={name!r} names no model: write {kind}:<model>")
    if kind == "rules" and colon:
        raise StepConfigError("extract: the extractor 'rules' has no models: write rules")
    if kind in _KINDS:
        return _KINDS[kind](rest)
    installed = _installed()
    if kind in installed:
        made = installed[kind].load()
        return _checked(name, made(rest) if colon else made())
    if colon:
        return _imported(name, kind, rest)
    hint = nearest(name, [*_KINDS, *installed])
    raise StepConfigError(
        f"extract: extractor={name!r} is not one of 'rules', 'spacy:<model>', 'openai:<model>', "
        f"'module:function' or an installed one ({', '.join(sorted(installed)) or 'none is'}){hint}"
    )


@cache
def _installed() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import

    return {found.name: found for found in entry_points(group=GROUP)}


def _imported(name: str, module: str, attribute: str) -> Extractor:
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise StepConfigError(f"extract: cannot import the extractor {name!r}: {error}") from error
    if isinstance(found, type):
        found = found()
    if callable(found) and not hasattr(found, "entities"):
        return _Function(found)
    return _checked(name, found)


def _checked(name: str, found: Any) -> Extractor:
    if not (
        callable(getattr(found, "entities", None)) and callable(getattr(found, "relations", None))
    ):
        raise StepConfigError(
            f"extract: {name!r} is no extractor: it has not both the methods entities(text) and "
            "relations(text, mentions), and is no function of a text"
        )
    extractor: Extractor = found
    return extractor


class _Function:
    """A function of a text, as an extractor of entities."""

    def __init__(self, function: Callable[[str], Iterable[Any]]) -> None:
        self._function = function

    def entities(self, text: str) -> Sequence[Mention]:
        try:
            return [
                msgspec.convert(found, Mention, from_attributes=True)
                for found in self._function(text)
            ]
        except (msgspec.ValidationError, TypeError) as error:
            raise ExtractionError(
                "an extractor function must give mentions: Mention objects or mappings with type, "
                f"start, end and, if you like, confidence and value; {error}"
            ) from error

    def relations(self, text: str, mentions: Sequence[Mention]) -> Sequence[Statement]:
        raise StepConfigError(
            "extract: a function finds entities alone: take another extractor for relations, or "
            "make it a class with the methods entities and relations"
        )
