"""Capitalised names, and whether each is a person, an organisation or a place.

Names are found by their capitals and cut at words that join no names. What a name is follows from
votes: word lists, its own shape, and the words around each place where it stands. All places of one
name in a document vote together, so that a clear one decides for the others; parts of a name that
is known ("Dahl", "Nordlys") follow it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

import msgspec

from .cues import left_cues, right_cues
from .found import Mention
from .lexicon import given_names, heads, words

UPPER = "".join(
    character
    for character in map(chr, [*range(0x41, 0x530), *range(0x1E00, 0x2000)])
    if character.isupper()
)
_ABBREVIATED = r"(?:Dr|Mr|Mrs|Ms|St|Prof|Capt|Col|Gen|Lt|Rev|Jr|Sr)\."
_TOKEN = (
    rf"(?:{_ABBREVIATED}|[{UPPER}]\.(?:[{UPPER}]\.){{0,4}}"
    rf"|[{UPPER}][\w\u0300-\u036f]*(?:['\u2019/&-][\w\u0300-\u036f]+){{0,6}})"
)
_JOINING = "of|de|da|do|del|della|di|der|den|van|von|la|le|du|y|and|for|&"
_GAP = r"[ \u00a0\n]{1,2}"
_CHUNK = re.compile(
    rf"(?<!\w){_TOKEN}(?:{_GAP}(?:(?:{_JOINING}){_GAP}(?:(?:the|la|der|den|de){_GAP})?)?{_TOKEN}){{0,15}}"
)
_PART = re.compile(rf"{_ABBREVIATED}|[^\s]+")
_LEGAL = re.compile(
    r",?[ \n](?:Inc|INC|LLC|Ltd|LTD|LLP|PLC|plc|Corp|CORP|Co|CO|GmbH|AG|S\.A|SpA|AB|AS|A/S"
    r"|N\.V|B\.V)\b\.?"
)
_FULL_LINE = 55
"""Characters of a line that is full, so that a name may go on in the next."""

Verdict: TypeAlias = tuple[str, float] | None
"""Type and confidence."""

SURE = 1.0
"""Votes that a name needs for a type."""


class Name(msgspec.Struct, frozen=True):
    """A name where it stands; ``titled``: after a title such as Dr."""

    start: int
    end: int
    parts: tuple[str, ...]
    titled: bool = False


def names(text: str, taken: Iterable[Mention]) -> Iterator[Mention]:
    """The people, organisations and places of ``text``, outside ``taken``, by place."""
    found = list(_find(_without(text, taken)))
    votes: dict[tuple[str, ...], _Votes] = defaultdict(_Votes)
    for name in found:
        votes[_key(name)].add(text, name)
    types = {key: vote.verdict(key) for key, vote in votes.items()}
    _follow(types)
    _share(text, found, types)
    for name in found:
        verdict = types[_key(name)]
        if verdict is not None:
            yield Mention(verdict[0], name.start, name.end, round(verdict[1], 2))


def _key(name: Name) -> tuple[str, ...]:
    return tuple(part.casefold() for part in name.parts)


def _without(text: str, taken: Iterable[Mention]) -> str:
    """``text`` with other characters, as many, in place of ``taken``."""
    pieces, done = [], 0
    for mention in taken:
        pieces += [text[done : mention.start], "\0" * (mention.end - mention.start)]
        done = mention.end
    return "".join([*pieces, text[done:]])


# Finding


def _find(text: str) -> Iterator[Name]:
    done = 0
    for chunk in _CHUNK.finditer(text):
        parts = [
            (part.start() + chunk.start(), part.end() + chunk.start())
            for part in _PART.finditer(chunk[0])
        ]
        for run in _runs(text, parts):
            name = _trimmed(text, run)
            if name is not None and name.start >= done:
                done = name.end
                yield name


_CONNECTING = frozenset({*_JOINING.split("|"), "the"})
_PARTICLES = frozenset("de da do del della di der den van von la le du y".split())  # noqa: SIM905
Spans = list[tuple[int, int]]


def _runs(text: str, parts: Spans) -> Iterator[Spans]:
    """Cut a chunk into names."""
    run: Spans = []
    place = 0
    while place < len(parts):
        word = text[slice(*parts[place])]
        if not run or word.casefold() not in _CONNECTING:
            joined = run and text[slice(*run[-1])].casefold() in _CONNECTING
            if run and not joined and _line_ends(text, run[-1][1], parts[place][0]):
                yield run
                run = []
            if word.casefold() not in _CONNECTING or (
                word[0].isupper() and not run and len(word) > 3
            ):
                run.append(parts[place])
            place += 1
            continue
        after = place
        while after < len(parts) and text[slice(*parts[after])].casefold() in _CONNECTING:
            after += 1
        left = [text[slice(*span)].casefold() for span in run]
        right = [text[slice(*span)].casefold() for span in parts[after:]]
        if _joins(word.casefold(), left, right):
            run += parts[place:after]
        else:
            yield run
            run = []
        place = after
    if run:
        yield run


def _line_ends(text: str, end: int, start: int) -> bool:
    gap = text[end:start]
    if "\n" not in gap:
        return False
    return "\n\n" in gap or end - (text.rfind("\n", max(0, end - _FULL_LINE), end) + 1) < _FULL_LINE


def _joins(word: str, left: list[str], right: list[str]) -> bool:
    """Whether a name goes on past the connecting ``word``."""
    if not right:
        return False
    if word == "&" or word in _PARTICLES:
        return True
    headed = [part for part in left if part in heads()]
    own = left[-1] in heads()
    if word in ("of", "for"):
        return own and not (left[-1].endswith("s") and right[0] in words("places"))
    if word == "and":
        if "of" in left or "for" in left:
            return bool(headed) and right[0] not in words("places") and not _headed_next(right)
        adjective = left[-1] not in given_names() and len(left) <= 2 and not headed
        return adjective and _headed_next(right) and left[0] in _FIRST and "of" not in right[:3]
    return False


_FIRST = frozenset("national royal federal european american international ministry".split())  # noqa: SIM905


def _headed_next(right: list[str]) -> bool:
    return any(part in words("organization_heads") for part in right[:4])


def _trimmed(text: str, run: Spans) -> Name | None:
    """The name in ``run``, without the words that merely begin a sentence, titles and endings."""
    run = list(run)
    titled = False
    common, demonyms, titles = words("common"), words("demonyms"), words("titles")
    while run:
        word = text[slice(*run[0])].casefold().rstrip(".")
        rest = [text[slice(*span)].casefold() for span in run[1:]]
        if (
            word in titles
            and rest
            and not (word in words("organization_heads") or "of" in rest[:1] or word == "st")
        ):
            titled = True
        elif (word in demonyms and rest and _head(tuple(rest)) is not None) or not (
            word in demonyms or (word in common and not _kept(word, rest))
        ):
            break
        run.pop(0)
    while run and text[slice(*run[-1])].casefold() in _CONNECTING:
        run.pop()
    if not run:
        return None
    start, end = run[0][0], run[-1][1]
    if text[start:end].endswith(("'s", "\u2019s")):
        end -= 2
    if legal := _LEGAL.match(text, end):
        end = legal.end() - (
            legal[0].endswith(".") and text[legal.end() :][:2].strip(" \n")[:1].isupper()
        )
    parts = tuple(text[start:end].replace(",", " ").split())
    if all(part.casefold() in common for part in parts):
        return None
    return Name(start, end, parts, titled)


def _kept(word: str, rest: list[str]) -> bool:
    """Whether a word that often begins a sentence is the first of a name."""
    if word in ("north", "south", "east", "west", "new", "upper", "lower", "great"):
        return bool(rest)
    return bool(rest) and rest[0] in ("of", "for") and word in words("organization_heads")


# Voting


def _head(parts: tuple[str, ...]) -> str | None:
    """The type that the name's head word gives it."""
    before = parts
    for joint in ("of", "for", "de", "del"):
        if joint in parts[1:]:
            before = parts[: parts.index(joint, 1)]
            if before[-1] in words("organization_heads"):
                return "ORGANIZATION"
    last = parts[-1].rstrip(".,")
    if len(parts) > 1 and (
        last in words("company_suffixes")
        or last.replace(".", "") in words("company_suffixes")
        or last == "a/s"
    ):
        return "ORGANIZATION"
    if len(parts) > 1 and before[-1] in words("organization_heads"):
        return "ORGANIZATION"
    if (
        len(parts) > 1
        and before[0] in words("organization_heads")
        and before[0] not in words("titles")
    ):
        return "ORGANIZATION"
    if len(parts) > 1 and last in words("place_heads"):
        return "PLACE"
    if len(parts) > 1 and before[0] in ("mount", "lake", "river", "cape", "fort", "loch", "rue"):
        return "PLACE"
    if last.endswith(("stra\u00dfe", "strasse", "gasse")) and len(last) > 7:
        return "PLACE"
    return None


