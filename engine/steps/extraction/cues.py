"""What the words beside a name say about it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .lexicon import words

_REACH = 48
"""Characters looked at on each side."""

Cue = tuple[str, str, float]
"""Type, name of the cue, weight."""

_ROLES = "|".join(sorted(map(re.escape, words("roles")), key=lambda role: (-len(role), role)))
_FIRM = (
    r"(?:company|firm|group|bank|start-up|manufacturer|producer|maker|corporation|subsidiary|insurer"
    r"|agency|newspaper|charity|university|museum|institute|rival|customer|publisher|retailer|sanatorium)"
)


def _table(*rows: tuple[str, float, str]) -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    return tuple((kind, weight, re.compile(pattern)) for kind, weight, pattern in rows)


_LEFT = _table(
    ("PLACE", 2.2, r"(?:born|based|located|situated|headquartered|lives|lived|living|resides|died|settled|grew up|offices?|branch(?:es)?|plants?|headquarters(?: (?:are|is))?|mines|village|Hall),? (?:in|at|near)\s$"),
    ("PLACE", 2.2, r"(?:moved|returned|went|fled|gone back|travelled|emigrated|sailed) (?:to|from)\s$|\b(?:left|reached|visited|comes from|came from) \s?$"),
    ("PLACE", 2.2, r"\b(?:capital|city|town|village|port|county|province|island|roof|people|harbours|crossing|coast|north|south|east|west) (?:of|in)\s$"),
    ("PLACE", 1.1, r"\b(?:in|near|outside|across|around)\s$"),
    ("PLACE", 0.4, r"\b(?:from|to|at)\s$"),
    ("PLACE", 1.6, r"\b[Ii]n \w+, \w+ and\s$"),
    ("ORGANIZATION", 2.2, r"\b(?:work(?:s|ed|ing)?|employed|hired|teach(?:es)?|taught|studie[sd]|lecturer|professor|intern|job|director|curator|bought|founded|owned|built|acquired|funded|insured) (?:at|for|by|with)(?: the)?\s$"),
    ("ORGANIZATION", 1.6, r"\b(?:joined|graduated from|invested in|shares (?:in|of)|subsidiary of|part of|agreement with|partnered with|customers? of|took over|acquired|acquire|buys|bought)(?: the)?\s$"),
    ("ORGANIZATION", 1.8, r"\b(?:executive|director|president|chairman|chairwoman|chair|head|CEO|founder|manager|treasurer|secretary|members?|chairs?|board|officer|shares)(?:,)? (?:of|at)(?: the)?\s$"),
    ("ORGANIZATION", 2.0, rf"\b{_FIRM},?\s$"),
    ("PERSON", 2.2, rf"\b(?:{_ROLES}),?\s$"),
    ("PERSON", 2.2, r"\b(?:married|Dear|dear|hired|daughter of|son of|sons?,|daughters?,|named|succeeds?|succeeded|tell|told|widow of|brother of|sister of|Present:|Apologies:|Absent:)\s$"),
    ("PERSON", 2.2, rf"\b(?:{_ROLES})(?: since)? (?:is|was)\s$"),
    ("PERSON", 0.9, r"\b(?:by|with|said|says|asked)\s$"),
)  # fmt: skip
_RIGHT = _table(
    ("PERSON", 2.2, r"\s?\((?:born|b\.|chair|treasurer|secretary|died|\d{1,2} \w+ \d{4}|\d{4} ?[-\u2013])|,? (?:was|were|is) (?:born|married|survived)|,? (?:born|died|married|retired)\b|, \d\d,|,? (?:said|says|told|wrote|teaches|lives|lived|resides|graduated|studied|trained|moved|reported that|explained|spoke|sings)\b"),
    ("PERSON", 1.8, r",? (?:who|whose)\b"),
    ("PERSON", 2.0, r"['\u2019]s (?:sister|brother|daughter|son|wife|husband|mother|father|widow)\b"),
    ("PERSON", 1.8, rf",? (?:is |was |has been |as )?(?:a |an |the |its |our |then |her |his )?(?:\w+ ){{0,2}}(?:{_ROLES}|CEO|CFO|vice president|minister|mayor)\b"),
    ("PERSON", 1.0, r" (?:will|would|had|has|and I) (?:visit|write|met|lived|come|go|join|directed|chaired|joined|led|run|worked)\b| (?:met|led|directed|chairs|chaired|joined|became|worked|left)\b"),
    ("ORGANIZATION", 2.2, rf",? (?:is |was )?(?:a|an|the|its|one of) (?:[\w-]+ ){{0,3}}{_FIRM}\b"),
    ("ORGANIZATION", 1.8, r",? (?:was|were|is) (?:founded|established|set up|acquired|sold|formed|incorporated|owned|bought)\b|,? (?:has |have |had )?(?:acquired|bought|invested|employs?|employed|announced|agreed to|raised|partnered|reported revenue|opened|sold|lent|will lend|will pay|took over|appointed)\b|,? (?:based|headquartered)\b| shares\b"),
    ("ORGANIZATION", 1.0, r"['\u2019]s? (?:shares|customers|revenue|headquarters|employees|engineers|board|chief executive|CEO)\b| (?:owns|holds|operates|lost|builds|makes|presented|published)\b"),
    ("PLACE", 2.2, r",? (?:is |was )?(?:a|an|the) (?:[\w-]+ ){0,3}(?:city|town|village|capital|island|region|suburb|port|country|state|river)\b| (?:lies|lay)\b"),
    ("PLACE", 0.8, r", \0"),
)  # fmt: skip
_THEN_PLACE = re.compile(r",[ \n](?:the )?((?:[^\W\d_]+[ \n]?){1,3})")


def left_cues(text: str, start: int) -> Iterator[Cue]:
    """What the words before ``start`` say about the name that begins there."""
    before = text[max(0, start - _REACH) : start].replace("\n", " ")
    for place, (kind, weight, pattern) in enumerate(_LEFT):
        if pattern.search(before):
            yield kind, f"left {place}", weight


def right_cues(text: str, end: int) -> Iterator[Cue]:
    """What the words after ``end`` say about the name that ends there."""
    after = text[end : end + _REACH].replace("\n", " ")
    for place, (kind, weight, pattern) in enumerate(_RIGHT):
        if pattern.match(after):
            yield kind, f"right {place}", weight
    if follows := _THEN_PLACE.match(after):
        said = follows[1].split()
        if any(" ".join(said[:size]).casefold() in words("places") for size in (1, 2, 3)):
            yield "PLACE", "then place", 1.6
