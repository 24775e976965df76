"""Chunk: cut documents into overlapping pieces with exact offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from .configured import configured
from .corpus import Chunk, Chunking, Corpus, CorpusWriter
from .errors import StepConfigError, StepInputError
from .split import Span, split_characters, split_words

if TYPE_CHECKING:
    from ..context import Context

_Splitter = Callable[[str, int, int], Iterator[Span]]
_SPLITTERS: Mapping[str, _Splitter] = {"characters": split_characters, "words": split_words}


DEFAULT = Chunking(chunk_size=512, overlap=50, unit="characters")


class Options(msgspec.Struct, kw_only=True):
    """What ``chunk`` can be told."""

    chunk_size: Annotated[
        int, msgspec.Meta(ge=1, description="the most that a chunk holds, in units")
    ] = DEFAULT.chunk_size
    overlap: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            description="what a chunk shares with the one before it, in units: exactly that many "
            "words, or as many whole words as fit into that many characters",
        ),
    ] = DEFAULT.overlap
    unit: Annotated[
        Literal["characters", "words"], msgspec.Meta(description="what sizes count")
    ] = DEFAULT.unit  # type: ignore[assignment]  # a Literal of the same words

    def __post_init__(self) -> None:
        if self.overlap >= self.chunk_size:
            raise StepConfigError(
                f"overlap={self.overlap} must be less than chunk_size={self.chunk_size}"
            )


@configured(Options)
def chunk(
    data: Any,
    context: Context,
    chunk_size: int = DEFAULT.chunk_size,
    overlap: int = DEFAULT.overlap,
    unit: str = DEFAULT.unit,
) -> Corpus:
    """Cut every document that has text into chunks: ``document.text[start:end] == chunk.text``.

    All of a text but white space between chunks is in some chunk. Chunks end after a paragraph, a
    sentence or a word, in this order of preference. Chunks made before are replaced, and vectors
    of those that are no more are left out.

    Args:
        data: Anything :meth:`Corpus.of` accepts.

    Raises:
        StepInputError: There are documents, and none of them was parsed.
    """
    corpus = Corpus.of(data, context.artifacts)
    result = cut(corpus, context, Chunking(chunk_size, overlap, unit))
    context.metric("chunks_created", len(result.chunks))
    return result


def cut(corpus: Corpus, context: Context, chunking: Chunking) -> Corpus:
    """``corpus`` with its chunks cut (again) as ``chunking`` says. Raises StepInputError."""
    writer = CorpusWriter(context.artifacts)
    writer.chunking = chunking
    split = _SPLITTERS[chunking.unit]
    unparsed = failed = 0
    for done, document in enumerate(corpus.documents, start=1):
        context.raise_if_cancelled()
        if document.text is None:
            unparsed += document.error is None
            failed += document.error is not None
        else:
            spans = split(document.text, chunking.chunk_size, chunking.overlap)
            for index, (start, end) in enumerate(spans):
                name = f"{document.id}:{start}-{end}"
                writer.add(Chunk(name, document.id, index, start, end, document.text[start:end]))
        context.progress(done, len(corpus.documents), document.source)
    _report(corpus, context, unparsed, failed)
    writer.carry(corpus, "documents", "entities", "relations")
    result = writer.finish()
    return _without_stale_vectors(result, corpus) if corpus.vectors else result


def _report(corpus: Corpus, context: Context, unparsed: int, failed: int) -> None:
    if unparsed and unparsed + failed == len(corpus.documents):
        raise StepInputError(
            f"chunk: none of the {len(corpus.documents)} documents has text, and {unparsed} were "
            "never parsed: put a 'parse' step before this one, or add their formats to it"
        )
    if unparsed or failed:
        context.log.warning("documents without text skipped", unparsed=unparsed, failed=failed)


def _without_stale_vectors(result: Corpus, before: Corpus) -> Corpus:
    """Add the vectors of ``before``, except those of chunks that are no more."""
    stale = {old.id for old in before.chunks} - {new.id for new in result.chunks}
    writer = CorpusWriter(result.documents.artifacts)
    writer.carry(result)
    if stale:
        for vector in before.vectors:
            if vector.source not in stale:
                writer.add(vector)
    else:
        writer.carry(before, "vectors")
    return writer.finish()