class _Votes:
    """What speaks for each type of one name. Each kind of evidence counts once."""

    def __init__(self) -> None:
        self._cues: dict[tuple[str, str], float] = {}

    def add(self, text: str, name: Name) -> None:
        if name.titled:
            self._cues["PERSON", "title"] = 4.0
        for kind, cue, weight in left_cues(text, name.start):
            self._cues[kind, cue] = max(weight, self._cues.get((kind, cue), 0))
        for kind, cue, weight in right_cues(text, name.end):
            self._cues[kind, cue] = max(weight, self._cues.get((kind, cue), 0))
        if name.parts[0].isupper() and len(name.parts) == 1 and 2 <= len(name.parts[0]) <= 6:
            self._cues["ORGANIZATION", "acronym"] = 0.6
        if len(name.parts) == 2 and not text[name.start : name.end].isupper():
            self._cues["PERSON", "two words"] = 0.6

    def verdict(self, key: tuple[str, ...]) -> tuple[str, float] | None:
        scores: dict[str, float] = defaultdict(float)
        for kind, weight in _by_itself(key):
            scores[kind] += weight
        for (kind, _), weight in self._cues.items():
            scores[kind] += weight
        if not scores:
            return None
        ranked = sorted(scores, key=lambda kind: (scores[kind], kind), reverse=True)
        best = ranked[0]
        lead = scores[best] - (scores[ranked[1]] if len(ranked) > 1 else 0)
        if scores[best] < SURE or lead < 0.2:
            return None
        return best, min(0.97, 0.5 + 0.1 * lead)


