"""Normalize: one way to write the same text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from .chunk import cut
from .configured import configured
from .corpus import Corpus, CorpusWriter
from .errors import MissingExtra, StepInputError

if TYPE_CHECKING:
    from ..context import Context

Case = Literal["lower", "upper", "title"]
Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

# Zero-width space, word joiner, byte order mark, Mongolian vowel separator, soft hyphen. The two
# zero-width joiners stay: Persian, Indic scripts and emoji are spelt with them.
_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u180e\u00ad]")
_BLANK_LINES = re.compile(r"\n{3,}")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_ROUNDS = 8


class Options(msgspec.Struct, kw_only=True):
    """What ``normalize`` can be told."""

    case: Annotated[
        Case | None, msgspec.Meta(description="the case that all letters get; None leaves it")
    ] = None
    unicode_form: Annotated[
        Form | None, msgspec.Meta(description="the Unicode normal form; None leaves it")
    ] = "NFC"
    whitespace: Annotated[
        bool,
        msgspec.Meta(
            description="make each run of spaces one, trim lines, keep at most one blank line and "
            r"\n as the line end, and remove invisible characters such as soft hyphens"
        ),
    ] = True
    repair: Annotated[
        bool,
        msgspec.Meta(
            description="undo that UTF-8 was once read in another encoding (FranÃ§ois for "
            "François), line by line, wherever ftfy finds it certain enough"
        ),
    ] = False


@configured(Options)
def normalize(
    data: Any,
    context: Context,
    case: Case | None = None,
    unicode_form: Form | None = "NFC",
    whitespace: bool = True,
    repair: bool = False,
) -> Corpus:
    """Normalize the text of every document that has one.

    A document whose text changes gets another id (a document's id names one text for ever).
    Chunks, if there are any, are cut again from the new texts, the same way as before: the result
    is what normalizing first would have given.

    Args:
        data: Anything :meth:`Corpus.of` accepts.

    Raises:
        StepInputError: Entities, relations or vectors were derived from a text that would change.
        MissingExtra: ``repair`` is asked for, and ftfy is not installed.
    """
    corpus = Corpus.of(data, context.artifacts)
    how = f"normalize:{case}:{unicode_form}:{bool(whitespace)}" + ":repair" * bool(repair)
    writer = CorpusWriter(context.artifacts)
    changed = 0
    for done, document in enumerate(corpus.documents, start=1):
        context.raise_if_cancelled()
        if document.text is not None:
            text = normalize_text(document.text, case, unicode_form, whitespace, repair)
            if text != document.text:
                if not changed:
                    _refuse_stale(corpus)
                changed += 1
                document = document.rewritten(text, how)
        writer.add(document)
        context.progress(done, len(corpus.documents), document.source)
    context.metric("documents_normalized", changed)
    if not changed:
        return corpus
    normalized = writer.finish()
    return normalized if corpus.chunking is None else cut(normalized, context, corpus.chunking)


def _refuse_stale(corpus: Corpus) -> None:
    """Raise for records that refer to texts about to change and cannot be made again here."""
    stale = {name: count for name, count in corpus.counts.items() if name != "documents"}
    if corpus.chunking is not None:
        del stale["chunks"]
    if stale:
        listing = " and ".join(f"{count} {name}" for name, count in stale.items())
        raise StepInputError(
            f"normalize would change texts that {listing} refer to: put 'normalize' before the "
            "steps that made them"
        )


def normalize_text(
    text: str,
    case: Case | None = None,
    unicode_form: Form | None = "NFC",
    whitespace: bool = True,
    repair: bool = False,
) -> str:
    """The normal form of ``text``; normalizing it again changes nothing.

    Raises:
        MissingExtra: ``repair`` is asked for, and ftfy is not installed.
    """
    mend = _mender() if repair else _same
    for _ in range(_ROUNDS):  # a new case can compose anew; two rounds settle all but oddities
        before = text
        text = mend(text)
        if whitespace:
            text = _INVISIBLE.sub("", text)
        text = _form(_CASES[case](_form(text, unicode_form)), unicode_form)
        if whitespace:
            text = _tidy(text)
        if text == before or text.isascii():  # ASCII is settled by one round
            break
    return text


def _mender() -> Callable[[str], str]:
    try:
        from ftfy import fix_encoding
    except ImportError as error:
        raise MissingExtra("repairing text", "documents") from error

    def mend(text: str) -> str:
        # by line: one that holds other characters as well must not keep the others from repair
        return "".join(map(fix_encoding, text.splitlines(keepends=True)))

    return mend


def _form(text: str, form: Form | None) -> str:
    return text if form is None else unicodedata.normalize(form, text)


def _tidy(text: str) -> str:
    lines = (" ".join(line.split()) for line in text.splitlines())
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def _title(text: str) -> str:
    return _WORD.sub(lambda word: word[0][0].title() + word[0][1:].lower(), text)


def _same(text: str) -> str:
    return text


_CASES: Mapping[str | None, Callable[[str], str]] = {
    None: _same,
    "lower": str.lower,
    "upper": str.upper,
    "title": _title,
}
