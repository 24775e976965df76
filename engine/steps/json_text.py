"""The text of JSON and of JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .encoding import decode
from .errors import DocumentError
from .parsed import Parsed, bounded

_MAX_PATH = 1 << 16


class _Object(tuple[tuple[str, Any], ...]):
    """The members of an object: all of them, also where two have the same name."""


def read_json(data: bytes) -> Parsed:
    """Each value in a line of its own, as ``person.name: Ann``, objects of a list set apart.

    Numbers stay as they are written, and null counts as nothing.

    Raises:
        DocumentError: It is no JSON (the message has line and column), nested too deep, or its
            text would be too long, since names are repeated.
        MissingExtra: It is not UTF-8, and the library that can tell is not installed.
    """
    text, encoding = decode(data)
    value = _load(text, 1)
    metadata: dict[str, Any] = {"encoding": encoding}
    if isinstance(value, _Object):
        title = next((said for name, said in value if name == "title"), None)
        if isinstance(title, str) and title.strip():
            metadata["title"] = title.strip()
    return Parsed(_text(value), metadata)


def read_json_lines(data: bytes) -> Parsed:
    """As :func:`read_json`, with one value a line; ``rows`` counts them. Raises the same."""
    text, encoding = decode(data)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    texts = list(bounded(_text(_load(line, number)) for number, line in lines))
    return Parsed("\n\n".join(filter(None, texts)), {"encoding": encoding, "rows": len(lines)})


def _load(text: str, first_line: int) -> Any:
    try:
        return json.loads(
            text, object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str
        )
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise DocumentError(f"line {line}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise DocumentError("it is nested too deep") from error


def _text(value: Any) -> str:
    lines = list(bounded(_lines(value)))
    wanted = (line for before, line in zip(["", *lines], lines, strict=False) if line or before)
    return "\n".join(wanted).strip()


def _lines(value: Any) -> Iterator[str]:
    """A stack instead of recursion: depth costs nothing, and a path is made when it is needed."""
    ahead: list[tuple[str, str | None, Any]] = [("", None, value)]
    while ahead:
        path, name, value = ahead.pop()
        if name is not None:
            path = f"{path}.{name}" if path else name
            if len(path) > _MAX_PATH:
                raise DocumentError(f"its nested names are longer than {_MAX_PATH} characters")
        if isinstance(value, _Object):
            ahead += [(path, name, member) for name, member in reversed(value)]
        elif isinstance(value, list):
            for item in reversed(value):
                if isinstance(item, (_Object, list)):  # set apart; two of these count as one
                    ahead += [("", None, ""), (path, None, item), ("", None, "")]
                else:
                    ahead.append((path, None, item))
        elif value is not None:
            said = ("false", "true")[value] if isinstance(value, bool) else value
            yield f"{path}: {said}" if path else said
