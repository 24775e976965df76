"""What can be told by its form: addresses, numbers, amounts, dates.

Every pattern begins where a word begins and repeats with bounds, so the time is linear in the text
whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from .found import Mention

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar",
            "february feb februar",
            "march mar märz",
            "april apr",
            "may mai",
            "june jun juni",
            "july jul juli",
            "august aug",
            "september sept sep",
            "october oct oktober",
            "november nov",
            "december dec dezember",
        ),
        start=1,
    )
    for name in names.split()
}
_MONTH_NAMES = "(?:" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + ")"
_MONTH = rf"(?P<month>{_MONTH_NAMES})\b\.?"
_YEAR = r"(?P<year>1\d{3}|20\d\d)"
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th|\.)?"
_S = r"[ \t\u00a0\n]{0,3}"  # a space, or a line end

_NUMBER = r"\d{1,3}(?:[,'\u2019\u00a0 .]\d{3}){1,6}(?:[.,]\d{1,2})?|\d{1,12}(?:[.,]\d{1,3})?"
_SCALES = {
    "thousand": 10**3,
    "k": 10**3,
    "million": 10**6,
    "millionen": 10**6,
    "mio": 10**6,
    "mn": 10**6,
    "m": 10**6,
    "billion": 10**9,
    "bn": 10**9,
    "b": 10**9,
    "trillion": 10**12,
}
_SCALE = r"thousand|millionen|million|mio\.?|mn|billion|bn|trillion|[mkb]"
_SYMBOLS = {
    "us$": "USD", "$": "USD", "£": "GBP", "€": "EUR", "¥": "JPY", "a$": "AUD", "c$": "CAD",
    "dollar": "USD", "euro": "EUR", "pound": "GBP", "franc": "CHF", "yen": "JPY", "rupee": "INR",
    "krone": "DKK", "kroner": "DKK", "krona": "SEK", "kronor": "SEK", "ruble": "RUB",
    "peso": "MXN", "yuan": "CNY", "real": "BRL", "reais": "BRL", "zloty": "PLN", "rand": "ZAR",
}  # fmt: skip
_CODES = (
    "USD|EUR|GBP|CHF|JPY|SEK|NOK|DKK|CAD|AUD|NZD|INR|CNY|BRL|ZAR|PLN|CZK|HUF|RUB|MXN|SGD|HKD|KRW"
)
_UNITS = (
    r"(?:US |Canadian |Australian |Swiss )?(?:dollars?|euros?|pounds?|francs?|kroner|krone|kronor"
    r"|krona|yen|rupees?|rubles?|pesos?|yuan|reais|real|zloty|rand)\b|(?:" + _CODES + r")\b|€"
)

_SIGNED = (
    rf"(?:(?:US|A|C)?\$|[£€¥]|(?:{_CODES})\b){_S}(?P<number>{_NUMBER})(?!\d)"
    rf"(?:[- ]{{0,2}}(?P<scale>{_SCALE})\b)?"
)
_GROUPS = r"\d{2,5}(?:[ .-]\d{2,5}){1,5}"
_ANCHOR = re.compile(
    rf"(?<!\w)(?:\d|[$£€¥+(]|@?(?:https?://|www\.|(?:US|A|C)\$|(?:{_CODES})\b|{_MONTH_NAMES}\b"
    r"|spring\b|summer\b|autumn\b|winter\b))|@",
    re.IGNORECASE,
)
"""Where a mention can begin; or the middle of an e-mail address."""

_LOCAL = re.compile(r"[\w.+%-]{1,64}\Z")
_DOMAIN = re.compile(r"@(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.){1,6}[a-z]{2,24}\b", re.IGNORECASE)


def _patterns(*patterns: tuple[str, str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in patterns)


_AFTER_DIGIT = _patterns(
    (
        "MONEY",
        rf"(?P<number>{_NUMBER}){_S}(?:-?(?P<scale>{_SCALE})(?!\w){_S})?(?P<unit>{_UNITS})",
    ),
    ("PERCENT", r"(?P<number>\d{1,9}(?:[.,]\d{1,6})?)\s?(?:%|per\s?cent\b|percent\b|Prozent\b)"),
    ("DATE", rf"{_YEAR}-(?P<month>0[1-9]|1[0-2])-(?P<day>[0-3]\d)(?![\w-])"),
    ("DATE", rf"{_DAY}{_S}(?:of )?{_MONTH}(?:,?{_S}{_YEAR}(?!\w))?"),
    ("DATE", rf"[0-3]?\d([./])[0-3]?\d\1{_YEAR}(?![\w/])"),
    ("PHONE", rf"{_GROUPS}(?![\w-])"),
    ("DATE", rf"{_YEAR}(?:s\b)?(?![\w%/]|[.,:]\d|-\d\d(?!\d\d))"),
)
_AFTER_SIGN = _patterns(
    ("MONEY", _SIGNED),
    ("PHONE", r"(?:\+\d{1,3}[ .-]?)?(?:\(\d{1,5}\)[ .-]?)?\d{1,5}(?:[ .-]\d{2,5}){1,5}(?![\w-])"),
    ("PHONE", r"\+\d{8,15}(?!\w)"),
)
_AFTER_LETTER = _patterns(
    ("URL", r"(?:https?://|www\.)[^\s<>\"'\u201c\u201d\u2018\u2019|()\[\]{}]{3,2000}"),
    ("MONEY", _SIGNED),
    ("DATE", rf"{_MONTH}{_S}{_DAY}(?:,{_S}|{_S}){_YEAR}(?!\w)"),
    ("DATE", rf"(?:{_MONTH}|spring|summer|autumn|winter),?{_S}(?:of )?{_YEAR}(?!\w)"),
    ("DATE", rf"{_MONTH}{_S}{_DAY}(?![\w.,]*\d)(?!\w)"),
    ("DATE", rf"(?<=\b(?:in|by|of)\s){_MONTH}(?!\w)"),
)
_CLOSING = ".,;:!?*_"
_NOT_AFTER = re.compile(r"(?:\bno\.?|\bnumber|\bcase|\broom|\bpage|§|#)\s{0,2}$", re.IGNORECASE)
_AFTER_YEAR = re.compile(
    r"\s{0,2}(?:people|employees|workers|members|euros|dollars|pounds|m\b|km\b|kg\b|copies|metres"
    r"|meters|feet|miles|tons|tonnes|pages)",
    re.IGNORECASE,
)


def literals(text: str) -> Iterator[Mention]:
    """The mentions that their form gives away, by place. None overlaps another."""
    done = 0
    for anchor in _ANCHOR.finditer(text):
        if anchor.start() >= done and (found := _at(text, anchor, done)) is not None:
            yield found
            done = found.end


def _at(text: str, anchor: re.Match[str], done: int) -> Mention | None:
    place, sign = anchor.start(), anchor[0][0]
    if sign == "@":
        return _email(text, place, done)
    if sign.isdigit():
        if (
            text[max(0, place - 1) : place] in (".", ",", "/")
            and text[place - 2 : place - 1].isdigit()
        ):
            return None
        patterns = _AFTER_DIGIT
    else:
        patterns = _AFTER_LETTER if sign.isalpha() else _AFTER_SIGN
    for kind, pattern in patterns:
        match = pattern.match(text, place)
        if match is None:
            continue
        end = match.end()
        if kind == "URL":
            end = place + len(match[0].rstrip(_CLOSING))
        elif kind == "DATE":
            end = place + len(match[0].rstrip("."))
        if _plausible(kind, text, place, end, match):
            return Mention(kind, place, end, *_JUDGED[kind](match))
    return None


def _email(text: str, at: int, done: int) -> Mention | None:
    local = _LOCAL.search(text, max(done, at - 64), at)
    domain = _DOMAIN.match(text, at)
    if local is None or domain is None:
        return None
    start = local.start() + len(local[0]) - len(local[0].lstrip(".-"))
    if start == at:
        return None
    address = text[start : domain.end()]
    return Mention("EMAIL", start, domain.end(), 0.98, address.casefold())


def _plausible(kind: str, text: str, start: int, end: int, match: re.Match[str]) -> bool:
    if kind == "PHONE":
        digits = sum(character.isdigit() for character in match[0])
        return 8 <= digits <= 15 and (match[0][0] in "+(0" or (digits == 10 and "-" in match[0]))
    if kind == "DATE":
        day = match.groupdict().get("day")
        if day is not None and not 1 <= int(day) <= 31:
            return False
        bare = end - start == 4 and text[start:end].isdigit()
        if bare and (
            _NOT_AFTER.search(text, max(0, start - 10), start) or _AFTER_YEAR.match(text, end)
        ):
            return False
    return True


def _date(match: re.Match[str]) -> tuple[float, str]:
    parts = match.groupdict()
    year, month, day = parts.get("year"), parts.get("month"), parts.get("day")
    if month and not month.isdigit():
        month = f"{_MONTHS[month.lower()]:02}"
    if not year:
        return 0.8, ""
    known = [year, month] if month else [year]
    if day and month:
        known.append(f"{int(day):02}")
    return (0.95 if len(known) > 1 else 0.85), "-".join(known)


def _money(match: re.Match[str]) -> tuple[float, str]:
    parts = match.groupdict()
    scale = _SCALES[parts["scale"].lower().rstrip(".")] if parts.get("scale") else 1
    written = (parts.get("unit") or match[0]).lower()
    unit = next((code for sign, code in _SYMBOLS.items() if sign in written), "")
    code = re.search(_CODES, written.upper())
    amount = _number(parts["number"]) * scale
    return 0.95, f"{code[0] if code else unit} {amount:.15g}".strip()


def _number(written: str) -> float:
    """Both 1,250,000.50 and 1.250.000,50; a separator before three digits is one of thousands."""
    plain = re.sub(r"[,'\u2019\u00a0 .](?=\d{3}(?:\D|$))", "", written)
    return float(plain.replace(",", "."))


def _percent(match: re.Match[str]) -> tuple[float, str]:
    return 0.97, f"{_number(match['number']):.15g}%"


def _address(match: re.Match[str]) -> tuple[float, str]:
    return 0.98, match[0].rstrip(_CLOSING).casefold()


def _phone(match: re.Match[str]) -> tuple[float, str]:
    return 0.9, re.sub(r"[^\d+]", "", match[0])


_JUDGED: dict[str, Callable[[re.Match[str]], tuple[float, str]]] = {
    "URL": _address,
    "MONEY": _money,
    "PERCENT": _percent,
    "DATE": _date,
    "PHONE": _phone,
}
"""Type -> confidence and normal value of a match."""
