"""YAML without its traps: what is read is what is written there, and nothing runs or explodes.

Scalars follow the core schema of YAML 1.2.2 (chapter 10.3): ``no`` is text, ``012`` is twelve, a
date is text. Anchors, aliases and tags are refused, and so are repeated keys, several documents
and deep nesting. The parser's events are folded with an explicit stack, since PyYAML's own
composer recurses in C and dies of deep nesting.

This module imports PyYAML: import it where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from ..events.errors import SerializationError

MAX_DEPTH = 100
"""Levels of nesting that a document may have."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CORE: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (_FLOAT, float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: float("nan")),
)
"""Plain scalars that are not text; patterns and order of the core schema."""

_FIRST = frozenset(["", *"~nNtTfF+-.0123456789"])
"""How those begin, to tell most text without trying every pattern."""


def load(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        SerializationError: It is not YAML, or uses what is refused; names line and column.
    """
    odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if odd:
        raise _refusal(
            _mark(text, odd.start()),
            f"the character {odd[0]!r} is not allowed; escape it in quotes",
        )
    try:
        return _Fold(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refusal(mark, error.problem or error.context or "not valid YAML") from None
    except yaml.YAMLError as error:
        raise SerializationError(f"the YAML text is not valid: {error}") from None


def dump(value: Any) -> str:
    """``value`` (JSON's own types, and no more than ``MAX_DEPTH`` levels) as YAML text.

    What :func:`load` reads from it is equal, type for type; readers of YAML 1.1 agree.
    """
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=100,
    )
    return str(text)


def scalar(text: str) -> Any:
    """What the plain scalar ``text`` means in the core schema.

    Raises:
        ValueError: A number of thousands of digits.
    """
    convert = _conversion(text)
    return convert(text) if convert else text


def _conversion(text: str) -> Callable[[str], Any] | None:
    if text[:1] in _FIRST:
        for pattern, convert in _CORE:
            if pattern.fullmatch(text):
                return convert
    return None


class _Dumper(_DUMPER):  # type: ignore[misc]  # the C dumper has no types
    """Writes no aliases, and quotes text that YAML 1.1 or 1.2 would read as something else."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = None
    if not text.replace("\n", "").isprintable():
        style = '"'  # escapes, also the line breaks that Unicode knows and YAML 1.2 does not
    elif "\n" in text:
        style = "|"
    elif _conversion(text):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _mark(text: str, position: int) -> Any:
    line = text.count("\n", 0, position)
    column = position - text.rfind("\n", 0, position) - 1
    return yaml.Mark("", position, line, column, None, 0)


def _refusal(mark: Any, problem: str) -> SerializationError:
    place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return SerializationError(f"the YAML text is not valid{place}: {problem}")


class _Fold:
    """Folds the parser's events into one value."""

    def __init__(self, events: Iterator[Any]) -> None:
        self.events = events
        self.open: list[_Collection] = []
        self.documents = 0
        self.result: Any = None

    def document(self) -> Any:
        for event in self.events:
            match event:
                case yaml.DocumentStartEvent():
                    self._one_document(event)
                case yaml.AliasEvent():
                    raise _refusal(
                        event.start_mark,
                        f"the alias *{event.anchor} is not supported; write the value out",
                    )
                case yaml.ScalarEvent():
                    self._add(self._scalar(event), event)
                case yaml.CollectionStartEvent():
                    self._plain(event)
                    self._start(event)
                case yaml.CollectionEndEvent():
                    self._add(*self.open.pop().closed())
        return self.result

    def _one_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            raise _refusal(event.start_mark, "a second document begins; keep it in its own file")

    def _plain(self, event: Any) -> None:
        if event.anchor is not None:
            raise _refusal(event.start_mark, f"the anchor &{event.anchor} is not supported")
        if event.tag is not None:
            raise _refusal(event.start_mark, f"the tag {event.tag} is not supported; remove it")

    def _scalar(self, event: Any) -> Any:
        self._plain(event)
        if not event.implicit[0]:  # quoted
            return event.value
        try:
            return scalar(event.value)
        except ValueError:
            raise _refusal(event.start_mark, "the number is too long") from None

    def _start(self, event: Any) -> None:
        if len(self.open) == MAX_DEPTH:
            raise _refusal(event.start_mark, f"nested deeper than {MAX_DEPTH} levels")
        kind = _Mapping if isinstance(event, yaml.MappingStartEvent) else _Sequence
        self.open.append(kind(event))

    def _add(self, value: Any, event: Any) -> None:
        if self.open:
            self.open[-1].add(value, event)
        else:
            self.result = value


class _Sequence:
    def __init__(self, event: Any) -> None:
        self.event = event
        self.items: list[Any] = []

    def add(self, value: Any, _event: Any) -> None:
        self.items.append(value)

    def closed(self) -> tuple[Any, Any]:
        return self.items, self.event


class _Mapping:
    def __init__(self, event: Any) -> None:
        self.event = event
        self.items: dict[Any, Any] = {}
        self.key: Any = _NO_KEY

    def add(self, value: Any, event: Any) -> None:
        if self.key is not _NO_KEY:
            self.items[self.key] = value
            self.key = _NO_KEY
        elif isinstance(value, list | dict):
            raise _refusal(event.start_mark, "a key must be a single value, not a collection")
        elif value in self.items:
            raise _refusal(event.start_mark, f"the key {value!r} appears twice")
        else:
            self.key = value

    def closed(self) -> tuple[Any, Any]:
        return self.items, self.event


_NO_KEY = object()
_Collection = _Sequence | _Mapping
