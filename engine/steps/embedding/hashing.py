"""The last resort: words, hashed. It needs no weights, and finds only what is worded alike."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from .model import Piece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

WIDTH = 512
_WORD = re.compile(r"\w+")


class Hashing:
    """A signed hash of each word, weighted by the logarithm of its count (Weinberger et al.,
    "Feature Hashing for Large Scale Multitask Learning", 2009)."""

    name = "hashing"
    version = f"hashing/{WIDTH}"
    at_once = 1

    def __init__(self) -> None:
        try:
            import numpy as np
        except ImportError as error:
            raise MissingExtra("the model hashing", "embed") from error
        self._np = np

    def pieces(self, text: str) -> list[Piece]:
        """The whole text: any fits."""
        return [Piece(text, 1)]

    def encode(self, contents: Sequence[Any]) -> Floats:
        """The vectors of texts."""
        rows = self._np.zeros((len(contents), WIDTH), self._np.float32)
        for row, text in zip(rows, contents, strict=True):
            for word, count in Counter(_WORD.findall(text.casefold())).items():
                digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8)
                number = int.from_bytes(digest.digest(), "big")
                row[number % WIDTH] += (1 if number >> 63 else -1) * (1 + math.log(count))
        return rows
