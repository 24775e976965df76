"""Pipeline Templates."""

from __future__ import annotations

from typing import Any

from guide.case import Script, case
from guide.handlers import Meeting, Recorder, most_in_flight, one_after_another, spans

from semantica.pipeline import ExecutionEngine, Pipeline

_DOCUMENTS = ["ingest", "parse", "normalize", "extract", "embed", "build_kg"]


def promised(script: Script) -> list[str]:
    """The steps of the comment ``# Template includes: a → b``."""
    line = script.block.text.splitlines()[-1]
    return line.removeprefix("# Template includes: ").split(" → ")


def is_chain(pipeline: Pipeline) -> bool:
    """Whether each step depends on the one before it, and on no other."""
    names = [one.name for one in pipeline.steps]
    wanted = [[], *([name] for name in names[:-1])]
    return [one.dependencies for one in pipeline.steps] == wanted


def formats_read(corpus: Any) -> set[str]:
    """Endings of the documents that were parsed."""
    return {one.source.rpartition(".")[2] for one in corpus.documents if one.text}


@case("Pipeline Templates > Using Pre-built Templates")
def pre_built(script: Script) -> None:
    recorder = Recorder("extract", "embed", "build_kg")
    main = script.run()
    listed = ["document_processing", "rag_pipeline", "kg_construction"]
    assert script.printed == [f"Available templates: {listed}"]
    assert main.result.output == "build_kg done"
    assert one_after_another(spans(main.engine, main.pipeline), _DOCUMENTS)
    assert formats_read(recorder.data["extract"]) == {"pdf", "docx"}, "parse as overridden"


@case("Pipeline Templates > Document Processing Template")
def document_processing(script: Script) -> None:
    main = script.run()
    assert promised(script) == _DOCUMENTS
    assert [one.name for one in main.pipeline.steps] == _DOCUMENTS
    assert is_chain(main.pipeline), "the arrows"


@case("Pipeline Templates > RAG Pipeline Template")
def rag(script: Script) -> None:
    recorder = Recorder("ingest", "parse", "chunk", "embed", "store_vectors")
    main = script.run()
    engine = ExecutionEngine()
    assert engine.execute_pipeline(main.pipeline).success
    assert recorder.calls == ["ingest", "parse", "chunk", "embed", "store_vectors"]
    assert recorder.config["chunk"] == {"chunk_size": 512, "overlap": 50}, "the rest stays"
    assert recorder.config["embed"] == {"model": "text-embedding-3-large"}
    assert recorder.config["store_vectors"] == {"store": "pinecone"}


@case("Pipeline Templates > Knowledge Graph Construction Template")
def knowledge_graph(script: Script) -> None:
    main = script.run()
    names = [one.name for one in main.pipeline.steps]
    assert names == promised(script)
    assert names[0] == "ingest"
    assert names[-1] == "build_graph"
    assert is_chain(main.pipeline), "the arrows"
    recorder = Recorder(*(one.step_type for one in main.pipeline.steps))
    assert ExecutionEngine().execute_pipeline(main.pipeline).output == "build_graph done"
    assert recorder.calls == names


@case("Pipeline Templates > Custom Templates")
def custom(script: Script) -> None:
    recorder = Recorder("type1", "type2")
    main = script.run()
    assert main.template_manager.list_templates(category="custom") == ["custom_pipeline"]
    pipeline = main.builder.build()
    assert pipeline.name == "custom_pipeline"
    engine = ExecutionEngine(max_workers=8)
    assert engine.execute_pipeline(pipeline).success
    assert recorder.data["step2"] == "step1 done"

    Meeting(2, "meeting")
    for number in range(4):
        main.builder.add_step(f"more{number}", "meeting", dependencies=[])
    wider = main.builder.build()
    assert engine.execute_pipeline(wider).success
    assert most_in_flight(engine, wider) == 2, "parallelism=2"


@case("Pipeline Templates > Template Information")
def information(script: Script) -> None:
    main = script.run()
    told = dict(line.split(": ", 1) for line in script.printed)
    assert told["Name"] == "document_processing"
    assert "knowledge graph" in told["Description"]
    assert told["Steps"] == str(len(_DOCUMENTS))
    assert told["Config"] == str({"parallelism": 2})
    assert told["RAG templates"] == str(["rag_pipeline"])
    pipeline = main.template_manager.create_pipeline_from_template("document_processing").build()
    assert len(pipeline.steps) == main.info["step_count"]
    assert pipeline.parallelism == main.info["config"]["parallelism"]