def _by_itself(key: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    name = " ".join(key)
    given = key[0] in given_names()
    if name in words("organizations"):
        yield "ORGANIZATION", 4.0
    if name in words("places"):
        yield "PLACE", 1.4 if given else 3.0
    head = _head(key)
    if head is not None:
        yield head, 3.5
    if "&" in key:
        yield "ORGANIZATION", 2.5
    if head is None and given:
        yield "PERSON", 2.5 if len(key) > 1 else 1.2
    if len(key) > 1 and head is None:
        if any(len(part) == 2 and part[1] == "." for part in key[:-1]):
            yield "PERSON", 2.0
        if any(part in _PARTICLES for part in key[1:-1]):
            yield "PERSON", 0.6


_LISTED = re.compile(r",[ \n](?:and |or )?|[ \n](?:and|or|&)[ \n]|/")


def _share(text: str, found: list[Name], types: dict[tuple[str, ...], Verdict]) -> None:
    """Give what stands in a list with names of a type the same, if nothing else is known."""
    for one, other in [*pairwise(found), *((b, a) for a, b in pairwise(found[::-1]))]:
        first, second = sorted((one, other), key=lambda name: name.start)
        if second.start - first.end > 6 or not _LISTED.fullmatch(text, first.end, second.start):
            continue
        known, unknown = types[_key(one)], types[_key(other)]
        if known is not None and unknown is None and known[0] != "PERSON":
            types[_key(other)] = known[0], 0.6


_LOCAL = frozenset(
    "museum university school police courier council hospital infirmary library gazette".split()  # noqa: SIM905
)
"""What is often named after its town: the town is no short form of it."""


def _follow(types: dict[tuple[str, ...], Verdict]) -> None:
    """Give parts of names the type of the whole."""
    parts: dict[tuple[str, ...], str] = {}
    for key, verdict in types.items():
        if verdict is None or len(key) < 2:
            continue
        if verdict[0] == "PERSON":
            parts[key[:1]] = parts[key[-1:]] = "PERSON"
            parts[key[-1] + "s",] = "PERSON"
        elif verdict[0] == "ORGANIZATION":
            local = key[-1] in _LOCAL
            for end in range(1 + local, len(key)):
                if key[end - 1] not in _CONNECTING and (end > 1 or key[0] not in words("places")):
                    parts.setdefault(key[:end], "ORGANIZATION")
    for key, kind in parts.items():
        if key in types:
            verdict = types[key]
            doubtful = verdict is None or (kind == "PERSON" and verdict[1] < 0.8)
            if doubtful and not (kind == "ORGANIZATION" and key[0] in words("common")):
                types[key] = kind, 0.8
