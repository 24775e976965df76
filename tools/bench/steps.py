"""How well and how fast the built-in steps do their work, on the shipped corpus.

    python -m semantica.pipeline.tools.bench.steps [--copies N]

Prints what is found of what the corpus says (:mod:`.quality`), how fast texts become vectors and
vectors are searched (:mod:`.embedding`), and, for each template, what each of its steps takes for
N copies of the corpus: the durations that the log has recorded.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from ...engine.execution import ExecutionEngine
from ...engine.templates import PipelineTemplateManager
from . import embedding, quality

CORPUS = quality.SAMPLES / "corpus"
TEMPLATES = ("document_processing", "rag_pipeline", "kg_construction")


def many(folder: Path, copies: int) -> int:
    """Fill a folder with copies whose contents differ. Returns how many files there are."""
    for number in range(copies):
        shutil.copytree(CORPUS, folder / str(number))
        for file in (folder / str(number)).iterdir():
            if file.suffix in {".txt", ".md"}:
                file.write_text(f"{file.read_text()}\nCopy number {number}.\n")
    return sum(file.is_file() for file in folder.rglob("*"))


def templates(folder: Path, files: int) -> None:
    """Print what each step of each template takes, for all documents and for one."""
    manager = PipelineTemplateManager()
    with ExecutionEngine(folder / "runs.db") as engine:
        for name in TEMPLATES:
            builder = manager.create_pipeline_from_template(
                name, ingest={"source": str(folder / "documents")}
            )
            result = engine.execute_pipeline(builder.build())
            result.raise_for_status()
            print(f"\n{name}, {files} files: {result.metrics['total_time']:.2f} s")
            for step in engine.report(result.run_id).steps:
                each = step.seconds / files * 1e3
                print(f"  {step.name:18}{step.seconds:8.2f} s{each:9.2f} ms a file")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--copies", type=int, default=10, help="of the corpus [default: 10]")
    copies = parser.parse_args().copies
    quality.main()
    print()
    embedding.embedding()
    with tempfile.TemporaryDirectory() as folder:
        embedding.searching(Path(folder))
        files = many(Path(folder) / "documents", copies)
        templates(Path(folder), files)


if __name__ == "__main__":
    main()
