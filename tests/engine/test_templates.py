"""Templates: the guide's blocks as written, overrides, what is refused, and files."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from making import MakeEngine

from semantica.pipeline import (
    Pipeline,
    PipelineBuilder,
    PipelineError,
    PipelineTemplate,
    PipelineTemplateManager,
    PipelineValidationError,
    PipelineValidator,
    RetryPolicy,
    SerializationError,
)
from semantica.pipeline.config import ConfigurationError, PipelineConfig

ARROWS = {
    "document_processing": "ingest → parse → normalize → extract → embed → build_kg",
    "rag_pipeline": "ingest → parse → chunk → embed → store_vectors",
    "kg_construction": (
        "ingest → extract_entities → extract_relations → deduplicate → resolve_conflicts"
        " → build_graph"
    ),
}
STEPS = [{"name": "a", "type": "x"}, {"name": "b", "type": "y"}]


@pytest.fixture
def manager() -> PipelineTemplateManager:
    return PipelineTemplateManager()


def template(**changes: Any) -> PipelineTemplate:
    fields: dict[str, Any] = {"name": "mine", "description": "of mine", "steps": STEPS}
    return PipelineTemplate(**{**fields, **changes})


def edges(pipeline: Pipeline) -> dict[str, list[str]]:
    return {step.name: step.dependencies for step in pipeline.steps}


# The guide


def test_using_pre_built_templates(capsys: pytest.CaptureFixture[str]) -> None:
    # Create template manager
    template_manager = PipelineTemplateManager()

    # Get available templates
    templates = template_manager.list_templates()
    print(f"Available templates: {templates}")

    # Create pipeline from template
    builder = template_manager.create_pipeline_from_template(
        "document_processing",
        ingest={"source": "./documents"},
        parse={"formats": ["pdf", "docx"]}
    )  # fmt: skip

    pipeline = builder.build()

    assert capsys.readouterr().out == f"Available templates: {list(ARROWS)}\n"
    assert pipeline.step("ingest").config == {"source": "./documents", "recursive": True}
    assert pipeline.step("parse").config == {"formats": ["pdf", "docx"]}


def test_rag_pipeline_template() -> None:
    template_manager = PipelineTemplateManager()

    # Create RAG pipeline from template
    builder = template_manager.create_pipeline_from_template(
        "rag_pipeline",
        ingest={"source": "./documents"},
        chunk={"chunk_size": 512, "overlap": 50},
        embed={"model": "text-embedding-3-large", "batch_size": 32},
        store_vectors={"store": "pinecone", "index_name": "documents"}
    )  # fmt: skip

    pipeline = builder.build()

    assert pipeline.step("chunk").config == {"chunk_size": 512, "overlap": 50}
    assert pipeline.step("embed").config == {"model": "text-embedding-3-large", "batch_size": 32}
    assert pipeline.step("store_vectors").config == {"store": "pinecone", "index_name": "documents"}


def test_custom_templates(make_engine: MakeEngine) -> None:
    template_manager = PipelineTemplateManager()

    # Create custom template
    custom_template = PipelineTemplate(
        name="custom_pipeline",
        description="Custom processing pipeline",
        steps=[
            {"name": "step1", "type": "type1", "config": {}},
            {"name": "step2", "type": "type2", "config": {}, "dependencies": ["step1"]}
        ],
        config={"parallelism": 2},
        metadata={"category": "custom"}
    )  # fmt: skip

    # Register template
    template_manager.register_template(custom_template)

    # Use custom template
    builder = template_manager.create_pipeline_from_template("custom_pipeline")

    pipeline = builder.build()
    assert (pipeline.name, pipeline.parallelism) == ("custom_pipeline", 2)
    assert pipeline.metadata == {"category": "custom"}
    assert edges(pipeline) == {"step1": [], "step2": ["step1"]}
    assert template_manager.list_templates("custom") == ["custom_pipeline"]
    assert make_engine().execute_pipeline(pipeline, 5).output == 5


def test_template_information(capsys: pytest.CaptureFixture[str]) -> None:
    template_manager = PipelineTemplateManager()

    # Get template information
    info = template_manager.get_template_info("document_processing")
    print(f"Name: {info['name']}")
    print(f"Description: {info['description']}")
    print(f"Steps: {info['step_count']}")
    print(f"Config: {info['config']}")

    # List templates by category
    rag_templates = template_manager.list_templates(category="rag")
    print(f"RAG templates: {rag_templates}")

    name, description, steps, config, rag = capsys.readouterr().out.splitlines()
    assert (name, steps) == ("Name: document_processing", "Steps: 6")
    assert len(description) > len("Description: ")
    assert config == "Config: {'parallelism': 2}"
    assert rag == "RAG templates: ['rag_pipeline']"
    assert info["steps"] == ARROWS["document_processing"].split(" → ")
    assert (info["category"], info["version"]) == ("documents", "1.0")


# The pre-built ones


@pytest.mark.parametrize("name", ARROWS)
def test_a_pre_built_template_is_what_the_guide_says(
    manager: PipelineTemplateManager, name: str
) -> None:
    pipeline = manager.create_pipeline_from_template(name).build()
    steps = ARROWS[name].split(" → ")
    assert edges(pipeline) == {
        step: [before] if before else [] for before, step in zip(["", *steps], steps, strict=False)
    }
    assert all(step.step_type == step.name for step in pipeline.steps)
    assert pipeline.parallelism == (4 if name == "rag_pipeline" else 2)
    assert pipeline.name == name


@pytest.mark.parametrize("name", ARROWS)
@pytest.mark.parametrize("format", ["yaml", "json"])
def test_a_pre_built_template_is_valid_and_survives_the_round_trip(
    manager: PipelineTemplateManager, name: str, format: str
) -> None:
    builder = manager.create_pipeline_from_template(name)
    pipeline = builder.build()
    result = PipelineValidator().validate_pipeline(pipeline)
    assert result, result.errors
    assert {finding.code for finding in result.warnings} <= {"no_handler"}
    assert builder.deserialize(builder.serialize(pipeline, format), format) == pipeline


def test_the_known_steps_of_a_template_run(
    manager: PipelineTemplateManager, make_engine: MakeEngine, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one two three four five")
    builder = manager.create_pipeline_from_template(
        "rag_pipeline",
        ingest={"source": str(tmp_path / "a.txt")},
        chunk={"chunk_size": 10, "overlap": 0},
        embed={"handler": lambda data: data},
        store_vectors={"handler": lambda data: [chunk.text for chunk in data.chunks]},
    )
    result = make_engine().execute_pipeline(builder.build())
    assert result.success, result.errors
    assert result.output == ["one two", "three four", "five"]


# Overrides


def test_an_override_is_merged_and_never_changes_the_template(
    manager: PipelineTemplateManager,
) -> None:
    manager.register_template(
        template(steps=[{"name": "a", "type": "x", "config": {"deep": {"list": [1]}, "kept": 1}}])
    )
    given = {"deep": {"list": [2]}}
    first = manager.create_pipeline_from_template("mine", a=given).build()
    plain = manager.create_pipeline_from_template("mine").build()
    plain.steps[0].config["deep"]["list"].append(3)
    given["deep"]["list"].append(4)
    assert first.steps[0].config == {"deep": {"list": [2]}, "kept": 1}
    again = manager.create_pipeline_from_template("mine").build()
    assert again.steps[0].config == {"deep": {"list": [1]}, "kept": 1}


def test_neither_the_registered_nor_the_returned_template_is_the_managers(
    manager: PipelineTemplateManager,
) -> None:
    mine = template(steps=[{"name": "a", "type": "x", "config": {"list": [1]}}])
    manager.register_template(mine)
    mine.steps[0]["config"]["list"].append(2)
    copy = manager.get_template("mine")
    assert copy.steps[0]["config"] == {"list": [1]}
    copy.steps[0]["config"]["list"].append(3)
    manager.get_template_info("document_processing")["config"]["parallelism"] = 9
    assert manager.get_template("mine").steps[0]["config"] == {"list": [1]}
    other = PipelineTemplateManager()
    assert other.get_template_info("document_processing")["config"] == {"parallelism": 2}
    assert "mine" not in other.list_templates()


def test_options_of_steps_can_be_given_and_overridden(manager: PipelineTemplateManager) -> None:
    manager.register_template(
        template(
            steps=[
                {"name": "a", "type": "x", "timeout": 5, "retry": {"max_retries": 1}},
                {"name": "b", "type": "y", "dependencies": (), "handler": len, "priority": 2},
                {"name": "c d", "type": "y", "at_most_once": True, "retry": RetryPolicy()},
            ]
        )
    )
    pipeline = manager.create_pipeline_from_template(
        "mine", a={"timeout": 1.5}, b={"retry": {"max_retries": 7}}, **{"c d": {"key": 1}}
    ).build()
    a, b, c = pipeline.steps
    assert (a.timeout, a.retry, a.config) == (1.5, RetryPolicy(max_retries=1), {})
    assert (b.dependencies, b.handler, b.priority) == ([], len, 2)
    assert b.retry == RetryPolicy(max_retries=7)
    assert (c.dependencies, c.at_most_once, c.config) == (["b"], True, {"key": 1})
    assert c.retry == RetryPolicy()


def test_the_builder_can_be_added_to(manager: PipelineTemplateManager) -> None:
    builder = manager.create_pipeline_from_template("rag_pipeline").set_parallelism(None)
    pipeline = builder.add_step("report", "report").build("other")
    assert (pipeline.name, pipeline.parallelism) == ("other", None)
    assert pipeline.step("report").dependencies == ["store_vectors"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"embd": {}}, "no step 'embd'; did you mean 'embed'? (its steps: ingest, parse, chunk"),
        ({"zzz": {}}, "no step 'zzz' (its steps: ingest, parse, chunk, embed, store_vectors)"),
        ({"embed": "model"}, "step 'embed' must be a mapping, such as embed={'key': 'value'}"),
        ({"embed": {"name": "other"}}, "step 'embed' cannot set 'name'"),
        ({"embed": {1: 2}}, "step 'embed' cannot set 1"),
        ({"embed": {"retry": {"max_retry": 1}}}, "step 'embed': retry: Unexpected"),
    ],
)
def test_wrong_overrides(
    manager: PipelineTemplateManager, overrides: dict[str, Any], expected: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        manager.create_pipeline_from_template("rag_pipeline", **overrides)
    assert expected in str(caught.value)


@pytest.mark.parametrize("call", ["get_template", "get_template_info"])
def test_an_unknown_template_is_an_error_with_the_nearest(
    manager: PipelineTemplateManager, call: str
) -> None:
    with pytest.raises(PipelineError, match=r"no template 'rag'.*templates: document_processing, "):
        getattr(manager, call)("rag")
    with pytest.raises(PipelineError, match="did you mean 'kg_construction'"):
        getattr(manager, call)("kg_constuction")
    with pytest.raises(PipelineError, match="did you mean 'rag_pipeline'"):
        manager.create_pipeline_from_template("rag_pipelin", embed={})


def test_an_unknown_category_is_empty(manager: PipelineTemplateManager) -> None:
    assert manager.list_templates("none of these") == []


# Registering


def test_the_newest_of_a_name_counts(manager: PipelineTemplateManager) -> None:
    manager.register_template(template(name="rag_pipeline"))
    assert manager.get_template("rag_pipeline").description == "of mine"
    assert manager.list_templates() == list(ARROWS)


def step(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "x", **more}


WRONG = [
    ({"steps": []}, "empty_pipeline"),
    ({"steps": [step(dependencies=["b"])]}, "depends on 'b', which is not a step"),
    (
        {"steps": [step("parse"), step("b", dependencies=["pars"])]},
        "did you mean 'parse'?",
    ),
    ({"steps": [step(dependencies=["b"]), step("b")]}, "a -> b -> a"),
    ({"steps": [step(), step()]}, "step 'a': this name is taken"),
    ({"steps": [step("")]}, "invalid_name"),
    ({"steps": [{"type": "x"}]}, "steps[0]: Object missing required field `name`"),
    ({"steps": [step(), step("b", tipe=1)]}, "steps[1]: Object contains unknown field `tipe`"),
    ({"steps": [step(depends=[])]}, "unknown field `depends`; did you mean"),
    ({"steps": [3]}, "steps[0]: Expected `object`, got `int`"),
    ({"steps": [step(dependencies="b")]}, "steps[0].dependencies: Expected `array"),
    ({"steps": [step(), step("b", dependencies=["a", 5])]}, "steps[1].dependencies[1]: Expected"),
    ({"steps": [step(type=5)]}, "steps[0].type: Expected `str`"),
    ({"steps": [step(timeout="5")]}, "step 'a': the timeout '5' must be a number"),
    ({"steps": [step(priority="5")]}, "step 'a': the priority '5'"),
    ({"steps": [step(timeout=-5)]}, "the timeout -5"),
    ({"steps": [step(retry={"max_retry": 1})]}, "step 'a': retry: Unexpected keyword"),
    ({"steps": [step(retry={"max_retries": "x"})]}, "step 'a': retry: "),
    (
        {"steps": [step(retry={"max_retries": 1.5})]},
        "RetryPolicy.max_retries must be a whole number",
    ),
    ({"steps": [step(retry=3)]}, "retry must be a RetryPolicy, not 3"),
    ({"steps": [step(handler="no reference")]}, "the handler 'no reference' must be"),
    ({"steps": [step(config={"timeout": 5})]}, "steps[0].config.timeout: an option"),
    ({"steps": [step(config={"name": 5})]}, "steps[0].config.name: this name is not free"),
    ({"steps": [step(config={1: 5})]}, "keys of steps[0].config"),
    ({"steps": [step(config={"deadline": 5})]}, "the option 'deadline' is reserved"),
    ({"config": {"paralelism": 2}}, "config: Object contains unknown field `paralelism`; did you"),
    ({"config": {"parallelism": 0}}, "config.parallelism: Expected `int` >= 1"),
    ({"config": {"parallelism": True}}, "config.parallelism: Expected `int"),
    ({"name": ""}, "the pipeline's name '' is empty"),
    ({"description": 3}, "description: Expected `str`, got `int`"),
    ({"metadata": []}, "metadata: Expected `object`, got `array`"),
]


@pytest.mark.parametrize(("changes", "expected"), WRONG)
def test_what_cannot_be_registered(
    manager: PipelineTemplateManager, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(PipelineValidationError) as caught:
        manager.register_template(template(**changes))
    assert expected in str(caught.value)
    assert manager.list_templates() == list(ARROWS)


def test_all_findings_are_told_at_once(manager: PipelineTemplateManager) -> None:
    steps = [step(dependencies=["z"]), step("b", timeout=-1)]
    with pytest.raises(PipelineValidationError) as caught:
        manager.register_template(template(steps=steps))
    assert len(caught.value.errors) == 2


def test_what_is_no_template_or_cannot_be_copied(manager: PipelineTemplateManager) -> None:
    with pytest.raises(TypeError, match="expected a PipelineTemplate"):
        manager.register_template({"name": "x"})  # type: ignore[arg-type]
    lock = template(steps=[step(config={"lock": threading.Lock()})])
    with pytest.raises(PipelineValidationError, match="cannot be copied"):
        manager.register_template(lock)


# The configuration


def parallelism(manager: PipelineTemplateManager, name: str) -> int | None:
    return manager.create_pipeline_from_template(name).build().parallelism


def test_the_configuration_goes_before_the_template(
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = PipelineConfig(
        pipeline_templates={"rag_pipeline": {"parallelism": 9}, "mine": {"parallelism": 3}}
    )
    manager = PipelineTemplateManager(config)
    manager.register_template(template(config={"parallelism": 2}))
    assert parallelism(manager, "rag_pipeline") == 9
    assert parallelism(manager, "mine") == 3
    assert parallelism(manager, "document_processing") == 2
    manager.register_template(template(name="other"))
    assert parallelism(manager, "other") is None
    assert manager.get_template("rag_pipeline").config == {"parallelism": 4}
    builder = manager.create_pipeline_from_template("rag_pipeline").set_parallelism(1)
    assert builder.build().parallelism == 1
    assert capfd.readouterr().err == "", "every template is there when the first pipeline is made"


def test_by_default_the_configuration_is_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("pipeline_templates: {rag_pipeline: {parallelism: 7}}")
    monkeypatch.setenv("PIPELINE_CONFIG", str(file))
    assert parallelism(PipelineTemplateManager(), "rag_pipeline") == 7
    file.write_text("pipeline_templates: {rag_pipeline: {parallelism: many}}")
    manager = PipelineTemplateManager()
    assert manager.list_templates() == list(ARROWS), "which needs no configuration"
    with pytest.raises(ConfigurationError, match=r"rag_pipeline.parallelism: Expected `int`"):
        manager.create_pipeline_from_template("rag_pipeline")


def test_settings_for_a_template_that_is_not_there_are_mentioned_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = PipelineConfig(pipeline_templates={"rag_pipelin": {"parallelism": 9}})
    manager = PipelineTemplateManager(config)
    assert capfd.readouterr().err == "", "it may still be registered"
    assert parallelism(manager, "rag_pipeline") == 4
    assert parallelism(manager, "document_processing") == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "template 'rag_pipelin', which does not exist; did you mean 'rag_pipeline'?" in line


# Files

YAML = """
name: summaries
description: Summaries of a folder
config: {parallelism: 3}
metadata: {category: text, version: "2.1"}
steps:
  - {name: ingest, type: ingest, config: {source: ./documents, country: no}}
  - {name: summarize, type: summarize, timeout: 60, retry: {max_retries: 5}}
  - {name: log, type: log, dependencies: [ingest], handler: "builtins:len"}
