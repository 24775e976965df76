"""Finding documents: in a fixed order, each once, nothing strange opened, nothing overlooked."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep
from semantica.pipeline.engine.steps.corpus import Corpus
from semantica.pipeline.engine.steps.errors import DocumentError, StepInputError
from semantica.pipeline.engine.steps.ingest import ingest
from semantica.pipeline.events.artifacts import digest_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "a.md", ".hidden.txt", "sub/c.html", "sub/.git/d.txt", "sub/deep/e.TXT"):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return tmp_path / "docs"


def names(corpus: Corpus, folder: Path) -> list[str]:
    return [os.path.relpath(found.source, folder) for found in corpus.documents]


def test_a_folder_is_read_in_order_with_size_type_and_digest(folder: Path, context: Any) -> None:
    corpus = ingest(None, context, source=folder)
    assert names(corpus, folder) == ["a.md", "b.txt", "sub/c.html", "sub/deep/e.TXT"]
    first = corpus.documents[0]
    data = b"content of a.md"
    assert (first.size, first.digest, first.text) == (len(data), digest_of(data), None)
    assert [found.media_type for found in corpus.documents] == [
        "text/markdown",
        "text/plain",
        "text/html",
        "text/plain",
    ]
    assert context.metrics == {"documents_ingested": 4}
    assert context.reports[-1][:2] == (4, 4)
    assert ingest(None, context, source=str(folder)) == corpus


def test_an_id_stays_when_the_content_changes(folder: Path, context: Any) -> None:
    before = ingest(None, context, source=folder / "b.txt").documents[0]
    (folder / "b.txt").write_text("new")
    after = ingest(None, context, source=folder / "b.txt").documents[0]
    assert before.id == after.id
    assert before.digest != after.digest


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"recursive": False}, ["a.md", "b.txt"]),
        ({"formats": ["txt"]}, ["b.txt", "sub/deep/e.TXT"]),
        ({"formats": "markdown"}, ["a.md"]),
        ({"formats": [".htm", "html"]}, ["sub/c.html"]),
        (
            {"include_hidden": True, "formats": ["txt"]},
            [".hidden.txt", "b.txt", "sub/.git/d.txt", "sub/deep/e.TXT"],
        ),
    ],
)
def test_choosing(config: dict[str, Any], expected: list[str], folder: Path, context: Any) -> None:
    assert names(ingest(None, context, source=folder, **config), folder) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", ["b.txt"]),
        ("[ab].*", ["a.md", "b.txt"]),
        ("*/c.htm?", ["sub/c.html"]),
        ("**/*.T*", ["sub/deep/e.TXT"]),
        ("**", ["a.md", "b.txt", "sub/c.html", "sub/deep/e.TXT"]),
        ("**/deep/*", ["sub/deep/e.TXT"]),
        (".*.txt", [".hidden.txt"]),
        ("sub/**/**/*.html", ["sub/c.html"]),
    ],
)
def test_patterns(pattern: str, expected: list[str], folder: Path, context: Any) -> None:
    assert names(ingest(None, context, source=f"{folder}/{pattern}"), folder) == expected


def test_each_file_counts_once(folder: Path, context: Any) -> None:
    (folder / "again.txt").symlink_to(folder / "b.txt")
    corpus = ingest(None, context, source=[f"{folder}/*.txt", str(folder), str(folder / "b.txt")])
    assert names(corpus, folder) == ["again.txt", "a.md", "sub/c.html", "sub/deep/e.TXT"]


def test_a_name_with_pattern_signs_is_a_name_first(tmp_path: Path, context: Any) -> None:
    (tmp_path / "a[1].txt").write_text("x")
    assert names(ingest(None, context, source=tmp_path / "a[1].txt"), tmp_path) == ["a[1].txt"]


def test_links_that_go_round_end(folder: Path, context: Any) -> None:
    (folder / "sub" / "round").symlink_to(folder)
    (folder / "another").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "broken.txt").symlink_to(folder / "nowhere")
    expected = ["a.md", "b.txt", "sub/c.html", "sub/deep/e.TXT"]
    assert names(ingest(None, context, source=folder), folder) == expected
    assert names(ingest(None, context, source=f"{folder}/**/*"), folder) == expected


def test_a_linked_folder_is_followed(folder: Path, tmp_path: Path, context: Any) -> None:
    (tmp_path / "link").symlink_to(folder / "sub")
    found = names(ingest(None, context, source=tmp_path / "link"), tmp_path)
    assert found == ["link/c.html", "link/deep/e.TXT"]


def test_what_is_no_file_is_not_opened(
    folder: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe.txt")
    monkeypatch.chdir(folder)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.txt")
        corpus = ingest(None, context, source=folder, recursive=False)
    assert names(corpus, folder) == ["a.md", "b.txt"]
    with pytest.raises(StepInputError, match="neither a file nor a folder"):
        ingest(None, context, source=folder / "pipe.txt")


@pytest.mark.parametrize(
    "name", [b"\xff\xfe.txt", "日本 語.txt".encode(), b"new\nline.txt", b" .txt"]
)
def test_odd_names(name: bytes, tmp_path: Path, context: Any) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_text("x")
    corpus = ingest(None, context, source=tmp_path)
    assert corpus.documents[0].source == str(path)


@pytest.mark.parametrize("source", ["missing", "missing/*.txt", "ftp://example.org/a.txt"])
def test_a_missing_source_is_named_with_the_folder_it_was_looked_for_in(
    source: str, tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StepInputError) as caught:
        ingest(None, context, source=source)
    assert source in str(caught.value)
    assert ("only http:// and https://" if "://" in source else str(tmp_path)) in str(caught.value)


def test_nothing_to_ingest(tmp_path: Path, context: Any) -> None:
    with pytest.raises(StepInputError, match="give it source="):
        ingest(None, context)
    assert not ingest(None, context, source=tmp_path)
    assert context.warnings == [("no documents found", {})]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"source": 3}, "ingest cannot take source=3: it should be str | list[str] | None"),
        ({"source": ["a", 3]}, "(Expected `str`, got `int` at source[1])"),
        ({"on_error": "ignore"}, "on_error='ignore': it should be 'skip' | 'fail'"),
        ({"recursive": "yes"}, "recursive='yes': it should be bool"),
        ({"sourec": "a"}, "did you mean 'source'?"),
    ],
)
def test_configuration_that_means_nothing_is_refused(
    config: dict[str, Any], told: str, complaint: Any
) -> None:
    assert told in complaint(ingest, config)


def test_paths_are_as_good_as_text(tmp_path: Path, complaint: Any) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert complaint(ingest, {"source": [tmp_path, "b.txt"]}) == ""
    with ExecutionEngine(":memory:") as engine:
        for source in (tmp_path, [tmp_path / "a.txt"], (str(tmp_path),)):
            step = PipelineStep("ingest", "ingest", {"source": source})
            output = engine.execute_pipeline(Pipeline("p", [step])).raise_for_status().output
            assert [document.size for document in output.documents] == [1]


def test_the_input_lists_the_documents(folder: Path, context: Any) -> None:
    data = {
        "documents": [
            {"source": folder / "b.txt", "id": "mine", "metadata": {"year": 1}},
            {"source": f"{folder}/sub", "topic": "x"},
            {"text": "given"},
        ]
    }
    corpus = ingest(data, context)
    assert [found.text for found in corpus.documents] == ["given", None, None, None]
    mine = corpus.documents[1]
    assert (mine.id, mine.metadata, mine.size) == ("mine", {"year": 1}, 16)
    assert [found.metadata for found in corpus.documents[2:]] == [{"topic": "x"}, {"topic": "x"}]
    assert ingest(corpus, context) == corpus


def test_a_second_ingest_adds_to_the_first(folder: Path, context: Any) -> None:
    first = ingest({"anything": 1}, context, source=folder / "b.txt")
    both = ingest(first, context, source=folder, recursive=False)
    assert names(both, folder) == ["b.txt", "a.md"]
    assert context.metrics == {"documents_ingested": 2}


def test_a_file_that_cannot_be_read_is_recorded_or_fails(
    folder: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_open = os.open

    def refuse(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("a.md"):
            raise PermissionError(13, "Permission denied")
        return really_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    corpus = ingest(None, context, source=folder, recursive=False)
    assert [found.error is None for found in corpus.documents] == [False, True]
    assert "Permission denied" in (corpus.documents[0].error or "")
    assert context.metrics["documents_failed"] == 1
    with pytest.raises(DocumentError, match=r"a\.md: Permission denied"):
        ingest(None, context, source=folder, on_error="fail")


def test_a_folder_that_cannot_be_listed_is_told_or_fails(
    folder: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_scan = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return really_scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    corpus = ingest(None, context, source=folder)
    assert names(corpus, folder) == ["a.md", "b.txt", "sub/c.html"]
    assert [event for event, _ in context.warnings] == ["folder skipped"] * 2
    with pytest.raises(DocumentError, match=r"cannot list the folder .*deep: Permission denied"):
        ingest(None, context, source=folder, on_error="fail")


def test_it_can_be_cancelled(folder: Path, context: Any, cancelled: type[BaseException]) -> None:
    context.cancel_after = 2
    with pytest.raises(cancelled):
        ingest(None, context, source=folder)
    assert len(context.reports) == 2
