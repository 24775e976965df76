"""all-MiniLM-L6-v2 on numpy: a BERT encoder of six layers, mean pooling, length 1.

The architecture is that of Devlin et al., "BERT" (2018), as the model's ``config.json`` configures
it: hidden size 384, 12 heads, GELU; pooling as in Reimers and Gurevych, "Sentence-BERT" (2019).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from .model import Piece
from .weights import MINILM, locate, verified

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12
MAX_LENGTH = 256
"""Tokens that the model was trained on at once (its ``sentence_bert_config.json``)."""
LONGEST = 512
"""Tokens that it has positions for."""
TOKENS = 2048
"""Tokens computed at once, padding included: what lies in a processor's caches is fastest."""
_MARKS = 2
"""Tokens that begin and end every piece."""


class MiniLM:
    """The model, of a process: its weights are loaded when first needed, once for all threads.

    Args:
        max_length: Tokens of a piece; a longer text is several pieces.

    Raises:
        ModelMissing: It is not installed.
    """

    name = MINILM.name
    at_once = 1
    """Batches at a time in a process: the matrix library has threads of its own."""

    def __init__(self, max_length: int | None = None) -> None:
        self._folder = locate(MINILM)
        self._room = min(max_length or MAX_LENGTH, LONGEST) - _MARKS
        self.version = f"{self.name}/{self._room}"

    def pieces(self, text: str) -> list[Piece]:
        """The text in pieces of at most ``max_length`` tokens; an empty one is one piece."""
        ids = _load(self._folder).tokenizer.encode(text, add_special_tokens=False).ids
        parts = [ids[i : i + self._room] for i in range(0, len(ids), self._room)] or [[]]
        return [Piece(tuple(part), len(part) or 1) for part in parts]

    def encode(self, contents: Sequence[Any]) -> Floats:
        """A vector of length 1 for the token ids of each piece."""
        return _load(self._folder).encode(contents)


class _Network:
    """The weights, and how they are applied."""

    def __init__(self, folder: Path) -> None:
        try:
            import numpy as np
            from safetensors.numpy import load
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtra(f"the model {MINILM.name}", "embed") from error
        self._np = np
        weights = load(verified(folder, MINILM, "model.safetensors"))
        self.tokenizer = Tokenizer.from_str(verified(folder, MINILM, "tokenizer.json").decode())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self._start = self.tokenizer.token_to_id("[CLS]")
        self._end = self.tokenizer.token_to_id("[SEP]")
        self._words = weights["embeddings.word_embeddings.weight"]
        places = weights["embeddings.position_embeddings.weight"]
        self._places = places + weights["embeddings.token_type_embeddings.weight"][0]
        self._norm = _named(weights, "embeddings.LayerNorm")
        self._layers = [_Layer(np, weights, f"encoder.layer.{i}") for i in range(LAYERS)]
        self._turn = threading.Lock()

    def encode(self, contents: Sequence[Sequence[int]]) -> Floats:
        np = self._np
        result: Floats = np.zeros((len(contents), WIDTH), np.float32)
        order = sorted(range(len(contents)), key=lambda i: len(contents[i]))
        for chosen in _alike(order, [len(one) + _MARKS for one in contents]):
            with self._turn:  # its matrix products use every core already
                result[chosen] = self._forward([contents[i] for i in chosen])
        return result

    def _forward(self, contents: Sequence[Sequence[int]]) -> Floats:
        np = self._np
        longest = max(map(len, contents)) + _MARKS
        ids = np.zeros((len(contents), longest), np.int64)
        mask = np.zeros((len(contents), longest), np.float32)
        for row, content in enumerate(contents):
            ids[row, : len(content) + _MARKS] = (self._start, *content, self._end)
            mask[row, : len(content) + _MARKS] = 1
        x: Floats = _normalise(np, self._words[ids] + self._places[:longest], self._norm)
        hidden = ((1 - mask) * np.float32(-1e9))[:, None, None, :]
        for layer in self._layers:
            x = layer.apply(x, hidden)
        pooled: Floats = (x * mask[:, :, None]).sum(axis=1)
        length = np.linalg.norm(pooled, axis=1, keepdims=True)
        pooled /= np.maximum(length, np.float32(1e-12))
        return pooled


