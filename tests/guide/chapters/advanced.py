"""Advanced Examples."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from guide.case import Script, case
from guide.handlers import (
    Meeting,
    Recorder,
    failing,
    one_after_another,
    recorded_delays,
    recorded_pool,
    spans,
)

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep, step
from semantica.pipeline.engine.steps.parse import parse


@case("Advanced Examples > Complete Document Processing Pipeline")
def documents(script: Script) -> None:
    recorder = Recorder("embed", "build_kg")

    @step("extract")
    def extract(data: Any, context: Any, entities: bool, relations: bool) -> list[str]:
        texts = [one.text for one in data.documents if one.text]
        assert entities
        assert relations
        context.metric("entities_extracted", len(texts))
        context.metric("relations_extracted", 7)
        return texts

    main = script.run()
    assert script.printed == [
        "Pipeline completed successfully!",
        "Processed documents: 3",  # a PDF, a DOCX, a text, and a Markdown that is not asked for
        "Entities extracted: 3",
        "Relations extracted: 7",
    ]
    texts = recorder.data["embed"]
    assert all(text and text == text.lower() for text in texts), "normalized as configured"
    assert recorder.data["build_kg"] == {"extract": texts, "embed": "embed done"}
    assert recorder.config["build_kg"] == {"merge_entities": True, "resolve_conflicts": True}
    times = spans(main.engine, main.pipeline)
    names = ["ingest", "parse", "normalize", "extract", "embed", "build_kg"]
    assert one_after_another(times, names)


@case("Advanced Examples > Complete Document Processing Pipeline")
def documents_that_fail(script: Script) -> None:
    Recorder("embed", "build_kg")
    failing("extract", 1, lambda: ValueError("no entities in it"))
    script.run()
    assert script.printed == [
        "Pipeline failed: [\"step 'extract': ValueError: no entities in it\"]"
    ]


@case("Advanced Examples > Pipeline with Error Handling and Retries")
def retries(script: Script) -> None:
    process = Recorder("process")
    fetch = failing("network_step", 2, lambda: TimeoutError("no answer"))
    main = script.run()
    assert main.result.success
    assert fetch.calls == ["fetch_data"] * 3
    assert fetch.config["fetch_data"] == {"url": "https://api.example.com/data"}
    assert recorded_delays(main.engine, main.pipeline) == [1.0, 2.0]
    assert process.data == {"process_data": "fetch_data done"}


@case("Advanced Examples > Pipeline with Error Handling and Retries")
def no_retries(script: Script) -> None:
    process = Recorder("process")
    fetch = failing("network_step", 9, lambda: OSError("none of retryable_errors"))
    main = script.run()
    assert not main.result.success
    assert fetch.calls == ["fetch_data"]
    assert process.calls == []


@case("Advanced Examples > Parallel Execution Pipeline")
def parallel(script: Script) -> None:
    """The built-in steps parse, once all three have begun."""
    for name in ("doc1.pdf", "doc2.pdf", "doc3.pdf"):
        shutil.copy("documents/annual-report.pdf", f"documents/{name}")
    meeting, merge = Meeting(3), Recorder("merge")

    @step("parse")
    def parse_together(step: PipelineStep, data: Any, context: Any, file: str) -> Any:
        meeting.handle(step, data)
        return parse(data, context, file=file)

    main = script.run()
    assert main.result.success, "parse1, parse2 and parse3 meet"
    times = spans(main.engine, main.pipeline)
    for number in (1, 2, 3):
        assert one_after_another(times, ["ingest", f"parse{number}", "merge"])
        (document,) = merge.data["merge"][f"parse{number}"].documents
        assert Path(document.source).name == f"doc{number}.pdf"
        assert document.text


@case("Advanced Examples > Resource-Aware Pipeline Execution")
def resources(script: Script) -> None:
    held = {}

    def look(step: PipelineStep) -> str:
        scheduler = sys.modules["__main__"].scheduler
        held[step.name] = {
            name: scheduler.get_resource_status(name)["allocated"] for name in ("cpu", "memory")
        }
        return step.name

    step("cpu_intensive")(look)
    step("memory_intensive")(look)
    main = script.run()
    assert main.result.success
    assert held == {"step1": {"cpu": 4.0, "memory": 0}, "step2": {"cpu": 0, "memory": 8.0}}
    for name, capacity in (("cpu", 8.0), ("memory", 16.0)):
        assert main.scheduler.get_available_capacity(name) == capacity, "deallocated"
    told = [one.type for one in recorded_pool(main.engine) if one.type.startswith("Allocation")]
    assert told == ["AllocationRequested", "AllocationGranted", "AllocationReleased"] * 2


@case("Advanced Examples > Template-Based Pipeline Creation")
def from_template(script: Script) -> None:
    recorder = Recorder("embed", "store_vectors")
    main = script.run()
    assert main.result.output == "store_vectors done"
    corpus = recorder.data["embed"]
    assert {one.document for one in corpus.chunks} == {one.id for one in corpus.documents}
    assert (corpus.chunking.chunk_size, corpus.chunking.overlap) == (512, 50)
    assert recorder.config["embed"] == {"model": "text-embedding-3-large", "batch_size": 32}
    wanted = {"store": "pinecone", "index_name": "documents"}
    assert recorder.config["store_vectors"] == wanted


@case("Advanced Examples > Pipeline with Progress Monitoring")
def progress(script: Script) -> None:
    Recorder("type1", "type2", "type3")
    script.run()
    percentages, completed = script.printed[::2], script.printed[1::2]
    done = [int(line.removeprefix("Completed: ").removesuffix("/3")) for line in completed]
    assert done == sorted(done)
    assert done[-1] == 3, "the last call tells the end"
    assert set(done) >= {1, 2, 3}, "and each step's end is told"
    assert percentages == [f"Progress: {100 * count / 3:.1f}%" for count in done]


@case("Advanced Examples > Pipeline Serialization and Persistence")
def persistence(script: Script) -> None:
    recorder = Recorder("type1")
    main = script.run()
    assert main.serialized == json.loads(Path("pipeline.json").read_text())
    assert [one.name for one in main.pipeline.steps] == ["step1"]
    assert ExecutionEngine().execute_pipeline(main.pipeline).output == "step1 done"
    assert recorder.calls == ["step1"]


@case("Advanced Examples > Custom Step Handlers")
def custom_handlers(script: Script) -> None:
    main = script.run(process_data=sorted)
    assert script.printed == [], "it is only built"
    said: list[str] = []
    main.print = said.append  # what the handler calls from now on
    for pipeline in (main.pipeline, Pipeline("by hand", [main.step])):
        assert ExecutionEngine().execute_pipeline(pipeline, data=[2, 1]).output == [1, 2]
    assert said == ["Executing custom step: custom_step"] * 2
