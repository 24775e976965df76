"""A run that embeds slowly enough to be killed on the way: ``LOG BATCHES REUSE``."""

from __future__ import annotations

import sys
import time
from typing import Any

from semantica.pipeline import ExecutionEngine, PipelineBuilder
from semantica.pipeline.engine.steps.embedding.hashing import Hashing


def slow(encode: Any) -> Any:
    def encoded(self: Hashing, contents: Any) -> Any:
        for text in contents:
            print(text, flush=True)
        time.sleep(0.05)
        return encode(self, contents)

    return encoded


def main(log: str, batches: str, reuse: str) -> None:
    Hashing.encode = slow(Hashing.encode)  # type: ignore[method-assign]
    texts = [{"text": f"text {number}"} for number in range(4 * int(batches))]
    pipeline = (
        PipelineBuilder()
        .add_step("embed", "embed", model="hashing", batch_size=4, reuse=reuse == "True")
        .build("slow")
    )
    with ExecutionEngine(log) as engine:
        result = engine.execute_pipeline(pipeline, texts, run_id="slow").raise_for_status()
        print(f"done {len(result.output.vectors)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
