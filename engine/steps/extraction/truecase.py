"""Capitals for a text that was written, or normalized, without any.

Names are found by their capitals. In a text that has none, those of the word lists get them back,
and the words beside them that can only be parts of a name; the rest stays lost.
"""

from __future__ import annotations

import re

from .lexicon import given_names, words

_LETTERED = 40
"""Letters a text needs before having no capital means anything."""

_WORD = re.compile(r"[^\W\d_][\w\u0300-\u036f]*(?:['\u2019-][^\W\d_]+)*")
_PLAIN_ENDINGS = ("ed", "ing", "ly", "'s", "\u2019s")
_TOO_COMMON = words("too_common")
"""Words of the lists that mean something else more often, when written small."""

_SPAN = 4


def truecased(text: str) -> str:
    """``text`` itself if it has capitals, else with some, each where the same letter was."""
    lowered = text.lower() == text and sum(map(str.isalpha, text[: 20 * _LETTERED])) >= _LETTERED
    return _capitalised(text) if lowered else text


def _capitalised(text: str) -> str:
    found = [match.span() for match in _WORD.finditer(text)]
    said = [text[start:end] for start, end in found]
    letters = list(text)
    for number in _named(text, found, said):
        start = found[number][0]
        if len(capital := letters[start].upper()) == 1:
            letters[start] = capital
    return "".join(letters)


def _named(text: str, found: list[tuple[int, int]], said: list[str]) -> set[int]:
    """Numbers of the words that are part of names."""
    named: set[int] = set()
    for number, word in enumerate(said):
        for size in range(_SPAN, 0, -1):
            phrase = " ".join(said[number : number + size])
            if phrase in _TOO_COMMON:
                continue
            if phrase in words("places") or phrase in words("organizations"):
                named.update(range(number, min(number + size, len(said))))
        if word in _TOO_COMMON:
            continue
        after = number + 1
        follows = after < len(said) and text[found[number][1] : found[after][0]] in (
            " ",
            ". ",
            "\n",
        )
        if (word in given_names() or word in words("titles")) and follows and _open(said[after]):
            named.update((number, after))
        elif word in given_names():
            named.add(number)
        if word in words("organization_heads"):
            named.update(_around(text, found, said, number))
    return named


def _around(text: str, found: list[tuple[int, int]], said: list[str], head: int) -> set[int]:
    """The words of an organisation's name about its ``head``, if they make one."""
    if said[head + 1 : head + 2] == ["of"] and said[head + 2 : head + 3] and _open(said[head + 2]):
        return {head, head + 2}
    first = head
    while first > 0 and head - first < 2 and _open(said[first - 1]):
        if text[found[first - 1][1] : found[first][0]] not in (" ", "\n"):
            break
        first -= 1
    return set(range(first, head + 1)) if first < head else set()


def _open(word: str) -> bool:
    """Whether a word may be part of a name: it is in no list of plain ones."""
    plain = word in words("common") or word in words("roles") or word in words("demonyms")
    return len(word) > 2 and not plain and not word.endswith(_PLAIN_ENDINGS)
