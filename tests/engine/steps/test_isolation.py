"""A native library that crashes or hangs costs one document, and is told of plainly."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline.engine.steps import isolation
from semantica.pipeline.engine.steps.errors import (
    DocumentError,
    MissingExtra,
    StepConfigError,
)
from semantica.pipeline.engine.steps.ingest import ingest
from semantica.pipeline.engine.steps.parse import parse


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(isolation, "_READ", "hostile_reading:read_source")
    for name in ("1.html", "2-crash.html", "3-hang.html", "4.html", "5.txt"):
        (tmp_path / name).write_text(f"text of {name}")
    return tmp_path


def test_a_crash_or_a_hang_fails_that_document_alone(folder: Path, context: Any) -> None:
    started = time.monotonic()
    corpus = parse(ingest(None, context, source=folder), context, document_timeout=1)
    assert time.monotonic() - started < 20
    errors = [found.error for found in corpus.documents]
    assert errors[0] is errors[3] is errors[4] is None
    assert (errors[1] or "").startswith("the reader crashed: killed by SIGABRT")
    assert errors[2] == "reading took longer than 1 s"
    assert [found.text for found in corpus.documents][3:] == ["text of 4.html", "text of 5.txt"]
    assert context.metrics["documents_failed"] == 2


def test_a_crash_fails_the_step_where_that_is_wished(folder: Path, context: Any) -> None:
    with pytest.raises(DocumentError, match=r"2-crash\.html: the reader crashed: killed by"):
        parse([folder / "1.html", folder / "2-crash.html"], context, on_error="fail")


def test_only_native_formats_start_a_process(
    folder: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(isolation.CallPool, "call", lambda *args, **_: started.append(args))
    assert parse(folder / "5.txt", context).documents[0].text == "text of 5.txt"
    assert not started


def test_no_process_is_left(folder: Path, context: Any) -> None:
    (folder / "pid.html").write_text("text")
    parse(folder / "pid.html", context)
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid.html.pid").read_text()), 0)


def test_what_a_worker_lacks_is_told_as_ever() -> None:
    error = MissingExtra("parsing PDF", "documents")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), "10", True, None])
def test_a_timeout_that_means_nothing_is_refused(seconds: Any, context: Any) -> None:
    with pytest.raises(StepConfigError, match="document_timeout="):
        parse([{"text": "x"}], context, document_timeout=seconds)
