"""Basic Usage."""

from __future__ import annotations

from pathlib import Path

from guide.case import Script, case
from guide.handlers import Meeting, Recorder, independent, most_in_flight, one_after_another, spans

from semantica.pipeline import PipelineStep, Task


@case("Basic Usage > Using the PipelineBuilder")
def the_builder(script: Script) -> None:
    main = script.run()
    assert main.result.success
    assert script.printed[0] == "Pipeline executed: True"
    assert script.printed[1].startswith("Output: ")
    texts = {Path(one.source).suffix: one.text for one in main.result.output.documents}
    assert texts[".pdf"], "the formats that parse was given"
    assert texts[".docx"]
    assert texts[".txt"] is None, "and no others"
    assert "  " not in texts[".pdf"], "normalized"
    times = spans(main.engine, main.pipeline)
    assert one_after_another(times, ["ingest", "parse", "normalize"])
    assert Path(".semantica/pipeline.db").exists(), "recorded without asking"


@case("Basic Usage > Using Main Classes")
def main_classes(script: Script) -> None:
    recorder = Recorder("type1")
    main = script.run()
    assert main.result.success
    assert recorder.calls == ["step1"]
    assert main.result.output == "step1 done"

    Meeting(4, "meeting")
    pipeline = independent(8, "meeting")
    assert main.engine.execute_pipeline(pipeline).success
    assert most_in_flight(main.engine, pipeline) == 4, "max_workers=4"
    step = PipelineStep("step1", "type1")
    assert main.failure_handler.handle_step_failure(step, ConnectionError("lost")).should_retry
    assert main.parallelism_manager.get_worker_count() == 4
    (done,) = main.parallelism_manager.execute_parallel([Task("task1", len, args=("four",))])
    assert done.result == 4
    assert main.resource_scheduler.get_available_capacity("cpu") > 0
