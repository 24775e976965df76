"""Reading text: formats, encodings, and documents that cannot be read."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from semantica.pipeline.engine.steps import isolation
from semantica.pipeline.engine.steps.chunk import chunk
from semantica.pipeline.engine.steps.corpus import Corpus, Document
from semantica.pipeline.engine.steps.errors import (
    DocumentError,
    MissingExtra,
    StepInputError,
)
from semantica.pipeline.engine.steps.ingest import ingest
from semantica.pipeline.engine.steps.parse import parse
from semantica.pipeline.engine.steps.readers import READERS, read_html, read_markdown, read_text

SAMPLES = Path(__file__).parents[3] / "tools" / "samples" / "documents"


@pytest.fixture
def parse_bytes(tmp_path: Path, context: Any) -> Any:
    def run(name: str, data: bytes, **config: Any) -> Document:
        (tmp_path / name).write_bytes(data)
        return parse(tmp_path / name, context, **config).documents[0]

    return run


GERMAN = "Die Gesellschaft für Ökologie traf sich in Köln; „alle“ sprachen über große Flüsse."
FRENCH = "Le père de Hélène a reçu la très belle médaille à Genève, où il a vécu près du lac."
RUSSIAN = "Москва является столицей России. Население города превышает двенадцать миллионов."
CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy. Čeština je krásný jazyk a Praha je město."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-32"),
        (GERMAN, "cp1252"),
        (FRENCH, "latin-1"),
        ("Müller", "latin-1"),
        (CZECH, "cp1250"),
        (RUSSIAN, "cp1251"),
        ("東京は日本の首都です。人口は約千四百万人です。", "shift_jis"),
    ],
)
def test_encodings(text: str, encoding: str, parse_bytes: Any) -> None:
    found = parse_bytes("a.txt", text.encode(encoding))
    assert found.text == text
    assert found.metadata["encoding"]


def test_a_declared_encoding_counts_for_html() -> None:
    page = '<meta charset="iso-8859-2"><p>ľščťžýáíé ďalej'
    assert read_html(page.encode("iso-8859-2")).text == "ľščťžýáíé ďalej"
    assert read_html(page.encode()).text == "ľščťžýáíé ďalej"  # UTF-8 in spite of what it says
    latin = (
        '<meta http-equiv="Content-Type" content="text/html; charset=ISO-8859-1"><p>\u201cé\u201d'
    )
    assert read_html(latin.encode("cp1252")).text == "\u201cé\u201d"


@pytest.mark.parametrize("name", ["utf-8", "utf-16", "base64", "punycode", "rot13", "nonsense"])
def test_a_wrong_declaration_is_worth_nothing(name: str) -> None:
    page = f'<meta charset="{name}"><p>{FRENCH}'
    assert read_html(page.encode("latin-1")).text == FRENCH


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b" \n\t ", "the file is empty"),
        (b"text\0more", "binary"),
        (b"\xff\xfea", "it is not the utf-16 it claims to be"),
        (bytes(range(128, 256)) * 10, "no known text encoding"),
    ],
)
def test_a_document_that_cannot_be_read_says_why(
    data: bytes, reason: str, parse_bytes: Any, context: Any
) -> None:
    found = parse_bytes("a.txt", data)
    assert found.text is None
    assert reason in found.error
    assert context.metrics == {"documents_processed": 0, "documents_failed": 1}
    assert [event for event, _ in context.warnings] == ["document not parsed"]
    with pytest.raises(DocumentError, match=r"a\.txt: "):
        parse_bytes("a.txt", data, on_error="fail")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.xlsx", "the format 'xlsx' cannot be parsed yet, only txt, md, html, pdf"),
        ("a.xyz", "files ending in '.xyz' are of no known format"),
        ("README", "files without an ending are of no known format"),
    ],
)
def test_an_unsupported_format_is_never_silent(name: str, reason: str, parse_bytes: Any) -> None:
    assert reason in parse_bytes(name, b"x").error


def test_a_document_without_text_in_it(parse_bytes: Any) -> None:
    assert parse_bytes("a.html", b"<img src=x><script>1</script>").error == "it holds no text"


def test_an_undecodable_name_can_still_be_spoken_of(tmp_path: Path, context: Any) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.txt"
    Path(os.fsdecode(path)).write_bytes(b"")
    corpus = parse(ingest(None, context, source=tmp_path), context)
    assert os.fsencode(corpus.documents[0].source) == path
    ((_, said),) = context.warnings
    assert said["source"].encode().endswith(rb"/\udcff.txt")
    with pytest.raises(StepInputError, match="does not exist") as caught:
        ingest(None, context, source=os.fsdecode(path + b"x"))
    str(caught.value).encode()


# Formats


def test_html_as_a_reader_sees_it() -> None:
    parsed = read_html(
        b"""<html lang=de><head><title> A &amp;
        B </title><style>x{}</style></head><body><!-- no -->
        <h2>Sub</h2><h1>Top</h1><p>one <b>t</b>wo
        three<br>four</p><script>no</script><noscript>no</noscript><template>no</template>
        <p hidden>no</p><div style="color:red; DISPLAY: none">no</div>
        <ul><li><p>a</p></li><li></li><li>b<ol><li>c</li></ol></li></ul>
        <table><tr><th>x<th>y</tr><tr><td>1<td>2</table><pre>  k
   l</pre>end</body></html>"""
    )
    assert parsed.text == (
        "Sub\n\nTop\n\none two three\nfour\n\n- a\n\n- b\n\n- c\n\nx\ty\n1\t2\n\n  k\n   l\n\nend"
    )
    assert parsed.metadata == {
        "encoding": "utf-8",
        "title": "A & B",
        "language": "de",
        "headings": [{"level": 2, "text": "Sub"}, {"level": 1, "text": "Top"}],
    }


def test_deeply_nested_html_needs_no_recursion() -> None:
    parsed = read_html(b"<div>" * 5_000 + b"deep" + b"</div>" * 5_000)
    assert parsed.text == "deep"


def test_markdown_without_its_marks() -> None:
    parsed = read_markdown(
        b"""---\r
