"""Splitting text into overlapping pieces, in time linear in what comes out.

A piece begins and ends with a character that is not white space. Where there is a choice it ends
after a paragraph, else after a sentence, else after a word; a paragraph or sentence that would
leave it less than half full does not count.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator

Span = tuple[int, int]

_INK = re.compile(r"\S")
_SPACE = re.compile(r"\s")
_WORD = re.compile(r"\S+")
_PARAGRAPH_GAP = re.compile(r"\n\s*\n")
# Not after an initial ("J. Smith"), a title, or a number such as a list's; ideographic full stops
# need no space after them.
_SENTENCE = re.compile(
    r"[.!?\u2026](?<!\b[A-Z].)(?<!\b\d.)(?<!\b\d\d.)(?<!\bDr.)(?<!\bM[rs].)(?<!\bMrs.)(?<!\bSt.)"
    r"[\"'\u201d\u2019)\]]*(?=\s)|[\u3002\uff01\uff1f][\u300d\u300f\u201d\uff09]*"
)


def split_characters(text: str, size: int, overlap: int) -> Iterator[Span]:
    """Spans of at most ``size`` characters that cover all but white space.

    A piece begins with the last ``overlap`` characters of the one before, less what it takes to
    begin at a word; if no word begins there, with exactly ``overlap``. It shares nothing with a
    piece that is a shorter single word, or across white space that leaves no room for it. Only a
    word that does not fit beside the overlap is cut.

    Args:
        size: More than ``overlap``, which is 0 or more.
    """
    breaks = _Breaks(text)
    last = len(text.rstrip())
    start = new = _ink(text, 0)  # new: the first character not yet covered
    while new < last:
        limit = start + size
        end = last if limit >= last else _end(text, breaks, start, new, limit, overlap)
        yield start, end
        new = _ink(text, end)
        start = _overlapping(text, start, end, new, size, overlap)


def _end(text: str, breaks: _Breaks, start: int, new: int, limit: int, overlap: int) -> int:
    # Past the overlap, so that the next piece begins after this one's beginning.
    floor = max(new, start + overlap) + 1
    found = breaks.last(max(floor, start + (limit - start) // 2), limit)
    if found is not None:
        return found
    end = limit
    while end >= floor and not text[end].isspace():
        end -= 1
    if end < floor:
        end = limit  # inside a long word
    while text[end - 1].isspace():
        end -= 1
    return end


def _overlapping(text: str, start: int, end: int, new: int, size: int, overlap: int) -> int:
    """Where the piece after ``start:end`` begins, whose first new character is at ``new``."""
    if overlap == 0 or new >= len(text):
        return new
    begin = max(end - overlap, start)
    inside = begin > start and not text[begin - 1].isspace()
    if inside or begin == start:  # of a word, or of a piece that must not be shared whole
        gap = _SPACE.search(text, begin, end)
        begin = gap.start() if gap is not None else begin if inside else new
    begin = _ink(text, begin)
    return begin if new - begin < size else new


def split_words(text: str, size: int, overlap: int) -> Iterator[Span]:
    """Spans of at most ``size`` words, of which exactly ``overlap`` are shared with the one before.

    Args:
        size: More than ``overlap``, which is 0 or more.
    """
    breaks = _Breaks(text)
    starts, ends = array("Q"), array("Q")
    for word in _WORD.finditer(text):
        starts.append(word.start())
        ends.append(word.end())
    first = done = 0
    while done < len(starts):
        limit = min(first + size, len(starts))
        done = limit if limit == len(starts) else _end_word(breaks, ends, first, limit, overlap)
        yield starts[first], ends[done - 1]
        first = done - overlap


def _end_word(breaks: _Breaks, ends: array[int], first: int, limit: int, overlap: int) -> int:
    """The number of words up to the end of the piece that begins with word ``first``."""
    half = first + max(overlap + 1, (limit - first) // 2, 1)
    found = breaks.last(ends[half - 1], ends[limit - 1])
    return limit if found is None else bisect_right(ends, found)


class _Breaks:
    """Where paragraphs and sentences end, as positions after their last character."""

    def __init__(self, text: str) -> None:
        paragraphs = (_before(text, gap.start()) for gap in _PARAGRAPH_GAP.finditer(text))
        sentences = (match.end() for match in _SENTENCE.finditer(text))
        self._levels = (array("Q", paragraphs), array("Q", sentences))

    def last(self, lowest: int, highest: int) -> int | None:
        """The last end of a paragraph, else of a sentence, in ``lowest..highest``."""
        for ends in self._levels:
            number = bisect_right(ends, highest) - 1
            if number >= 0 and ends[number] >= lowest:
                return ends[number]
        return None


def _ink(text: str, start: int) -> int:
    """The first character from ``start`` that is not white space, else the text's length."""
    match = _INK.search(text, start)
    return len(text) if match is None else match.start()


def _before(text: str, end: int) -> int:
    while end > 0 and text[end - 1].isspace():
        end -= 1
    return end
