"""Normalize: one way to write the same text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from .chunk import cut
from .corpus import Corpus, CorpusWriter
from .errors import MissingExtra, StepInputError, one_of

if TYPE_CHECKING:
    from ..context import Context

_FORMS = ("NFC", "NFD", "NFKC", "NFKD")

# Zero-width space, word joiner, byte order mark, Mongolian vowel separator, soft hyphen. The two
# zero-width joiners stay: Persian, Indic scripts and emoji are spelt with them.
_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u180e\u00ad]")
_BLANK_LINES = re.compile(r"\n{3,}")
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_ROUNDS = 8


def normalize(
    data: Any,
    context: Context,
    case: str | None = None,
    unicode_form: str | None = "NFC",
    whitespace: bool = True,
    repair: bool = False,
) -> Corpus:
    """Normalize the text of every document that has one.

    A document whose text changes gets another id (a document's id names one text for ever).
    Chunks, if there are any, are cut again from the new texts, the same way as before: the result
    is what normalizing first would have given.

    Args:
        data: Anything :meth:`Corpus.of` accepts.
        case: ``"lower"``, ``"upper"``, ``"title"``, or None to leave it.
        unicode_form: ``"NFC"``, ``"NFD"``, ``"NFKC"``, ``"NFKD"``, or None to leave it.
        whitespace: Make each run of spaces one, trim lines, keep at most one blank line and
            ``\\n`` as the line end, and remove invisible characters such as soft hyphens.
        repair: Undo that UTF-8 was once read in another encoding (``FranÃ§ois`` for François),
            line by line, wherever ftfy finds it certain enough.

    Raises:
        StepInputError: Entities, relations or vectors were derived from a text that would change.
        StepConfigError: A configuration value means nothing.
        MissingExtra: ``repair`` is asked for, and ftfy is not installed.
    """
    one_of("normalize", "case", case, tuple(_CASES))
    one_of("normalize", "unicode_form", unicode_form, (*_FORMS, None))
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
    case: str | None = None,
    unicode_form: str | None = "NFC",
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


def _form(text: str, form: str | None) -> str:
    if form is None:
        return text
    return unicodedata.normalize(cast(Literal["NFC", "NFD", "NFKC", "NFKD"], form), text)


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