Title: 'Front *matter*'\r
tags: [a]\r
---\r
Intro\r
======\r
\r
Some *soft*\r
line with `code` and [a link](http://x), ![alt text](y.png) &amp; <b>html</b>  \r
hard break.\r
\r
1. one\r
2. two\r
   - nested\r
\r
> quoted\r
\r
| a | b |\r
|---|---|\r
| 1 | ~~2~~ |\r
\r
```python\r
if x:\r
    y()\r
```\r
\r
<div>block <script>no</script>html</div>\r
"""
    )
    assert parsed.text == (
        "Intro\n\nSome soft line with code and a link, alt text & html\nhard break.\n\n"
        "1. one\n2. two\n- nested\n\nquoted\n\na\tb\n1\t2\n\nif x:\n    y()\n\nblock html"
    )
    assert parsed.metadata["title"] == "Front *matter*"
    assert parsed.metadata["headings"] == [{"level": 1, "text": "Intro"}]


def test_markdown_that_only_begins_with_a_rule_is_not_front_matter() -> None:
    assert read_markdown(b"---\n\nText").text == "Text"
    assert read_markdown(b"# A\n\n## B").metadata["title"] == "A"
    assert "title" not in read_markdown(b"No heading").metadata


def test_plain_text_stays_as_it_is() -> None:
    assert read_text(b" a\r\n\tb ").text == " a\r\n\tb "


# The step


def test_parsing_again_changes_nothing(context: Any) -> None:
    corpus = parse(ingest(None, context, source=SAMPLES), context)
    counted = dict(context.metrics)
    assert parse(corpus, context) == corpus
    assert context.metrics == counted


def test_the_samples(context: Any) -> None:
    corpus = parse(ingest(None, context, source=SAMPLES), context)
    failed = {Path(found.source).name: found.error for found in corpus.documents if found.error}
    assert failed == {
        "broken-binary.txt": "it is binary, or UTF-16 or UTF-32 without a byte order mark",
        "broken-empty.txt": "the file is empty",
        "broken-encrypted.pdf": "the PDF is encrypted and needs a password",
        "broken-scanned.pdf": "no text layer: scanned pages need OCR",
        "broken-truncated.pdf": "the PDF is damaged, or no PDF "
        "(Failed to load document (PDFium: Data format error))",
        "broken.docx": "it is damaged, or no DOCX: File is not a zip file",
        "broken.json": "line 4, column 31: Expecting ',' delimiter",
    }
    assert context.metrics["documents_failed"] == len(failed)
    assert context.metrics["documents_processed"] == len(corpus.documents) - len(failed) >= 15
    text = "\n".join(found.text or "" for found in corpus.documents)
    for name in ("Jürg Bächtold", "田中花子", "Margaret Whitcombe", "Okafor Bridges", "München"):
        assert name in text
    for name in ("Kari Nilsen", "Willem de Groot", "Arjun Rao", "Riverside Trust", "Old mill sold"):
        assert name in text
    assert "Not for publication" not in text
    assert len(chunk(corpus, context).chunks) >= 10


def test_a_file_that_changed_since_it_was_ingested(tmp_path: Path, context: Any) -> None:
    (tmp_path / "a.txt").write_text("one")
    corpus = ingest(None, context, source=tmp_path)
    (tmp_path / "a.txt").write_text("two")
    assert "changed since" in (parse(corpus, context).documents[0].error or "")
    (tmp_path / "a.txt").unlink()
    assert "No such file" in (parse(corpus, context).documents[0].error or "")


def test_a_folder_or_pipe_in_place_of_a_file(tmp_path: Path, context: Any) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    corpus = parse([tmp_path, tmp_path / "pipe.txt"], context)
    errors = [found.error or "" for found in corpus.documents]
    assert "put an 'ingest' step before" in errors[0]
    assert "not a regular file" in errors[1]


def test_formats_choose_what_is_parsed(tmp_path: Path, context: Any, complaint: Any) -> None:
    for name in ("a.txt", "b.md", "c.html", "d.pdf"):
        (tmp_path / name).write_text("text")
    corpus = parse(ingest(None, context, source=tmp_path), context, formats=["pdf", "Markdown"])
    assert [found.text for found in corpus.documents] == [None, "text", None, None]
    assert [found.error is None for found in corpus.documents] == [True, True, True, False]
    corpus = parse(corpus, context, formats="txt")
    assert [found.text for found in corpus.documents] == ["text", "text", None, None]
    told = complaint(parse, {"formats": ["htmll"]})
    assert "unknown format 'htmll'; did you mean 'html'" in told


def test_one_file_for_each_of_several_steps(tmp_path: Path, context: Any) -> None:
    for name in ("doc1.txt", "doc2.txt", "xdoc1.txt"):
        (tmp_path / name).write_text(name)
    start = ingest(None, context, source=tmp_path)
    parts = {n: parse(start, context, file=n) for n in ("doc1.txt", str(tmp_path / "doc2.txt"))}
    assert [len(part.documents) for part in parts.values()] == [1, 1]
    merged = Corpus.of(parts, context.artifacts)
    assert [found.text for found in merged.documents] == ["doc1.txt", "doc2.txt"]
    told = r"file='docs1.txt' is not among the 3 documents \(doc1.*; did you mean '\w*doc1.txt'\?"
    with pytest.raises(StepInputError, match=told):
        parse(start, context, file="docs1.txt")


def test_what_the_user_said_of_a_document_wins(tmp_path: Path, context: Any) -> None:
    (tmp_path / "page").write_text("<title>theirs</title><p>x")
    data = [{"source": tmp_path / "page", "media_type": "text/html; charset=x", "title": "mine"}]
    (found,) = parse(data, context).documents
    assert (found.text, found.metadata["title"]) == ("x", "mine")
    assert found.size == 25


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.html", b"x"),
        ("a.md", b"x"),
        ("a.txt", "é".encode("latin-1")),
        ("a.pdf", b"x"),
        ("a.docx", b"x"),
    ],
)
def test_a_missing_library_is_one_clear_error(
    name: str, data: bytes, parse_bytes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_import = builtins.__import__
    optional = ("selectolax", "markdown_it", "charset_normalizer", "pypdfium2", "docx")

    def refuse(module: str, *rest: Any, **more: Any) -> Any:
        if module.partition(".")[0] in optional:
            raise ImportError(module)
        return really_import(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(isolation, "NATIVE", frozenset())  # a worker would import as ever
    with pytest.raises(MissingExtra, match=r"pip install 'semantica-pipeline\[documents\]'"):
        parse_bytes(name, data)
    assert parse_bytes("plain.txt", "é".encode()).text == "é"


def test_a_parser_s_own_bug_costs_one_document(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes) -> Any:
        raise RecursionError("too deep")

    monkeypatch.setitem(cast(dict[str, Any], READERS), "json", broken)
    (tmp_path / "a.json").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    corpus = parse(ingest(None, context, source=tmp_path), context)
    assert [found.error for found in corpus.documents] == [
        "reading it as json failed: RecursionError('too deep')",
        None,
    ]


def test_text_given_as_data_needs_no_file(context: Any) -> None:
    start = Corpus.of([{"text": "given"}], context.artifacts)
    assert parse(start, context) == start
    assert msgspec.structs.asdict(start.documents[0])["text"] == "given"


def test_it_can_be_cancelled(context: Any, cancelled: type[BaseException]) -> None:
    context.cancel_after = 1
    with pytest.raises(cancelled):
        parse([{"text": "a"}, {"text": "b"}], context)
