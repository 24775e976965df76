"""Normal forms: settled by one pass, and offsets that never lie."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline.engine.steps.chunk import chunk
from semantica.pipeline.engine.steps.corpus import Corpus, CorpusWriter, Entity
from semantica.pipeline.engine.steps.errors import StepInputError
from semantica.pipeline.engine.steps.normalize import normalize, normalize_text

CASES = (None, "lower", "upper", "title")
FORMS = (None, "NFC", "NFD", "NFKC", "NFKD")


@given(
    st.text(max_size=60),
    st.sampled_from(list(product(CASES, FORMS))),
    st.booleans(),
)
def test_normalizing_again_changes_nothing(
    text: str, how: tuple[str | None, str | None], whitespace: bool
) -> None:
    once = normalize_text(text, *how, whitespace)
    assert normalize_text(once, *how, whitespace) == once


def test_every_character_is_settled() -> None:
    codes = [*range(0xD800), *range(0xE000, 0x11000), *range(0x1D400, 0x1E000)]
    for case, form in product(CASES, FORMS):
        text = " ".join(chr(code) + "n" for code in codes)
        once = normalize_text(text, case, form)
        assert normalize_text(once, case, form) == once, (case, form)


@given(st.text(st.sampled_from("ab \t\r\n\u00a0\u2028\u200b\u00ad\ufeff\x0b"), max_size=60))
def test_whitespace_is_tidy(text: str) -> None:
    tidy = normalize_text(text)
    assert set(tidy) <= set("ab \n")
    assert "  " not in tidy
    assert "\n\n\n" not in tidy
    assert all(line == line.strip() for line in tidy.split("\n"))
    assert tidy == tidy.strip()
    assert [c for c in tidy if c in "ab"] == [c for c in text if c in "ab"]


@pytest.mark.parametrize(
    ("text", "config", "expected"),
    [
        (" a \t b\r\nc\r\n\r\n\r\n\r\nd ", {}, "a b\nc\n\nd"),
        ("co\u00adop\u200berate\ufeff", {}, "cooperate"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", {}, None),  # Persian needs its joiner
        ("a  b\r\n", {"whitespace": False}, None),
        ("e\u0301", {}, "\u00e9"),
        ("\u00e9", {"unicode_form": "NFD"}, "e\u0301"),
        ("\ufb01 \u2460", {"unicode_form": "NFKC"}, "fi 1"),
        ("e\u0301", {"unicode_form": None}, None),
        ("Stra\u00dfe", {"case": "upper"}, "STRASSE"),
        ("Don't STOP o'neill", {"case": "title"}, "Don't Stop O'neill"),
        ("ÀB", {"case": "lower"}, "àb"),
        ("FranÃ§ois", {"repair": True}, "François"),
        ("FranÃ§ois", {}, None),
        ("東京 FranÃ§ois\nCafÃ© été", {"repair": True}, "東京 François\nCafé été"),
        ("été à la carte, \u201cschön\u201d", {"repair": True}, None),
    ],
)
def test_forms(text: str, config: dict[str, Any], expected: str | None) -> None:
    assert normalize_text(text, **config) == (text if expected is None else expected)


def test_a_repaired_text_is_settled_and_has_an_id_of_its_own(context: Any) -> None:
    corpus = Corpus.of([{"text": "FranÃ§ois  lives in ZÃ¼rich."}], context.artifacts)
    plain, mended = normalize(corpus, context), normalize(corpus, context, repair=True)
    assert mended.documents[0].text == "François lives in Zürich."
    assert mended.documents[0].id != plain.documents[0].id
    assert normalize(mended, context, repair=True) is mended


# The step


def test_a_changed_text_gets_another_id_and_an_unchanged_one_keeps_its(context: Any) -> None:
    corpus = Corpus.of([{"text": "tidy"}, {"text": "not  tidy"}, "later.txt"], context.artifacts)
    result = normalize(corpus, context)
    before, after = list(corpus.documents), list(result.documents)
    assert [found.text for found in after] == ["tidy", "not tidy", None]
    assert [a.id == b.id for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert normalize(result, context) is result
    assert normalize(corpus, context) == result
    assert context.metrics["documents_normalized"] == 2


@given(
    st.lists(st.text("aB .\n\u00e9\u0301", max_size=60), max_size=4, unique=True),
    st.sampled_from(CASES),
)
def test_normalizing_after_chunking_is_normalizing_before_it(
    fresh_context: Callable[[], Any], texts: list[str], case: str | None
) -> None:
    context = fresh_context()
    start = Corpus.of([{"text": text} for text in texts], context.artifacts)
    after = normalize(chunk(start, context, chunk_size=9, overlap=3), context, case=case)
    before = chunk(normalize(start, context, case=case), context, chunk_size=9, overlap=3)
    assert list(after.documents) == list(before.documents)
    assert list(after.chunks) == list(before.chunks)
    by_id = {found.id: found.text or "" for found in after.documents}
    assert all(by_id[c.document][c.start : c.end] == c.text for c in after.chunks)


def test_what_cannot_be_made_again_is_not_left_stale(context: Any) -> None:
    writer = CorpusWriter(context.artifacts)
    corpus = Corpus.of([{"text": "Ann  lives"}], context.artifacts)
    writer.carry(corpus)
    writer.add(Entity("e", corpus.documents[0].id, "person", "Ann", 0, 3))
    with pytest.raises(StepInputError, match="1 entities refer to: put 'normalize' before"):
        normalize(writer.finish(), context)
    kept = normalize(writer.finish(), context, whitespace=False)  # nothing changes
    assert len(kept.entities) == 1


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"case": "Lower"}, "'lower' | 'upper' | 'title' | None; did you mean 'lower'?"),
        ({"unicode_form": "nfc"}, "unicode_form='nfc': it should be 'NFC' | "),
        ({"whitespace": 1}, "whitespace=1: it should be bool"),
    ],
)
def test_configuration_that_means_nothing_is_refused(
    config: dict[str, Any], told: str, complaint: Any
) -> None:
    assert told in complaint(normalize, config)
