"""Ingest: find documents and note what they are, without reading their text yet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from .configured import configured
from .corpus import Corpus, CorpusWriter, Document
from .errors import DocumentError, StepInputError
from .files import Finder, fingerprint, real_path, shown
from .formats import as_list, suffix_of, suffixes_of
from .inputs import carries_corpus, reference
from .web import MAX_BYTES, URL_TIMEOUT, Web, is_url

if TYPE_CHECKING:
    from ..context import Context


class Options(msgspec.Struct, kw_only=True):
    """What ``ingest`` can be told."""

    source: Annotated[
        str | list[str] | None,
        msgspec.Meta(
            description="a file, folder or pattern (*, ?, [a-z], ** for any folders), an http:// "
            "or https:// address, or a list of them; without it, the input's documents are looked "
            "up"
        ),
    ] = None
    recursive: Annotated[
        bool, msgspec.Meta(description="a folder stands for the files in its subfolders too")
    ] = True
    formats: Annotated[
        str | list[str] | None,
        msgspec.Meta(
            description="only files of these formats or name endings, such as ['pdf', 'md']; an "
            "address without an ending counts"
        ),
    ] = None
    include_hidden: Annotated[
        bool, msgspec.Meta(description="names that begin with a dot count as well")
    ] = False
    on_error: Annotated[
        Literal["skip", "fail"],
        msgspec.Meta(
            description="skip records in a document why it cannot be read; fail fails the step"
        ),
    ] = "skip"
    max_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1, description="of what an address holds, unpacked; more is an error of the document"
        ),
    ] = MAX_BYTES
    url_timeout: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=1e9, description="seconds for fetching one address, redirects included"
        ),
    ] = URL_TIMEOUT


@configured(Options)
def ingest(
    data: Any,
    context: Context,
    source: str | os.PathLike[str] | list[str] | None = None,
    recursive: bool = True,
    formats: str | list[str] | None = None,
    include_hidden: bool = False,
    on_error: str = "skip",
    max_bytes: int = MAX_BYTES,
    url_timeout: float = URL_TIMEOUT,
) -> Corpus:
    """Add the files and addresses of ``source`` to the corpus, sorted by path, each file once.

    A document has its path, size, media type and content digest; its id follows from the absolute
    path or URL. What an address holds is fetched now, and kept in the log's artifacts, so that
    later steps read exactly that. Documents handed on by earlier steps stay.

    Args:
        data: A corpus, or anything :meth:`Corpus.of` accepts when ``source`` is not given.

    Raises:
        StepInputError: There is no source, it does not exist, or a pattern fits nothing.
        DocumentError: A file, folder or address cannot be read, with ``on_error="fail"``.
        MissingExtra: There are addresses, and httpx is not installed.
    """
    endings = None if formats is None else suffixes_of(formats)
    sources = None if source is None else as_list("source", source)
    corpus = Corpus.of(data if sources is None or carries_corpus(data) else None, context.artifacts)
    if not sources and not corpus.documents:
        raise StepInputError(
            "ingest has nothing to ingest: give it source=..., or documents as input data"
        )
    web = Web(max_bytes, url_timeout)
    work = _Ingestion(context, web, strict=on_error == "fail")
    wanted = [*work.keep(corpus), *map(reference, sources or ())]
    finder = Finder(recursive=recursive, hidden=include_hidden, on_error=work.folder_failed)
    work.add(list(_expand(wanted, finder, endings)))
    return work.finish()


def _expand(
    wanted: Iterable[Document], finder: Finder, endings: frozenset[str] | None
) -> Iterator[Document]:
    """The files that documents without content stand for, each once under its first name."""
    seen: set[str] = set()
    for document in wanted:
        address = is_url(document.source)
        for path in [document.source] if address else finder.find(document.source):
            identity = path if address else real_path(path)
            suffix = suffix_of(path)
            known = bool(suffix) or not address  # what an address without ending holds is not
            if identity in seen or (endings is not None and known and suffix not in endings):
                continue
            seen.add(identity)
            same = path == document.source  # then it keeps the id and type it was given
            yield document if same else reference(path, metadata=document.metadata)


class _Ingestion:
    def __init__(self, context: Context, web: Web, *, strict: bool) -> None:
        self._context = context
        self._web = web
        self._strict = strict
        self._writer = CorpusWriter(context.artifacts)
        self._known: set[str] = set()
        self._failed = 0

    def keep(self, corpus: Corpus) -> list[Document]:
        """Take over what was read before; return the documents that only name a source."""
        pending = []
        for document in corpus.documents:
            if document.digest or document.error or document.text is not None:
                self._writer.add(document)
                self._known.add(document.id)
            else:
                pending.append(document)
        self._writer.carry(corpus, "chunks", "entities", "relations", "vectors")
        return pending

    def add(self, documents: list[Document]) -> None:
        new = [document for document in documents if document.id not in self._known]
        for done, document in enumerate(new, start=1):
            self._context.raise_if_cancelled()
            self._writer.add(self._read(document))
            self._context.progress(done, len(new), document.source)
        if not new and not self._known:
            self._context.log.warning("no documents found")
        self._context.metric("documents_ingested", len(new))

    def _read(self, document: Document) -> Document:
        try:
            if is_url(document.source):
                return self._web.fetch(document, self._context.artifacts)
            size, digest = fingerprint(document.source)
        except DocumentError as error:
            if self._strict:
                raise
            self._failed += 1
            self._context.log.warning("document skipped", reason=str(error))
            return msgspec.structs.replace(document, error=str(error))
        return msgspec.structs.replace(document, size=size, digest=digest)

    def folder_failed(self, error: OSError) -> None:
        """Called for a folder that cannot be listed."""
        message = f"cannot list the folder {shown(str(error.filename))}: {error.strerror}"
        if self._strict:
            raise DocumentError(message) from error
        self._failed += 1
        self._context.log.warning("folder skipped", reason=message)

    def finish(self) -> Corpus:
        if self._failed:
            self._context.metric("documents_failed", self._failed)
        return self._writer.finish()
