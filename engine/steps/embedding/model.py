"""What a model is to the step ``embed``, and how any text, however long, becomes one vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class Piece(NamedTuple):
    """As much of a text as a model takes at once, in its own form, and how much it weighs."""

    content: Any
    weight: float


class Model(Protocol):
    """Makes vectors of texts. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """What its vectors are known by: those of two names cannot be compared."""
        ...

    @property
    def version(self) -> str:
        """Of two models with the same one, every text has the same vector."""
        ...

    @property
    def at_once(self) -> int:
        """Batches that are worth computing at a time in a process."""
        ...

    def pieces(self, text: str) -> list[Piece]:
        """The text in pieces that fit; at least one."""
        ...

    def encode(self, contents: Sequence[Any]) -> Floats:
        """A row for each piece's content."""
        ...


def vectors_of(model: Model, texts: Sequence[str]) -> Floats:
    """A row of length 1 for each text: the mean of its pieces' vectors, weighted by their size, so
    that nothing of a long text is cut off. A text without anything the model knows has zeros."""
    import numpy as np

    pieces = [model.pieces(text) for text in texts]
    rows = model.encode([piece.content for found in pieces for piece in found])
    weights = np.array([piece.weight for found in pieces for piece in found], np.float32)
    starts = np.cumsum([0, *(len(found) for found in pieces[:-1])])
    sums: Floats = np.add.reduceat(rows * weights[:, None], starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    sums /= lengths
    return sums
