"""Parse: give each document its plain text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...events.artifacts import digest_of
from .corpus import Corpus, CorpusWriter, Document
from .errors import DocumentError, MissingExtra, StepInputError, one_of
from .files import locate, read_file, shown
from .formats import as_list, format_names, format_of
from .readers import READERS, Parsed

if TYPE_CHECKING:
    from ..context import Context


def parse(
    data: Any,
    context: Context,
    formats: str | list[str] | None = None,
    file: str | os.PathLike[str] | list[str] | None = None,
    on_error: str = "skip",
) -> Corpus:
    """Read the documents that have no text yet; those that have one, or an error, stay as they are.

    Args:
        data: Anything :meth:`Corpus.of` accepts; files need not have been ingested.
        formats: Only documents of these formats (``"txt"``, ``"md"``, ``"html"``, ...); others
            stay for another parse step. A format that cannot be parsed yet is an error of the
            document.
        file: Only this file, or these, by name or trailing path; the result holds nothing else.
        on_error: ``"skip"`` records in the document why it cannot be read; ``"fail"`` raises.

    Raises:
        StepInputError: ``file`` names no document of the corpus.
        StepConfigError: A configuration value means nothing.
        DocumentError: A document cannot be read, with ``on_error="fail"``.
        MissingExtra: The library for a format is not installed.
    """
    one_of("parse", "on_error", on_error, ("skip", "fail"))
    wanted = None if formats is None else format_names("parse", formats)
    corpus = Corpus.of(data, context.artifacts)
    if file is not None:
        corpus = _only(corpus, as_list("parse", "file", file), context)
    writer = CorpusWriter(context.artifacts)
    parsed = failed = 0
    for done, document in enumerate(corpus.documents, start=1):
        context.raise_if_cancelled()
        if document.text is None and document.error is None and _chosen(document, wanted):
            document = _attempt(document, context, strict=on_error == "fail")
            failed += document.error is not None
            parsed += document.error is None
        writer.add(document)
        context.progress(done, len(corpus.documents), document.source)
    writer.carry(corpus, "chunks", "entities", "relations", "vectors")
    context.metric("documents_processed", parsed)
    if failed:
        context.metric("documents_failed", failed)
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
        known = ", ".join(shown(Path(document.source).name) for document in corpus.documents[:5])
        raise StepInputError(
            f"parse: file={min(missing)!r} is not among the {len(corpus.documents)} documents"
            + (f" ({known}, ...)" if known else "")
        )
    return writer.finish()


def _names(name: str, source: str) -> bool:
    relative = os.path.normpath(name)
    return source == locate(name) or source.endswith(os.sep + relative)


def _chosen(document: Document, wanted: frozenset[str] | None) -> bool:
    return wanted is None or format_of(document.media_type) in wanted


def _attempt(document: Document, context: Context, *, strict: bool) -> Document:
    """The document with its text, or with the reason why there is none."""
    try:
        return read_document(document)
    except MissingExtra:
        raise  # the same for every document like this one, and easy to mend
    except DocumentError as error:
        reason = str(error)
        if strict:
            raise DocumentError(f"{shown(document.source)}: {reason}") from error
    context.log.warning("document not parsed", source=shown(document.source), reason=reason)
    return msgspec.structs.replace(document, error=reason)


def read_document(document: Document) -> Document:
    """``document`` with the text of its source.

    Raises:
        DocumentError: It cannot be read, has changed since it was ingested, or holds no text.
        MissingExtra: The library for its format is not installed.
    """
    data = read_file(document.source)
    digest = digest_of(data)
    if document.digest and document.digest != digest:
        raise DocumentError("the file has changed since it was ingested: run 'ingest' again")
    parsed = _read(document, data)
    if not parsed.text.strip():
        raise DocumentError("it holds no text" if data.strip() else "the file is empty")
    return msgspec.structs.replace(
        document,
        size=len(data),
        digest=digest,
        text=parsed.text,
        metadata={**parsed.metadata, **document.metadata},
    )


def _read(document: Document, data: bytes) -> Parsed:
    name = format_of(document.media_type)
    if name is None:
        ending = Path(document.source).suffix
        which = f"files ending in {ending!r}" if ending else "files without an ending"
        raise DocumentError(f"{which} are of no known format; give the document a 'media_type'")
    reader = READERS.get(name)
    if reader is None:
        known = ", ".join(READERS)
        raise DocumentError(f"the format {name!r} cannot be parsed yet, only {known}")
    try:
        return reader(data)
    except (DocumentError, MissingExtra):
        raise
    except Exception as error:  # a parser's own bug must not cost the other documents
        raise DocumentError(f"reading it as {name} failed: {error!r}") from error
