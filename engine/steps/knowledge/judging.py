"""Who is right: weighing claims that contradict one another. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from ..records import Document

_DATES = ("date", "published", "modified", "created")
_DATE = re.compile(
    r"(?<!\d)((?:1[0-9]|20)\d\d)(?:[-_.]?(0[1-9]|1[0-2])(?:[-_.]?([0-3]\d))?)?(?!\d)"
)


class Source(msgspec.Struct, frozen=True):
    """A document, as a witness. ``dated`` is ISO, shorter when less is known, or empty."""

    name: str
    dated: str = ""

    @classmethod
    def of(cls, document: Document) -> Source:
        for key in _DATES:
            value = document.metadata.get(key)
            if isinstance(value, date):  # a datetime is one too
                return cls(document.source, value.isoformat())
            if isinstance(value, (str, int)) and (found := _DATE.search(str(value))):
                return cls(document.source, _iso(found))
        found = _DATE.search(document.source.rpartition("/")[2])
        return cls(document.source, _iso(found) if found else "")


def _iso(found: re.Match[str]) -> str:
    return "-".join(part for part in found.groups() if part)


class Claim(msgspec.Struct, frozen=True):
    """That the object of a relation is ``value``, known as ``name``."""

    relation: str
    value: str
    name: str
    confidence: float
    source: Source


def agree(claims: Iterable[Claim]) -> bool:
    """Whether all can be true: the longest value holds what the others say."""
    values = {claim.value for claim in claims}
    longest = max(values, key=len, default="")
    return all(_supports(value, longest) for value in values)


def _supports(value: str, other: str) -> bool:
    """Whether ``other`` says what ``value`` says, or, of dates, more exactly."""
    return other == value or (value[:1].isdigit() and other.startswith(f"{value}-"))


class Judge:
    """Decides between claims by one strategy; draws by the others."""

    def __init__(self, strategy: str, trust: Mapping[str, float]) -> None:
        self._strategy = strategy
        self._trust = trust

    def decide(self, claims: list[Claim]) -> dict[str, dict[str, Any]]:
        """Relation -> the rejection, for each claim that is not believed."""
        values = sorted({claim.value for claim in claims})
        backing = {
            value: [claim for claim in claims if _supports(claim.value, value)] for value in values
        }
        ranked = sorted(values, key=lambda value: self._rank(value, backing[value]), reverse=True)
        believed = backing[ranked[0]]
        best = min(claim.relation for claim in believed if claim.value == ranked[0])
        losers = [claim for claim in claims if claim not in believed]
        return {
            loser.relation: {
                "strategy": self._strategy,
                "kept": best,
                "because": self._because(believed, backing[loser.value]),
            }
            for loser in losers
        }

    def _rank(self, value: str, backing: list[Claim]) -> tuple[Any, ...]:
        marks = {
            "most_frequent": len(backing),
            "most_recent": max(claim.source.dated for claim in backing),
            "most_trusted": max(self._weight(claim.source) for claim in backing),
        }
        first = marks.pop(self._strategy)
        confidence = round(sum(claim.confidence for claim in backing), 9)
        exact = len(value), max(claim.name for claim in backing), value
        return first, *marks.values(), confidence, *exact

    def _weight(self, source: Source) -> float:
        for pattern, weight in self._trust.items():
            if fnmatchcase(source.name, pattern) or fnmatchcase(source.name, f"*/{pattern}"):
                return weight
        return 1.0

    def _because(self, believed: list[Claim], doubted: list[Claim]) -> str:
        return f"{self._said(believed)}; {self._said(doubted)}"

    def _said(self, backing: list[Claim]) -> str:
        name = max((claim.value, claim.name) for claim in backing)[1]
        if self._strategy == "most_recent":
            newest = max(claim.source.dated for claim in backing)
            return f"{name!r} is of {newest or 'unknown date'}"
        if self._strategy == "most_trusted":
            weight = max(self._weight(claim.source) for claim in backing)
            return f"{name!r} has the weight {weight:g}"
        count = len(backing)
        return f"{count} {'relation says' if count == 1 else 'relations say'} {name!r}"
