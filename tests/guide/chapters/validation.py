"""Pipeline Validation."""

from __future__ import annotations

import time
from typing import Any

from guide.case import Script, case
from guide.handlers import Recorder, chain

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineBuilder, PipelineStep, step


@case("Pipeline Validation > Basic Validation")
def valid(script: Script) -> None:
    Recorder("type1")
    main = script.run()
    assert script.printed == ["Pipeline is valid!"]
    assert main.result.warnings == []


@case("Pipeline Validation > Basic Validation")
def valid_without_handler(script: Script) -> None:
    main = script.run()
    assert script.printed == ["Pipeline is valid!"]
    assert "no_handler" in main.result.warnings


@case("Pipeline Validation > Dependency Validation")
def wrong_dependencies(script: Script) -> None:
    builder = PipelineBuilder()
    builder.add_step("a", "given", dependencies=["b"]).add_step("b", "given", dependencies=["a"])
    builder.add_step("c", "given", dependencies=["nowhere"])
    main = script.run(pipeline=builder.build())
    assert script.printed == ["Circular dependency detected!", "Missing dependency detected!"]
    told = {one.code: str(one) for one in main.result.errors}
    assert "a -> b -> a" in told["circular_dependency"]
    assert "nowhere" in told["missing_dependency"]


@case("Pipeline Validation > Dependency Validation")
def right_dependencies(script: Script) -> None:
    main = script.run(pipeline=chain("a", "b", "c"))
    assert script.printed == []
    assert main.result.valid


@case("Pipeline Validation > Structure Validation")
def structure(script: Script) -> None:
    script.run(pipeline=chain("a", "b"))
    assert script.printed == ["Pipeline structure is valid"]


@case("Pipeline Validation > Structure Validation")
def no_structure(script: Script) -> None:
    twice = Pipeline("twice", [PipelineStep("a", "given"), PipelineStep("a", "given")])
    main = script.run(pipeline=twice)
    assert [one.code for one in main.result.errors] == ["duplicate_step"]
    assert script.printed == [f"Structure error: {one}" for one in main.result.errors]


@case("Pipeline Validation > Structure Validation")
def no_steps(script: Script) -> None:
    script.run(pipeline=Pipeline("empty"))
    (printed,) = script.printed
    assert printed.startswith("Structure error: ")
    assert "no steps" in printed


@case("Pipeline Validation > Performance Validation")
def performance(script: Script) -> None:
    """What is foreseen is what an earlier run has taken, and what the steps ask for."""

    @step("given")
    def handler(data: Any) -> None:
        time.sleep(0.1)

    builder = PipelineBuilder("measured").add_step("a", "given", cpu_cores=1, memory_gb=0.5)
    pipeline = builder.add_step("b", "given", cpu_cores=1).build()
    with ExecutionEngine() as engine:
        took = engine.execute_pipeline(pipeline).raise_for_status().metrics["total_time"]
    main = script.run(pipeline=pipeline)
    time_told, resources_told = script.printed
    estimated = float(time_told.removeprefix("Estimated execution time: ").removesuffix("s"))
    assert 0.2 <= estimated <= took + 0.001
    assert resources_told.startswith("Resource requirements: {")
    assert main.perf["resources"]["cpu"]["peak"] == 1, "a and b follow one another"
    assert main.perf["resources"]["memory"]["peak"] == 0.5


@case("Pipeline Validation > Performance Validation")
def performance_of_what_never_ran(script: Script) -> None:
    Recorder("given")
    main = script.run(pipeline=chain("a"))
    assert script.printed[0].startswith("Estimated execution time: 0")
    assert main.perf["suggestions"], "says that nothing is known yet"
