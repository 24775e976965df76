"""The text of tables (CSV)."""

from __future__ import annotations

import csv
from collections import Counter
from io import StringIO
from itertools import chain, repeat
from typing import Any

from .encoding import decode
from .errors import DocumentError
from .parsed import Parsed, bounded

_DELIMITERS = ",;\t|"
_SAMPLE = 1 << 16  # characters that tell the delimiter


def read_csv(data: bytes) -> Parsed:
    """Each row as lines of ``header: value``, rows set apart by blank lines.

    Without a header (names that are all different and no numbers) the cells of a row stand in one
    line, between tabs. The delimiter is the one of comma, semicolon, tab and bar that fits best.

    Raises:
        DocumentError: A cell is too large (128 KiB), the encoding cannot be told, or the text would
            be too long, since the header's names are repeated.
        MissingExtra: It is not UTF-8, and the library that can tell is not installed.
    """
    text, encoding = decode(data)
    reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DocumentError(f"line {reader.line_num}: {error}") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    metadata: dict[str, Any] = {
        "encoding": encoding,
        "rows": len(rows),
        "columns": max(map(len, rows), default=0),
    }
    if not _is_header(header, rows[1:]):
        return Parsed("\n".join("\t".join(map(str.strip, row)) for row in rows), metadata)
    metadata |= {"rows": len(rows) - 1, "header": header}
    return Parsed("\n\n".join(bounded(_record(header, row) for row in rows[1:])), metadata)


def _record(header: list[str], row: list[str]) -> str:
    # Cells beyond the header have no name, and a short row lacks the last ones.
    pairs = zip(chain(header, repeat("")), map(str.strip, row), strict=False)
    lines = (f"{name}: {cell}" if name else cell for name, cell in pairs if cell)
    return "\n".join(bounded(lines))


def _is_header(names: list[str], rows: list[list[str]]) -> bool:
    distinct = len(set(names)) == len(names) and all(names)
    return distinct and bool(rows) and not any(map(_is_number, names))


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _delimiter(text: str) -> str:
    """The delimiter that gives most rows the same number of cells, and then the most cells."""

    def fit(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(StringIO(text[:_SAMPLE], newline=""), delimiter=delimiter)
        try:
            widths = Counter(len(row) for row in reader if row)
        except csv.Error:
            return 0, 0
        width, times = max(widths.items(), key=lambda item: item[::-1], default=(0, 0))
        return (times, width) if width > 1 else (0, 0)

    return max(_DELIMITERS, key=fit)  # the comma if none divides anything
