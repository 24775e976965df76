"""From the bytes of a document to its plain text and what it says about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .docx_text import read_docx
from .encoding import decode
from .html_text import language_of, parse_html, title_of, write_html
from .json_text import read_json, read_json_lines
from .layout import Layout
from .markdown_text import parse_markdown, split_front_matter, write_markdown
from .parsed import Parsed
from .pdf_text import read_pdf
from .tables import read_csv


def read_text(data: bytes) -> Parsed:
    """Plain text as it is. Raises DocumentError, MissingExtra."""
    text, encoding = decode(data)
    return Parsed(text, {"encoding": encoding})


def read_markdown(data: bytes) -> Parsed:
    """The text of Markdown without its marks. Raises DocumentError, MissingExtra."""
    text, encoding = decode(data)
    title, body = split_front_matter(text)
    layout = Layout()
    write_markdown(parse_markdown(body), layout)
    return Parsed(layout.text(), layout.metadata(encoding, title))


def read_html(data: bytes) -> Parsed:
    """The visible text of HTML. Raises DocumentError, MissingExtra."""
    text, encoding = decode(data, declared=True)
    tree = parse_html(text)
    layout = Layout()
    write_html(tree, layout)
    metadata = layout.metadata(encoding, title_of(tree))
    if language := language_of(tree):
        metadata["language"] = language
    return Parsed(layout.text(), metadata)


READERS: Mapping[str, Callable[[bytes], Parsed]] = {
    "txt": read_text,
    "md": read_markdown,
    "html": read_html,
    "pdf": read_pdf,
    "docx": read_docx,
    "csv": read_csv,
    "json": read_json,
    "jsonl": read_json_lines,
}
"""By format; a format that is not here cannot be parsed yet."""
