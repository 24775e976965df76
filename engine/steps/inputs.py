"""What counts as a step's input: everything :meth:`Corpus.of` accepts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from ...events.artifacts import Artifacts, digest_of
from .corpus import Corpus, CorpusWriter
from .errors import StepInputError
from .files import locate, refuse_credentials
from .formats import media_type_of
from .merge import merge
from .records import Document, make_id

_ACCEPTED = (
    "a step takes a Corpus, a path, a list of paths or of documents such as "
    '{"source": "a.txt"} or {"text": "..."}, or {"documents": such a list}'
)
_SOURCE_KEYS = ("source", "path", "file")
_TEXT_KEYS = ("text", "content")


def to_corpus(data: Any, artifacts: Artifacts) -> Corpus:
    """See :meth:`Corpus.of`."""
    if data is None:
        return Corpus(artifacts)
    if isinstance(data, Corpus):
        return data
    if isinstance(data, (str, os.PathLike, list, tuple)):
        return _listed(data, artifacts)
    if not isinstance(data, Mapping):
        raise StepInputError(f"{_kind(data)} is no documents; {_ACCEPTED}")
    if any(isinstance(data.get(key), str) for key in _TEXT_KEYS):
        return _listed([data], artifacts)
    if "documents" in data and not isinstance(data["documents"], (Corpus, Mapping)):
        return _listed(data["documents"], artifacts)
    return merge([_dependency(name, value, artifacts) for name, value in data.items()], artifacts)


def carries_corpus(data: Any) -> bool:
    """Whether earlier steps handed a corpus on, rather than a user some input."""
    if isinstance(data, Mapping):
        return any(isinstance(value, Corpus) for value in data.values())
    return isinstance(data, Corpus)


def _dependency(name: Any, value: Any, artifacts: Artifacts) -> Corpus:
    try:
        return to_corpus(value, artifacts)
    except StepInputError as error:
        raise StepInputError(f"input {name!r}: {error}") from error


def _listed(data: Any, artifacts: Artifacts) -> Corpus:
    if isinstance(data, (str, os.PathLike)):
        data = [data]
    if not isinstance(data, (list, tuple)):
        raise StepInputError(f"'documents' holds {_kind(data)}; {_ACCEPTED}")
    writer, seen = CorpusWriter(artifacts), dict[str, Document]()
    for place, item in enumerate(data):
        try:
            document = _document(item)
        except StepInputError as error:
            raise StepInputError(f"document {place}: {error}") from error
        other = seen.setdefault(document.id, document)
        if other is document:
            writer.add(document)
        elif other != document:
            raise StepInputError(
                f"document {place}: an earlier and different one has the id {document.id!r} too; "
                "give each its own 'id'"
            )
    return writer.finish()


def _document(item: Any) -> Document:
    if isinstance(item, Document):
        refuse_credentials(item.source)
        return item
    if isinstance(item, (str, os.PathLike)):
        return reference(item)
    if not isinstance(item, Mapping):
        raise StepInputError(f"{_kind(item)} is no document; {_ACCEPTED}")
    fields = dict(item)
    source = _pick(fields, _SOURCE_KEYS, (str, os.PathLike))
    text = _pick(fields, _TEXT_KEYS, (str,))
    identity = _pick(fields, ("id",), (str,))
    media_type = _pick(fields, ("media_type",), (str,))
    metadata = {**(_pick(fields, ("metadata",), (dict,)) or {}), **fields}
    if text is not None:
        refuse_credentials(os.fspath(source or ""))
        document = _inline(text, os.fspath(source or ""), media_type or "text/plain", metadata)
    elif source is not None:
        document = reference(source, media_type, metadata)
    else:
        raise StepInputError(f"neither 'text' nor 'source' is given; {_ACCEPTED}")
    return document if identity is None else msgspec.structs.replace(document, id=identity)


def _pick(fields: dict[str, Any], keys: tuple[str, ...], kinds: tuple[type, ...]) -> Any:
    """Take the first of ``keys`` that is given out of ``fields``; None counts as not given."""
    for key in keys:
        value = fields.pop(key, None)
        if value is None:
            continue
        if not isinstance(value, kinds):
            raise StepInputError(f"{key!r} is {_kind(value)}, not {kinds[0].__name__}")
        return value
    return None


def _inline(text: str, source: str, media_type: str, metadata: dict[str, Any]) -> Document:
    data = text.encode("utf-8", "surrogatepass")
    return Document(
        id=make_id(source, text),
        source=source,
        media_type=media_type,
        size=len(data),
        digest=digest_of(data),
        text=text,
        metadata=metadata,
    )


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__name__}"


def reference(
    source: str | os.PathLike[str],
    media_type: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> Document:
    """A document that names a source and was not read yet.

    Raises:
        StepInputError: It is a URL with a password.
    """
    path = locate(source)
    refuse_credentials(path)
    return Document(
        id=make_id(path),
        source=path,
        media_type=media_type or media_type_of(path),
        metadata=metadata or {},
    )
