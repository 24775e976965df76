"""Names, their types, and what sentences say of them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline.engine.steps.extraction.rules import Rules

RULES = Rules()


def entities(text: str) -> set[tuple[str, str]]:
    return {(one.type, " ".join(text[one.start : one.end].split())) for one in RULES.entities(text)}


def relations(text: str) -> set[tuple[str, str, str]]:
    mentions = RULES.entities(text)
    name = [" ".join(text[one.start : one.end].split()) for one in mentions]
    return {
        (name[one.subject], one.predicate, name[one.object])
        for one in RULES.relations(text, mentions)
    }


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("Yesterday Dr. Wanjiru Kamau spoke.", "PERSON", "Wanjiru Kamau"),
        ("The chemist Oyelaran Tinubu was there.", "PERSON", "Oyelaran Tinubu"),
        ("The Institute of Arts and Letters met.", "ORGANIZATION", "Institute of Arts and Letters"),
        ("At the University of\nFreiberg, she", "ORGANIZATION", "University of Freiberg"),
        ("A firm called Brennan & Holt won.", "ORGANIZATION", "Brennan & Holt"),
        ("He moved to Quillota in spring.", "PLACE", "Quillota"),
        ("They named Pieter van der Meer.", "PERSON", "Pieter van der Meer"),
        ("They sail on Lake Inari often.", "PLACE", "Lake Inari"),
        ("They live in New Zealand now.", "PLACE", "New Zealand"),
    ],
)  # fmt: skip
def test_types(text: str, kind: str, name: str) -> None:
    assert (kind, name) in entities(text)


def test_parts_of_a_known_name_follow_it() -> None:
    text = "Ingrid Solberg founded Nordlys Instruments. Solberg led Nordlys for years."
    assert {("PERSON", "Solberg"), ("ORGANIZATION", "Nordlys")} <= entities(text)


@pytest.mark.parametrize("text", ["However, it rained.", "Annual Report", "On Monday We Met.", ""])
def test_words_that_merely_begin_with_a_capital_are_no_names(text: str) -> None:
    assert entities(text) == set()


def test_a_text_without_capitals_has_names_all_the_same() -> None:
    text = "margaret whitcombe left the university of oslo for new zealand in may 1921."
    assert entities(text) == {
        ("PERSON", "margaret whitcombe"),
        ("ORGANIZATION", "university of oslo"),
        ("PLACE", "new zealand"),
        ("DATE", "may 1921"),
    }


@pytest.mark.parametrize(
    ("text", "triple"),
    [
        ("Ada Moor founded Moor Shipping in 1903.", ("Ada Moor", "founded", "Moor Shipping")),
        ("Moor Ltd was founded by Ada Moor and Carl Bo.", ("Carl Bo", "founded", "Moor Ltd")),
        ("Moor Shipping was founded in 1903 by Ada Moor.", ("Moor Shipping", "founded_on", "1903")),
        ("Ada Moor was born on 3 May 1870 in Cork.", ("Ada Moor", "born_on", "3 May 1870")),
        ("Ada Moor, a painter, was born in Cork.", ("Ada Moor", "born_in", "Cork")),
        ("Ada Moor works for Moor Shipping.", ("Ada Moor", "works_for", "Moor Shipping")),
        ("Moor Shipping bought Brandt Motors.", ("Moor Shipping", "acquired", "Brandt Motors")),
        ("Brandt Motors was sold to Moor Ltd.", ("Moor Ltd", "acquired", "Brandt Motors")),
        ("Ada Moor, president of Brandt Motors, left.", ("Ada Moor", "leads", "Brandt Motors")),
        ("Moor Shipping is based in Lisbon.", ("Moor Shipping", "headquartered_in", "Lisbon")),
        ("Lisbon is the capital of Portugal.", ("Lisbon", "capital_of", "Portugal")),
        ("Ada Moor succeeded Carl Brandt.", ("Ada Moor", "succeeded", "Carl Brandt")),
        ("Ada Moor sang. She studied at Cork School.", ("Ada Moor", "studied_at", "Cork School")),
        ("Moor Ltd won. The company acquired Ark Motors.", ("Moor Ltd", "acquired", "Ark Motors")),
        ("Ada Moor's husband, Carl Brandt, sang.", ("Ada Moor", "married_to", "Carl Brandt")),
    ],
)  # fmt: skip
def test_relations(text: str, triple: tuple[str, str, str]) -> None:
    assert triple in relations(text)


def test_a_pronoun_means_someone_of_its_gender_or_nobody() -> None:
    text = "Ada Moor wrote to Carl Brandt. He was born in Lisbon."
    assert ("Carl Brandt", "born_in", "Lisbon") in relations(text)
    assert relations("She was born in Lisbon.") == set()


def test_nothing_is_said_across_sentences_or_of_others() -> None:
    assert relations("Ada Moor knew him. Founded Moor Shipping.") == set()
    assert relations("Ada Moor and Carl Brandt saw Moor Shipping.") == set()
    assert relations("It sells to Ireland, Ghana and the Netherlands.") == set()


@given(st.text(max_size=300) | st.lists(st.sampled_from(
    ["Ada Moor", "Cork", " founded ", "Moor Ltd", ", ", ". ", "she ", "'s ", "in 1903", "\n", "and"]
), max_size=40).map("".join))  # fmt: skip
def test_mentions_are_in_order_and_apart_whatever_the_text(text: str) -> None:
    mentions = RULES.entities(text)
    done = 0
    for one in mentions:
        assert done <= one.start < one.end <= len(text)
        assert 0 < one.confidence <= 1
        done = one.end
    for said in RULES.relations(text, mentions):
        assert said.subject != said.object
        assert text[said.start : said.end].strip()
        ends = mentions[said.subject], mentions[said.object]
        assert max(end.start for end in ends) < said.end


HOSTILE = {
    "one line": "Erik Dahl founded Nordlys Instruments in 1903 and ",
    "capitals": "A ",
    "one word of capitals": "A",
    "dots": "A.",
    "digits": "1",
    "numbers": "1 ",
    "at signs": "a@",
    "possessives": "Dahl's ",
    "odd": "\u01c5\u0301\u200d\U0001f600\ufb01\u0130",
    "joints": "University of ",
    "ampersands": "A & ",
    "lower": "ada moor of cork ",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_take_linear_time(piece: str) -> None:
    took = [_seconds(piece * (size // len(piece))) for size in (10_000, 80_000)]
    assert took[1] < 8 * 3 * max(took[0], 0.02)  # eight times the text


def _seconds(text: str) -> float:
    started = time.process_time()
    RULES.relations(text, RULES.entities(text))
    return time.process_time() - started
