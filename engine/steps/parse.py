"""Parse: give each document its plain text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ...events.errors import nearest
from .configured import configured
from .corpus import Corpus, CorpusWriter, Document
from .errors import DocumentError, MissingExtra, StepInputError
from .files import locate, refuse_credentials, shown
from .formats import as_list, format_names, format_of
from .isolation import TIMEOUT, Isolation
from .web import MAX_BYTES, URL_TIMEOUT, Web, is_url

if TYPE_CHECKING:
    from ..context import Context


class Options(msgspec.Struct, kw_only=True):
    """What ``parse`` can be told."""

    formats: Annotated[
        str | list[str] | None,
        msgspec.Meta(
            description="only documents of these formats (txt, md, html, ...); others stay for "
            "another parse step; one that cannot be parsed yet is an error of the document"
        ),
    ] = None
    file: Annotated[
        str | list[str] | None,
        msgspec.Meta(
            description="only this file, or these, by name or trailing path; the result holds "
            "nothing else"
        ),
    ] = None
    on_error: Annotated[
        Literal["skip", "fail"],
        msgspec.Meta(
            description="skip records in a document why it cannot be read; fail fails the step"
        ),
    ] = "skip"
    document_timeout: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=1e9,
            description="seconds for reading one document of a format that needs a native library "
            "(PDF, DOCX, HTML, Markdown), which runs in a process of its own, so that its crash is "
            "an error of the document",
        ),
    ] = TIMEOUT
    max_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            description="of an http:// or https:// document; a larger one cannot be read",
        ),
    ] = MAX_BYTES
    url_timeout: Annotated[
        float,
        msgspec.Meta(
            gt=0,
            le=1e9,
            description="seconds for fetching such a document, unless it was ingested: then what "
            "was fetched is read",
        ),
    ] = URL_TIMEOUT

    def __post_init__(self) -> None:
        if self.formats is not None:
            format_names(self.formats)


@configured(Options)
def parse(
    data: Any,
    context: Context,
    formats: str | list[str] | None = None,
    file: str | os.PathLike[str] | list[str] | None = None,
    on_error: str = "skip",
    document_timeout: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
    url_timeout: float = URL_TIMEOUT,
) -> Corpus:
    """Read the documents that have no text yet; those that have one, or an error, stay as they are.

    Args:
        data: Anything :meth:`Corpus.of` accepts; files need not have been ingested.

    Raises:
        StepInputError: ``file`` names no document of the corpus.
        DocumentError: A document cannot be read, with ``on_error="fail"``.
        MissingExtra: The library for a format is not installed.
        WorkerLost: No process for the native libraries can be started.
    """
    wanted = None if formats is None else format_names(formats)
    corpus = Corpus.of(data, context.artifacts)
    if file is not None:
        files = as_list("file", file)
        for name in files:
            refuse_credentials(name)
        corpus = _only(corpus, files, context)
    writer = CorpusWriter(context.artifacts)
    web = Web(max_bytes, url_timeout)
    with Isolation(context, document_timeout) as isolation:
        work = _Parsing(context, web, isolation, strict=on_error == "fail")
        for done, document in enumerate(corpus.documents, start=1):
            context.raise_if_cancelled()
            if document.text is None and document.error is None and _chosen(document, wanted):
                document = work.attempt(document)
            writer.add(document)
            context.progress(done, len(corpus.documents), document.source)
    writer.carry(corpus, "chunks", "entities", "relations", "vectors")
    context.metric("documents_processed", work.parsed)
    if work.failed:
        context.metric("documents_failed", work.failed)
    return writer.finish()


def _only(corpus: Corpus, files: list[str], context: Context) -> Corpus:
    """The documents of ``files`` alone."""
    writer = CorpusWriter(context.artifacts)
    missing = set(files)
    for document in corpus.documents:
        matching = {name for name in files if _names(name, document.source)}
        if matching:
            missing -= matching
            writer.add(document)
    if missing:
        raise StepInputError(_no_file(min(missing), corpus))
    return writer.finish()


def _no_file(name: str, corpus: Corpus) -> str:
    names = [shown(Path(document.source).name) for document in corpus.documents]
    listing = f" ({', '.join(names[:5])}, ...)" if names else ""
    hint = nearest(Path(name).name, names)
    return f"parse: file={name!r} is not among the {len(names)} documents{listing}{hint}"


def _names(name: str, source: str) -> bool:
    relative = os.path.normpath(name)
    return source == locate(name) or source.endswith(os.sep + relative)


def _chosen(document: Document, wanted: frozenset[str] | None) -> bool:
    return wanted is None or format_of(document.media_type) in wanted


class _Parsing:
    """Reads one document after another, and keeps count."""

    def __init__(self, context: Context, web: Web, isolation: Isolation, *, strict: bool) -> None:
        self._context = context
        self._web = web
        self._isolation = isolation
        self._strict = strict
        self.parsed = self.failed = 0

    def attempt(self, document: Document) -> Document:
        """The document with its text, or with the reason why there is none."""
        try:
            document = self._read(document)
        except MissingExtra:
            raise  # the same for every document like this one, and easy to mend
        except DocumentError as error:
            reason = str(error)
            if self._strict:
                raise DocumentError(f"{shown(document.source)}: {reason}") from error
            self._context.log.warning(
                "document not parsed", source=shown(document.source), reason=reason
            )
            self.failed += 1
            return msgspec.structs.replace(document, error=reason)
        self.parsed += 1
        return document

    def _read(self, document: Document) -> Document:
        data = None
        if is_url(document.source):
            if not document.digest:
                document = self._web.fetch(document, self._context.artifacts)
            data = self._context.artifacts.get(document.digest)
        parsed, size, digest = self._isolation.read(document, data)
        return msgspec.structs.replace(
            document,
            size=size,
            digest=digest,
            text=parsed.text,
            metadata={**parsed.metadata, **document.metadata},
        )
