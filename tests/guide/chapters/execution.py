"""Pipeline Execution."""

from __future__ import annotations

import sys
import threading
from typing import Any

from guide.case import Script, case
from guide.handlers import PATIENCE, Recorder, chain, failing

from semantica.pipeline import PipelineStatus, step


@case("Pipeline Execution > Basic Execution")
def succeeds(script: Script) -> None:
    recorder = Recorder("type1")
    script.run()
    assert script.printed == ["Execution successful: step1 done"]
    assert recorder.calls == ["step1"]


@case("Pipeline Execution > Basic Execution")
def fails(script: Script) -> None:
    recorder = failing("type1", 1, lambda: ValueError("no such thing"))
    script.run()
    assert script.printed == ["Execution failed: [\"step 'step1': ValueError: no such thing\"]"]
    assert recorder.calls == ["step1"]


@case("Pipeline Execution > Basic Execution")
def without_handlers(script: Script) -> None:
    """What no handler is registered for passes its input through, and says so."""
    main = script.run()
    assert script.printed == ["Execution successful: None"]
    (warning,) = main.result.warnings
    assert "type1" in warning
    assert main.engine.execute_pipeline(main.pipeline, data=["as it was"]).output == ["as it was"]


@case("Pipeline Execution > Execution with Input Data")
def input_data(script: Script) -> None:
    recorder = Recorder()

    @step("given")
    def count(data: Any, context: Any) -> int:
        recorder.data["one"] = data
        context.metric("documents_counted", len(data["documents"]))
        return len(data["documents"])

    main = script.run(pipeline=chain("one"))
    assert recorder.data == {"one": {"documents": ["doc1.pdf", "doc2.pdf"]}}
    assert script.printed == ["Output: 2", f"Metrics: {main.result.metrics}"]
    assert main.result.metrics["documents_counted"] == 2


@case("Pipeline Execution > Status Tracking")
def status(script: Script) -> None:
    seen = []

    @step("given")
    def ask(data: Any) -> None:
        main: Any = sys.modules["__main__"]
        seen.append(main.engine.get_status(main.pipeline.name))

    script.run(pipeline=chain("one"))
    assert script.printed == ["Status: completed"], "and not 'is currently running'"
    assert seen == [PipelineStatus.RUNNING], "asked meanwhile"


@case("Pipeline Execution > Progress Monitoring")
def progress(script: Script) -> None:
    seen = []

    @step("given")
    def ask(data: Any) -> None:
        main: Any = sys.modules["__main__"]
        told = main.engine.get_progress(main.pipeline.name)
        seen.append((round(told["percentage"]), told["completed_steps"], told["running_steps"]))

    script.run(pipeline=chain("one", "two", "three", "four"))
    assert script.printed == ["Progress: 100.0%", "Completed steps: 4", "Total steps: 4"]
    assert seen == [
        (0, 0, ("one",)),
        (25, 1, ("two",)),
        (50, 2, ("three",)),
        (75, 3, ("four",)),
    ], "asked meanwhile"


@case("Pipeline Execution > Pause and Resume")
def pause_and_resume(script: Script) -> None:
    over = threading.Event()
    recorder = Recorder()

    @step("given")
    def wait(step: Any, data: Any) -> str:
        assert over.wait(PATIENCE)
        return recorder.handle(step, data)

    main = script.run(pipeline=chain("one", "two"))
    over.set()
    result = main.result_future.result(PATIENCE)
    assert result.status == PipelineStatus.STOPPED
    assert not result.success
    assert recorder.calls in ([], ["one"]), "nothing new starts"
    told = [one.type for one in main.engine.history("given") if one.type.startswith("Pipeline")]
    assert told[:2] == ["PipelineSubmitted", "PipelineClaimed"]
    assert told[2].startswith("PipelinePause"), "at once, or when the first step has ended"
    assert told[-3:] == ["PipelineResumed", "PipelineStopRequested", "PipelineStopped"]

    assert main.engine.resume_pipeline("given"), "a stopped run can go on"
    assert main.engine.attach("given").result(PATIENCE).success
    assert recorder.calls == ["one", "two"], "and repeats nothing"


@case("Pipeline Execution > Execution Metrics")
def metrics(script: Script) -> None:
    recorder = Recorder("given")
    script.run(pipeline=chain("one", "two", "three"))
    told = dict(line.split(": ") for line in script.printed)
    assert 0 < float(told["Total execution time"].removesuffix("s")) < PATIENCE
    assert told["Steps executed"] == str(len(recorder.calls)) == "3"
    assert told["Steps failed"] == "0"
    assert 1 < float(told["Memory used"].removesuffix("MB")) < 10_000


@case("Pipeline Execution > Execution Metrics")
def metrics_of_a_failure(script: Script) -> None:
    recorder = failing("given", 1, lambda: ValueError("no"))
    script.run(pipeline=chain("one", "two", "three"))
    assert recorder.calls == ["one"]
    assert "Steps executed: 1" in script.printed
    assert "Steps failed: 1" in script.printed
