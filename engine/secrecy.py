"""What a step may know and nobody may record."""

from __future__ import annotations

import os
import threading
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from ..events.artifacts import Artifacts
from ..events.codec import Value, encode
from ..events.errors import SecretNotFound, UnencodableValue
from ..events.values import ErrorInfo

STARS = "***"
SHORTEST = 4
"""Characters of a text that is concealed; a shorter one is in every other word."""
SHORTEST_BASE64 = 8
"""The same of Base64, in which most of a long value looks like chance."""


class Secret(msgspec.Struct, frozen=True):
    """A configuration value that is in the environment: its name is recorded, and the handler is
    called with what is there when the step runs.

    Args:
        name: The environment variable.
    """

    name: str

    def reveal(self) -> str:
        """The text itself. Raises SecretNotFound if the environment has none."""
        found = os.environ.get(self.name)
        if found is None:
            raise SecretNotFound(f"the environment has no {self.name}, which a step needs")
        return found


class Secrets:
    """The secrets of an attempt: texts have stars for them, and values with one are refused."""

    def __init__(self) -> None:
        self._spelt: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._spelt)

    def add(self, text: str) -> None:
        """One more, as it is, as Python and JSON write it, and as the codec writes bytes."""
        if len(text) < SHORTEST:
            return
        ways = {text, repr(text)[1:-1], msgspec.json.encode(text).decode()[1:-1], *text.split("\n")}
        ways = {way for way in ways if len(way) >= SHORTEST}
        coded = {one for way in ways for one in _in_base64(way) if len(one) >= SHORTEST_BASE64}
        with self._lock:
            known = {*self._spelt, *ways, *coded}
            self._spelt = tuple(sorted(known, key=len, reverse=True))

    def revealed(self, value: Any) -> Any:
        """A configuration value with what its secrets stand for. Raises SecretNotFound."""
        if isinstance(value, Secret):
            text = value.reveal()
            self.add(text)
            return text
        kind = type(value)
        if kind is dict:
            made: Any = {key: self.revealed(one) for key, one in value.items()}
            changed = any(made[key] is not one for key, one in value.items())
        elif kind is list or kind is tuple:
            made = kind(map(self.revealed, value))
            changed = any(a is not b for a, b in zip(made, value, strict=True))
        else:
            return value
        return made if changed else value

    def starred(self, text: str) -> str:
        """A text that may be recorded."""
        for one in self._spelt:
            text = text.replace(one, STARS)
        return text

    def name(self, text: str) -> str:
        """A name that a handler gives to what is recorded. Raises UnencodableValue if there is a
        secret in it: stars would make several names one."""
        if self.starred(text) != text:
            raise UnencodableValue(
                f"{self.starred(text)!r}, the name of a checkpoint, a wait or an item, holds a "
                "secret of the step's configuration, which must not be recorded; name it without"
            )
        return text

    def of_error(self, error: ErrorInfo) -> ErrorInfo:
        """An error that may be recorded."""
        if not self:
            return error
        return replace(
            error,
            message=self.starred(error.message),
            traceback=error.traceback and self.starred(error.traceback),
            causes=tuple(map(self.starred, error.causes)),
        )

    def encode(self, value: Any, artifacts: Artifacts, *, allow_pickle: bool) -> Value:
        """As the codec does. Raises UnencodableValue if there is a secret in it; or a pickle, in
        which nobody would see one."""
        if not self:
            return encode(value, artifacts, allow_pickle=allow_pickle)
        guarded = _Guarded(artifacts, self)
        recorded = encode(value, guarded, allow_pickle=False)
        self.refuse(bytes(recorded.inline) if recorded.artifact is None else b"")
        return recorded

    def refuse(self, data: bytes) -> None:
        """Raise UnencodableValue for what has a secret in it."""
        if any(one.encode("utf-8", "surrogatepass") in data for one in self._spelt):
            raise UnencodableValue(
                "a value holds a secret of the step's configuration, which must not be recorded; "
                "return, or save, something without it"
            )


def _in_base64(text: str) -> Iterator[str]:
    """What of a text stands in the Base64 of any bytes around it: it begins at the first, second or
    third of three bytes, and characters that others have a part in are left out."""
    data = text.encode("utf-8", "surrogatepass")
    for before, shared in ((0, 0), (1, 2), (2, 3)):
        whole = (before + len(data)) * 8 // 6
        yield b64encode(bytes(before) + data).decode()[shared:whole]


class _Guarded:
    """Artifacts that take no secret."""

    def __init__(self, artifacts: Artifacts, secrets: Secrets) -> None:
        self._artifacts, self._secrets = artifacts, secrets

    @property
    def trusted(self) -> bool:
        return self._artifacts.trusted

    def put(self, data: bytes) -> str:
        self._secrets.refuse(data)
        return self._artifacts.put(data)

    def get(self, digest: str) -> bytes:
        return self._artifacts.get(digest)