"""


def check_summaries(manager: PipelineTemplateManager) -> None:
    info = manager.get_template_info("summaries")
    assert (info["version"], info["step_count"]) == ("2.1", 3)
    assert manager.list_templates("text") == ["summaries"]
    builder = manager.create_pipeline_from_template("summaries", summarize={"length": 10})
    pipeline = builder.build()
    assert pipeline.parallelism == 3
    assert edges(pipeline) == {"ingest": [], "summarize": ["ingest"], "log": ["ingest"]}
    assert pipeline.step("ingest").config == {"source": "./documents", "country": "no"}
    summarize = pipeline.step("summarize")
    assert (summarize.timeout, summarize.retry) == (60, RetryPolicy(max_retries=5))
    assert summarize.config == {"length": 10}
    assert builder.deserialize(builder.serialize(pipeline, "yaml"), "yaml") == pipeline


@pytest.mark.parametrize("kind", [str, Path])
def test_a_yaml_file(
    manager: PipelineTemplateManager, tmp_path: Path, kind: Callable[[Path], Any]
) -> None:
    file = tmp_path / "template.YML"
    file.write_text(YAML)
    assert manager.load_templates(kind(file)) == ["summaries"]
    check_summaries(manager)


def test_a_json_file(manager: PipelineTemplateManager, tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text(YAML)
    other = PipelineTemplateManager()
    other.load_templates(tmp_path)
    found = other.get_template("summaries")
    fields = {key: getattr(found, key) for key in found.__struct_fields__}
    file = tmp_path / "template.json"
    file.write_text("\ufeff" + json.dumps(fields), encoding="utf-8")
    assert manager.load_templates(file) == ["summaries"]
    check_summaries(manager)


def test_a_folder(manager: PipelineTemplateManager, tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(YAML)
    (tmp_path / "a.json").write_text(
        json.dumps({"name": "mine", "description": "", "steps": STEPS})
    )
    (tmp_path / "README.md").write_text("not a template")
    assert manager.load_templates(tmp_path) == ["mine", "summaries"]
    assert manager.list_templates() == [*ARROWS, "mine", "summaries"]


def test_a_folder_is_loaded_as_a_whole_or_not_at_all(
    manager: PipelineTemplateManager, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(YAML)
    (tmp_path / "b.yaml").write_text(YAML)
    with pytest.raises(SerializationError, match=r"b\.yaml: name: 'summaries' is taken by .*a\.y"):
        manager.load_templates(tmp_path)
    (tmp_path / "b.yaml").write_text("{")
    with pytest.raises(SerializationError, match=r"b\.yaml: the YAML text is not valid at line 2"):
        manager.load_templates(tmp_path)
    assert manager.list_templates() == list(ARROWS)


HEAD = "name: t\ndescription: d\n"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yaml", "", "the template: Expected `object`, got `null`"),
        ("a.yaml", "- 1", "the template: Expected `object`, got `array`"),
        ("a.yaml", HEAD, "missing required field `steps`"),
        ("a.yaml", f"{HEAD}stepps: []", "unknown field `stepps`; did you mean 'steps'?"),
        ("a.yaml", f"{HEAD}steps: [{{name: a, typ: b}}]", "steps[0]: Object contains unknown"),
        ("a.yaml", f"{HEAD}steps: [{{name: 1, type: b}}]", "steps[0].name: Expected `str`"),
        ("a.yaml", f"{HEAD}steps: {{a: b}}", "steps: Expected `array`, got `object`"),
        ("a.yaml", f"{HEAD}name: u", "line 3, column 1: the key 'name' appears twice"),
        ("a.yaml", f"{HEAD}steps: &a []", "the anchor &a is not supported"),
        (
            "a.yaml",
            f"{HEAD}steps: [{{name: a, type: b, config: {{deadline: 1}}}}]",
            "is reserved",
        ),
        (
            "a.yaml",
            f"{HEAD}steps: [{{name: a, type: b, dependencies: [c]}}]",
            "'t' is not valid:\n  - missing_dependency: step 'a': depends on 'c'",
        ),
        ("a.json", "{", "the JSON text is not valid at line 1, column 2"),
        ("a.json", '{"name": 1, "name": 2}', "the key 'name' appears twice"),
        ("a.json", f'{{"metadata": {"[" * 500}{"]" * 500}}}', "nested deeper than 100"),
        ("a.txt", HEAD, "the file's name must end in .yaml, .yml, .json"),
    ],
)
def test_a_wrong_file_is_named_with_the_place(
    manager: PipelineTemplateManager, tmp_path: Path, name: str, text: str, expected: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SerializationError) as caught:
        manager.load_templates(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)
    assert manager.list_templates() == list(ARROWS)


def test_files_that_cannot_be_read(manager: PipelineTemplateManager, tmp_path: Path) -> None:
    with pytest.raises(SerializationError, match=r"none.yaml: .*No such file"):
        manager.load_templates(tmp_path / "none.yaml")
    with pytest.raises(SerializationError, match=r"the folder holds no file .yaml, .yml, .json"):
        manager.load_templates(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(SerializationError, match=r"latin.yaml: .*utf-8"):
        manager.load_templates(tmp_path)


def test_a_template_is_read_back_equal(manager: PipelineTemplateManager) -> None:
    built = PipelineBuilder("mine").add_step("a", "x").add_step("b", "y").build()
    manager.register_template(template())
    assert manager.create_pipeline_from_template("mine").build() == built
