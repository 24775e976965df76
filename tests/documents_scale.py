"""``python tests/documents_scale.py [--files N] [--template NAME] [--set STEP.KEY=VALUE ...]``.

Runs a template over N small generated files in mixed formats, 1 % of them broken, and over a tenth
of them, each in a process of its own: how long it takes, and how much memory.
"""
# ruff: noqa: E402 (a script that finds its neighbours first)

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "crash")]

from documents_long import File, make_folder

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineTemplateManager
from semantica.pipeline.engine.process import peak_memory

GROWTH = 1.5
"""The most that ten times the files may take of memory."""
COUNTED = ("_processed", "_failed", "_extracted", "_embedded", "_stored", "_nodes", "_edges")


class Seen(NamedTuple):
    """What a run showed.

    Args:
        rss, worker: The most resident memory of the engine's process, and of any that it started,
            in MiB.
        metrics: What the steps have counted.
    """

    seconds: float
    rss: float
    worker: float
    metrics: dict[str, float]
    seconds_by_step: dict[str, float]


def pipeline(template: str, settings: list[str], folder: str) -> Pipeline:
    """The template, over the files of a folder."""
    whole = PipelineTemplateManager().create_pipeline_from_template(template).build()
    whole.step("ingest").config["source"] = folder
    for setting in settings:
        place, _, value = setting.partition("=")
        step, _, key = place.partition(".")
        whole.step(step).config[key] = json.loads(value) if value[:1] in '"[{0123456789' else value
    return whole


def child(template: str, settings: list[str], folder: str, log: str) -> Seen:
    """Run it in this process."""
    wanted = pipeline(template, settings, folder)
    began = time.monotonic()
    with ExecutionEngine(log) as engine:
        result = engine.execute_pipeline(wanted).raise_for_status()
        seconds, rss = time.monotonic() - began, peak_memory()
        spent = {
            one.step: (one.end - one.start) / 1e9 for one in engine.timeline(result.run_id).attempts
        }
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    counted = {name: number for name, number in result.metrics.items() if name.endswith(COUNTED)}
    return Seen(seconds, rss, worker, counted, spent)


def measure(options: argparse.Namespace, home: Path, count: int) -> Seen:
    """Run it over ``count`` files in another process, and check that none is lost."""
    made: dict[str, File] = make_folder(home / "files", count, options.seed)
    told: dict[str, Any] = {
        "template": options.template,
        "settings": options.set,
        "folder": str(home / "files"),
        "log": str(home / "log.db"),
    }
    command = [sys.executable, __file__, "--child", json.dumps(told)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seen = Seen(*json.loads(done.stdout.splitlines()[-1]))
    broken = sum(not file.readable for file in made.values())
    assert seen.metrics["documents_failed"] == broken, seen
    assert seen.metrics["documents_processed"] == count - broken, seen
    print(
        f"{options.template}, {count} files ({broken} broken): {seen.seconds:.1f} s, peak memory "
        f"{seen.rss:.0f} MiB (a process of parsers {seen.worker:.0f} MiB); "
        f"{', '.join(f'{number:g} {name}' for name, number in seen.metrics.items())}; "
        f"{', '.join(f'{step} {spent:.1f} s' for step, spent in seen.seconds_by_step.items())}",
        flush=True,
    )
    return seen


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--template", default="rag_pipeline")
    parser.add_argument("--set", action="append", default=[], metavar="STEP.KEY=VALUE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(**json.loads(options.child))))
        return
    with tempfile.TemporaryDirectory() as base:
        small = measure(options, Path(base, "small"), max(1, options.files // 10))
        large = measure(options, Path(base, "large"), options.files)
    print(f"{large.rss / small.rss:.2f} of the memory for ten times the files")
    assert large.rss < GROWTH * small.rss, "memory grows with the number of files"


if __name__ == "__main__":
    main()
