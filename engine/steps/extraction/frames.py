"""Relations by verb frames: a table of what a sentence with masked names looks like when it says so.

In a frame, ``P O L D M`` stand for a person, organisation, place, date and amount, ``E T U`` for an
e-mail address, telephone number and web address, ``A`` for a person or organisation, ``N`` for an
organisation or place. ``s:`` and ``o:`` mark subject and object; ``Ps`` and the like are lists ("P, P and P"), ``Pq`` is a possessive, be it "Dahl's" or "his".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

import msgspec

from .found import Mention, Statement
from .masking import MASKS, POSSESSIVE, Masked, Masker, sentences

_ROLE = (
    r"(?:chief executive(?: officer)?|executive director|managing director|director(?: general)?|president|chairman"
    r"|chairwoman|chairperson|chair|head|CEO|principal conductor|conductor|principal|headmaster|headmistress|rector|dean"
    r"|governor|general manager|mayor|editor-in-chief)"
)
_POST = (
    r"(?:vice president|(?:chief )?(?:financial|technology|operating|scientific) officer|treasurer|secretary|professor(?: of \w+)?"
    r"|lecturer|curator|intern|engineer|physician|scientist|researcher|journalist|reporter|editor|consultant|manager"
    r"|(?:a |an |the )?(?:\w+ ){1,2}(?:scientist|engineer|officer|professor|analyst|manager)|head of \w+)"
)
_ADV = r"(?:(?:also|later|then|first|now|still|had|has|have|previously|formerly|long|since|jointly|once|soon|recently|been|who|which|that|and) ){0,3}"
_AT = r"(?:for|at|with|as [\w ]{3,30} (?:at|for|with)|in the [\w ]{2,20} of|by)"

_TABLE: tuple[tuple[str, float, str], ...] = (
    # people found, own and head organisations
    ("founded", 0.9, r"s:As<go>,? (?:in D )?<adv>(?:co-)?(?:founded|established|started|set up|created|formed) (?:the |a |an )?(?:\w+ ){0,4}o:N(?! (?:office|prize))"),
    ("founded", 0.9, r"o:O<appo>(?: which)? <was>(?:founded|established|set up|started|created|formed)(?: in L| on D| in D|,)*,? (?:together )?by (?:the )?(?:[\w-]+ ){0,2}s:As"),
    ("founded", 0.8, r"s:P,? (?:is |was )?(?:a |the )?(?:co-)?founders? of (?:the )?(?:\w+ ){0,2}o:O"),
    ("founded", 0.8, r"o:Oq (?:co-)?founder,? s:P"),
    ("founded", 0.7, r"A,? who (?:co-)?founded o:O (?:together )?with (?:the )?(?:(?!help|aid|support)[\w-]+ ){0,2}s:P"),
    ("founded", 0.7, r"with (?:(?:his|her|Pq|the) )?(?:[\w-]+ ){0,2}s:P,? (?:he|she|they|P) founded (?:the )?(?:\w+ )?o:O"),
    ("founded", 0.7, r"A,? (?:\w+ ){0,2}(?:in D )?(?:founded|established) [^.;]{0,40}o:O (?:together )?with (?:the )?(?:(?!help|aid|support)[\w-]+ ){0,2}s:P"),
    ("founded_on", 0.9, r"s:O<appo>(?: which)? <was>(?:founded|established|set up|started|created|formed|incorporated)(?: in L)?(?: by [^.;]{1,50}?)?,? (?:in|on) o:D"),
    ("founded_on", 0.8, r"(?:founded|established|started|formed|set up) (?:the |a )?(?:[\w-]+ ){0,3}s:O(?: (?:together )?with [^.;]{1,60}?)? (?:in|on) o:D"),
    ("founded_on", 0.8, r"(?:^|[ ,])[Ii]n o:D,? (?:[^.;]{1,20} )?(?:founded|established|set up) (?:the |a )?(?:[\w-]+ ){0,5}s:O"),
    ("founded_in", 0.9, r"s:O<appo>(?: which)? <was>(?:founded|established|set up|started|created|formed)(?: (?:in|on) D)? in o:L"),
    ("leads", 0.9, r"s:P,? (?:is |was |became |as |has been |had been |remains |will remain )?(?:\d\d, )?(?:the |its |a )?(?:former |new |first |current )?<role> (?:and \w+ )?of (?:the )?o:O"),
    ("leads", 0.9, r"s:P<go>,? <adv>(?:directs?|directed|heads|headed|led|leads|runs|ran|run|chairs|chaired)(?: the board of)? (?:the )?o:O"),
    ("leads", 0.9, r"s:P (?:was|has been|is) (?:elected|appointed|named) (?:\w+ )?<role> of (?:the )?o:O"),
    ("leads", 0.85, r"o:O <adv>(?:named|appointed|elected) s:P (?:as )?(?:its )?(?:new )?<role>"),
    ("leads", 0.85, r"o:Oq (?:\w+ )?<role>,? s:P"),
    ("leads", 0.85, r"o:Oq (?:\w+ )?<role>(?: since D)? (?:is|was|has been|had been) s:P"),
    ("leads", 0.85, r"o:O,? whose <role> (?:is|was) s:P"),
    ("leads", 0.85, r"o:O,? (?:the [\w ]{3,30} )?(?:led|directed|headed|run|chaired) by s:P"),
    ("leads", 0.8, r"s:P,? <role>,? o:O"),
    ("leads", 0.8, r"<rolec>,? s:P,? (?:of )?o:O"),
    ("leads", 0.8, r"s:P (?:is|was|became|will remain|remains) (?:the )?<role> of (?:the )?(?:company|firm|bank) o:O"),
    # work and study
    ("works_for", 0.9, r"s:P<go>,? <adv>(?:works?|worked|is working|was working|is employed|was employed|employed|teaches|taught|lectures|lectured) <at> (?:the )?o:O"),
    ("works_for", 0.8, r"s:P,? (?:had |has |was )?(?:previously |later |then )?(?:with|joined|joined the [\w ]{2,20} of) (?:the )?(?:\w+ ){0,2}o:O(?! in the)"),
    ("works_for", 0.8, r"s:P,? [^.;PO]{0,40}joined (?:the )?(?:firm|company|O)(?: in D)? from (?:the )?o:O"),
    ("works_for", 0.85, r"s:P,? (?:is |was |became )?(?:then )?(?:a |an |the |later )?<post>,? (?:of|at|with|for) (?:the )?o:O"),
    ("works_for", 0.7, r"(?:[Pp]rofessor|Dr\.?|Drs\.?) s:P (?:of|from|at) (?:the )?o:O"),
    ("works_for", 0.6, r"s:P (?:of|from|at) (?:the )?o:O"),
    ("works_for", 0.8, r"o:O,? (?:which |has |had )*(?:hired|employed|employs|appointed) s:P"),
    ("works_for", 0.8, r"o:O,? (?:[^.;O]{0,30} )?hired s:P"),
    ("studied_at", 0.9, r"s:P<go>,? <adv>(?:studied|studies|trained|read|was educated|was a student|took (?:his|her) \w+)(?: [a-z]\w*){0,4}? (?:at|in) (?:the )?o:O"),
    ("studied_at", 0.9, r"s:P,? (?:[^.;PO]{0,60} )?(?:graduated from|(?:a )?graduate of|was taught by P at|was at) (?:the )?o:O"),
    ("member_of", 0.9, r"s:P,? (?:who )?(?:is |was |became |has been )?(?:also )?(?:a |an )?(?:\w+ )?(?:member|fellow) of (?:the )?o:O"),
    ("member_of", 0.85, r"s:P(?: of (?:the )?O)? (?:has |had |will )?(?:joined|joins?|sits on|sat on) the board(?: of (?:the )?o:O)"),
    ("succeeded", 0.9, r"s:P,? (?:who )?(?:has |had |should |will )?(?:succeed(?:ed|s)?|replace[ds]|take[s]? over from|took over from) (?:(?:Sir|Dr\.?|Mr\.?) )?o:P"),
    ("succeeded", 0.85, r"o:Pq successor (?:as [\w ]{2,30} )?(?:is|was) s:P"),
    ("succeeded", 0.85, r"o:P (?:was|is) (?:succeeded|followed|replaced) by s:P"),
    # lives
    ("born_on", 0.95, r"s:P<app>(?: who)? <was>born(?: P)?(?: in L(?:, L)?,?)?(?: on| in)? ?o:D"),
    ("born_on", 0.9, r"(?:^|[ ,])[Bb]orn (?:in L(?:, L)?,? )?(?:on |in )o:D,? s:P"),
    ("born_on", 0.9, r"s:P \((?:born (?:on |in )?)?o:D(?:,| ?[\u2013-]|\))"),
    ("born_in", 0.95, r"s:P<app>(?: who)? <was>born(?: P)? (?:(?:on|in) D,? )?(?:at )?(?:\w+ \w+ )?(?:in|at) o:L"),
    ("born_in", 0.95, r"s:P,? born (?:P )?(?:in|at) o:L"),
    ("born_in", 0.9, r"s:P \(born D in o:L"),
    ("born_in", 0.9, r"(?:^|[ ,])[Bb]orn (?:(?:on|in) D )?in o:L(?:, L)?(?: in D)?,? s:P"),
    ("died_on", 0.95, r"s:P<app>(?: who)? (?:has |had )?(?:died|was killed|passed away|was shot)(?: [a-z]\w*){0,5}(?: in L| at L| at O(?: \w+)? in L(?:, L)?)?,?(?: L,)? (?:on|in) o:D"),
    ("died_on", 0.9, r"s:P \(D ?[\u2013-] ?o:D\)"),
    ("died_on", 0.8, r"s:P, \d{4}-o:D"),
    ("died_in", 0.95, r"s:P<app>(?: who)? (?:has |had )?(?:died|was killed|passed away)(?: (?!in |at )[a-z]\w*| in a [\w ]{3,30}?| at (?:the )?O(?: \w+)?| at (?:his|her|Pq) home|,)*,? (?:in|at) o:L"),
    ("married_to", 0.9, r"s:P,? (?:[a-z]+ ){0,3}(?:married|is married to|was married to)(?: Pq)?(?: the)?(?: \w+){0,2} o:P"),
    ("married_to", 0.85, r"s:Pq (?:wife|husband|widow|widower|spouse),? (?:the )?(?:\w+,? )?o:P"),
    ("parent_of", 0.9, r"o:P,? (?:[^.;P]{0,40} )?(?:is |was )?(?:the |a )?(?:daughter|son|child) of (?:the )?(?:[\w-]+ ){0,2}s:P"),
    ("parent_of", 0.85, r"s:Pq (?:daughter|son|child|sons|daughters|children),? (?:the )?(?:\w+ )?o:Ps"),
    ("parent_of", 0.85, r"o:Pq (?:mother|father),? (?:the )?(?:\w+ )?s:P"),
    ("lives_in", 0.9, r"s:P<go>,? <adv>(?:lives?|lived|resides?|resided|is living) (?:in|at|near) (?:the village of )?o:L"),
    ("lives_in", 0.6, r"s:P (?:[^.;PL]{0,40} )?moved to o:L"),
    # organisations
    ("acquired", 0.9, r"s:O,? (?:the [\w ]{2,30}, )?<adv>(?:will |is to |agreed to )?(?:acquire[sd]?|bought|buys?|took over|takes over|purchased|purchase[sd]?) (?:the |a )?(?:[\w-]+ ){0,3}?o:O"),
    ("acquired", 0.9, r"o:O,? (?:based in L, |which )?<was>(?:acquired|bought|taken over|purchased)(?: in D| on D)? by (?:the )?(?:\w+ )?s:O"),
    ("acquired", 0.85, r"o:O,? (?:based in L,? |which )?<was>sold (?:in D )?to (?:the )?(?:\w+ )?s:O"),
    ("acquired", 0.85, r"O,? (?:has |had )?sold (?:its |the )?(?:\w+ )?(?:subsidiary |company )?o:O to (?:the )?s:O"),
    ("owns", 0.9, r"s:A,? (?:who |which )?(?:now )?(?:owns|owned|holds)(?: C of)? (?:the )?(?:\w+ )?o:O"),
    ("owns", 0.9, r"o:O,? (?:which )?<was>(?:now |later |partly |wholly )?owned by (?:the )?s:As"),
    ("owns", 0.8, r"o:Oq largest shareholder is s:O"),
    ("subsidiary_of", 0.9, r"s:O(?:[^.;O]{1,60} and)?,? (?:is |was |which is )?(?:a |the )?(?:wholly owned |wholly-owned )?(?:subsidiary|part|division|unit) of (?:the )?o:O"),
    ("subsidiary_of", 0.85, r"o:Oq (?:wholly owned )?subsidiary,? s:O"),
    ("subsidiary_of", 0.85, r"o:O,? (?:has |had )?sold its (?:\w+ )?subsidiary s:O"),
    ("invested_in", 0.9, r"s:O,? <adv>(?:has |had )?(?:invested|invests) (?:M )?in (?:the )?o:O"),
    ("invested_in", 0.85, r"o:O,? (?:[^.;O]{0,60}, )?(?:has |had )?raised M from (?:the )?s:Os"),
    ("partnered_with", 0.9, r"s:O,? (?:has |had )?(?:partnered with|formed a partnership with|works? with|teamed up with) (?:the )?o:O"),
    ("has_revenue", 0.9, r"s:O,? (?:[^.;OM]{0,40} )?(?:revenue|revenues|turnover|sales) (?:of|was|were|rose by C to|rose to|fell to|fell by C to|grew to|grew by C to) o:M"),
    ("has_revenue", 0.8, r"s:O(?:q)?[^O]{0,3}\. [Rr]evenue (?:rose|fell|grew) by C to o:M"),
    ("headquartered_in", 0.9, r"s:O,? (?:is |was |which is )?(?:\w+ ){0,1}(?:based|headquartered) (?:in|at) o:L"),
    ("headquartered_in", 0.9, r"s:O,? (?:[^.;OL]{0,60} )?(?:with |has )(?:Oq |a )?(?:headquarters|head office|principal office|main office|registered office) in o:L"),
    ("headquartered_in", 0.9, r"s:Oq (?:headquarters|head office|principal office|seat) (?:is|are|was) in o:L"),
    ("headquartered_in", 0.85, r"s:O,? (?:is |was )?(?:a |an )(?:[\w-]+ ){0,4}based in o:L"),
    # places
    ("located_in", 0.9, r"s:N,? (?:which )?(?:is |was |are |stands |lies )?(?:located |situated |)(?:in|near|at) (?:the )?(?:\w+ ){0,3}o:L"),
    ("located_in", 0.8, r"(?<!L, )(?<!L and )s:L, o:L(?!,? (?:and|or) (?:the )?L|, L| \d)"),
    ("located_in", 0.7, r"s:O of o:L"),
    ("located_in", 0.7, r"s:O,? a (?:[\w]+ ){1,3}(?:in|of) o:L"),
    ("capital_of", 0.95, r"s:L,? (?:is |was )?the capital (?:city )?of (?:the )?o:L"),
    # how to reach them
    ("has_email", 0.8, r"s:P(?: \(?|,| can be reached at | at )+o:E"),
    ("has_email", 0.7, r"s:P (?:[^.;PO]{0,40} )?(?:can be reached (?:at|by)|by e-mail)[ (]*o:E"),
    ("has_phone", 0.7, r"s:P, (?:E, )?o:T"),
    ("has_phone", 0.7, r"s:P,?\s+E ?[|,] o:T"),
    ("partnered_with", 0.7, r"s:Oq (?:\w+ )?works? with (?:the )?o:O"),
    ("has_phone", 0.6, r"s:O on o:T"),
    ("has_email", 0.6, r"s:O on T or to write to o:E"),
    ("has_website", 0.7, r"s:O(?: \(|, |: )o:U"),
)  # fmt: skip

_WORDS = {
    "<adv>": _ADV,
    "<role>": _ROLE,
    "<rolec>": rf"(?:{_ROLE[3:-1]}|Chair|Director|President|Chairman|Chief executive)",
    "<post>": _POST,
    "<was>": r"(?:who |which |that )?(?:was |were |is |are |had been |has been |has |since )*(?:first |later |then )?",
    "<at>": _AT,
    "<app>": r"(?:, (?:an? |the |our |his |her |Pq )?[^,.;PO]{1,40}?,|,| (?:an? |the )[^,.;PO]{1,30})?",
    "<appo>": r"(?:,[^.;O]{2,50},|,)?",
    "<go>": r"(?:[^.;P]{1,90}?(?:,| and(?: in D)?))?",
}
_CLASSES = {
    "P": MASKS["PERSON"],
    "O": MASKS["ORGANIZATION"],
    "L": MASKS["PLACE"],
    "D": MASKS["DATE"],
    "M": MASKS["MONEY"],
    "C": MASKS["PERCENT"],
    "E": MASKS["EMAIL"],
    "U": MASKS["URL"],
    "T": MASKS["PHONE"],
    "A": MASKS["PERSON"] + MASKS["ORGANIZATION"],
    "N": MASKS["ORGANIZATION"] + MASKS["PLACE"],
}
_EXCLUDING = re.compile(r"\[\^[^\]]*\]")
_SLOT = re.compile(r"(?:(?P<role>[so]):)?\b(?P<kind>[POLDMCEUTAN])(?P<more>[sq])?\b")


class _Frame(msgspec.Struct, frozen=True):
    predicate: str
    confidence: float
    pattern: re.Pattern[str]
    subject: str
    object: str


@cache
def _frames() -> tuple[_Frame, ...]:
    return tuple(_compiled(*row) for row in _TABLE)


def _compiled(predicate: str, confidence: float, frame: str) -> _Frame:
    ends: dict[str, str] = {}

    def slot(match: re.Match[str]) -> str:
        kinds = f"[{_CLASSES[match['kind']]}]"
        if match["more"] == "q":
            one = kinds + POSSESSIVE
        elif match["more"] == "s":
            owner = f"(?:{_CLASSES['P']}{POSSESSIVE} |the |its )?"
            described = f"(?:, (?:an? |the )[^,;.]{{1,40}})?(?:,| and|, and| &) {owner}(?:(?!help|of)[\\w-]+ ){{0,2}}"
            one = f"{kinds}(?:{described}{kinds}(?!{POSSESSIVE})){{0,5}}"
        else:
            one = f"{kinds}(?!{POSSESSIVE})"
        if match["role"] is None:
            return one
        ends[match["role"]] = _CLASSES[match["kind"]]
        return f"(?P<{match['role']}>{one})"

    for name, pattern in _WORDS.items():
        frame = frame.replace(name, pattern)
    frame = _EXCLUDING.sub(
        lambda match: re.sub("[A-Z]", lambda kind: _CLASSES[kind[0]], match[0]), frame
    )
    return _Frame(predicate, confidence, re.compile(_SLOT.sub(slot, frame)), ends["s"], ends["o"])


def statements(text: str, mentions: Sequence[Mention]) -> Iterator[Statement]:
    """What the sentences of ``text`` say, by place; said twice in a sentence, it counts once."""
    masker = Masker(text, mentions)
    for start, end in sentences(text):
        masked = masker.mask(start, end)
        if len(masked.places) > 1:
            yield from _said(masked)


def _said(masked: Masked) -> Iterator[Statement]:
    best: dict[tuple[int, str, int], Statement] = {}
    for frame in _frames():
        if not (_holds(masked.text, frame.subject) and _holds(masked.text, frame.object)):
            continue
        for match in frame.pattern.finditer(masked.text):
            for statement in _read(masked, frame, match):
                key = statement.subject, statement.predicate, statement.object
                if key not in best or best[key].confidence < statement.confidence:
                    best[key] = statement
    yield from (best[key] for key in sorted(best))


def _holds(text: str, masks: str) -> bool:
    return any(mask in text for mask in masks)


def _read(masked: Masked, frame: _Frame, match: re.Match[str]) -> Iterator[Statement]:
    for subject in _items(masked, match, "s", frame.subject):
        for target in _items(masked, match, "o", frame.object):
            one, other = masked.places[subject], masked.places[target]
            if one == other:
                continue
            through = [masked.pronouns[at] for at in (subject, target) if at in masked.pronouns]
            yield Statement(
                one,
                frame.predicate,
                other,
                masked.start,
                masked.end,
                round(frame.confidence * 0.85 ** len(through), 2),
                {"through": through} if through else {},
            )


def _items(masked: Masked, match: re.Match[str], role: str, masks: str) -> Iterator[int]:
    """Places of the masks of a kind in a slot, also in a list."""
    start, end = match.span(role)
    possessive = match[role].endswith(POSSESSIVE)
    for place in range(start, end):
        owns = masked.text[place + 1 : place + 2] == POSSESSIVE
        if masked.text[place] in masks and owns == possessive:
            yield place
