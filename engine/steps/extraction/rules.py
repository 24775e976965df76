"""The extractor ``"rules"``: forms, word lists, cues and verb frames; no model, nothing to load."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge

from .found import Mention, Statement
from .frames import statements
from .literals import literals
from .names import names
from .truecase import truecased


class Rules:
    """Finds what :mod:`.literals` and :mod:`.names` find, and what :mod:`.frames` says of them."""

    def entities(self, text: str) -> Sequence[Mention]:
        forms = list(literals(text))
        named = names(truecased(text), forms)
        return list(merge(forms, named, key=lambda mention: mention.start))

    def relations(self, text: str, mentions: Sequence[Mention]) -> Sequence[Statement]:
        return list(statements(text, mentions))
