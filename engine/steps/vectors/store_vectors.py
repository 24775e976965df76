"""Store vectors: keep them, with their texts, where a search finds them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ....events.artifacts import Artifacts
from ..beside import beside
from ..configured import configured
from ..corpus import Corpus
from ..errors import StepConfigError, StepInputError
from .joining import items, whence
from .sqlite_vectors import SqliteVectors
from .store import Item, VectorStore

if TYPE_CHECKING:
    from ...context import Context

SUFFIX = ".vectors"
"""Of the folder beside the log, with a file for each index."""
DEFAULT_INDEX = "default"
BATCH = 512
"""Vectors that are stored at once."""
PINECONE_KEY = "PINECONE_API_KEY"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Options(msgspec.Struct, kw_only=True):
    """What ``store_vectors`` can be told."""

    store: Annotated[
        Literal["sqlite", "pinecone"],
        msgspec.Meta(description="sqlite: a file beside the log; pinecone: that service"),
    ] = "sqlite"
    index_name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=64, description="of the index in the store")
    ] = DEFAULT_INDEX
    path: Annotated[
        str | None, msgspec.Meta(description="file of the index, for sqlite [default: by its name]")
    ] = None
    fallback: Annotated[
        Literal["sqlite"] | None,
        msgspec.Meta(description="where to store when PINECONE_API_KEY is not set"),
    ] = None


@configured(Options)
def store_vectors(
    data: Any,
    context: Context,
    store: str,
    index_name: str,
    path: str | None,
    fallback: str | None,
) -> Corpus:
    """Store the vectors of the corpus with text, source, offsets and metadata; hand the corpus on.

    An index has each chunk once, however often it is stored. Once all are stored, what earlier
    runs have stored of the same sources is dropped, so that a document which has changed leaves
    nothing behind; documents that are not in this corpus stay.

    ``store="sqlite"`` needs no service: an index is a file, in the folder named after the log with
    ``.vectors`` added, or at ``path``. ``semantica-pipeline search`` and
    ``semantica.pipeline.search`` find what is in it. ``store="pinecone"`` needs the environment
    variable PINECONE_API_KEY; without it the step fails, unless ``fallback="sqlite"`` says where
    else to store.

    Raises:
        StepInputError: There are no vectors, or those of several models.
        StepConfigError: A configuration value means nothing, or a key is missing.
        IndexMismatch: The index holds vectors of another model.
        MissingExtra: The client of the store is not installed.
        ServiceUnavailable: The service cannot be reached; worth a retry.
        ServiceRefused: It refuses the request.
    """
    corpus = Corpus.of(data, context.artifacts)
    model, dimensions = _kind_of(corpus)
    if store == "pinecone" and not os.environ.get(PINECONE_KEY):
        if fallback is None:
            raise StepConfigError(
                f"store_vectors: store='pinecone' needs {PINECONE_KEY} in the environment; or say "
                "fallback='sqlite', or store='sqlite', to store beside the log"
            )
        context.warn(f"{PINECONE_KEY} is not set: stored in SQLite in place of Pinecone")
        store = fallback
    index: VectorStore
    if store == "pinecone":
        from .pinecone_vectors import PineconeVectors

        index = PineconeVectors(index_name)
    else:
        index = SqliteVectors(file_of(context.artifacts, index_name, path))
    try:
        index.begin(model, dimensions)
        _store(corpus, context, index)
    finally:
        index.close()
    return corpus


def _kind_of(corpus: Corpus) -> tuple[str, int]:
    """The model and the dimensions of the vectors."""
    kinds = {(vector.model, len(vector.values) // 4) for vector in corpus.vectors}
    if not kinds:
        raise StepInputError("store_vectors: there are no vectors: put an 'embed' step before it")
    if len(kinds) > 1:
        listing = ", ".join(sorted(f"{model} ({size} dimensions)" for model, size in kinds))
        raise StepInputError(
            f"store_vectors: an index holds vectors of one model, not of {listing}"
        )
    return kinds.pop()


def file_of(artifacts: Artifacts, index_name: str, path: str | None) -> Path:
    """The file of an index. Raises StepConfigError."""
    if path is not None:
        return Path(path).expanduser().absolute()
    if not _NAME.fullmatch(index_name):
        raise StepConfigError(
            f"store_vectors: index_name={index_name!r} should be letters, digits, '.', '_' and '-'"
        )
    folder = beside(artifacts, SUFFIX)
    if folder is None:
        raise StepConfigError(
            "store_vectors: this log is in memory, so there is no place beside it: give a path"
        )
    return folder / f"{index_name}.db"


def _store(corpus: Corpus, context: Context, index: VectorStore) -> None:
    total, done = len(corpus.vectors), 0
    documents = whence(corpus)
    origins = {one.origin for one in documents.values()}
    for batch in _batches(items(corpus, documents)):
        context.raise_if_cancelled()
        index.upsert(batch, context.run_id)
        origins.update(item.origin for item in batch)
        done += len(batch)
        context.progress(done, total)
    dropped = index.forget(origins, context.run_id)
    context.metric("vectors_stored", done)
    if dropped > 0:
        context.metric("vectors_replaced", dropped)


def _batches(found: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(found)
    while batch := list(islice(iterator, BATCH)):
        yield batch
