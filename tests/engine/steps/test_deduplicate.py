"""Which names are one, which never; every mention kept; whatever the order; in little time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline.engine.steps.corpus import Corpus, CorpusWriter, Entity
from semantica.pipeline.engine.steps.errors import MissingExtra
from semantica.pipeline.engine.steps.extraction.extract import extract
from semantica.pipeline.engine.steps.knowledge.canonical import canonical_of, name_of
from semantica.pipeline.engine.steps.knowledge.deduplicate import deduplicate

Said = tuple[str, str, str]
"""Document, type, name."""


def corpus_of(context: Any, said: Sequence[Said]) -> Corpus:
    writer = CorpusWriter(context.artifacts)
    for number, (document, kind, name) in enumerate(said):
        writer.add(Entity(f"{number:05}", document, kind, name, 0, len(name)))
    return writer.finish()


def groups(context: Any, said: Sequence[Said], threshold: float = 90.0) -> dict[str, set[str]]:
    """Canonical name -> document and name of what it stands for."""
    found: dict[str, set[str]] = {}
    for one in deduplicate(corpus_of(context, said), context, threshold).entities:
        found.setdefault(name_of(one), set()).add(f"{one.document} {one.text}")
    return found


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("PERSON", "Tomás Herrera", "Dr. Tomas Herrera"),
        ("PERSON", "Katharina Lindqvist", "Katarina Lindqvist"),
        ("PERSON", "KATARINA LINDQVIST", "Katarina Lindqvist"),
        ("ORGANIZATION", "Nordlys Instruments", "Nordlys Instruments AS"),
        ("ORGANIZATION", "Brennan & Holt", "Brennan and Holt Ltd."),
        ("ORGANIZATION", "the Observatory of Halden", "Halden Observatory"),
        ("PLACE", "Zürich", "Zurich"),
        ("EMAIL", "A@b.example", "a@b.example"),
    ],
)
def test_the_same(context: Any, kind: str, one: str, other: str) -> None:
    assert len(groups(context, [("a", kind, one), ("b", kind, other)])) == 1


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("PERSON", "Erik Dahl", "Ingrid Dahl"),
        ("PERSON", "Alexander Petersson", "Alexandra Petersson"),
        ("PERSON", "Anna Berg", "Anne Berg"),
        ("PERSON", "Erik Dahl", "E. Dahl"),  # of another document: who knows
        ("PLACE", "Austria", "Australia"),
        ("PLACE", "Niger", "Nigeria"),
        ("ORGANIZATION", "Unit 11 Trust", "Unit 12 Trust"),
        ("ORGANIZATION", "Green Delta", "Green Delta Foundation"),
        ("DATE", "14 May 1961", "15 May 1961"),
        ("MONEY", "$12", "$13"),
    ],
)
def test_not_the_same(context: Any, kind: str, one: str, other: str) -> None:
    assert len(groups(context, [("a", kind, one), ("b", kind, other)])) == 2


def test_dates_are_one_by_their_value_unless_it_says_less_than_they_do(context: Any) -> None:
    text = "1990 and 1990 and the 1990s, spring 1990, 06/12/1990, 5 May 1990, 1990-05-05."
    found = extract([{"text": text}], context, True, False, "rules", 0.0)
    merged = deduplicate(found, context, 90.0)
    names = [name_of(one) for one in merged.entities]
    assert names == [
        "1990", "1990", "1990s", "spring 1990", "06/12/1990", "1990-05-05", "1990-05-05",
    ]  # fmt: skip


def test_types_are_never_mixed(context: Any) -> None:
    said = [("a", "PERSON", "Florence"), ("a", "PLACE", "Florence")]
    ids = {
        canonical_of(one) for one in deduplicate(corpus_of(context, said), context, 90.0).entities
    }
    assert ids == {"00000", "00001"}


def test_short_forms_mean_the_only_one_of_their_document(context: Any) -> None:
    said = [
        ("a", "PERSON", "Erik Dahl"),
        ("a", "PERSON", "Dahl"),
        ("a", "PERSON", "E. Dahl"),
        ("a", "ORGANIZATION", "European Space Agency"),
        ("a", "ORGANIZATION", "ESA"),
        ("b", "PERSON", "Erik Dahl"),
        ("b", "PERSON", "Ingrid Dahl"),
        ("b", "PERSON", "Dahl"),
        ("c", "PERSON", "Dahl"),
    ]
    assert groups(context, said) == {
        "Erik Dahl": {"a Erik Dahl", "a Dahl", "a E. Dahl", "b Erik Dahl"},
        "European Space Agency": {"a European Space Agency", "a ESA"},
        "Ingrid Dahl": {"b Ingrid Dahl"},
        "Dahl": {"b Dahl", "c Dahl"},  # by name; they are two
    }
    last = list(deduplicate(corpus_of(context, said), context, 90.0).entities)[-2:]
    assert canonical_of(last[0]) != canonical_of(last[1])


def test_a_name_is_without_the_line_end_of_a_mention(context: Any) -> None:
    said = [("a", "PERSON", "Erik\nDahl"), ("b", "PERSON", "Erik Dahl")]
    assert groups(context, said) == {"Erik Dahl": {"a Erik\nDahl", "b Erik Dahl"}}


def test_every_mention_stays_as_it_was(context: Any) -> None:
    before = corpus_of(context, [("a", "PERSON", "Erik Dahl"), ("b", "PERSON", "Erik Dahl")])
    after = deduplicate(before, context, 90.0)
    assert [(o.id, o.text, o.start) for o in after.entities] == [
        (o.id, o.text, o.start) for o in before.entities
    ]
    assert [canonical_of(one) for one in after.entities] == ["00000", "00000"]
    assert context.metrics == {"distinct_entities": 1, "entities_merged": 1}
    assert deduplicate(after, context, 90.0) == after


NAMES = ["Erik Dahl", "E. Dahl", "Dahl", "Ingrid Dahl", "Ingrid Solberg", "Katarina Lindqvist",
         "Katharina Lindqvist", "Katharina Lindquist", "Nordlys", "Nordlys Group"]  # fmt: skip
mentions = st.tuples(
    st.sampled_from("abc"), st.sampled_from(["PERSON", "ORGANIZATION"]), st.sampled_from(NAMES)
)


@given(st.lists(mentions, max_size=14), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(
    fresh_context: Callable[..., Any], said: list[Said], order: random.Random
) -> None:
    context = fresh_context()
    entities = list(corpus_of(context, said).entities)
    outcomes = []
    for _ in range(2):
        writer = CorpusWriter(context.artifacts)
        writer.add(*entities)
        found = deduplicate(writer.finish(), context, 90.0).entities
        outcomes.append({one.id: (canonical_of(one), name_of(one)) for one in found})
        order.shuffle(entities)
    assert outcomes[0] == outcomes[1]
    kinds = {one.id: one.type for one in entities}
    assert all(kinds[canonical] == kinds[one] for one, (canonical, _) in outcomes[0].items())


@pytest.mark.parametrize("pattern", ["{} {}", "University of M{}{}", "M{}"])
def test_ten_thousand_names_take_seconds(context: Any, pattern: str) -> None:
    draw = random.Random(7)
    part = ["ka", "mo", "ri", "ten", "dal", "ber", "gu", "lin", "sa", "vor", "nes", "ha"]
    names = {
        pattern.format(*("".join(draw.choices(part, k=3)).title() for _ in "ab"))
        for _ in range(40_000)
    }
    said = [("a", "ORGANIZATION", name) for name in sorted(names)[:10_000]]
    started = time.process_time()
    deduplicate(corpus_of(context, said), context, 90.0)
    assert time.process_time() - started < 12


def test_a_missing_library_is_named(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rapidfuzz", None)
    with pytest.raises(MissingExtra, match=r"pip install 'semantica-pipeline\[extract\]'"):
        deduplicate(corpus_of(context, [("a", "PERSON", "Erik Dahl")]), context, 90.0)
