"""Embed: give chunks, documents or entities a vector of their meaning."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import msgspec

from ..beside import beside
from ..chunk import DEFAULT, cut
from ..configured import configured
from ..corpus import Corpus, CorpusWriter, Vector
from ..errors import StepInputError
from ..records import Chunk, Document, Entity, Record, make_id
from .cache import VectorCache, key_of
from .choice import choose
from .model import Model, vectors_of

if TYPE_CHECKING:
    from ...context import Context

What = Literal["chunks", "documents", "entities"]


class Options(msgspec.Struct, kw_only=True):
    """What ``embed`` can be told."""

    model: Annotated[
        str | None,
        msgspec.Meta(
            description="all-MiniLM-L6-v2 (the default: local), text-embedding-3-large and its "
            "like (through the OpenAI API, with OPENAI_API_KEY), openai:NAME, or hashing"
        ),
    ] = None
    batch_size: Annotated[
        int, msgspec.Meta(ge=1, le=4096, description="texts that are recorded as one item")
    ] = 32
    max_length: Annotated[
        Annotated[int, msgspec.Meta(ge=16, le=8191)] | None,
        msgspec.Meta(
            description="tokens that the model takes at once; longer texts are embedded in "
            "pieces. [default: what the model was made for]",
        ),
    ] = None
    what: Annotated[
        What | list[What] | None,
        msgspec.Meta(description="what gets a vector [default: chunks]"),
    ] = None
    reuse: Annotated[
        bool, msgspec.Meta(description="use vectors that runs of this log have computed before")
    ] = True


@configured(Options)
def embed(
    data: Any,
    context: Context,
    model: str | None,
    batch_size: int,
    max_length: int | None,
    what: What | list[What] | None,
    reuse: bool,
) -> Corpus:
    """Add vectors of length 1 to the corpus, whose directions tell what texts mean.

    By default the chunks are embedded; when there are none, documents are first cut as ``chunk``
    does by default. ``what="documents"`` gives each whole document one vector, ``"entities"`` each
    mention. Of a text longer than ``max_length`` nothing is cut off: its vector is the mean of its
    pieces' vectors.

    The local model needs no network; ``semantica-pipeline models install`` fetches it once. A model
    of the OpenAI API needs the environment variable OPENAI_API_KEY; without it the local model
    takes its place, and the result's warnings say so.

    Batches are recorded one by one: after a crash or a retry, those that were done are not
    embedded again. Vectors are also kept by model and text in a file beside the log, so that
    unchanged texts are not embedded again by later runs.

    Raises:
        StepInputError: There is nothing with text to embed.
        StepConfigError: There is no such model.
        ModelMissing: The local model is needed and not installed.
        MissingExtra: A library that the model needs is not installed.
        ServiceUnavailable: A remote model cannot be reached; worth a retry.
        ServiceRefused: It refuses the request.
    """
    corpus = Corpus.of(data, context.artifacts)
    names = list(dict.fromkeys(what if isinstance(what, list) else [what or "chunks"]))
    if "chunks" in names and not corpus.chunks and corpus.documents:
        corpus = cut(corpus, context, DEFAULT)
    chosen = choose(model, max_length)
    if chosen.warning is not None:
        context.warn(chosen.warning)
    batches = list(_batches(corpus, names, batch_size))
    if not batches:
        raise StepInputError(f"embed: there are no {' and no '.join(names)} with text to embed")
    path = beside(context.artifacts, ".embeddings") if reuse else None
    work = _Embedding(context, corpus, chosen.model, None if path is None else VectorCache(path))
    try:
        # Named by the model: when a resumed run has to use another one, nothing is mixed.
        name = make_id(chosen.model.version)
        made: list[Corpus] = context.map(
            work.embed, batches, key=_Batch.key, workers=chosen.model.at_once, name=name
        )
    finally:
        work.close()
    for batch, vectors in zip(batches, made, strict=True):
        context.metric(f"{batch.collection}_embedded", len(vectors.vectors))
    return _joined(corpus, context, made)


class _Batch(NamedTuple):
    """Records of a shard, by their places in it."""

    collection: str
    shard: int
    first: int
    last: int

    def key(self) -> str:
        return f"{self.collection}/{self.shard}/{self.first}-{self.last}"


def _batches(corpus: Corpus, names: Sequence[str], size: int) -> Iterator[_Batch]:
    for name in names:
        for number, shard in enumerate(corpus.collection(name).shards):
            for first in range(0, shard.count, size):
                yield _Batch(name, number, first, min(first + size, shard.count))


class _Embedding:
    """Embeds one batch after another; of several threads."""

    def __init__(
        self, context: Context, corpus: Corpus, model: Model, cache: VectorCache | None
    ) -> None:
        self._context = context
        self._corpus = corpus
        self._model = model
        self._cache = cache

    def embed(self, batch: _Batch) -> Corpus:
        """The vectors of a batch."""
        records = self._corpus.collection(batch.collection)
        found = list(records.read(records.shards[batch.shard]))[batch.first : batch.last]
        texts = {one.id: text for one in found if (text := _text_of(one)).strip()}
        values = self._values(list(texts.values()))
        writer = CorpusWriter(self._context.artifacts)
        for source, text in texts.items():
            vector = Vector.of(source, self._model.name, ())
            writer.add(msgspec.structs.replace(vector, values=values[text]))
        return writer.finish()

    def _values(self, texts: list[str]) -> dict[str, bytes]:
        keys = {text: key_of(self._model.version, text) for text in texts}
        known = {} if self._cache is None else self._cache.get([*keys.values()])
        missing = [text for text, key in keys.items() if key not in known]
        made: dict[bytes, bytes] = {}
        if missing:
            rows = vectors_of(self._model, missing)
            if sys.byteorder == "big":
                rows = rows.byteswap()
            made = {keys[text]: row.tobytes() for text, row in zip(missing, rows, strict=True)}
            if self._cache is not None:
                self._cache.put(made)
        self._context.metric("texts_embedded", len(missing))
        self._context.metric("vectors_reused", len(keys) - len(missing))
        return {text: known.get(key) or made[key] for text, key in keys.items()}

    def close(self) -> None:
        """Give the cache back, and say what was wrong with it."""
        if self._cache is not None:
            self._cache.close()
            if self._cache.trouble is not None:
                self._context.warn(f"vectors could not be kept: {self._cache.trouble}")


def _text_of(record: Record) -> str:
    if isinstance(record, (Chunk, Entity, Document)):
        return record.text or ""
    raise TypeError(f"a {type(record).__name__} has no text")


def _joined(corpus: Corpus, context: Context, made: Sequence[Corpus]) -> Corpus:
    """The corpus with the batches' vectors in shards of the usual size; they replace those that
    the same model has made of the same sources."""
    writer = CorpusWriter(context.artifacts)
    writer.carry(corpus, "documents", "chunks", "entities", "relations")
    if corpus.vectors:
        new = {vector.id for part in made for vector in part.vectors}
        writer.add(*(one for one in corpus.vectors if one.id not in new))
    for part in made:
        writer.add(*part.vectors)
    return writer.finish()
