"""PDF, DOCX, CSV and JSON: the text a reader would see, and plain words where there is none."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import docx
import pypdfium2
import pytest
from docx.oxml import parse_xml

from semantica.pipeline.engine.steps import docx_text
from semantica.pipeline.engine.steps.docx_text import read_docx
from semantica.pipeline.engine.steps.errors import DocumentError
from semantica.pipeline.engine.steps.json_text import read_json, read_json_lines
from semantica.pipeline.engine.steps.pdf_text import read_pdf
from semantica.pipeline.engine.steps.tables import read_csv

SAMPLES = Path(__file__).parents[3] / "tools" / "samples" / "documents"
REPORT = (SAMPLES / "annual-report.pdf").read_bytes()

# PDF


def test_pdf_has_its_pages_and_says_who_wrote_it() -> None:
    text, metadata = read_pdf(REPORT)
    assert text.startswith("Nordlys Instruments\nAnnual Report 2023\n")
    assert "by Jürg Bächtold.\n\nThe Observatory\nThe Halden" in text  # where a page ends
    assert metadata == {
        "pages": 2,
        "title": "Nordlys Instruments: Annual Report 2023",
        "author": "Kari Nilsen",
    }


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no PDF at all", "the PDF is damaged, or no PDF"),
        (REPORT[: len(REPORT) // 2], "the PDF is damaged, or no PDF"),
        ((SAMPLES / "broken-encrypted.pdf").read_bytes(), "encrypted and needs a password"),
        ((SAMPLES / "broken-scanned.pdf").read_bytes(), "no text layer: scanned pages need OCR"),
    ],
)
def test_pdf_without_text_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        read_pdf(data)


def test_pages_without_text_are_counted() -> None:
    with pypdfium2.PdfDocument(REPORT) as document:
        document.new_page(200, 200)
        buffer = BytesIO()
        document.save(buffer)
    text, metadata = read_pdf(buffer.getvalue())
    assert text == read_pdf(REPORT).text
    assert (metadata["pages"], metadata["pages_without_text"]) == (3, 1)


# DOCX

_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def word(*blocks: str, **properties: str) -> bytes:
    """A document of these pieces of XML."""
    document = docx.Document()
    document.core_properties.author = ""
    for key, value in properties.items():
        setattr(document.core_properties, key, value)
    body = document.element.body
    for block in blocks:
        body.insert(len(body) - 1, parse_xml(re.sub(r"^<[\w:]+", rf"\g<0> {_W}", block)))
    buffer = BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def test_docx_as_a_reader_sees_it() -> None:
    text, metadata = read_docx((SAMPLES / "contract.docx").read_bytes())
    assert metadata == {
        "title": "Contract for the Harbour Footbridge",
        "author": "Okafor Bridges",
        "headings": [
            {"level": 1, "text": "Contract for the Harbour Footbridge"},
            {"level": 2, "text": "Payments"},
            {"level": 2, "text": "Duties"},
        ],
    }
    assert "Payments\n\nDue\tAmount\tFor\n2009-06-01\t1.2 million euros\tDesign by" in text
    assert "Opening\n\nDuties\n\n- Okafor Bridges delivers the bridge by May 2011.\n- The" in text
    assert text.endswith(
        "maintains it.\n\nPieter van der Meer of Delft University of Technology "
        "is appointed arbiter."
    )


def test_docx_leaves_nothing_visible_out() -> None:
    run = "<w:r><w:t>{}</w:t></w:r>"
    data = word(
        f"<w:p>{run.format('one')}<w:r><w:tab/><w:t>two</w:t><w:br/><w:t>three</w:t></w:r></w:p>",
        f"<w:sdt><w:sdtContent><w:p>{run.format('in a control')}</w:p></w:sdtContent></w:sdt>",
        f"<w:p><w:ins>{run.format('inserted')}</w:ins><w:del><w:r><w:delText>deleted</w:delText>"
        f"</w:r></w:del><w:hyperlink>{run.format(' linked')}</w:hyperlink></w:p>",
        f"<w:tbl><w:tr><w:tc><w:p>{run.format('a')}</w:p><w:p>{run.format('b')}</w:p></w:tc>"
        f"<w:tc><w:tbl><w:tr><w:tc><w:p>{run.format('nested')}</w:p></w:tc></w:tr></w:tbl><w:p/>"
        f"</w:tc></w:tr></w:tbl>",
        "<w:p/>",
        title="Said",
    )
    text, metadata = read_docx(data)
    assert text == "one two\nthree\n\nin a control\n\ninserted linked\n\na b\nnested"
    assert metadata == {"title": "Said"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no archive", "damaged, or no DOCX"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "it is encrypted, or of Word 97-2003"),
    ],
)
def test_docx_that_is_none_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        read_docx(data)


def test_an_archive_that_is_no_word_document() -> None:
    buffer = BytesIO()
    with ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(DocumentError, match="no Word document"):
        read_docx(buffer.getvalue())


def test_a_zip_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docx_text, "MAX_UNPACKED", 4 << 20)
    buffer = BytesIO(word("<w:p><w:r><w:t>x</w:t></w:r></w:p>"))
    assert read_docx(buffer.getvalue()).text == "x"
    with ZipFile(buffer, "a", ZIP_DEFLATED) as archive:
        archive.writestr("word/media/big", bytes(5 << 20))
    with pytest.raises(DocumentError, match="unpack to 5 MiB, more than the 4 MiB allowed"):
        read_docx(buffer.getvalue())


# CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_rows_say_what_each_cell_is(delimiter: str) -> None:
    rows = [["Name", "Paid, in euros", "Note"], ["Ann", "1,5", '"a\nb"'], [], ["Bo", "2", ""]]
    quoted = [[f'"{cell}"' if "," in cell else cell for cell in row] for row in rows]
    data = "\r\n".join(delimiter.join(row) for row in quoted).encode("utf-8-sig")
    text, metadata = read_csv(data)
    assert text == "Name: Ann\nPaid, in euros: 1,5\nNote: a\nb\n\nName: Bo\nPaid, in euros: 2"
    assert metadata == {
        "encoding": "utf-8",
        "rows": 2,
        "columns": 3,
        "header": ["Name", "Paid, in euros", "Note"],
    }


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("1,2\n3,4\n", "1\t2\n3\t4"),
        ("a,a\n1,2", "a\ta\n1\t2"),
        ("only one row,of two", "only one row\tof two"),
        ("name\nAnn", "name: Ann"),
        ("a,b\n1,2,extra\n3", "a: 1\nb: 2\nextra\n\na: 3"),
        ('a,b\n"never closed,1\n', "a: never closed,1"),
        ("a;b\n1,5;2,5\n3,5;4,5", "a: 1,5\nb: 2,5\n\na: 3,5\nb: 4,5"),
        ("", ""),
        ("\n,\n", ""),
    ],
)
def test_csv_of_all_kinds(data: str, text: str) -> None:
    assert read_csv(data.encode()).text == text


def test_a_cell_that_is_too_large_is_told_with_its_line() -> None:
    with pytest.raises(DocumentError, match=r"^line 2: field larger than field limit"):
        read_csv(b"a,b\n" + b"x" * 200_000 + b",1\n")


# JSON


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ('"just text"', "just text"),
        ("[1, 2.50, 1e999, true, null, NaN]", "1\n2.50\n1e999\ntrue\nNaN"),
        ('{"a": {"b": "x", "c": ["y", "z"]}, "d": null}', "a.b: x\na.c: y\na.c: z"),
        ('{"p": [{"n": 1}, {"n": 2}], "q": false}', "p.n: 1\n\np.n: 2\n\nq: false"),
        ('{"a": 1, "a": 2}', "a: 1\na: 2"),
        ('{"n": ' + "9" * 5000 + "}", "n: " + "9" * 5000),
        ("{}", ""),
        ('\ufeff{"é": "ü"}', "é: ü"),
    ],
)
def test_json_loses_nothing(data: str, text: str) -> None:
    assert read_json(data.encode()).text == text


def test_json_lines_are_set_apart_and_counted() -> None:
    text, metadata = read_json_lines(
        b'{"a": 1}\r\n\r\n{"a": "2\\n3", "b": [4]}\n"x\xe2\x80\xa8y"\n'
    )
    assert text == "a: 1\n\na: 2\n3\nb: 4\n\nx\u2028y"
    assert metadata == {"encoding": "utf-8", "rows": 3}


@pytest.mark.parametrize(
    ("read", "data", "reason"),
    [
        (read_json, b'{"a": 1,\n "b" 2}', r"^line 2, column 6: Expecting ':' delimiter"),
        (read_json, b'{"a": 1} {"a": 2}', r"^line 1, column 10: Extra data"),
        (read_json, b'{"a": "x', r"^line 1, column 7: Unterminated string"),
        (read_json_lines, b'{"a": 1}\n\n{"a": 1,}\n', r"^line 3, column [89]: "),
        (read_json, b"[" * 1_000_000, "nested too deep"),
        (read_json, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deep"),
        (read_json_lines, b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
    ],
)
def test_json_that_is_none_says_where(read: Any, data: bytes, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        read(data)
