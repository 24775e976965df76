"""What the codec refuses, and what it says; and that reading runs nobody's code."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import codec_samples as samples
import msgspec
import pytest

from semantica.pipeline.events.artifacts import MemoryArtifacts
from semantica.pipeline.events.codec import decode, dumps, encode, loads
from semantica.pipeline.events.errors import UnencodableValue, UnreadableValue

ARTIFACTS = MemoryArtifacts()


class Untrusted(MemoryArtifacts):
    """Others can write here."""

    trusted = False


class Local:
    """Not importable by the time the tests below look for it."""


def unencodable() -> dict[str, Any]:
    class Inner:
        pass

    return {
        "function": lambda: None,
        "Inner": Inner(),
        "type": Inner,
        "generator": (n for n in ()),
        "TextIOWrapper": sys.stdout if isinstance(sys.stdout, types.ModuleType) else open_file(),
        "Unpicklable": samples.Unpicklable(),
        "OneWay": samples.OneWay(),
        "lock": __import__("threading").Lock(),
        "memoryview": memoryview(b"x"),
    }


def open_file() -> Any:
    return FILE


FILE = Path(__file__).open()  # noqa: SIM115
FILE.close()


@pytest.mark.parametrize("name", unencodable())
@pytest.mark.parametrize(
    "wrap",
    [lambda v: v, lambda v: [v], lambda v: {"a": (v,)}, samples.Plain, samples.Struct],
    ids=["bare", "list", "dict", "dataclass", "struct"],
)
def test_what_cannot_be_recorded_is_refused_when_it_is_written(name: str, wrap: Any) -> None:
    with pytest.raises(UnencodableValue):
        encode(wrap(unencodable()[name]), ARTIFACTS)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (samples.Unpicklable(), "codec_samples.Unpicklable cannot be recorded: not me"),
        (samples.OneWay(), "codec_samples.OneWay cannot be recorded: no way back"),
        (lambda: None, "<lambda>.* cannot be found again by name: define it in a module"),
        ((n for n in ()), "builtins.generator cannot be recorded"),
        ([1, {"a": samples.Unpicklable()}], "codec_samples.Unpicklable"),
    ],
)
def test_the_refusal_names_the_type_and_the_reason(value: Any, told: str) -> None:
    with pytest.raises(UnencodableValue, match=told):
        encode(value, ARTIFACTS)


@pytest.mark.parametrize("value", [samples.Text("x"), {1, range(3)}, [samples.Ordered()]])
def test_pickle_can_be_forbidden(value: Any) -> None:
    with pytest.raises(UnencodableValue, match=r"needs pickle.*allow_pickle=False forbids"):
        encode(value, ARTIFACTS, allow_pickle=False)


def test_a_pickle_is_marked_and_not_read_where_it_is_forbidden() -> None:
    recorded = encode(samples.Text("x"), ARTIFACTS)
    plain = msgspec.json.decode(recorded.inline)
    assert (plain["!"], plain["t"]) == ("pickle", "codec_samples.Text")
    with pytest.raises(UnreadableValue, match=r"codec_samples\.Text is a pickle"):
        decode(recorded, ARTIFACTS, allow_pickle=False)


def test_a_pickle_is_not_read_where_others_can_write() -> None:
    with pytest.raises(UnreadableValue, match=r"chmod go-w"):
        decode(encode(samples.Text("x"), ARTIFACTS), Untrusted())
    assert decode(encode((1, samples.Plain(2)), ARTIFACTS), Untrusted()) == (1, samples.Plain(2))


def test_a_class_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = encode([samples.Plain(1), samples.Color.RED, samples.Struct(1)], ARTIFACTS)
    monkeypatch.delattr(samples, "Plain")
    with pytest.raises(UnreadableValue, match=r"cannot import 'codec_samples:Plain'"):
        decode(recorded, ARTIFACTS)


@pytest.mark.parametrize("name", ["Plain", "Struct", "Point", "Color", "ByItself"])
def test_a_class_that_became_something_else_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = {
        "Plain": samples.Plain(),
        "Struct": samples.Struct(1),
        "Point": samples.Point(1),
        "Color": samples.Color.RED,
        "ByItself": samples.ByItself(b"x"),
    }[name]
    recorded = encode(value, ARTIFACTS)
    for other in (samples.Sensitive, samples.must_not_be_called):
        monkeypatch.setattr(samples, name, other)
        with pytest.raises(UnreadableValue, match=f"codec_samples:{name}"):
            decode(recorded, ARTIFACTS)
    assert samples.CALLS == []


def test_a_member_that_was_renamed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableValue, match="GREEN"):
        loads(b'{"!":"enum","t":"codec_samples:Color","v":"GREEN"}', ARTIFACTS)


CALL = "codec_samples:must_not_be_called"
CLASS = "codec_samples:Sensitive"


@pytest.mark.parametrize("target", [CALL, CLASS, "os:system", "subprocess:Popen"])
@pytest.mark.parametrize("kind", ["dataclass", "struct", "namedtuple", "enum", "object"])
def test_a_forged_tag_calls_nothing(kind: str, target: str) -> None:
    for content in ({"x": 1}, ["true"], "true", {"value": "true"}):
        text = msgspec.json.encode({"!": kind, "t": target, "v": content})
        with pytest.raises(UnreadableValue):
            loads(text, ARTIFACTS)
    assert samples.CALLS == []


def test_a_reference_is_found_and_not_called() -> None:
    text = msgspec.json.encode({"!": "ref", "v": CALL})
    assert loads(text, ARTIFACTS) is samples.must_not_be_called
    assert samples.CALLS == []


@pytest.mark.parametrize(
    "plain",
    [
        {"!": "unknown"},
        {"!": []},
        {"!": {"!": "tuple", "v": []}},
        {"!": 1},
        {"!": "tuple"},
        {"!": "tuple", "v": 7},
        {"!": "set", "v": [[]]},
        {"!": "dict", "v": [1]},
        {"!": "dict", "v": [[[], 1]]},
        {"!": "int", "v": "x"},
        {"!": "datetime", "v": "yesterday"},
        {"!": "datetime", "v": "2026-01-01", "zone": "Nowhere/Land"},
        {"!": "numpy", "dtype": "O", "shape": [1], "v": "AAAAAAAAAAA="},
        {"!": "numpy", "dtype": "<f8", "shape": [9], "v": "AAAA"},
        {"!": "arrow", "v": "AAAA"},
        {"!": "pickle", "v": "AAAA", "t": "x"},
        {"!": "dataclass", "t": "codec_samples:Frozen", "v": {"nonsense": 1}},
        {"!": "struct", "t": "codec_samples:Struct", "v": {"nonsense": 1}},
        {"!": "ref", "v": "no.such.module:thing"},
        {"!": "ref", "v": ""},
        {"!": "ref", "v": 3},
        {"!": "bytes", "v": "€"},
    ],
    ids=str,
)
def test_a_broken_value_is_refused_with_one_kind_of_error(plain: Any) -> None:
    with pytest.raises(UnreadableValue):
        loads(msgspec.json.encode([plain]), ARTIFACTS)


def test_an_undecodable_name_travels(tmp_path: Path) -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert loads(dumps({name: Path(name)}, ARTIFACTS), ARTIFACTS) == {name: Path(name)}
