"""Answering a question from what ``store_vectors`` has stored."""

from __future__ import annotations

import os
from pathlib import Path

from ....events.errors import nearest
from ....events.sqlite_connection import beside
from ...logs import place_of
from ..embedding.choice import choose
from ..embedding.model import vectors_of
from ..errors import one_of
from .sqlite_vectors import SqliteVectors
from .store import Hit, IndexMismatch, NoIndex, VectorStore
from .store_vectors import DEFAULT_INDEX, SUFFIX

MOST = 1000
"""Hits that one search gives."""


def search(
    question: str,
    *,
    index: str = DEFAULT_INDEX,
    top: int = 5,
    log: str | os.PathLike[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    store: str = "sqlite",
) -> list[Hit]:
    """What the stored texts say that is nearest in meaning to a question, the nearest first.

    The question is embedded by the model that the index was made with.

    Args:
        index: Its name, as given to ``store_vectors``.
        top: So many hits at most, 1 to 1000.
        log: The log whose runs have stored it; None: ``$PIPELINE_LOG``, else the default.
        path: The file of the index, where it is not beside the log.
        store: ``"sqlite"`` or ``"pinecone"``.

    Raises:
        ValueError: The question is empty, or ``top`` out of range.
        NoIndex: There is no such index.
        IndexMismatch: The model of its vectors cannot be had here.
        ModelMissing, MissingExtra: What embeds the question is not installed.
        ServiceUnavailable, ServiceRefused: The service of its model, or of its store.
    """
    if not question.strip():
        raise ValueError("the question is empty")
    if not isinstance(top, int) or not 1 <= top <= MOST:
        raise ValueError(f"top={top!r} should be a whole number from 1 to {MOST}")
    found = _index(index, log, path, store)
    try:
        model = found.contents().model
        chosen = choose(model)
        if chosen.model.name != model:
            raise IndexMismatch(f"the index was made with {model}, for which there is no key here")
        return found.search(vectors_of(chosen.model, [question])[0].tolist(), top)
    finally:
        found.close()


def _index(
    name: str,
    log: str | os.PathLike[str] | None,
    path: str | os.PathLike[str] | None,
    store: str,
) -> VectorStore:
    one_of("search", "store", store, ("sqlite", "pinecone"))
    if store == "pinecone":
        from .pinecone_vectors import PineconeVectors

        return PineconeVectors(name)
    if path is not None:
        return SqliteVectors(Path(path).expanduser().absolute())
    place = place_of(log)
    if place is None:
        raise NoIndex("a log in memory has nothing beside it: give the path of the index")
    folder = beside(place, SUFFIX)
    file = folder / f"{name}.db"
    if not file.exists():
        known = sorted(one.stem for one in folder.glob("*.db"))
        hint = nearest(name, known) or (f"; there are {', '.join(known)}" if known else "")
        raise NoIndex(
            f"no index {name!r} beside the log {place}{hint or ': a store_vectors step makes one'}"
        )
    return SqliteVectors(file)