class _Layer:
    """Attention and the two products after it, each with what it is added to and normalised."""

    def __init__(self, np: Any, weights: dict[str, Any], name: str) -> None:
        self._np = np
        parts = [_named(weights, f"{name}.attention.self.{w}") for w in ("query", "key", "value")]
        scale = np.float32((WIDTH // HEADS) ** -0.5)
        self._mix = (
            np.concatenate([parts[0][0] * scale, parts[1][0], parts[2][0]]).T.copy(),
            np.concatenate([parts[0][1] * scale, parts[1][1], parts[2][1]]),
        )
        self._out = _transposed(weights, f"{name}.attention.output.dense")
        self._out_norm = _named(weights, f"{name}.attention.output.LayerNorm")
        self._up = _transposed(weights, f"{name}.intermediate.dense")
        self._down = _transposed(weights, f"{name}.output.dense")
        self._norm = _named(weights, f"{name}.output.LayerNorm")

    def apply(self, x: Floats, hidden: Floats) -> Floats:
        np = self._np
        count, length, _ = x.shape
        flat = x.reshape(-1, WIDTH)
        mixed = (flat @ self._mix[0] + self._mix[1]).reshape(count, length, 3, HEADS, -1)
        query, key, value = mixed.transpose(2, 0, 3, 1, 4)
        scores = query @ key.swapaxes(-1, -2)
        scores += hidden
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        seen = (scores @ value).transpose(0, 2, 1, 3).reshape(-1, WIDTH)
        flat = _normalise(np, flat + (seen @ self._out[0] + self._out[1]), self._out_norm)
        inner = _gelu(np, flat @ self._up[0] + self._up[1])
        flat = _normalise(np, flat + (inner @ self._down[0] + self._down[1]), self._norm)
        return flat.reshape(count, length, WIDTH)


def _named(weights: dict[str, Any], name: str) -> tuple[Floats, Floats]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _transposed(weights: dict[str, Any], name: str) -> tuple[Floats, Floats]:
    weight, bias = _named(weights, name)
    return weight.T.copy(), bias


def _normalise(np: Any, x: Floats, norm: tuple[Floats, Floats]) -> Floats:
    x = x - x.mean(axis=-1, keepdims=True)
    variance = np.einsum("...i,...i->...", x, x)[..., None] / np.float32(WIDTH)
    x *= 1 / np.sqrt(variance + np.float32(EPSILON))
    x *= norm[0]
    x += norm[1]
    return x


def _gelu(np: Any, x: Floats) -> Floats:
    """``x`` times the normal distribution function of ``x``, in place.

    The error function is formula 7.1.26 of Abramowitz and Stegun, "Handbook of Mathematical
    Functions" (1964), whose error is below 1.5e-7: numpy has none.
    """
    z = np.abs(x)
    z *= np.float32(2**-0.5)
    t = z * np.float32(0.3275911)
    t += 1
    np.divide(np.float32(1), t, out=t)
    tail = t * np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail += np.float32(coefficient)
        tail *= t
    z *= z
    np.negative(z, out=z)
    np.exp(z, out=z)
    tail *= z  # 1 - erf(|x| / sqrt 2)
    # x (1 + erf) / 2 is max(x, 0) - |x| tail / 2 for either sign.
    tail *= np.abs(x)
    tail *= np.float32(0.5)
    np.maximum(x, 0, out=x)
    x -= tail
    return x


def _alike(order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """``order``, which is by length, in groups that take at most TOKENS tokens when padded."""
    groups: list[list[int]] = []
    for i in order:
        if groups and (len(groups[-1]) + 1) * lengths[i] <= TOKENS:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


@cache
def _loaded(folder: Path) -> _Network:
    return _Network(folder)


_loading = threading.Lock()


def _load(folder: Path) -> _Network:
    with _loading:  # several steps may begin at once
        return _loaded(folder)
