"""Pipeline Building."""

from __future__ import annotations

import json

from guide.case import Script, case
from guide.handlers import Recorder, one_after_another, spans

from semantica.pipeline import ExecutionEngine, PipelineValidationError, PipelineValidator


@case("Pipeline Building > Basic Pipeline Construction")
def construction(script: Script) -> None:
    extract = Recorder("extract")
    main = script.run()
    assert script.printed == ["Pipeline: pipeline", "Steps: 3"]

    engine = ExecutionEngine()
    result = engine.execute_pipeline(main.pipeline)
    assert result.output == "extract done"
    times = spans(engine, main.pipeline)
    assert one_after_another(times, ["ingest", "parse", "extract"]), "steps are added sequentially"
    texts = {one.source.rpartition(".")[2]: one.text for one in extract.data["extract"].documents}
    assert [kind for kind, text in texts.items() if text] == ["pdf"]
    assert extract.config["extract"] == {"entities": True}


@case("Pipeline Building > Step Dependencies")
def dependencies(script: Script) -> None:
    extract = Recorder("extract")
    main = script.run()
    engine = ExecutionEngine()
    assert engine.execute_pipeline(main.pipeline).success
    order = ["ingest", "parse", "normalize", "extract"]
    assert one_after_another(spans(engine, main.pipeline), order)
    assert all(one.text for one in extract.data["extract"].documents), "each is handed the last's"


@case("Pipeline Building > Step Configuration")
def configuration(script: Script) -> None:
    recorder = Recorder("embed", "extract")
    main = script.run()
    checked = PipelineValidator().validate_pipeline(main.pipeline)
    assert "missing_dependency" in checked.errors
    try:
        ExecutionEngine().execute_pipeline(main.pipeline)
    except PipelineValidationError as error:
        assert "extract" in str(error), "which is what misses"
    else:
        raise AssertionError("a pipeline with a missing step was executed")
    assert not recorder.calls

    complete = main.builder.add_step("extract", "extract", dependencies=[]).build()
    assert ExecutionEngine().execute_pipeline(complete).success
    assert recorder.calls == ["extract", "embed"]
    assert recorder.config["embed"] == {
        "model": "text-embedding-3-large",
        "batch_size": 32,
        "max_length": 512,
    }


@case("Pipeline Building > Connecting Steps Explicitly")
def connecting(script: Script) -> None:
    recorder = Recorder("type1", "type2", "type3")
    main = script.run()
    engine = ExecutionEngine()
    assert engine.execute_pipeline(main.pipeline, data="input").success
    assert recorder.calls == ["step1", "step2", "step3"]
    assert recorder.data == {"step1": "input", "step2": "step1 done", "step3": "step2 done"}

    main.builder.connect_steps("step1", "step3")
    assert main.builder.build().step("step3").dependencies == ["step2", "step1"]


@case("Pipeline Building > Pipeline Serialization")
def serialization(script: Script) -> None:
    recorder = Recorder("type1")
    main = script.run()
    assert json.loads("\n".join(script.printed)) == json.loads(main.serialized)
    assert main.deserialized == main.pipeline
    assert main.deserialized is not main.pipeline
    assert ExecutionEngine().execute_pipeline(main.deserialized).output == "step1 done"
    assert recorder.calls == ["step1"]


@case("Pipeline Building > Pipeline Metadata")
def metadata(script: Script) -> None:
    Recorder("type1")
    main = script.run()
    given = {"version": "1.0", "author": "User"}
    assert script.printed == [f"Pipeline metadata: {given}"]
    engine = ExecutionEngine()
    result = engine.execute_pipeline(main.pipeline)
    assert result.metadata == {"pipeline": "MyPipeline", **given}
    assert [run.name for run in engine.runs()] == ["MyPipeline"]
