"""Texts of documents in files of other formats."""

from __future__ import annotations

import re

_UNFIT = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """``text`` with U+FFFD for each character that XML 1.0 cannot hold, such as a null or a lone
    surrogate."""
    return _UNFIT.sub("\ufffd", text)
