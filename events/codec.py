"""The faithful codec: what is read back equals what was written, type for type.

A value is written as JSON text, so that it can be read in twenty years. What JSON has no word for
stands in it as an object with the key ``"!"`` that names its kind::

    (1, 2)                  {"!": "tuple", "v": [1, 2]}
    datetime(2026, 1, 2)    {"!": "datetime", "v": "2026-01-02T00:00:00"}
    Point(x=1)              {"!": "dataclass", "t": "geometry:Point", "v": {"x": 1}}

Dataclasses, msgspec structs, enums, NumPy arrays and Arrow tables come back as themselves. A class
can bring its own form with ``__to_pipeline__(artifacts)`` and ``__from_pipeline__(plain,
artifacts)``. Everything else falls back to pickle, marked as such; reading one back is refused
where somebody else could have written it, since unpickling runs code.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from .artifacts import Artifacts
from .plain_reader import Reader
from .plain_writer import TAG, Writer

INLINE_LIMIT = 4096
"""Values of up to this many bytes travel inside the event; larger ones become artifacts."""

_ABSENT = msgspec.Raw()


class Value(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A recorded value: ``inline`` JSON text, or the digest of an ``artifact`` that holds it.

    ``size`` is the length of the JSON text of an artifact, in bytes.
    """

    inline: msgspec.Raw = _ABSENT
    artifact: str | None = None
    size: int = 0

    def __reduce__(self) -> tuple[object, ...]:
        """An unpickled field would no longer *be* the default, and no longer be left out."""
        if self.artifact is None:
            return Value, (self.inline,)
        return partial(Value, artifact=self.artifact, size=self.size), ()

    @classmethod
    def of_text(cls, text: bytes, artifacts: Artifacts) -> Value:
        """Record JSON text; an artifact is durable on return."""
        if len(text) <= INLINE_LIMIT:
            return cls(inline=msgspec.Raw(text))
        return cls(artifact=artifacts.put(text), size=len(text))


NONE = Value(inline=msgspec.Raw(b"null"))


def encode(value: Any, artifacts: Artifacts, *, allow_pickle: bool = True) -> Value:
    """Record ``value``, inline when it is small, else as an artifact (durable on return).

    Raises:
        UnencodableValue: It can neither be written as JSON nor pickled, or pickle is forbidden.
        LogUnavailable: The artifact cannot be written.
    """
    return Value.of_text(dumps(value, artifacts, allow_pickle=allow_pickle), artifacts)


def decode(value: Value, artifacts: Artifacts, *, allow_pickle: bool = True) -> Any:
    """A fresh object equal to the one that was recorded.

    Raises:
        UnreadableValue: A class cannot be imported, or the value is a pickle and may not be read.
        LogCorrupt: The artifact is missing or damaged.
    """
    return loads(text_of(value, artifacts), artifacts, allow_pickle=allow_pickle)


def text_of(value: Value, artifacts: Artifacts) -> bytes:
    """The JSON text of a recorded value."""
    if value.artifact is not None:
        return artifacts.get(value.artifact)
    return bytes(value.inline)


def dumps(value: Any, artifacts: Artifacts, *, allow_pickle: bool = True) -> bytes:
    """``value`` as JSON text. Raises UnencodableValue."""
    return msgspec.json.encode(to_plain(value, artifacts, allow_pickle=allow_pickle))


def loads(data: bytes, artifacts: Artifacts, *, allow_pickle: bool = True) -> Any:
    """The value of JSON text. Raises UnreadableValue."""
    return from_plain(msgspec.json.decode(data), artifacts, allow_pickle=allow_pickle)


def to_plain(value: Any, artifacts: Artifacts, *, allow_pickle: bool = True) -> Any:
    """``value`` in terms of JSON's own types (with tagged objects for the rest)."""
    writer = Writer(artifacts, allow_pickle)
    try:
        return writer.plain(value)
    except RecursionError:  # nested too deeply, or a cycle
        return writer.pickled(value)


def from_plain(plain: Any, artifacts: Artifacts, *, allow_pickle: bool = True) -> Any:
    """The inverse of :func:`to_plain`."""
    return Reader(artifacts, allow_pickle).value(plain)


__all__ = [
    "INLINE_LIMIT",
    "NONE",
    "TAG",
    "Value",
    "decode",
    "dumps",
    "encode",
    "from_plain",
    "loads",
    "text_of",
    "to_plain",
]
