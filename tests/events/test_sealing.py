"""How encrypted runs are stored: what may be seen is listed, and whatever is changed is found."""

from __future__ import annotations

import typing
from pathlib import Path
from types import UnionType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from projections.test_histories import RUNS, envelopes
from properties.closed import folds_the_same

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events.artifacts import FileArtifacts, MemoryArtifacts
from semantica.pipeline.events.codec import Value, decode
from semantica.pipeline.events.definition import PipelineDefinition, RetryPolicy
from semantica.pipeline.events.envelope import encoding_of, first_break, key_of
from semantica.pipeline.events.errors import LogCorrupt, MissingKey, UnreadableValue
from semantica.pipeline.events.keys import FileKeys, Key, MemoryKeys
from semantica.pipeline.events.lines import LogLine, payload_of
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.redaction import redacted
from semantica.pipeline.events.sealed_store import SealedStore, artifacts_under, sealing
from semantica.pipeline.events.sealing import (
    SealedArtifacts,
    opened,
    seal_line,
    seal_text,
    unseal,
    unseal_line,
    unseal_text,
)
from semantica.pipeline.events.step import StepReused
from semantica.pipeline.events.store import Batch, Snapshot, Store
from semantica.pipeline.events.upcasters import Event, to_event, to_new
from semantica.pipeline.events.values import ErrorSeverity

WORD = "patient-4711"
CLEAR = [path for path in RUNS if not path.stem.endswith("erased")]


def sealed(path: Path) -> tuple[Store, MemoryStore, MemoryKeys]:
    """A recorded history, as if its run had been encrypted: with the key, and as it is stored."""
    kept, keys = MemoryStore(), MemoryKeys()
    encoding = encoding_of(keys.create("r").id)
    store = sealing(kept, lambda: keys)
    for e in envelopes(path):
        event = to_event(e)
        if isinstance(event, p.PipelineSubmitted):
            event = replace(event, encoding=encoding)
        batch = Batch(e.stream, e.version - 1, e.epoch, e.actor, e.at, [to_new(event, encoding)])
        assert store.append([batch]) == [None]
    return store, kept, keys


STORED = {path.stem: sealed(path) for path in CLEAR}


@pytest.mark.parametrize("path", CLEAR, ids=lambda path: path.stem)
def test_an_encrypted_history_is_whole_and_read_back_as_it_was(path: Path) -> None:
    store, kept, _ = STORED[path.stem]
    assert first_break(kept.read("run/r")) is None
    for before, stored, after in zip(
        envelopes(path), kept.read("run/r"), store.read("run/r"), strict=True
    ):
        told = to_event(after)
        if isinstance(told, p.PipelineSubmitted):
            told = replace(told, encoding="json")
        assert told == to_event(before)
        assert stored.payload != after.payload
        assert (stored.digest, stored.version) == (after.digest, after.version)
    assert store.head("run/r") == after
    assert [e.payload for e in store.read_all()] == [e.payload for e in store.read("run/r")]
    assert [e.payload for e in sealing(kept, MemoryKeys).read("run/r")] == [
        e.payload for e in kept.read("run/r")
    ]
    first = to_event(next(store.read("run/r")))
    definition = msgspec.json.decode(first.definition.inline, type=PipelineDefinition)
    run = kept.run("r")
    assert run is not None
    assert (run.name, run.priority) == (first.name, first.priority)
    if run.status in ("completed", "failed", "cancelled", "rolled_back"):
        folds_the_same(definition, store.read("run/r"))


changes = st.tuples(st.sampled_from(sorted(STORED)), st.integers(0, 10**6), st.integers(0, 10**6),
                    st.integers(0, 7))  # fmt: skip


@given(changes)
def test_any_changed_bit_of_what_is_stored_is_found(change: tuple[str, int, int, int]) -> None:
    name, which, where, bit = change
    _, kept, keys = STORED[name]
    stored = list(kept.read("run/r"))
    e = stored[which % len(stored)]
    payload = bytearray(e.payload)
    payload[where % len(payload)] ^= 1 << bit
    changed = replace(e, payload=bytes(payload))
    found = first_break([changed if one is e else one for one in stored])
    assert found is not None
    assert found[0] == e.version
    key = keys.find(str(key_of(e.encoding)))
    assert key is not None
    with pytest.raises(LogCorrupt, match=f"event {e.version} of run/r"):
        unseal(changed, key)


