"""The envelope of an event, and the digest that chains the envelopes of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from .errors import LogCorrupt

GENESIS = bytes(32)
"""The digest before the first event of a stream."""
CLEAR = "json"
"""The encoding of what is not encrypted."""
ALGORITHM = "aesgcmsiv"
"""AES-256-GCM-SIV, RFC 8452: authenticated, and safe also where a nonce comes twice."""


def encoding_of(key: str) -> str:
    """The encoding of what is encrypted with the key of that id."""
    return f"{ALGORITHM}:{key}"


def is_known(encoding: str) -> bool:
    """Whether this version can read what is recorded so, given the key."""
    return encoding == CLEAR or bool(re.fullmatch(f"{ALGORITHM}:[0-9a-f]{{32}}", encoding))


def key_of(encoding: str) -> str | None:
    """The id of the key that an encoding names; None for what is not encrypted.

    Raises:
        LogCorrupt: Nothing that this version knows.
    """
    if encoding == CLEAR:
        return None
    key = encoding.partition(":")[2]
    if not is_known(encoding):
        raise LogCorrupt(
            f"something is recorded as {encoding!r}, which this version does not know; "
            "upgrade semantica-pipeline"
        )
    return key


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """One recorded event.

    Args:
        position: Place in the whole log, rising; 0 while it is not recorded.
        stream: ``run/<run id>``.
        version: Place in the stream, from 1, without gaps.
        type: Name of the event's class.
        schema: Version of the payload's form.
        at: Nanoseconds since 1970, UTC.
        actor: Who caused it.
        epoch: The owner's term; only rises.
        encoding: ``json``, or the algorithm and the key that its contents are encrypted with.
        payload: JSON text.
        digest: BLAKE2b over the digest before it, this envelope and the payload.
    """

    position: int
    stream: str
    version: int
    type: str
    schema: int
    at: int
    actor: str
    epoch: int
    encoding: str
    payload: bytes
    digest: bytes


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event to be appended: its type, schema and payload."""

    type: str
    schema: int
    payload: bytes
    encoding: str = CLEAR


_json = msgspec.json.Encoder()


def chain(
    previous: bytes, stream: str, version: int, at: int, actor: str, epoch: int, event: NewEvent
) -> bytes:
    """The digest of an event that follows the one with digest ``previous``.

    BLAKE2b (RFC 7693), 32 bytes, over ``previous``, then the JSON array ``[stream, version, type,
    schema, at, actor, epoch, encoding]``, a line feed, and the payload as stored.
    """
    head = _json.encode(
        (stream, version, event.type, event.schema, at, actor, epoch, event.encoding)
    )
    return blake2b(b"%b%b\n%b" % (previous, head, event.payload), digest_size=32).digest()


def follows(previous: bytes, envelope: Envelope) -> bool:
    """Whether an envelope's digest is that of its content after the digest ``previous``."""
    e = envelope
    event = NewEvent(e.type, e.schema, e.payload, e.encoding)
    return chain(previous, e.stream, e.version, e.at, e.actor, e.epoch, event) == e.digest


def first_break(envelopes: Iterable[Envelope]) -> tuple[int, str] | None:
    """Check one stream from its start.

    Returns:
        The version and the reason of the first fault, or None when the chain is whole.
    """
    previous, expected = GENESIS, 1
    for envelope in envelopes:
        if envelope.version != expected:
            return expected, f"version {expected} is missing, {envelope.version} follows"
        if not follows(previous, envelope):
            return expected, f"the digest of version {expected} does not match its content"
        previous, expected = envelope.digest, expected + 1
    return None
