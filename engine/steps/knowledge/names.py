"""When two names are the same name: folding and comparing, without regard to documents."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from ..errors import MissingExtra
from ..extraction.lexicon import words

Words: TypeAlias = tuple[str, ...]

FUZZY = frozenset({"PERSON", "ORGANIZATION", "PLACE"})
"""Types of which two spellings can be the same; values such as dates are equal or are not."""

_JUNIOR = frozenset({"jr", "sr", "junior", "senior", "ii", "iii"})
_SMALL = frozenset({"the", "and", "of", "for", "de", "la", "le", "du", "der", "die", "das", "und"})
_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe", "\u0131": "i"}
)
_DOTTED = re.compile(r"\b(\w)\.(?=\w\b)")
_WORD = re.compile(r"[^\W_]+")
_LONG = 5
"""Letters a word needs before a slip in it can be told from another word."""


def folded(text: str) -> str:
    """``text`` without diacritics, capitals and dots inside abbreviations."""
    plain = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return _DOTTED.sub(r"\1", "".join(c for c in plain if not unicodedata.combining(c)))


@lru_cache(maxsize=1 << 14)
def words_of(kind: str, name: str) -> Words:
    """What tells ``name`` from other names of its type: folded words, without titles (people) or
    company suffixes and small words (others). Never empty for a name that has a letter."""
    text = folded(name).replace("'s ", " ").removesuffix("'s")
    found = _WORD.findall(text)
    person = kind == "PERSON"
    empty = words("titles") if person else _SMALL
    kept = [word for word in found if word not in empty]
    while len(kept) > 1 and kept[-1] in (_JUNIOR if person else words("company_suffixes")):
        kept.pop()
    return tuple(kept or found or [text])


def short_forms(kind: str, full: Words) -> frozenset[Words]:
    """What may stand for ``full`` within one document.

    Of a person: the given name or the surname alone, initials, fewer middle names. Of an
    organisation: the first words of its name, its acronym.
    """
    if len(full) < 2:
        return frozenset()
    if kind == "PERSON":
        first, *middle, last = full
        initials = [name[0] for name in middle]
        forms = {(first,), (last,), (first, last), (first[0], last)}
        forms |= {(first, *initials, last), (first[0], *initials, last)}
        return frozenset(forms - {full})
    return frozenset({full[:end] for end in range(1, len(full))} | {_acronym(full)})


def _acronym(full: Words) -> Words:
    return ("".join(word[0] for word in full),)


def is_weak(kind: str, name: Words) -> bool:
    """Whether a name can mean someone else in another document: one word, or an initial."""
    return kind == "PERSON" and (len(name) == 1 or any(len(word) == 1 for word in name[:-1]))


def matcher(threshold: float) -> Callable[[str, Words, Words], bool]:
    """A test of whether two names of a type are spellings of the same name.

    Both as a whole (rapidfuzz's ``WRatio``) and word by word (``ratio``) they must be alike by
    ``threshold``, 0 to 100. Short words, numbers and initials must be equal; given names must end
    with the same letter (Alexander, Alexandra). So Erik Dahl is never Ingrid Dahl.

    Raises:
        MissingExtra: rapidfuzz is not installed.
    """
    try:
        from rapidfuzz import fuzz
    except ImportError as error:
        raise MissingExtra("merging names that are nearly the same", "extract") from error

    def alike(one: str, other: str) -> bool:
        if one == other:
            return True
        if min(len(one), len(other)) < _LONG or not (one.isalpha() and other.isalpha()):
            return False
        return fuzz.ratio(one, other, score_cutoff=threshold) > 0

    def same(kind: str, one: Words, other: Words) -> bool:
        if len(one) != len(other):
            return False
        if kind != "PERSON":
            one, other = tuple(sorted(one)), tuple(sorted(other))
        elif any(a[-1] != b[-1] for a, b in zip(one[:-1], other[:-1], strict=True)):
            return False
        if not all(map(alike, one, other)):
            return False
        return fuzz.WRatio(" ".join(one), " ".join(other)) >= threshold

    return same
