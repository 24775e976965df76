"""Sentences in which every name is one character, so that frames can be read over them.

``Erik Dahl founded Nordlys in 1903`` becomes ``⟨P⟩ founded ⟨O⟩ in ⟨D⟩``, each name a character
that says its type. A pronoun or a description ("she", "its", "the company") becomes the character
of what it stands for, where that can be told: the person of fitting gender, or the organisation,
that the last sentence which names one names first.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec

from .found import Mention
from .lexicon import words

MASKS = {
    "PERSON": "\ue001",
    "ORGANIZATION": "\ue002",
    "PLACE": "\ue003",
    "DATE": "\ue004",
    "MONEY": "\ue005",
    "PERCENT": "\ue006",
    "EMAIL": "\ue007",
    "URL": "\ue008",
    "PHONE": "\ue009",
}
_OTHER = "\ue00a"
POSSESSIVE = "\ue00b"
"""After the character of a name: ``'s``, or it was "his", "her", "its"."""

_BREAK = re.compile(
    r"(?<!\b[A-Z])(?<!\bDr)(?<!\bM[rs])(?<!\bMrs)(?<!\bSt)(?<!\bNo)(?<!\bInc)(?<!\bProf)"
    r"[.!?][\"'\u201d\u2019)]*(?=\s)|\n\s*\n|\n(?=[-*#\u2022] )|[\u3002\uff01\uff1f]"
)
_LONGEST = 1200
"""Characters of a sentence; what is longer is cut, since no frame is."""

_ANAPHOR = re.compile(
    r"\b(?:(?P<he>[Hh]e)|(?P<she>[Ss]he)|(?P<his>[Hh]is)|(?P<her>[Hh]er)|(?P<its>[Ii]ts))\b"
    r"|\b(?P<it>[Ii]t)\b(?=,? (?:was|is|has|had|owns|acquired|bought|employs|receives|invested))"
    r"|\b(?P<org>[Tt]he (?:company|firm|group|bank|orchestra|observatory|museum|trust|institute"
    r"|university|start-up|corporation|agency|society|foundation))\b(?! of| [A-Z])"
)
_GENDERS = {"he": "m", "his": "m", "she": "f", "her": "f"}
_FEMALE_TITLE = re.compile(r"(?:Mrs|Ms|Miss|Mme|Lady|Dame|Queen|Princess|Sister)\.? \Z")
_MALE_TITLE = re.compile(r"(?:Mr|Sir|Lord|King|Prince|Father|Brother|Herr)\.? \Z")


