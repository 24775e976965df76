"""Lays out the text of a marked-up document: words, lines, blocks, list items and table cells."""

from __future__ import annotations

from typing import Any

SPACE, CELL, LINE, BLOCK = " ", "\t", "\n", "\n\n"
_STRENGTH = {"": 0, SPACE: 1, CELL: 2, LINE: 3, BLOCK: 4}


class Layout:
    """Collects text. Between two pieces stands the strongest separator that was asked for."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._separator = ""
        self._prefix = ""
        self._headings: list[dict[str, Any]] = []
        self._heading = 0  # where the open heading begins in _parts

    def separate(self, separator: str) -> None:
        """The next text is set off by at least this."""
        if not self._prefix and _STRENGTH[separator] > _STRENGTH[self._separator]:
            self._separator = separator

    def item(self, prefix: str) -> None:
        """The next text begins a list item; its mark appears only if there is any text."""
        self._prefix = ""
        self.separate(LINE)
        self._prefix = prefix

    def write(self, text: str) -> None:
        """Running text: every run of white space counts as one space."""
        words = text.split()
        if not words or text[0].isspace():
            self.separate(SPACE)
        if words:
            self.verbatim(" ".join(words))
            if text[-1].isspace():
                self.separate(SPACE)

    def verbatim(self, text: str) -> None:
        """Text that stays as it is."""
        if not text:
            return
        if self._parts:
            self._parts.append(self._separator)
        self._parts += (self._prefix, text)
        self._separator = self._prefix = ""

    def open_heading(self) -> None:
        self.separate(BLOCK)
        self._heading = len(self._parts)

    def close_heading(self, level: int) -> None:
        text = "".join(self._parts[self._heading :]).strip()
        if text:
            self._headings.append({"level": level, "text": text})
        self.separate(BLOCK)

    def text(self) -> str:
        return "".join(self._parts)

    def metadata(self, encoding: str, title: str | None) -> dict[str, Any]:
        """``encoding``, ``headings``, and ``title``, else the first of the highest headings."""
        found: dict[str, Any] = {"encoding": encoding}
        if not title and self._headings:
            title = min(self._headings, key=lambda heading: int(heading["level"]))["text"]
        if title:
            found["title"] = title
        if self._headings:
            found["headings"] = self._headings
        return found