def test_also_a_bit_that_says_nothing() -> None:
    """The last digit of Base64 has some that are not decoded."""
    digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    _, kept, keys = STORED["schema-1-completed"]
    key = next(iter(keys._keys.values()))
    padded = [e for e in kept.read("run/r") if e.payload.endswith(b'="}')]
    assert padded
    for e in padded:
        text, rest = e.payload.rstrip(b'="}'), e.payload[len(e.payload.rstrip(b'="}')) :]
        other = digits[digits.index(text[-1:]) ^ 1 :][:1]
        with pytest.raises(LogCorrupt, match="not as it was written"):
            unseal(replace(e, payload=text[:-1] + other + rest), key)


@given(st.sampled_from(sorted(STORED)), st.data())
def test_what_is_encrypted_cannot_be_moved(name: str, data: st.DataObject) -> None:
    _, kept, keys = STORED[name]
    e, other = (data.draw(st.sampled_from(list(kept.read("run/r")))) for _ in range(2))
    key = keys.find(str(key_of(e.encoding)))
    assert key is not None
    unseal(e, key)
    moved = [
        replace(e, stream="run/s"),
        replace(e, version=e.version + 1),
        replace(e, type="StepStarted" if e.type != "StepStarted" else "StepQueued"),
        replace(e, schema=2),
    ]
    moved += [replace(e, payload=other.payload)] if other != e else []
    for one in moved:
        with pytest.raises(LogCorrupt):
            unseal(one, key)
    with pytest.raises(LogCorrupt):
        unseal(e, MemoryKeys().create("r"))


@given(st.binary(max_size=300), st.integers(0, 10**6), st.integers(0, 7), st.booleans())
def test_artifacts_are_encrypted_and_any_change_is_found(
    content: bytes, where: int, bit: int, twice: bool
) -> None:
    keys, kept = MemoryKeys(), MemoryArtifacts()
    key = keys.create("r")
    artifacts = SealedArtifacts(kept, key, keys)
    digest = artifacts.put(content)
    assert artifacts.get(digest) == content
    assert artifacts.put(content) == digest  # within a run it is kept once
    other = SealedArtifacts(kept, keys.create("s"), keys)
    assert other.put(content) != digest
    stored = bytearray(kept.get(digest))
    assert len(content) < 8 or content not in stored.partition(b"\n")[2]
    stored[where % len(stored)] ^= 1 << bit
    if stored.startswith(kept.get(digest)[:18]):  # else it is no encrypted artifact any more
        with pytest.raises((LogCorrupt, MissingKey)):
            opened(bytes(stored), digest, keys)
    keys.destroy(key.id)
    with pytest.raises(MissingKey, match=f"the key {key.id} is not in memory"):
        artifacts.get(digest)


def test_an_artifact_names_in_clear_those_that_it_mentions(tmp_path: Path) -> None:
    keys, kept = MemoryKeys(), FileArtifacts(tmp_path)
    artifacts = SealedArtifacts(kept, keys.create("r"), keys)
    inner = artifacts.put(b"inner")
    secret = "ab" * 32  # the digest of something that is no artifact
    outer = kept.get(artifacts.put(f'["{inner}", "{secret}"]'.encode()))
    assert inner.encode() in outer
    assert secret.encode() not in outer


@given(st.binary(max_size=100), st.integers(0, 10**6), st.integers(0, 7))
def test_commands_and_snapshots_are_bound_to_their_place(text: bytes, where: int, bit: int) -> None:
    keys = MemoryKeys()
    data = seal_text(text, keys.create("r"), "here")
    assert unseal_text(data, keys, "here") == text
    assert unseal_text(b"[1]", keys, "here") == b"[1]"
    with pytest.raises(LogCorrupt, match="there: it cannot be decrypted"):
        unseal_text(data, keys, "there")
    changed = bytearray(data)
    changed[where % len(data)] ^= 1 << bit
    if changed[:12] == data[:12]:  # else it is nothing that was encrypted
        with pytest.raises((LogCorrupt, MissingKey)):
            unseal_text(bytes(changed), keys, "here")


