"""A secret of the configuration is nowhere in the log: neither in its file, nor beside it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from making import MakeEngine

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    Secret,
    UnencodableValue,
)
from semantica.pipeline.engine.secrecy import Secrets
from semantica.pipeline.events.artifacts import MemoryArtifacts

TOKEN = 'quite "secret"\nütoken-4711'
LINE = "\n"


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", TOKEN)


def found(log: Path) -> list[str]:
    """The files beside a log that hold the secret, or a telling part of it; also in Base64, of
    which any three bytes of a text are four characters, wherever it begins."""
    part = b"token-4711"
    telling = [part, *(base64.b64encode(part[i : i + 6]) for i in range(3))]
    return [
        str(path)
        for path in log.parent.rglob("*")
        if path.is_file() and any(one in path.read_bytes() for one in telling)
    ]


def steps(handler: Callable[..., Any], executor: str | None = None, **config: Any) -> Pipeline:
    config = config or {"token": Secret("SOME_TOKEN")}
    return Pipeline("p", [PipelineStep("s", "t", config, handler=handler, executor=executor)])


def uses(data: object, token: str) -> list[object]:
    return [token == TOKEN, len(token)]


def deep(data: object, headers: dict[str, Any], words: list[str]) -> list[object]:
    return [headers["auth"]["token"] == TOKEN, words[1] == TOKEN, words[0]]


def blurts(data: object, token: str, context: Context) -> None:
    context.warn(f"using {token}")
    context.progress(1, 2, f"with {token}")
    context.log.info(f"about {token}", token=token, more=[token])
    try:
        raise LookupError(token)
    except LookupError as error:
        context.log.error("one", exc_info=True)
        context.log.error("two", exc_info=error, error=error)
        context.log.exception("three")
    try:
        raise KeyError(token)
    except KeyError:
        raise ValueError(f"{token} is refused, {[token]}") from None


def warns(data: object, token: str, context: Context) -> int:
    context.warn(f"using {token}")
    context.metric(f"calls of {token!r}")
    return 1


def returns(data: object, token: str) -> dict[str, str]:
    return {"token": f"Bearer {token}"}


def returns_much(data: object, token: str) -> list[str]:
    return [token, "x" * 10_000]


def saves(data: object, token: str, context: Context) -> None:
    context.checkpoint("mine", token)


def maps(data: object, token: str, context: Context) -> object:
    def one(item: int) -> str:
        if item:
            raise ValueError(token)
        return token

    return [str(one) for one in context.map(one, [0, 1], on_error="return")]


def returns_bytes(data: object, token: str) -> dict[str, bytes]:
    return {"header": b"Bearer " + token.encode()}


def returns_many_bytes(data: object, token: str) -> bytes:
    return b"x" * 10_001 + token.encode() + b"x" * 10_000


def names_a_checkpoint(data: object, token: str, context: Context) -> None:
    context.checkpoint(f"of {token.split(LINE)[1]}", 1)


def names_a_wait(data: object, token: str, context: Context) -> None:
    context.sleep(1000, key=token.split(LINE)[1])


def names_a_signal(data: object, token: str, context: Context) -> None:
    context.wait_for(token.split(LINE)[1])


def names_an_item(data: object, token: str, context: Context) -> list[int]:
    return context.map(abs, [1], key=lambda item: token.split(LINE)[1])


def names_a_map(data: object, token: str, context: Context) -> list[int]:
    return context.map(abs, [1], name=token.split(LINE)[1])


class Client:
    """An object that is pickled, and knows the secret."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.seen = {1}


def client(data: object, token: str) -> Client:
    return Client(token)


