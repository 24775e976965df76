"""The Pinecone store, through its client: an index that exists there, a key in PINECONE_API_KEY.

The model of an index's vectors is kept in the metadata of each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from ..errors import MissingExtra, ServiceRefused, ServiceUnavailable
from ..records import Vector, make_id
from .store import Contents, Hit, IndexMismatch, Item, NoIndex

T = TypeVar("T")

REQUEST = 100
"""Vectors in a request: 2 MB are allowed, and one of 3072 dimensions with its text is 20 kB."""
TEXT = 20_000
"""Characters of a text that are kept, of 40 kB of metadata that a vector may have."""
ORIGINS = 100
"""Origins whose stale vectors are dropped by a request."""
_PASSING = (
    "PineconeConnectionError", "PineconeTimeoutError", "RateLimitError", "ServiceError",
)  # fmt: skip


class PineconeVectors:
    """An index at Pinecone, by its name. PINECONE_CONTROLLER_HOST names another service.

    Raises:
        MissingExtra: The client is not installed.
        ServiceRefused: There is no key.
    """

    def __init__(self, name: str) -> None:
        try:
            import pinecone
        except ImportError as error:
            raise MissingExtra("store='pinecone'", "pinecone") from error
        self._pinecone = pinecone
        self._name = name
        self._model = ""
        once = pinecone.RetryConfig(max_retries=0)
        self._client = self._ask(
            lambda: pinecone.Pinecone(retry_config=once)
        )  # the key: from the environment
        self._index: Any = None

    def begin(self, model: str, dimensions: int) -> None:
        """See :class:`.VectorStore`."""
        found = self._stats()
        if found.dimension is not None and found.dimension != dimensions:
            raise IndexMismatch(
                f"the index {self._name!r} has {found.dimension} dimensions, and {model} "
                f"{dimensions}: create one with {dimensions} and the metric cosine"
            )
        held = self._held_model(found) if found.total_vector_count else None
        if held is not None and held != model:
            raise IndexMismatch(
                f"the index {self._name!r} holds vectors of {held}, not of {model}: choose another"
            )
        self._model = model

    def upsert(self, items: Sequence[Item], run: str) -> None:
        """See :class:`.VectorStore`."""
        for start in range(0, len(items), REQUEST):
            part = [self._record(item, run) for item in items[start : start + REQUEST]]
            self._ask(partial(self._index.upsert, vectors=part, show_progress=False))

    def forget(self, origins: Collection[str], run: str) -> int:
        """See :class:`.VectorStore`; the service does not tell how many it has dropped."""
        names = sorted(origins)
        for start in range(0, len(names), ORIGINS):
            stale = {
                "$and": [{"origin": {"$in": names[start : start + ORIGINS]}}, {"run": {"$ne": run}}]
            }
            self._ask(partial(self._index.delete, filter=stale))
        return -1

    def contents(self) -> Contents:
        """See :class:`.VectorStore`."""
        found = self._stats()
        held = self._held_model(found) if found.total_vector_count else None
        if held is None:
            raise NoIndex(f"the index {self._name!r} holds nothing that store_vectors has stored")
        return Contents(held, found.dimension, found.total_vector_count)

    def search(self, vector: Iterable[float], top: int) -> list[Hit]:
        """See :class:`.VectorStore`."""
        self._connect()
        answer = self._ask(
            lambda: self._index.query(vector=list(vector), top_k=top, include_metadata=True)
        )
        return [_hit(one) for one in answer.matches]

    def close(self) -> None:
        """See :class:`.VectorStore`."""
        if self._index is not None:
            self._index.close()
        self._client.close()

    def _connect(self) -> None:
        if self._index is None:
            self._index = self._ask(lambda: self._client.index(self._name))

    def _stats(self) -> Any:
        self._connect()
        return self._ask(lambda: self._index.describe_index_stats())

    def _held_model(self, stats: Any) -> str | None:
        """The model of any vector that is there."""
        anywhere = [1.0] + [0.0] * (stats.dimension - 1)
        answer = self._ask(
            lambda: self._index.query(vector=anywhere, top_k=1, include_metadata=True)
        )
        found = [(one.metadata or {}).get("model") for one in answer.matches]
        return found[0] if found else None

    def _record(self, item: Item, run: str) -> dict[str, Any]:
        metadata = {
            "kind": item.kind, "document": item.document, "origin": item.origin,
            "start": item.start, "end": item.end, "text": item.text[:TEXT], "model": self._model,
            "run": run, "of": item.id, "more": json.dumps(item.metadata, default=str)[:TEXT],
        }  # fmt: skip
        return {"id": make_id(item.id), "values": _floats(item.values), "metadata": metadata}

    def _ask(self, request: Callable[[], T]) -> T:
        """What a request gives. Retries are the engine's, so that each is in the log.

        Raises:
            ServiceUnavailable, ServiceRefused, NoIndex: It failed.
        """
        errors = self._pinecone
        try:
            return request()
        except errors.NotFoundError:
            raise NoIndex(
                f"there is no index {self._name!r} at Pinecone: create it first"
            ) from None
        except (errors.UnauthorizedError, errors.ForbiddenError):
            raise ServiceRefused("PINECONE_API_KEY may not do this at Pinecone") from None
        except errors.PineconeError as error:
            passing = tuple(getattr(errors, name) for name in _PASSING)
            kind = ServiceUnavailable if isinstance(error, passing) else ServiceRefused
            raise kind(f"Pinecone, index {self._name!r}: {error}") from None


def _floats(values: bytes) -> list[float]:
    return list(Vector("", "", "", values).floats)


def _hit(match: Any) -> Hit:
    known = match.metadata or {}
    return Hit(
        score=round(match.score, 6),
        source=known.get("origin", ""),
        start=int(known.get("start", 0)),
        end=int(known.get("end", 0)),
        text=known.get("text", ""),
        kind=known.get("kind", "chunk"),
        id=known.get("of", match.id),
        document=known.get("document", ""),
        metadata=_metadata(known.get("more", "{}")),
    )


def _metadata(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:  # it was too long to be kept whole
        return {}