class Masked(msgspec.Struct, frozen=True):
    """``text`` with names masked; ``places`` maps where a mask is to the mention it stands for."""

    text: str
    places: dict[int, int]
    start: int
    end: int
    pronouns: dict[int, str]


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where each sentence is, without white space around it."""
    start = 0
    for found in _BREAK.finditer(text):
        yield from _cut(text, start, found.end())
        start = found.end()
    yield from _cut(text, start, len(text))


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = min(end, start + _LONGEST)
        piece = text[start:stop]
        kept = piece.strip()
        if kept:
            begin = start + len(piece) - len(piece.lstrip())
            yield begin, begin + len(kept)
        start = stop


class Masker:
    """Masks one sentence after another, and remembers who was spoken of."""

    def __init__(self, text: str, mentions: Sequence[Mention]) -> None:
        self._text = text
        self._mentions = mentions
        self._starts = [mention.start for mention in mentions]
        self._topic: dict[str, int] = {}  # gender, "?" if unknown, or "org" -> mention
        self._heard: set[str] = set()  # kinds that this sentence has named
        self._orgs: dict[str, tuple[int, int, str]] = {}  # first word -> times, last mention, name
        self._gender: dict[str, str] = {}  # name -> gender, as shown so far

    def mask(self, start: int, end: int) -> Masked:
        self._heard.clear()
        pieces: list[str] = []
        places: dict[int, int] = {}
        pronouns: dict[int, str] = {}
        length, done = 0, start
        for begin, stop, number, said in self._spans(start, end):
            gap = self._text[done:begin].replace("\n", " ")
            pieces.append(gap)
            length += len(gap)
            places[length] = number
            mask = MASKS.get(self._mentions[number].type, _OTHER)
            if said:
                pronouns[length] = said
            owns = said.casefold() in ("his", "her", "its")
            if self._text[stop : stop + 2] in ("'s", "\u2019s") and not said:
                owns, stop = True, stop + 2
            pieces.append(mask + POSSESSIVE * owns)
            length += 1 + owns
            done = max(stop, begin)
        pieces.append(self._text[done:end].replace("\n", " "))
        return Masked("".join(pieces), places, start, end, pronouns)

    def _spans(self, start: int, end: int) -> Iterator[tuple[int, int, int, str]]:
        """Names and what stands for names, by place: start, end, mention, the word that stands."""
        number = bisect_left(self._starts, start)
        anaphors = _ANAPHOR.finditer(self._text, start, end)
        anaphor = next(anaphors, None)
        while True:
            mention = self._mentions[number] if number < len(self._mentions) else None
            if mention is not None and mention.start >= end:
                mention = None
            if anaphor is not None and (mention is None or anaphor.start() < mention.start):
                target = self._antecedent(anaphor.lastgroup or "", anaphor[0])
                if target is not None:
                    yield anaphor.start(), anaphor.end(), target, anaphor[0]
                anaphor = next(anaphors, None)
            elif mention is not None:
                if mention.end <= end:
                    self._spoken(number, mention)
                    yield mention.start, mention.end, number, ""
                number += 1
                while anaphor is not None and anaphor.start() < mention.end:
                    anaphor = next(anaphors, None)
            else:
                return

    def _antecedent(self, group: str, said: str) -> int | None:
        if group in ("it", "its"):
            return self._topic.get("org")
        if group == "org":
            found = self._described(said.split()[-1])
            if found is not None:
                self._speak("org", found)
            return found
        gender = _GENDERS[group]
        found = self._topic.get(gender)
        if found is None and (found := self._topic.get("?")) is not None:
            self._gender[self._name_of(found)] = gender  # now we know
        if found is not None:
            self._speak(gender, found)
        return found

    def _described(self, noun: str) -> int | None:
        """The organisation whose name has the noun in it, else the one spoken of most."""
        named = [org for org in self._orgs.values() if noun in org[2]]
        if named:
            return max(named)[1]
        if noun not in ("company", "firm", "group", "start-up", "corporation"):
            return None
        return max(self._orgs.values(), default=(0, None, ""), key=lambda org: org[:1])[1]

    def _spoken(self, number: int, mention: Mention) -> None:
        name = self._name_of(number)
        if mention.type == "PERSON":
            gender = self._gender_of(number)
            self._speak(gender or "?", number)
            surname = name.split()[-1]
            if gender and self._gender.setdefault(surname, gender) != gender:
                self._gender[surname] = ""  # two people share it
        elif mention.type == "ORGANIZATION":
            self._speak("org", number)
            key = name.split()[0].casefold()
            self._orgs[key] = self._orgs.get(key, (0,))[0] + 1, number, name.casefold()

    def _speak(self, kind: str, number: int) -> None:
        """The first of a kind in a sentence is what later ones are about."""
        if kind not in self._heard:
            self._heard.add(kind)
            self._topic[kind] = number

    def _name_of(self, number: int) -> str:
        mention = self._mentions[number]
        return self._text[mention.start : mention.end]

    def _gender_of(self, number: int) -> str:
        name = self._name_of(number)
        if name in self._gender:
            return self._gender[name]
        before = self._text[
            max(0, self._mentions[number].start - 10) : self._mentions[number].start
        ]
        given = name.split()[0].casefold()
        gender = ""
        if _FEMALE_TITLE.search(before) or given in words("female_names"):
            gender = "f"
        elif _MALE_TITLE.search(before) or given in words("male_names"):
            gender = "m"
        if gender:
            self._gender[name] = gender
        return gender
