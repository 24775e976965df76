"""Heads of all streams, kept elsewhere: what proves later that no tail was cut off a log.

Every digest of a stream covers all before it, so the digest of its newest event vouches for the
whole stream up to there. A log that was cut off, or written anew with digests that fit, is whole in
itself; compared with an anchor that its forger could not change, it is not.

An anchor is a JSON object::

    {"format": "semantica-pipeline anchor", "version": 1, "log": "runs.db", "at": 1767...,
     "actor": "ada/4711", "position": 52, "heads": {"run/0197...": [25, "<digest, hex>"], ...},
     "mac": "<hex>"}

``mac``, if there is one, is HMAC-SHA-256 (RFC 2104, FIPS 198-1) under a secret key over the UTF-8
text of the other members as JSON: those in the order above, ``heads`` sorted by stream, without
white space. It proves that somebody who has the key vouched for the log as it was then. It says
nothing of who wrote the events before, nothing of what was appended since, and nothing against
those who have the key. Without it an anchor is worth as much as the place it is kept at.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Mapping

import msgspec

from .envelope import Envelope
from .errors import PipelineError
from .stub import RunArchived
from .verify import Fault

FORMAT = "semantica-pipeline anchor"
SHORTEST_KEY = 16
"""Bytes."""


class BadAnchor(PipelineError):
    """An anchor, or a key for it, that cannot be used; the message says why."""


class Anchor(msgspec.Struct, frozen=True, omit_defaults=True):
    """The heads of all streams of a log at one moment.

    Args:
        log: What it was called.
        at: When, ns since 1970, UTC.
        actor: Who asked for it.
        position: Of the newest event.
        heads: By stream, the version of its newest event and its digest in hex.
        mac: See the module.
    """

    format: str
    version: int
    log: str
    at: int
    actor: str
    position: int
    heads: dict[str, tuple[int, str]]
    mac: str | None = None

    @property
    def signed(self) -> bool:
        """Whether it claims that somebody with a key has made it."""
        return self.mac is not None


def anchor_of(
    heads: Mapping[str, tuple[int, bytes]], *, log: str, at: int, actor: str, position: int
) -> Anchor:
    """The anchor of these heads: version and digest by stream."""
    plain = {stream: (version, digest.hex()) for stream, (version, digest) in sorted(heads.items())}
    return Anchor(FORMAT, 1, log, at, actor, position, plain)


def sign(anchor: Anchor, key: bytes) -> Anchor:
    """The anchor with the proof that a holder of ``key`` has made it. Raises BadAnchor."""
    if len(key) < SHORTEST_KEY:
        raise BadAnchor(f"the key has {len(key)} bytes; it must have {SHORTEST_KEY} at least")
    return msgspec.structs.replace(anchor, mac=_mac(anchor, key))


def is_authentic(anchor: Anchor, key: bytes) -> bool:
    """Whether a holder of ``key`` has made it."""
    return anchor.mac is not None and hmac.compare_digest(anchor.mac, _mac(anchor, key))


def _mac(anchor: Anchor, key: bytes) -> str:
    heads = dict(sorted(anchor.heads.items()))
    text = msgspec.json.encode(msgspec.structs.replace(anchor, heads=heads, mac=None))
    return hmac.digest(key, text, "sha256").hex()


def read_anchor(text: bytes, place: str) -> Anchor:
    """The anchor in the text of a file. Raises BadAnchor, which names ``place``."""
    try:
        anchor = msgspec.json.decode(text, type=Anchor)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnchor(f"{place} is no anchor: {error}") from error
    if anchor.format != FORMAT or anchor.version != 1:
        raise BadAnchor(
            f"{place} is a {anchor.format!r} of version {anchor.version}, not a {FORMAT!r} of "
            "version 1"
        )
    return anchor


class AnchorCheck:
    """Compares a log with an anchor while its events are read, stream by stream in order.

    Args:
        anchor: What was there.
        place: How the anchor is called in faults.
        only: Of these streams alone; None: of all.
    """

    def __init__(self, anchor: Anchor, place: str, only: Collection[str] | None = None) -> None:
        self._place = place
        self._left = {
            stream: head for stream, head in anchor.heads.items() if only is None or stream in only
        }
        self.compared = 0
        """Streams that are, up to where they were anchored, what they were."""

    def see(self, envelope: Envelope, computed: bytes) -> Iterator[Fault]:
        """The next event of a stream; ``computed``: the digest that it should have."""
        head = self._left.get(envelope.stream)
        if head is None or envelope.version != head[0]:
            return
        del self._left[envelope.stream]
        if head[1] in (envelope.digest.hex(), computed.hex()):
            self.compared += 1
            return
        problem = (
            f"it is not the event that {self._place} vouches for: the stream was written anew, "
            "from here or from before"
        )
        yield Fault(problem, envelope.stream, envelope.version, envelope.position)

    def finish(
        self, versions: Mapping[str, int], stubs: Mapping[str, RunArchived]
    ) -> Iterator[Fault]:
        """What was there and is not any more.

        Args:
            versions: Of the newest events that were read, by stream.
            stubs: Of runs that have left the log, by stream.
        """
        for stream, (version, digest) in self._left.items():
            there, stub = versions.get(stream, 0), stubs.get(stream)
            if there >= version:
                continue  # the chain has told what is missing
            if there:
                gone = version - there
                problem = (
                    f"its newest {gone} events are cut off: {self._place} knows it up to version "
                    f"{version}"
                )
                yield Fault(problem, stream, there + 1)
            elif stub is None:
                yield Fault(f"it was removed; {self._place} knows {version} events of it", stream)
            elif stub.events < version or (stub.events == version and stub.digest != digest):
                problem = f"it did not leave the log as {self._place} knows it"
                yield Fault(problem, stream, min(version, stub.events))
            else:
                self.compared += 1
