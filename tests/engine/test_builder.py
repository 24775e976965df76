"""The builder: chains, connections, copies and what it refuses."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline.engine.builder import PipelineBuilder
from semantica.pipeline.engine.model import RESERVED_OPTIONS, Pipeline
from semantica.pipeline.events.definition import RetryPolicy
from semantica.pipeline.events.errors import PipelineValidationError


def edges(pipeline: Pipeline) -> dict[str, list[str]]:
    return {step.name: step.dependencies for step in pipeline.steps}


def three() -> PipelineBuilder:
    return PipelineBuilder().add_step("a", "t").add_step("b", "t").add_step("c", "t")


def test_steps_follow_one_another() -> None:
    assert edges(three().build()) == {"a": [], "b": ["a"], "c": ["b"]}


def test_an_empty_list_makes_a_root() -> None:
    pipeline = three().add_step("d", "t", dependencies=[]).add_step("e", "t").build()
    assert edges(pipeline)["d"] == []
    assert edges(pipeline)["e"] == ["d"]


def test_explicit_dependencies_and_configuration() -> None:
    retry = RetryPolicy(max_retries=1)
    pipeline = (
        PipelineBuilder()
        .add_step("a", "t")
        .add_step(
            "b",
            step_type="embed",
            handler="m:f",
            dependencies=("a",),
            priority=3,
            timeout=1.5,
            retry=retry,
            at_most_once=True,
            model="m",
            cpu_cores=4,
        )
        .build()
    )
    step = pipeline.step("b")
    assert (step.step_type, step.handler, step.dependencies) == ("embed", "m:f", ["a"])
    assert (step.priority, step.timeout, step.retry, step.at_most_once) == (3, 1.5, retry, True)
    assert (step.config, step.resources) == ({"model": "m"}, {"cpu": 4})


def test_connections_as_in_the_guide() -> None:
    builder = three().connect_steps("a", "b").connect_steps("b", "c")
    assert edges(builder.build()) == {"a": [], "b": ["a"], "c": ["b"]}


def test_a_connected_step_is_not_chained() -> None:
    assert edges(three().connect_steps("a", "c").build()) == {"a": [], "b": ["a"], "c": ["a"]}


def test_connections_add_to_given_dependencies_once() -> None:
    builder = three().add_step("d", "t", dependencies=["a"])
    builder.connect_steps("b", "d").connect_steps("a", "d").connect_steps("b", "d")
    assert edges(builder.build())["d"] == ["a", "b"]


def test_connections_may_come_first() -> None:
    builder = PipelineBuilder().connect_steps("a", "c")
    builder.add_step("a", "t").add_step("b", "t").add_step("c", "t")
    assert edges(builder.build())["c"] == ["a"]


def test_a_connection_from_an_unknown_step_is_a_missing_dependency() -> None:
    builder = three().connect_steps("x", "c")
    assert edges(builder.build())["c"] == ["x"]
    assert "missing_dependency" in builder.validate(known=lambda _: True).errors


def test_a_connection_to_an_unknown_step() -> None:
    builder = PipelineBuilder().add_step("ingest", "t").add_step("parse", "t")
    builder.connect_steps("ingest", "prase")
    result = builder.validate(known=lambda _: True)
    assert not result.valid
    assert "missing_dependency" in result.errors
    with pytest.raises(PipelineValidationError, match="did you mean 'parse'"):
        builder.build()


def test_missing_and_circular_dependencies_are_built_and_reported() -> None:
    builder = PipelineBuilder().add_step("a", "t", dependencies=["x", "b"]).add_step("b", "t")
    assert edges(builder.build()) == {"a": ["x", "b"], "b": ["a"]}
    result = builder.validate(known=lambda _: True)
    assert {finding.code for finding in result.errors} == {
        "missing_dependency",
        "circular_dependency",
    }


def test_a_name_is_taken_once() -> None:
    with pytest.raises(PipelineValidationError, match="'a': this name is taken"):
        three().add_step("a", "t")
    assert len(three().build().steps) == 3


@pytest.mark.parametrize("option", sorted(RESERVED_OPTIONS))
def test_reserved_options_are_refused(option: str) -> None:
    builder = PipelineBuilder()
    with pytest.raises(TypeError, match=f"{option}.*reserved and not supported"):
        builder.add_step("a", "t", **{option: 1})
    assert builder.build().steps == []


def test_dependencies_are_not_letters() -> None:
    with pytest.raises(TypeError, match=r"write dependencies=\['ingest'\]"):
        PipelineBuilder().add_step("a", "t", dependencies="ingest")


def test_names_and_metadata() -> None:
    builder = three()
    assert builder.build().name == "pipeline"
    assert builder.build("other").name == "other"
    given = builder.build(name="n", metadata={"version": "1.0", "author": "User"})
    assert given.metadata == {"version": "1.0", "author": "User"}
    assert builder.build("n", version="1.0", author="User") == given
    mine = PipelineBuilder("mine", {"category": "rag"}).build(version=2)
    assert (mine.name, mine.metadata) == ("mine", {"category": "rag", "version": 2})
    with pytest.raises(TypeError, match="metadata"):
        builder.build("n", ["a"])  # type: ignore[arg-type]


def test_parallelism() -> None:
    assert three().set_parallelism(2).build().parallelism == 2
    assert three().set_parallelism(2).set_parallelism(None).build().parallelism is None
    for wrong in (0, -1, 1.5, "2", True):
        with pytest.raises(ValueError, match="whole number from 1"):
            three().set_parallelism(wrong)  # type: ignore[arg-type]


def test_a_pipeline_is_independent_of_its_builder() -> None:
    formats, metadata = ["pdf"], {"tags": ["x"]}
    builder = PipelineBuilder().add_step("a", "t", formats=formats)
    first = builder.build("p", metadata)
    formats.append("docx")
    metadata["tags"].append("y")
    builder.add_step("b", "t").connect_steps("b", "a").set_parallelism(1)
    assert edges(first) == {"a": []}
    assert first.steps[0].config == {"formats": ["pdf"]}
    assert first.metadata == {"tags": ["x"]}
    assert first.parallelism is None
    first.steps[0].config["formats"].append("html")
    first.steps[0].dependencies.append("z")
    assert builder.build().steps[0].config == {"formats": ["pdf"]}
    assert edges(builder.build()) == {"a": ["b"], "b": ["a"]}


def test_what_cannot_be_copied_is_shared() -> None:
    lock = threading.Lock()
    assert PipelineBuilder().add_step("a", "t", lock=lock).build().steps[0].config["lock"] is lock


def test_serialization_as_in_the_guide(tmp_path: Path) -> None:
    builder = three()
    pipeline: Any = builder.build()
    file = tmp_path / "pipeline.json"
    with file.open("w") as stream:
        json.dump(builder.serialize(pipeline, format="json"), stream, indent=2)
    with file.open() as stream:
        assert builder.deserialize(json.load(stream), format="json") == pipeline
    assert builder.deserialize(file.read_text()) == pipeline
    assert builder.deserialize(builder.serialize(pipeline, "yaml"), "yaml") == pipeline
