"""How an encrypted run lies in a log, so that a log is whole, and can be checked, without its key.

The payload of an event is the event without its contents (:mod:`.redaction`), in clear, and beside
it ``sealed``: the whole event, encrypted. ``named`` lists the artifacts that the whole event
mentions, so that they can be kept, carried and checked with it. The envelope's ``encoding`` names
algorithm and key, and the digest is over what is stored. Each text is bound to its place (stream,
version, type) and to what is in clear beside it: moved elsewhere it cannot be read.

An artifact is a line that names key and artifacts, and the encrypted text. It has the digest of
that as its name, so that the same text in another run has another.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from .artifacts import SEALED, ArtifactKeeper
from .codec import text_of
from .definition import PipelineDefinition
from .envelope import ALGORITHM, CLEAR, Envelope, NewEvent, encoding_of, key_of
from .errors import LogCorrupt, MissingKey
from .keys import Key, Keys
from .lines import LogLine
from .pipeline import PipelineSubmitted
from .redaction import redacted
from .upcasters import decode

_DIGEST = re.compile(rb"(?=([0-9a-f]{64}))")
_SEALED = b'"sealed":"'
_EVER = 2**63 - 1
"""A time (ns) that does not come."""
_encode = msgspec.json.Encoder().encode
_definition = msgspec.json.Decoder(PipelineDefinition)


def seal(
    event: NewEvent, key: Key, artifacts: SealedArtifacts, stream: str, version: int
) -> NewEvent:
    """An event as it is recorded as ``version`` of a stream."""
    whole = decode(event.type, event.schema, event.payload, f"a {event.type} of {stream}")
    body = None
    if isinstance(whole, PipelineSubmitted):
        body = _definition.decode(text_of(whole.definition, artifacts))
    run = stream.partition("/")[2]
    clear = _encode(redacted(whole, key.alias, f"{run}@{version}", body))
    named = artifacts.mentioned(event.payload)
    head = clear[:-1] + (b"," if len(clear) > 2 else b"")
    if named:
        head += b'"named":%b,' % _encode(named)
    head += _SEALED
    place = _place(event, stream, version, head)
    text = base64.b64encode(key.encrypt(event.payload, place))
    return msgspec.structs.replace(event, payload=b'%b%b"}' % (head, text))


def unseal(envelope: Envelope, key: Key) -> Envelope:
    """An event as it was before :func:`seal`; version, digest and the rest stay as they are.

    Raises:
        LogCorrupt: It is not what was recorded there.
    """
    e = envelope
    head, mark, tail = e.payload.rpartition(_SEALED)
    try:
        if not mark or not tail.endswith(b'"}'):
            raise ValueError("it has no encrypted part")
        data = _unwrapped(tail[:-2])
        place = _place(e, e.stream, e.version, head + mark)
        return msgspec.structs.replace(e, payload=key.decrypt(data, place))
    except ValueError as error:
        raise LogCorrupt(f"event {e.version} of {e.stream} ({e.type}): {error}") from error


def _place(event: NewEvent | Envelope, stream: str, version: int, head: bytes) -> bytes:
    envelope = _encode((stream, version, event.type, event.schema, event.encoding))
    return b"event\n%b\n%b" % (envelope, head)


def _unwrapped(text: bytes) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data) != text:  # the last digit has bits that say nothing
        raise binascii.Error("its text is not as it was written")
    return data


def seal_line(line: LogLine, key: Key) -> LogLine:
    """A line of a handler as it is recorded."""
    text = _encode((line.item, msgspec.Raw(line.payload)))
    data = base64.b64encode(key.encrypt(text, _line_place(line))).decode()
    item = None if line.item is None else key.alias(line.item)
    return msgspec.structs.replace(line, item=item, payload=_encode({"sealed": data}))


def unseal_line(line: LogLine, key: Key) -> LogLine:
    """The inverse of :func:`seal_line`. Raises LogCorrupt."""
    try:
        data = msgspec.json.decode(line.payload, type=dict[str, str])["sealed"].encode()
        text = key.decrypt(_unwrapped(data), _line_place(line))
        item, payload = msgspec.json.decode(text, type=tuple[str | None, msgspec.Raw])
    except (ValueError, KeyError) as error:
        raise LogCorrupt(f"line {line.id} of run {line.run}: {error}") from error
    return msgspec.structs.replace(line, item=item, payload=bytes(payload))


def _line_place(line: LogLine) -> bytes:
    told = _encode((line.run, line.step, line.attempt, line.at, line.level, line.encoding))
    return b"line\n%b" % told


def visible(envelope: Envelope) -> dict[str, Any]:
    """What an event says, to be shown; of one whose key is not here, without what is encrypted."""
    payload: dict[str, Any] = msgspec.json.decode(envelope.payload)
    if envelope.encoding != CLEAR:
        payload.pop("sealed", None)
        payload.pop("named", None)
    return payload


def seal_text(text: bytes, key: Key, place: str) -> bytes:
    """What lies elsewhere in a log than in its events, such as a snapshot, as JSON text."""
    data = base64.b64encode(key.encrypt(text, place.encode()))
    return _encode((encoding_of(key.id), data.decode()))


def unseal_text(data: bytes, keys: Keys, place: str) -> bytes:
    """The inverse of :func:`seal_text`; what is not encrypted is given back as it is.

    Raises:
        MissingKey: Its key is not here.
        LogCorrupt: It is not what was recorded at this place.
    """
    if not data.startswith(b'["%b:' % ALGORITHM.encode()):
        return data
    try:
        encoding, text = msgspec.json.decode(data, type=tuple[str, str])
        return found(keys, encoding).decrypt(_unwrapped(text.encode()), place.encode())
    except ValueError as error:
        raise LogCorrupt(f"{place}: {error}") from error


def found(keys: Keys, encoding: str) -> Key:
    """The key that an encoding names. Raises MissingKey."""
    key = key_of(encoding)
    known = keys.find(key) if key is not None else None
    if known is None:
        raise MissingKey(
            f"the key {key} is not in {keys.place}: what it encrypts was erased, or the key is "
            "elsewhere (bring its file there)"
        )
    return known


class SealedArtifacts:
    """Artifacts of the runs of one key: see :class:`~.artifacts.Artifacts`.

    Args:
        kept: Where they lie, as they are stored.
        key: Encrypts what is put.
        keys: Where further keys are found, for what is read.
    """

    def __init__(self, kept: ArtifactKeeper, key: Key, keys: Keys) -> None:
        self._kept, self._key, self._keys = kept, key, keys

    @property
    def trusted(self) -> bool:
        return self._kept.trusted

    def put(self, data: bytes) -> str:
        head = b"%b%b\n" % (SEALED, _encode((self._key.id, self.mentioned(data))))
        return self._kept.put(head + self._key.encrypt(data, head))

    def get(self, digest: str) -> bytes:
        return opened(self._kept.get(digest), digest, self._keys)

    def mentioned(self, text: bytes) -> list[str]:
        """The artifacts that a text mentions."""
        names = dict.fromkeys(one.decode() for one in _DIGEST.findall(text))
        return [name for name in names if self._kept.size(name, _EVER)]


def opened(data: bytes, digest: str, keys: Keys) -> bytes:
    """The text of an artifact, whether it is encrypted or not.

    Raises:
        MissingKey: Its key is not here.
        LogCorrupt: It is not what was encrypted.
    """
    if not data.startswith(SEALED):
        return data
    head, mark, rest = data.partition(b"\n")
    try:
        key, _ = msgspec.json.decode(head.removeprefix(SEALED), type=tuple[str, list[str]])
        return found(keys, encoding_of(key)).decrypt(rest, head + mark)
    except ValueError as error:
        raise LogCorrupt(f"artifact {digest}: {error}") from error
