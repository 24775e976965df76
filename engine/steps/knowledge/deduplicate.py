"""Deduplicate: mentions that mean the same point to one of them.

Names are grouped in three passes, each independent of the order of the records:

1. Names that fold to the same words (:func:`.names.words_of`) are one, in all documents.
2. Names that are nearly the same are one: rapidfuzz compares those of a block, which holds names
   of a type with as many words and the same first letters. In a large block each name meets its
   neighbours in two sort orders alone (the sorted-neighbourhood method of Hernández and Stolfo,
   1995), so the time grows with n log n, not n squared.
3. A short form (a surname, initials, an acronym) is one with the full name of its document it can
   stand for, if there is exactly one.

Memory holds the distinct names and, for each document, the numbers of those in it; not mentions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from ..configured import configured
from ..corpus import Corpus, CorpusWriter
from ..records import Entity
from .canonical import with_canonical
from .names import FUZZY, Words, folded, is_weak, matcher, short_forms, words_of

if TYPE_CHECKING:
    from ...context import Context

THRESHOLD = 90.0
_BLOCK = 128
"""Names of a block that are all compared with one another; in a larger one, neighbours are."""
_WINDOW = 12
_EVERY = 1000
_YEAR = re.compile(r"\d{4}")
_SHORTENED = ("PERSON", "ORGANIZATION")

Key: TypeAlias = tuple[str, Words, str]
"""Type, words, and the document of a short form that means nothing outside it, else ``""``."""


class Options(msgspec.Struct):
    """Merge the mentions that mean the same, keeping each."""

    threshold: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=100,
            description="how alike two names, and each of their words, must be (0 to 100)",
        ),
    ] = THRESHOLD


@configured(Options)
def deduplicate(data: Any, context: Context, threshold: float) -> Corpus:
    """Note in every entity which mention stands for it, and by which name.

    Every mention stays, with ``metadata["canonical"]`` (the id of the mention that stands for all
    that mean the same) and ``metadata["name"]``. Mentions of different types are never merged.

    Args:
        data: Anything :meth:`Corpus.of` accepts.
        threshold: See :func:`.names.matcher`; 100 merges equal names alone.

    Raises:
        MissingExtra: rapidfuzz is not installed.
    """
    return merge_entities(Corpus.of(data, context.artifacts), context, threshold)


def merge_entities(corpus: Corpus, context: Context, threshold: float = THRESHOLD) -> Corpus:
    """What :func:`deduplicate` does. Raises MissingExtra."""
    names = _Names()
    for entity in _mentions(corpus, context):
        names.add(entity)
    names.group(threshold)
    for entity in _mentions(corpus, context):
        names.count(entity)
    writer = CorpusWriter(context.artifacts)
    for entity in _mentions(corpus, context):
        writer.add(with_canonical(entity, *names.standing_for(entity)))
    writer.carry(corpus, "documents", "chunks", "relations", "vectors")
    context.metric("distinct_entities", names.distinct)
    context.metric("entities_merged", len(corpus.entities) - names.distinct)
    return writer.finish()


def _mentions(corpus: Corpus, context: Context) -> Iterator[Entity]:
    for done, entity in enumerate(corpus.entities):
        if done % _EVERY == 0:
            context.raise_if_cancelled()
            context.progress(done, len(corpus.entities), "mentions compared")
        yield entity


class _Names:
    """The distinct names of a corpus, and which of them are one."""

    def __init__(self) -> None:
        self._parent: dict[Key, Key] = {}
        self._in: dict[str, set[Key]] = defaultdict(set)
        """Document -> its names of types that are shortened."""
        self._short: dict[tuple[str, Key], Key] = {}
        """Document and short form -> the full name, or the short form in that document alone."""
        self._forms: dict[Key, dict[str, _Form]] = defaultdict(lambda: defaultdict(_Form))
        """Group -> how its name is written."""
        self._chosen: dict[Key, tuple[str, str]] = {}

    @property
    def distinct(self) -> int:
        return len(self._forms)

    def add(self, entity: Entity) -> None:
        key = _key(entity)
        self._parent[key] = key
        if entity.type in _SHORTENED:
            self._in[entity.document].add(key)

    def group(self, threshold: float) -> None:
        """Find which names are one. Raises MissingExtra."""
        same = matcher(threshold)
        for one, other in _candidates(self._parent) if threshold < 100 else ():
            if same(one[0], one[1], other[1]):
                least, most = sorted((self._root(one), self._root(other)))
                self._parent[most] = least
        shared = {
            (kind, short)
            for kind, words, _ in self._parent
            if kind in _SHORTENED
            for short in short_forms(kind, words)
        }
        for document, keys in self._in.items():
            shortened = [key for key in keys if key[:2] in shared]
            if shortened:
                self._lengthen(document, shortened, keys)

    def _lengthen(self, document: str, shortened: list[Key], keys: set[Key]) -> None:
        """Find what each short form in a document is short for."""
        full: dict[tuple[str, Words], set[Key]] = defaultdict(set)
        for kind, words, _ in keys:
            if is_weak(kind, words):
                continue
            for short in short_forms(kind, words):
                full[kind, short].add(self._root((kind, words, "")))
        for key in shortened:
            kind, words, _ = key
            candidates = full[kind, words]
            if len(candidates) == 1:
                self._short[document, key] = next(iter(candidates))
            elif is_weak(kind, words):
                alone = (kind, words, document)
                self._short[document, key] = self._parent[alone] = alone

    def count(self, entity: Entity) -> None:
        """Count how the name of ``entity`` is written, for its group."""
        key = _key(entity)
        group = self._group(entity, key)
        short = self._short.get((entity.document, key), key)[1] != key[1]
        self._forms[group][" ".join(entity.text.split())].saw(entity.id, counts=not short)

    def standing_for(self, entity: Entity) -> tuple[str, str]:
        """Id of the mention that stands for ``entity``, and its name."""
        group = self._group(entity, _key(entity))
        if group not in self._chosen:
            forms = self._forms[group]
            name = min(forms, key=lambda text: (-forms[text].count, -len(text), text))
            self._chosen[group] = forms[name].least, name
        return self._chosen[group]

    def _group(self, entity: Entity, key: Key) -> Key:
        return self._root(self._short.get((entity.document, key), key))

    def _root(self, key: Key) -> Key:
        while self._parent[key] != key:
            self._parent[key] = key = self._parent[self._parent[key]]
        return key


class _Form:
    """One way a name is written: how often, and the least id of a mention written so."""

    __slots__ = ("count", "least")

    def __init__(self) -> None:
        self.count, self.least = 0, ""

    def saw(self, identity: str, *, counts: bool) -> None:
        """``counts``: whether this may be what the group goes by; a short form may not."""
        self.count += counts
        self.least = min(self.least or identity, identity)


def _key(entity: Entity) -> Key:
    if entity.type in FUZZY:
        return entity.type, words_of(entity.type, entity.text), ""
    text, value = folded(entity.text), str(entity.metadata.get("value") or "")
    # Of "spring 2015" or 06/12/2019, which may be two days, the value is the year: it says less.
    told = value and (entity.type != "DATE" or not _YEAR.fullmatch(value))
    return entity.type, (value if told else text,), ""


def _candidates(keys: Iterable[Key]) -> Iterator[tuple[Key, Key]]:
    """Pairs that may be spellings of the same name."""
    blocks: dict[tuple[str, ...], list[Key]] = defaultdict(list)
    for key in keys:
        kind, words, _ = key
        if kind in FUZZY:
            begin = [word[0] if word.isalpha() else word for word in words]
            blocks[kind, *(begin if kind == "PERSON" else sorted(begin))].append(key)
    for block in blocks.values():
        if len(block) <= _BLOCK:
            yield from combinations(block, 2)
        else:
            yield from _neighbours(block, lambda key: " ".join(key[1]))
            yield from _neighbours(block, lambda key: " ".join(key[1])[::-1])


def _neighbours(block: list[Key], order: Callable[[Key], str]) -> Iterator[tuple[Key, Key]]:
    block = sorted(block, key=order)
    for place, one in enumerate(block):
        for other in block[place + 1 : place + _WINDOW]:
            yield one, other
