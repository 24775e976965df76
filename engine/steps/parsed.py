"""What a reader hands back."""

from __future__ import annotations

from typing import Any, NamedTuple


class Parsed(NamedTuple):
    """What was read.

    ``metadata`` has what the format knows: ``encoding``, ``title``, ``author``, ``language``,
    ``pages``, ``pages_without_text``, ``rows``, ``columns``, ``header``, and ``headings``, a list
    of ``{"level": 1, "text": ...}``.
    """

    text: str
    metadata: dict[str, Any]
