"""What extractors find, and what an extractor is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ....events.errors import PipelineError

TYPES = (
    "PERSON",
    "ORGANIZATION",
    "PLACE",
    "DATE",
    "MONEY",
    "PERCENT",
    "EMAIL",
    "URL",
    "PHONE",
)
"""Types that the built-in extractors give; others may give more."""


class ExtractionError(PipelineError):
    """An extractor gave what cannot be used, or its service failed."""


class Mention(msgspec.Struct, frozen=True):
    """A span of a text that names something: ``text[start:end]``, in characters.

    ``value`` is a normal form where there is one: ``1961-05-14`` of a date, ``EUR 12500000`` of
    money.
    """

    type: str
    start: int
    end: int
    confidence: float = 1.0
    value: str = ""


class Statement(msgspec.Struct, frozen=True):
    """``subject predicate object``, the first and last being places in the list of mentions.

    The sentence that says so is ``text[start:end]``. ``note`` is what is worth keeping besides,
    such as the pronoun that stood for the subject.
    """

    subject: int
    predicate: str
    object: int
    start: int
    end: int
    confidence: float = 1.0
    note: dict[str, Any] = {}


class Extractor(Protocol):
    """Finds names and relations in one text at a time. Called from one thread at a time."""

    def entities(self, text: str) -> Sequence[Mention]:
        """The mentions of ``text``, by place. Raises ExtractionError."""

    def relations(self, text: str, mentions: Sequence[Mention]) -> Sequence[Statement]:
        """What ``text`` says about ``mentions``. Raises ExtractionError."""
