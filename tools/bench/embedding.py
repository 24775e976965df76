"""How fast texts are embedded by the local model, and 100,000 vectors searched.

python -m semantica.pipeline.tools.bench.embedding
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from semantica.pipeline.engine.steps.embedding.minilm import MiniLM
from semantica.pipeline.engine.steps.embedding.model import vectors_of
from semantica.pipeline.engine.steps.vectors.sqlite_vectors import SqliteVectors
from semantica.pipeline.engine.steps.vectors.store import Item

SHORT = "Sentence number {} is about a quick brown fox that jumps over a lazy dog."
LONG = "Barge {} carries grain from the northern valley to the mill, and stone on its way back. "
VECTORS = 100_000


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """The median of several times."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[times // 2]


def embedding() -> None:
    """Print how fast texts are embedded."""
    model = MiniLM()
    print(f"load     {seconds(lambda: vectors_of(model, ['a']), 1):8.2f} s, digests checked")
    short = [SHORT.format(number) for number in range(256)]
    long = ["".join(LONG.format(number + part) for part in range(6))[:512] for number in range(64)]
    for name, texts in (("sentences", short), ("chunks of 512 characters", long)):
        print(f"embed    {len(texts) / seconds(lambda: vectors_of(model, texts)):8.0f} {name}/s")  # noqa: B023


def searching(folder: Path) -> None:
    """Print how fast vectors are stored and searched, in a file of ``folder``."""
    rng = np.random.default_rng(1)
    index = SqliteVectors(folder / "bench.db")
    index.begin("random", 384)
    began = time.perf_counter()
    for start in range(0, VECTORS, 512):
        rows = rng.normal(size=(min(512, VECTORS - start), 384)).astype("<f4")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        index.upsert([_item(start + i, row.tobytes()) for i, row in enumerate(rows)], "bench")
    taken = time.perf_counter() - began
    print(f"store    {VECTORS / taken:8.0f} vectors/s, in transactions of 512")
    question = rng.normal(size=384).astype(np.float32)
    question /= np.linalg.norm(question)
    found = seconds(lambda: index.search(question.tolist(), 5), 9)
    print(f"search   {found * 1000:8.0f} ms, exact, over {VECTORS:,} x 384")
    index.close()


def _item(number: int, values: bytes) -> Item:
    return Item(str(number), "chunk", "d", f"s{number // 20}", 0, 500, "text " * 100, {}, values)


if __name__ == "__main__":
    embedding()
    with tempfile.TemporaryDirectory() as folder:
        searching(Path(folder))
