"""The extractor ``"spacy:<model>"``: entities by an installed spaCy model, relations by frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import MissingExtra, StepConfigError
from ..split import split_characters
from .found import Mention, Statement
from .frames import statements

_TYPES: Mapping[str, str] = {
    "PER": "PERSON",
    "ORG": "ORGANIZATION",
    "GPE": "PLACE",
    "LOC": "PLACE",
    "FAC": "PLACE",
}
"""spaCy's labels that have another name here; all others keep theirs."""

_PIECE = 100_000
"""Characters given to spaCy at once; its memory grows with them."""


class Spacy:
    """A spaCy pipeline that finds entities, by a model or by rules.

    Raises:
        MissingExtra: spaCy is not installed.
        StepConfigError: The model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            import spacy
        except ImportError as error:
            raise MissingExtra(f"the extractor 'spacy:{model}'", "spacy") from error
        try:
            self._pipeline = spacy.load(model)
        except (OSError, ValueError) as error:
            raise StepConfigError(
                f"extract: spaCy cannot load the model {model!r}: install it (python -m spacy "
                f"download {model}), or name the folder of one"
            ) from error

    def entities(self, text: str) -> Sequence[Mention]:
        found = []
        for start, end in split_characters(text, _PIECE, 0):
            for span in self._pipeline(text[start:end]).ents:
                kind = _TYPES.get(span.label_, span.label_)
                found.append(Mention(kind, start + span.start_char, start + span.end_char, 0.85))
        return found

    def relations(self, text: str, mentions: Sequence[Mention]) -> Sequence[Statement]:
        return list(statements(text, mentions))