def conceals(data: object, context: Context) -> None:
    context.conceal(TOKEN)
    raise ValueError(TOKEN)


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_handler_is_called_with_what_nobody_records(
    make_engine: MakeEngine, log: Path, executor: str
) -> None:
    engine = make_engine()
    assert engine.execute_pipeline(steps(uses, executor)).output == [True, len(TOKEN)]
    nested = {"headers": {"auth": {"token": Secret("SOME_TOKEN")}}, "words": ["a", TOKEN]}
    nested["words"] = ["a", Secret("SOME_TOKEN")]  # type: ignore[list-item]
    assert engine.execute_pipeline(steps(deep, executor, **nested)).output == [True, True, "a"]
    failed = engine.execute_pipeline(steps(blurts, executor))
    assert "ValueError: *** is refused" in failed.errors[0]
    lines = engine.lines(failed.run_id)
    assert {"using ***", "about ***", "one", "two", "three"} == {one.event for one in lines}
    assert all("token-4711" not in one.payload.decode() for one in lines)
    done = engine.execute_pipeline(steps(warns, executor))
    assert "using ***" in str(done.warnings[0]) and "calls of '***'" in done.metrics
    assert "SOME_TOKEN" in json.dumps([str(e.payload) for e in engine.history(done.run_id)])
    engine.close()
    assert found(log) == []


@pytest.mark.parametrize(
    "handler",
    [
        returns, returns_much, returns_bytes, returns_many_bytes, saves, client, names_a_checkpoint,
        names_a_wait, names_a_signal, names_an_item, names_a_map,
    ],
)  # fmt: skip
def test_a_value_with_a_secret_is_refused(
    engine: ExecutionEngine, log: Path, handler: Callable[..., Any]
) -> None:
    result = engine.execute_pipeline(steps(handler), deadline=60)
    assert not result.success
    assert "UnencodableValue" in result.errors[0] and "token-4711" not in result.errors[0]
    engine.close()
    assert found(log) == []


def test_items_and_texts_of_ones_own_are_concealed(engine: ExecutionEngine, log: Path) -> None:
    done = engine.execute_pipeline(steps(maps))
    assert done.success, done.errors
    refused, starred = done.output
    assert "a value holds a secret" in refused and starred.endswith("***")
    assert [e.type for e in engine.history(done.run_id)].count("StepItemFailed") == 2
    result = engine.execute_pipeline(Pipeline("q", [PipelineStep("s", "t", handler=conceals)]))
    assert result.errors[0].endswith("ValueError: ***")
    engine.close()
    assert found(log) == []


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_is_logged_has_stars(engine: ExecutionEngine, executor: str) -> None:
    with structlog.testing.capture_logs() as said:
        engine.execute_pipeline(steps(blurts, executor))
    about = next(one for one in said if one["event"] == "about ***")
    assert (about["token"], about["more"]) == ("***", "['***']")
    assert "token-4711" not in str(said)
    for event in ("one", "two", "three"):
        (told,) = (one for one in said if one["event"] == event)
        assert "LookupError: ***" in told["exception"] and told["log_level"] == "error"


def test_a_missing_secret_is_a_clear_error(
    engine: ExecutionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOME_TOKEN")
    result = engine.execute_pipeline(steps(uses))
    assert "SecretNotFound: the environment has no SOME_TOKEN" in result.errors[0]


def test_a_definition_with_a_secret_goes_through_a_file() -> None:
    for kind in ("json", "yaml"):
        text = PipelineBuilder().serialize(steps(uses), format=kind)
        assert "SOME_TOKEN" in text and "token-4711" not in text
        again = PipelineBuilder().deserialize(text, format=kind)
        assert again.steps[0].config == {"token": Secret("SOME_TOKEN")}


@pytest.mark.parametrize("status", [0, 3])
def test_a_program_that_writes_its_credential_does_not_have_it_recorded(
    engine: ExecutionEngine, log: Path, status: int
) -> None:
    command = f"printenv TOKEN; printenv TOKEN >&2; exit {status}"
    step = PipelineStep(
        "s", "shell", {"command": command, "shell": True, "env": {"TOKEN": "env:SOME_TOKEN"}}
    )
    result = engine.execute_pipeline(Pipeline("p", [step]))
    assert not result.success and "token-4711" not in result.errors[0]
    assert ("UnencodableValue" in result.errors[0]) is (status == 0)
    engine.close()
    assert found(log) == []


@given(st.text(min_size=12, max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_a_text_is_found_in_any_bytes_that_the_codec_writes(
    text: str, before: bytes, after: bytes
) -> None:
    secrets = Secrets()
    secrets.add(text)
    value = before + text.encode() + after
    with pytest.raises(UnencodableValue):
        secrets.encode([value], MemoryArtifacts(), allow_pickle=True)
