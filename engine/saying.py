"""``context.log``: what a handler says, in the engine's process or in one beside it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import islice
from numbers import Integral, Real
from traceback import format_exception
from typing import Any

import msgspec

from .clock import Clock
from .secrecy import Secrets

LONGEST_TEXT = 4096
"""Characters of one text that are kept: the first and the last ones."""
LONGEST_LINE = 32 * 1024
"""Bytes of a line's JSON; a message of control characters alone takes 24 KiB."""
DEEPEST = 4
"""Collections within one another that are kept."""
_ROOM = 1000
"""Values within one that are kept."""
_PLAINLY = ("datetime", "decimal", "pathlib", "uuid")
"""Modules whose values are kept as people write them, not as Python does."""

_item: ContextVar[str | None] = ContextVar("item", default=None)


class Said(msgspec.Struct, frozen=True):
    """What a handler said.

    Args:
        level: As structlog calls it.
        values: The message, ``event``, and what was said with it.
        at: When, ns since 1970, UTC.
        item: The key of the map's item that it was said for.
        error: What was raised, for loggers that look at it; ``values`` has it as text.
    """

    level: str
    values: dict[str, Any]
    at: int
    item: str | None = None
    error: BaseException | None = None


Hear = Callable[[Said], None]
"""Takes what is said. Any thread."""


@contextmanager
def about(item: str) -> Iterator[None]:
    """What is said until the end of the block is about an item of a map."""
    token = _item.set(shortened(_text(item)))
    try:
        yield
    finally:
        _item.reset(token)


def speaker(secrets: Secrets, clock: Clock, hear: Hear) -> Any:
    """A structlog logger that has what is said heard by ``hear`` alone, with stars for secrets.

    It filters nothing: how severe a line must be to be kept, and what the application shows, is for
    those who hear it.
    """
    import structlog  # imported when there is something to say

    def deliver(_: Any, level: str, values: Any) -> Any:
        error = _error_of(values.pop("exc_info", None))
        if error is not None:
            values["exception"] = "".join(format_exception(error)).rstrip()
        if secrets:
            values, error = {key: _starred(secrets, one) for key, one in values.items()}, None
        hear(Said(level, values, clock.now(), _item.get(), error))
        raise structlog.DropEvent

    # As structlog is without any configuration: the application's may drop what is to be kept.
    return structlog.wrap_logger(
        None,
        processors=[deliver],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        context_class=dict,
    )


def _starred(secrets: Secrets, value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    return secrets.starred(value if isinstance(value, str) else str(value))


def _error_of(told: Any) -> BaseException | None:
    """What ``exc_info`` means: an exception, what ``sys.exc_info()`` gives, or to ask that."""
    if isinstance(told, BaseException) or not told:
        return told or None
    error = (told if isinstance(told, tuple) else sys.exc_info())[1]
    return error if isinstance(error, BaseException) else None


# What of it is kept


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values that JSON knows, in its bounds, for whatever was said. Never raises.

    A field that has no room is left out, and ``left_out`` says how many were.
    """
    made: dict[str, Any] = {"event": shortened(_text(values.get("event", "")))}
    room, left_out = LONGEST_LINE - len(msgspec.json.encode(made)), 0
    for key, value in values.items():
        if key == "event":
            continue
        one = {shortened(_text(key)): plain(value)}
        size = len(msgspec.json.encode(one))
        if size > room:
            left_out += 1
            continue
        room -= size
        made |= one
    return made | {"left_out": left_out} if left_out else made


def plain(value: Any) -> Any:
    """A value as JSON knows it: numbers, texts and collections of them as they are, of others what
    Python calls them. Never raises, and takes no longer than what it keeps."""
    try:
        return _Walk().of(value, DEEPEST)
    except Exception as error:  # a broken __repr__, or another thread that changes the value
        return f"<{type(value).__name__}, which cannot be shown: {type(error).__name__}>"


class _Walk:
    """Of all that is within one value, no more than there is room for."""

    def __init__(self) -> None:
        self._room = _ROOM

    def of(self, value: Any, deeper: int) -> Any:
        self._room -= 1
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return shortened(_text(value))
        if isinstance(value, Real):  # NumPy's as well
            return _number(value)
        if kind in (dict, list, tuple) and deeper:
            return self._collection(value, deeper - 1)
        if kind in (dict, list, tuple, set, frozenset) and (not deeper or len(value) > self._room):
            return f"<{kind.__name__} of {len(value):,}>"
        return shortened(_text(str(value) if kind.__module__ in _PLAINLY else repr(value)))

    def _collection(self, value: Any, deeper: int) -> Any:
        some = list(islice(value.items() if type(value) is dict else value, max(0, self._room)))
        left = len(value) - len(some)
        if type(value) is dict:
            found = {shortened(_text(key)): self.of(one, deeper) for key, one in some}
            return found | ({"and more": left} if left else {})
        items = [self.of(one, deeper) for one in some]
        return [*items, f"and {left:,} more"] if left else items


def _number(value: Real) -> Any:
    if isinstance(value, Integral):
        whole = int(value)
        return whole if -(2**63) <= whole < 2**63 else shortened(str(whole))
    number = float(value)
    return number if math.isfinite(number) else str(number)


def shortened(text: str) -> str:
    """The beginning and the end of a long text: of a traceback both say most."""
    left = len(text) - LONGEST_TEXT
    if left <= 0:
        return text
    half = LONGEST_TEXT // 2
    return f"{text[:half]} ... {left:,} characters left out ... {text[-half:]}"


def _text(value: Any) -> str:
    """Text that can be written, of whatever."""
    try:
        text = value if type(value) is str else str(value)
        return text.encode("utf-8", "backslashreplace").decode()
    except Exception as error:  # a broken __str__
        return f"<{type(value).__name__}, which cannot be shown: {type(error).__name__}>"
