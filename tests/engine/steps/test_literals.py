"""What its form gives away: found with exact offsets and a normal form, or rightly left alone."""

from __future__ import annotations

import pytest

from semantica.pipeline.engine.steps.extraction.literals import literals

Found = list[tuple[str, str, str]]


def found(text: str) -> Found:
    return [(one.type, text[one.start : one.end], one.value) for one in literals(text)]


@pytest.mark.parametrize(
    ("text", "kind", "said", "value"),
    [
        ("born on 14 May 1961 in Lagos", "DATE", "14 May 1961", "1961-05-14"),
        ("on May 14, 1961, she", "DATE", "May 14, 1961", "1961-05-14"),
        ("Dated: 1961-05-14.", "DATE", "1961-05-14", "1961-05-14"),
        ("the 3rd of March 1901", "DATE", "3rd of March 1901", "1901-03-03"),
        ("in September\n2019 it", "DATE", "September\n2019", "2019-09"),
        ("founded in 1887.", "DATE", "1887", "1887"),
        ("on 9 July.", "DATE", "9 July", ""),
        ("for 12.5 million euros", "MONEY", "12.5 million euros", "EUR 12500000"),
        ("paid US$210 million for it", "MONEY", "US$210 million", "USD 210000000"),
        ("at $1,250,000.00 a year", "MONEY", "$1,250,000.00", "USD 1250000"),
        ("for CHF 9.1 billion", "MONEY", "CHF 9.1 billion", "CHF 9100000000"),
        ("about 8.5% more", "PERCENT", "8.5%", "8.5%"),
        ("of 35 per cent", "PERCENT", "35 per cent", "35%"),
        ("(a.b+c@mail.example.org)", "EMAIL", "a.b+c@mail.example.org", "a.b+c@mail.example.org"),
        (
            "see https://x.example/a?b=1.",
            "URL",
            "https://x.example/a?b=1",
            "https://x.example/a?b=1",
        ),
        ("call +46 8 5555 0190 now", "PHONE", "+46 8 5555 0190", "+46855550190"),
        ("at (937) 555-0134.", "PHONE", "(937) 555-0134", "9375550134"),
    ],
)
def test_forms(text: str, kind: str, said: str, value: str) -> None:
    assert found(text) == [(kind, said, value)]


@pytest.mark.parametrize(
    "text",
    [
        "Case No. 1947",
        "it has 1800 employees",
        "version 2.1900.3",
        "on 45 March",
        "a@b",
        "@example.org",
        "17 of the 40 rooms",
        "may 2 or 3 go?"[:3],
        "1/2",
    ],
)
def test_what_only_looks_like_one(text: str) -> None:
    assert found(text) == []
