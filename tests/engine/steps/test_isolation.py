"""A native library that crashes or hangs costs one document, and is told of plainly."""

from __future__ import annotations

import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline.engine.backends import calls
from semantica.pipeline.engine.backends.calls import CallPool, WorkerLost
from semantica.pipeline.engine.steps import isolation
from semantica.pipeline.engine.steps.corpus import Document
from semantica.pipeline.engine.steps.errors import (
    DocumentError,
    MissingExtra,
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
def test_a_timeout_that_means_nothing_is_refused(seconds: Any, complaint: Any) -> None:
    told = complaint(parse, {"document_timeout": seconds})
    assert f"document_timeout={seconds!r}: it should be float > 0" in told


def test_cancelling_kills_a_reader_that_hangs(
    folder: Path, context: Any, cancelled: type[BaseException]
) -> None:
    path = folder / "pid-hang.html"
    path.write_text("text")

    def cancel() -> None:
        while not path.with_name(path.name + ".pid").exists():
            time.sleep(0.02)
        context.cancel()
        context.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    started = time.monotonic()
    with pytest.raises(cancelled):
        parse([path, folder / "1.html"], context)
    thread.join()
    assert time.monotonic() - started < 20
    assert not context.warnings
    context.cancel()  # late, when the pool is gone


def test_cancelled_before_the_reader_starts_is_cancelled_too(
    folder: Path, context: Any, cancelled: type[BaseException]
) -> None:
    context.cancel()
    with (
        isolation.Isolation(context) as reader,
        pytest.raises(cancelled),
    ):
        reader.read(Document(id="1", source=str(folder / "3-hang.html"), media_type="text/html"))


def test_an_interrupted_pool_serves_nobody_more() -> None:
    with CallPool() as pool:
        assert pool.call("builtins:abs", -1) == 1
        pool.interrupt()
        with pytest.raises(WorkerLost, match="interrupted"):
            pool.call("builtins:abs", -1)


def refuse_to_start() -> None:
    raise WorkerLost("no worker process can be started: [Errno 11] try later")


def test_no_process_at_all_is_an_error_of_the_step(
    folder: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "WorkerProcess", refuse_to_start)
    with pytest.raises(WorkerLost, match="documents cannot be read: no worker process can be"):
        parse([folder / "1.html", folder / "4.html"], context)
    assert not context.warnings


def test_a_process_that_ends_at_once_is_an_error_of_the_step(
    folder: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(WorkerLost, match="ended by itself, with exit status 1"):
        parse([folder / "1.html", folder / "4.html"], context)


def test_no_process_after_a_crash_is_an_error_of_the_step(
    folder: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = calls.WorkerProcess
    left = iter([really])
    monkeypatch.setattr(calls, "WorkerProcess", lambda: next(left, refuse_to_start)())
    with pytest.raises(WorkerLost, match="documents cannot be read"):
        parse([folder / "2-crash.html", folder / "4.html"], context)
    assert len(context.warnings) == 1