@given(st.text(max_size=9), st.none() | st.text(max_size=9), st.integers(0, 999), st.integers(0, 7))
def test_what_a_handler_said_is_bound_to_its_place(
    text: str, item: str | None, where: int, bit: int
) -> None:
    key = MemoryKeys().create("r")
    payload, _ = payload_of({"event": text})
    line = LogLine("r", "s", 1, 5, "info", payload, item, encoding_of(key.id))
    kept = seal_line(line, key)
    assert unseal_line(kept, key) == line
    assert msgspec.json.decode(kept.payload).keys() == {"sealed"}
    changed = bytearray(kept.payload)
    changed[where % len(changed)] ^= 1 << bit
    places = [{"step": "t"}, {"attempt": 2}, {"at": 6}, {"level": "error"}, {"run": "q"}]
    for one in [*places, {"payload": bytes(changed)}]:
        with pytest.raises(LogCorrupt):
            unseal_line(replace(kept, **one), key)


def test_a_damaged_snapshot_or_command_is_not_used() -> None:
    store, kept, _ = STORED["schema-1-completed"]
    store.save_snapshot("run/r", Snapshot(3, 1, b'{"a":1}'))
    snapshot = kept.load_snapshot("run/r")
    assert snapshot is not None
    kept.save_snapshot("run/r", replace(snapshot, version=4))
    moved = store.load_snapshot("run/r")
    assert moved is not None
    assert moved.data == b""
    store.send("run/r", b"{}", actor="a", at=1)
    (item,) = kept.inbox()
    kept.send("run/s", item.command, actor="a", at=1)
    assert [one.command for one in store.inbox()] == [b"{}", item.command]


# -- what may be seen ------------------------------------------------------------------------

SHOWN = {
    "engine", "name", "on_failure", "forked_from", "encoding", "parent.run", "parent.step",
    "owner", "host", "code", "due", "step", "worker", "backend", "grants", "run", "source",
    "reason", "cause", "how", "error.type", "error.category", "error.path", "cause.type",
    "cause.category", "cause.path", "ended.error.type", "ended.error.category",
    "ended.error.path", "ended.outputs",
}  # fmt: skip
"""Fields of events in which a text, or the key of a dictionary, may be seen: whoever adds one says
so here, and in the documentation of encrypted runs."""


