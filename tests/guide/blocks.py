"""The guide, taken apart: its headings, and its fenced blocks by the heading they stand under."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

GUIDE = Path(__file__).parent / "guide.md"

_HEADING = re.compile(r"^(#{1,6}) (.+)$")
_FENCE = re.compile(r"^```(\w*)$")


class Block(NamedTuple):
    """A fenced block.

    Args:
        section: The headings around it below the guide's title, such as
            ``"Pipeline Execution > Status Tracking"``.
        index: Its place among the blocks of that section, from 0.
        language: ``python``, ``bash`` or ``yaml``.
        text: What stands between the fences, unchanged.
        line: Of the guide, where the text begins.
    """

    section: str
    index: int
    language: str
    text: str
    line: int

    @property
    def key(self) -> tuple[str, int]:
        """By which a case names it."""
        return self.section, self.index


def headings(text: str) -> list[str]:
    """The paths of all headings below the title, in order; a ``#`` in a block is none."""
    return _read(text)[0]


def blocks(text: str) -> list[Block]:
    """All fenced blocks, in order."""
    return _read(text)[1]


def block_at(section: str, index: int) -> Block:
    """A block of the guide."""
    return next(one for one in blocks(GUIDE.read_text("utf-8")) if one.key == (section, index))


def _read(text: str) -> tuple[list[str], list[Block]]:
    paths: list[str] = []
    found: list[Block] = []
    path: list[str] = []
    fenced: list[str] | None = None
    language = ""
    for number, line in enumerate(text.splitlines(), 1):
        fence, heading = _FENCE.match(line), _HEADING.match(line)
        if fence and fenced is None:
            fenced, language = [], fence[1]
        elif fence and fenced is not None:
            section = " > ".join(path)
            index = sum(block.section == section for block in found)
            body = "".join(f"{one}\n" for one in fenced)
            found.append(Block(section, index, language, body, number - len(fenced)))
            fenced = None
        elif fenced is not None:
            fenced.append(line)
        elif heading and len(heading[1]) > 1:
            path = [*path[: len(heading[1]) - 2], heading[2]]
            paths.append(" > ".join(path))
    return paths, found
