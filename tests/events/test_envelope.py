"""The chain of digests: whatever is changed in a stream is found, at the version it was changed."""

from __future__ import annotations

import json
from hashlib import blake2b

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from semantica.pipeline.events.envelope import GENESIS, Envelope, NewEvent, chain, first_break

FIELDS = [name for name in Envelope.__struct_fields__ if name != "position"]


def stream_of_events(payloads: list[bytes]) -> list[Envelope]:
    digest, recorded = GENESIS, []
    for version, payload in enumerate(payloads, start=1):
        event = NewEvent("StepProgressed", 1, payload)
        at, actor, epoch = version * 10, "engine/älter", 3
        digest = chain(digest, "run/r", version, at, actor, epoch, event)
        recorded.append(
            Envelope(
                position=version + 100,
                stream="run/r",
                version=version,
                type=event.type,
                schema=event.schema,
                at=at,
                actor=actor,
                epoch=epoch,
                encoding=event.encoding,
                payload=payload,
                digest=digest,
            )
        )
    return recorded


PAYLOADS = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8)


def flipped(value: int | str | bytes, bit: int) -> int | str | bytes:
    """The value with one bit of it turned over."""
    if isinstance(value, int):
        return value ^ (1 << bit % 62)
    data = bytearray(value.encode("utf-16-le") if isinstance(value, str) else value)
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(data).decode("utf-16-le") if isinstance(value, str) else bytes(data)


@settings(max_examples=200, deadline=None)
@given(PAYLOADS, st.sampled_from(FIELDS), st.data())
def test_one_flipped_bit_is_found_where_it_is(
    payloads: list[bytes], field: str, data: st.DataObject
) -> None:
    recorded = stream_of_events(payloads)
    assert first_break(recorded) is None
    place = data.draw(st.integers(0, len(recorded) - 1))
    # A letter's low bits, so that text stays text.
    bit = data.draw(st.integers(0, 400))
    value = getattr(recorded[place], field)
    bit = bit // 8 * 16 + bit % 7 if isinstance(value, str) else bit
    changed = msgspec.structs.replace(recorded[place], **{field: flipped(value, bit)})
    found = first_break([*recorded[:place], changed, *recorded[place + 1 :]])
    assert found is not None
    assert found[0] == place + 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=9), min_size=2, max_size=8), st.data())
def test_a_removed_or_displaced_event_is_found_where_it_should_be(
    payloads: list[bytes], data: st.DataObject
) -> None:
    recorded = stream_of_events(payloads)
    place = data.draw(st.integers(0, len(recorded) - 2))
    removed = first_break(recorded[:place] + recorded[place + 1 :])
    assert removed == (place + 1, f"version {place + 1} is missing, {place + 2} follows")
    other = data.draw(st.integers(place + 1, len(recorded) - 1))
    swapped = list(recorded)
    swapped[place], swapped[other] = swapped[other], swapped[place]
    found = first_break(swapped)
    assert found is not None
    assert found[0] == place + 1


def test_renumbering_after_a_removal_does_not_hide_it() -> None:
    recorded = stream_of_events([b"1", b"2", b"3"])
    moved = msgspec.structs.replace(recorded[2], version=2)
    assert first_break([recorded[0], moved]) == (
        2,
        "the digest of version 2 does not match its content",
    )


def test_an_event_of_another_stream_does_not_fit() -> None:
    recorded = stream_of_events([b"1", b"2"])
    stray = msgspec.structs.replace(recorded[1], stream="run/s")
    assert first_break([recorded[0], stray]) is not None


def test_the_empty_stream_is_whole() -> None:
    assert first_break([]) is None


def test_the_digest_can_be_computed_without_this_library() -> None:
    event = NewEvent("StepStarted", 1, b'{"step":"a","attempt":1,"worker":"w"}')
    head = ["run/0190", 2, "StepStarted", 1, 1700000000000000000, "Zoë", 7, "json"]
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    expected = blake2b(GENESIS + text + b"\n" + event.payload, digest_size=32).digest()
    digest = chain(GENESIS, "run/0190", 2, 1700000000000000000, "Zoë", 7, event)
    assert digest == expected


def test_the_format_is_frozen() -> None:
    """Recorded digests must verify for ever: if this fails, old logs are called damaged."""
    event = NewEvent("StepStarted", 1, b'{"step":"a","attempt":1,"worker":"w"}')
    digest = chain(GENESIS, "run/0190", 2, 1700000000000000000, "Zoë", 7, event)
    assert digest.hex() == "a7a9b7f63d483965617fe783b07f25fd29ec470976d64316f539d0b2e1dfc7d2"