def filled(kind: Any) -> Any:
    """A value of a type, with the word in every text of it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is str:
        return WORD
    if origin in (UnionType, typing.Union):
        return filled(next(one for one in arguments if one is not type(None)))
    if origin is dict:
        return {filled(arguments[0]): filled(arguments[1])}
    if origin is tuple:
        return (filled(arguments[0]),)
    if kind is Value:
        return Value(inline=msgspec.Raw(f'"{WORD}"'.encode()))
    if kind is ErrorSeverity:
        return ErrorSeverity.HIGH
    if kind is RetryPolicy:
        return RetryPolicy(retryable_errors=["builtins:patient4711"])
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = typing.get_type_hints(kind)
        return kind(**{name: filled(fields[name]) for name in kind.__struct_fields__})
    return kind(1)


def told_in(value: Any, path: str) -> set[str]:
    """The places at which the word can be seen."""
    if isinstance(value, msgspec.Struct):
        fields = [(name, getattr(value, name)) for name in value.__struct_fields__]
        return {one for name, item in fields for one in told_in(item, f"{path}.{name}")}
    return {path} if "4711" in msgspec.json.encode(value).decode() else set()


@pytest.mark.parametrize("kind", typing.get_args(Event), ids=lambda kind: kind.__name__)
def test_what_of_an_event_may_be_seen_is_listed(kind: type[Any]) -> None:
    if kind is p.PipelineErased:
        return  # it is never encrypted
    event = filled(kind)
    if kind is StepReused:
        event = replace(event, source="q")  # it stands in what its output is called
    shown = redacted(event, lambda name: "alias", "r@1")
    assert shown.__struct_fields__ == event.__struct_fields__
    places = {place.removeprefix(".") for place in told_in(shown, "")}
    assert places <= SHOWN, f"{kind.__name__} shows {sorted(places - SHOWN)}"
    assert kind is not p.SignalReceived or not places


def test_of_a_definition_the_graph_may_be_seen() -> None:
    definition: PipelineDefinition = msgspec.json.decode(
        msgspec.json.encode(
            {
                "name": "p",
                "metadata": {"a": WORD},
                "steps": [
                    {"name": "a", "type": "t", "config": {"b": WORD}, "handler": WORD,
                     "fingerprint": WORD, "when": WORD, "compensate": WORD, "timeout": 3},
                    {"name": "b", "type": "t", "dependencies": ["a"],
                     "pipeline": {"name": "q", "metadata": {"a": WORD}, "steps": [
                         {"name": "c", "type": "t", "config": {"b": WORD}}]}},
                ],
            }
        ),
        type=PipelineDefinition,
    )  # fmt: skip
    event = replace(
        filled(p.PipelineSubmitted), name="p", engine="e", forked_from=None, parent=None
    )
    shown = redacted(replace(event, encoding="json", on_failure="stop"), str, "r@1", definition)
    assert WORD not in msgspec.json.encode(shown).decode()
    body = msgspec.json.decode(shown.definition.inline, type=PipelineDefinition)
    assert [(one.name, one.type, one.dependencies) for one in body.steps] == [
        ("a", "t", ()),
        ("b", "t", ("a",)),
    ]
    assert body.steps[0].timeout == 3
    assert body.compensates


def test_a_hidden_value_says_where_it_is() -> None:
    event = redacted(p.SignalReceived("go", Value(inline=msgspec.Raw(b"1"))), str, "r@5")
    with pytest.raises(UnreadableValue, match="the value of r@5 is encrypted"):
        decode(event.value, MemoryArtifacts())


# -- keys ------------------------------------------------------------------------------------


def test_the_form_is_frozen() -> None:
    """By the library's own functions and BLAKE2b, from the description alone."""
    from hashlib import blake2b

    from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

    secret = bytes(range(32))
    key = Key(secret)
    assert key.id == blake2b(key=secret, person=b"id", digest_size=32).digest()[:16].hex()
    cipher = AESGCMSIV(blake2b(key=secret, person=b"contents", digest_size=32).digest())
    nonce = blake2b(b"place", digest_size=12).digest()
    assert key.encrypt(b"text", b"place") == cipher.encrypt(nonce, b"text", b"place")
    assert key.encrypt(b"text", b"place").hex() == FROZEN
    assert key.alias("name") == "c9bb60a6cc42b6d2"


FROZEN = "1aa7365f429067b3a80749bc4920d52de2a01138"


def test_a_key_survives_its_process_and_is_gone_when_it_is_destroyed(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    key = FileKeys(folder).create("r")
    other = FileKeys(folder)
    found = other.find(key.id)
    assert found is not None
    assert found.decrypt(key.encrypt(b"x", b"p"), b"p") == b"x"
    assert [path.name for path in folder.iterdir()] == [f"{key.id}.key"]
    copy = FileKeys(tmp_path / "copy")
    assert copy.add(other.content(key.id)) == key.id
    assert copy.has(key.id)
    assert FileKeys(folder).destroy(key.id)
    assert other.find(key.id) is None  # also where it is in memory
    assert not other.destroy(key.id)
    with pytest.raises(MissingKey, match="there is no key"):
        other.content(key.id)
    assert list(folder.iterdir()) == []


def test_a_key_under_another_name_is_refused(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path)
    a, b = keys.create("a"), keys.create("b")
    (tmp_path / f"{a.id}.key").replace(tmp_path / f"{b.id}.key")
    with pytest.raises(LogCorrupt, match="holds another key than its name says"):
        FileKeys(tmp_path).find(b.id)


@pytest.mark.parametrize("encoding", ["rot13", "aesgcmsiv:", "aesgcmsiv:../../etc/passwd", ""])
def test_an_unknown_encoding_is_named_and_no_path(encoding: str) -> None:
    store = SealedStore(MemoryStore(), MemoryKeys)
    with pytest.raises(LogCorrupt, match="which this version does not know"):
        artifacts_under(typing.cast(Store, store), encoding)


def test_nothing_is_recorded_with_a_key_that_is_not_here() -> None:
    kept = MemoryStore()
    event = filled(p.PipelineSubmitted)
    encoding = encoding_of("ab" * 16)
    batch = Batch("run/r", 0, 1, "a", 1, [to_new(replace(event, encoding=encoding), encoding)])
    with pytest.raises(MissingKey):
        sealing(kept, MemoryKeys).append([batch])
    assert list(kept.read("run/r")) == []
