"""Chunks: exact offsets, nothing lost, sizes and overlaps as promised, in linear time."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline.engine.steps.chunk import chunk
from semantica.pipeline.engine.steps.corpus import Corpus, CorpusWriter, Entity, Vector
from semantica.pipeline.engine.steps.errors import StepInputError
from semantica.pipeline.engine.steps.split import split_characters, split_words

words = st.text("abcXY.!?\u3002", min_size=1, max_size=12)
gaps = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", " \n \n ", "\u00a0", "\x1f", " " * 40])
texts = st.lists(words | gaps, max_size=80).map("".join) | st.text(max_size=200)
sizes = st.tuples(st.integers(1, 40), st.integers(0, 39)).filter(lambda pair: pair[1] < pair[0])


@given(texts, sizes)
def test_characters_keep_every_promise(text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    spans = list(split_characters(text, size, overlap))
    assert covers(text, spans)
    for start, end in spans:
        assert 0 < end - start <= size
        assert not text[start].isspace()
        assert not text[end - 1].isspace()
    for (start, end), (after, further) in pairwise(spans):
        assert start < after
        assert end < further
        assert end - after <= overlap
        if after < end and text[after - 1 : after + 1].strip() == text[after - 1 : after + 1]:
            assert end - after == overlap  # begins inside a word: then in full


@given(texts, sizes)
def test_words_keep_every_promise(text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    spans = list(split_words(text, size, overlap))
    assert covers(text, spans)
    for start, end in spans:
        assert text[start:end] == text[start:end].strip()
        assert 0 < len(text[start:end].split()) <= size
    for (start, end), (after, further) in pairwise(spans):
        assert start < after
        assert end < further
        assert len(text[after:end].split()) == overlap


def covers(text: str, spans: list[tuple[int, int]]) -> bool:
    done, left = 0, []
    for start, end in spans:
        left.append(text[done:start])
        done = max(done, end)
    return not "".join([*left, text[done:]]).strip()


@given(st.lists(st.text("ab", min_size=1, max_size=8), max_size=60), st.integers(20, 60))
def test_words_that_fit_are_never_cut(words: list[str], size: int) -> None:
    text = " ".join(words)
    pieces = [text[start:end].split() for start, end in split_characters(text, size, 9)]
    assert {word for piece in pieces for word in piece} <= set(words)


def pieces(text: str, size: int, overlap: int = 0) -> list[str]:
    return [text[start:end] for start, end in split_characters(text, size, overlap)]


def test_a_paragraph_is_preferred_to_a_sentence_and_a_sentence_to_a_word() -> None:
    assert pieces("One two three.\n\nFour. Five six seven", 25) == [
        "One two three.",
        "Four. Five six seven",
    ]
    assert pieces("One two three. Four five six seven", 22) == [
        "One two three.",
        "Four five six seven",
    ]
    assert pieces("One two three four", 10) == ["One two", "three four"]
    assert pieces("Onetwothreefour", 10) == ["Onetwothre", "efour"]


def test_initials_titles_and_numbers_end_no_sentence() -> None:
    assert pieces("We all met Dr. Smith again", 20) == ["We all met Dr. Smith", "again"]
    assert pieces("He wrote to J. Smith again", 20) == ["He wrote to J. Smith", "again"]
    assert pieces("It was on the 3. Oktober in", 24) == ["It was on the 3. Oktober", "in"]


def test_the_overlap_is_whole_words_where_it_can_be() -> None:
    assert pieces("alpha beta gamma delta", 16, 7) == ["alpha beta gamma", "gamma delta"]
    assert pieces("abcdefghij", 6, 2) == ["abcdef", "efghij"]


@pytest.mark.parametrize("text", ["x" * 10_000_000, "Some words. And\n\nmore! " * 450_000])
def test_ten_megabytes_take_linear_time(text: str) -> None:
    started = time.process_time()
    assert sum(1 for _ in split_characters(text, 512, 50)) > 20_000
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "text", [" \n" * 500_000 + "x", "." * 1_000_000, "a" + " " * 1_000_000 + "b", ".)" * 500_000]
)
def test_odd_texts_take_linear_time(text: str) -> None:
    started = time.process_time()
    list(split_characters(text, 512, 50))
    list(split_words(text, 512, 50))
    assert time.process_time() - started < 10


# The step


def test_chunks_name_their_place_and_are_counted(context: Any) -> None:
    data = [{"text": "One two three. Four five six. Seven."}, {"text": "Eight."}]
    corpus = chunk(data, context, chunk_size=16, overlap=4)
    by_id = {found.id: found for found in corpus.documents}
    assert [piece.index for piece in corpus.chunks] == [0, 1, 2, 0]
    for piece in corpus.chunks:
        assert (by_id[piece.document].text or "")[piece.start : piece.end] == piece.text
    assert context.metrics == {"chunks_created": 4}
    assert len({piece.id for piece in corpus.chunks}) == 4


def test_chunking_again_replaces_the_chunks_and_the_vectors_of_those_that_are_no_more(
    context: Any,
) -> None:
    corpus = chunk([{"text": "One two three four"}], context, chunk_size=10, overlap=0)
    assert chunk(corpus, context, chunk_size=10, overlap=0) == corpus
    (document,) = corpus.documents
    writer = CorpusWriter(context.artifacts)
    writer.carry(corpus)
    writer.add(Entity("e", document.id, "number", "One", 0, 3))
    for source in (corpus.chunks[0].id, document.id, "e"):
        writer.add(Vector.of(source, "m", [1.0]))
    again = chunk(writer.finish(), context, chunk_size=18, overlap=0)
    assert [piece.text for piece in again.chunks] == ["One two three four"]
    assert [vector.source for vector in again.vectors] == [document.id, "e"]
    assert len(again.entities) == 1


def test_documents_that_were_never_parsed_are_an_error_that_names_the_remedy(
    context: Any,
) -> None:
    with pytest.raises(StepInputError, match="put a 'parse' step before"):
        chunk(["a.txt"], context)
    corpus = chunk(["a.txt", {"text": "Hello."}], context)
    assert len(corpus.chunks) == 1
    assert context.warnings == [("documents without text skipped", {"unparsed": 1, "failed": 0})]
    assert chunk(None, context) == Corpus(context.artifacts)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"chunk_size": 0}, "chunk cannot take chunk_size=0: it should be int >= 1"),
        ({"chunk_size": "512"}, "it should be int >= 1; did you mean 512?"),
        ({"chunk_size": 512.0}, "it should be int >= 1; did you mean 512?"),
        ({"chunk_size": True}, "chunk_size=True: it should be int >= 1"),
        ({"overlap": -1}, "overlap=-1: it should be int >= 0"),
        ({"chunk_size": 10, "overlap": 10}, "overlap=10 must be less than chunk_size=10"),
        ({"chunk_size": 50}, "overlap=50 must be less than chunk_size=50"),
        ({"unit": "word"}, "unit='word': it should be 'characters' | 'words'; did you mean"),
    ],
)
def test_configuration_that_means_nothing_is_refused(
    config: dict[str, Any], told: str, complaint: Any
) -> None:
    assert told in complaint(chunk, config)


def test_it_can_be_cancelled(context: Any, cancelled: type[BaseException]) -> None:
    context.cancel_after = 1
    with pytest.raises(cancelled):
        chunk([{"text": "a"}, {"text": "b"}], context)
    assert len(context.reports) == 1
