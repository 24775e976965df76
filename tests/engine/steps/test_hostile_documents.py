"""Documents made to do harm, or that are not what their names say: an error of theirs alone."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import docx
import pytest

from semantica.pipeline.engine.steps import files, parsed
from semantica.pipeline.engine.steps.docx_text import read_docx
from semantica.pipeline.engine.steps.encoding import transcode
from semantica.pipeline.engine.steps.errors import DocumentError
from semantica.pipeline.engine.steps.ingest import ingest
from semantica.pipeline.engine.steps.json_text import read_json, read_json_lines
from semantica.pipeline.engine.steps.parse import parse
from semantica.pipeline.engine.steps.pdf_text import read_pdf
from semantica.pipeline.engine.steps.reading import read_source
from semantica.pipeline.engine.steps.tables import read_csv

SAMPLES = Path(__file__).parents[3] / "tools" / "samples" / "documents"


def test_a_wide_table_with_many_short_rows_is_read_in_linear_time() -> None:
    header = b",".join(b"c%d" % number for number in range(200_000))
    started = time.monotonic()
    text, metadata = read_csv(header + b"\n" + b"1\n" * 20_000)
    assert time.monotonic() - started < 10
    assert (text[:12], metadata["columns"]) == ("c0: 1\n\nc0: 1", 200_000)


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (read_csv, b"x" * 1_000 + b",b\n" + b"1,2\n" * 5_000),
        (read_csv, b"x,y\n" * 500_000),
        (read_json, b'{"' + b"k" * 1_000 + b'":[' + b"1," * 5_000 + b"1]}"),
        (read_json_lines, (b'{"' + b"k" * 1_000 + b'":1}\n') * 5_000),
    ],
)
def test_names_that_are_repeated_cannot_fill_the_memory(
    read: Any, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsed, "MAX_TEXT", 1_000_000)
    with pytest.raises(DocumentError, match="longer than 1000000 characters"):
        read(data)


@pytest.mark.parametrize(
    "data", [b'{"title": "a\\ud800", "b": "\\udfff"}', b'["\\ud83d", "\\ude00"]']
)
def test_lone_surrogates_do_not_get_any_further(data: bytes, tmp_path: Path, context: Any) -> None:
    (tmp_path / "a.json").write_bytes(data)
    (found,) = parse(tmp_path / "a.json", context).documents
    assert "\ufffd" in (found.text or "").encode().decode()
    str(found.metadata).encode()


def test_json_pairs_of_surrogates_are_one_character() -> None:
    assert read_source("a.json", "application/json", "", b'["\\ud83d\\ude00"]').parsed.text == "😀"


@pytest.mark.parametrize(
    ("sample", "name", "reason"),
    [
        ("annual-report.pdf", "a.txt", "it is a PDF, not txt"),
        ("annual-report.pdf", "a.md", "it is a PDF, not md"),
        ("annual-report.pdf", "a.html", "it is a PDF, not html"),
        ("annual-report.pdf", "a.docx", "no DOCX"),
        ("contract.docx", "a.pdf", "no PDF"),
        ("contract.docx", "a.csv", "it is a ZIP archive, as Office documents are, not csv"),
    ],
)
def test_a_wrong_ending_is_told(
    sample: str, name: str, reason: str, tmp_path: Path, context: Any
) -> None:
    (tmp_path / name).write_bytes((SAMPLES / sample).read_bytes())
    assert reason in (parse(tmp_path / name, context).documents[0].error or "")


def test_a_file_larger_than_memory_is_an_error_of_the_file(
    tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Huge(BytesIO):
        def read(self, *_: Any) -> bytes:
            raise MemoryError

    monkeypatch.setattr(files, "open_file", lambda path: Huge())
    assert "too large" in (parse(tmp_path / "a.txt", context).documents[0].error or "")


def test_a_file_that_vanishes_and_one_that_may_not_be_read(
    tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.txt", "b.html", "c.txt"):
        (tmp_path / name).write_text("text")
    corpus = ingest(None, context, source=tmp_path)
    (tmp_path / "b.html").unlink()
    really_open = files.os.open

    def refuse(path: Any, *rest: Any) -> int:
        if str(path).endswith("a.txt"):
            raise PermissionError(13, "Permission denied")
        return really_open(path, *rest)

    monkeypatch.setattr(files.os, "open", refuse)
    errors = [found.error or "" for found in parse(corpus, context).documents]
    assert "Permission denied" in errors[0]
    assert "No such file" in errors[1]
    assert errors[2] == ""


def test_an_empty_folder_is_no_documents(tmp_path: Path, context: Any) -> None:
    assert len(parse(ingest(None, context, source=tmp_path), context).documents) == 0
    assert context.warnings[0][0] == "no documents found"


def bomb(body: str, declaration: str) -> bytes:
    """A Word document with that document type declaration and that text."""
    buffer, out = BytesIO(), BytesIO()
    docx.Document().save(buffer)
    with ZipFile(buffer) as old, ZipFile(out, "w", ZIP_DEFLATED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == "word/document.xml":
                space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
                data = (
                    f'<?xml version="1.0"?>{declaration}<w:document xmlns:w="{space}"><w:body>'
                    f"<w:p><w:r><w:t>{body}</w:t></w:r></w:p></w:body></w:document>"
                ).encode()
            new.writestr(entry, data)
    return out.getvalue()


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    entities = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, 12)
    )
    outside = f'<!ENTITY x SYSTEM "file://{tmp_path}/secret">'
    for body, declared in (("t&a11;", entities), ("t&x;", outside)):
        try:
            text = read_docx(bomb(body, f"<!DOCTYPE r [{declared}]>")).text
        except DocumentError:
            continue
        assert text == "t"


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        ("žluť".encode("cp1250"), "windows-1250", "žluť"),
        ("日本".encode("iso-2022-jp"), "iso-2022-jp", "日本"),
        ("ab日".encode("utf-16-le"), "utf-16", "ab日"),
        ("ü".encode(), "iso-8859-1", None),
        (b"plain", "utf-16", None),
        (b"\xff\xfea\0", "cp1252", None),
        (b"\xff", "shift_jis", None),
        (b"\xff", "idna", None),
        (b"\xff", "rot13", None),
        (b"\xff", "hex", None),
        (b"\xff\0", "cp1252", None),
        (b"\xff", "no\0thing", None),
        (b"\xff", "../../x", None),
    ],
)
def test_a_charset_that_somebody_names(data: bytes, charset: str, text: str | None) -> None:
    found = transcode(data, charset)
    assert (found[0].decode() if found else None) == text


def test_json_of_great_depth_is_read_in_linear_time() -> None:
    started = time.monotonic()
    text = read_json(b"[" * 800 + b",".join([b"1"] * 200_000) + b"]" * 800).text
    assert time.monotonic() - started < 10
    assert text.count("1") == 200_000


def test_json_with_names_too_long_to_repeat() -> None:
    data = b'{"' + b"k" * 70_000 + b'": 1}'
    with pytest.raises(DocumentError, match="names are longer than 65536 characters"):
        read_json(data)


def test_a_pdf_with_a_damaged_title_keeps_its_text() -> None:
    data = (SAMPLES / "annual-report.pdf").read_bytes()
    title = b"(Nordlys Instruments: Annual Report 2023)"
    damaged = data.replace(title, b"<FEFFD80000410000>".ljust(len(title)))
    text, metadata = read_pdf(damaged)
    assert text == read_pdf(data).text
    assert metadata == {"pages": 2, "author": "Kari Nilsen"}
