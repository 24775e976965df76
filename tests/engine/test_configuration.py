"""The configuration: the guide's blocks as written, which source wins, and what is refused."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from semantica.pipeline import PipelineError
from semantica.pipeline.config import ConfigurationError, PipelineConfig
from semantica.pipeline.engine.configuration import SECTIONS

GUIDE = """
# config.yaml
pipeline:
  max_workers: 4
  retry_on_failure: true
  default_max_retries: 3
  default_backoff_factor: 2.0
  default_initial_delay: 1.0
  default_max_delay: 60.0

pipeline_resources:
  max_cpu_cores: 8
  max_memory_gb: 16
  enable_gpu: false

pipeline_parallelism:
  use_processes: false
  parallelism_level: 2

pipeline_templates:
  document_processing:
    parallelism: 2
  rag_pipeline:
    parallelism: 4
"""
DEFAULTS = {
    "max_workers": None,
    "retry_on_failure": True,
    "default_max_retries": 3,
    "default_backoff_factor": 2.0,
    "default_initial_delay": 1.0,
    "default_max_delay": 60.0,
    "log_level": "info",
    "max_cpu_cores": None,
    "max_memory_gb": None,
    "enable_gpu": None,
    "use_processes": False,
    "parallelism_level": None,
}
NUMBERS = st.floats(0, 1e6, allow_subnormal=False)
COUNTS = st.integers(1, 10**6)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "max_workers": st.integers(1, 10_000),
    "retry_on_failure": st.booleans(),
    "default_max_retries": st.integers(0, 10**6),
    "default_backoff_factor": NUMBERS,
    "default_initial_delay": NUMBERS,
    "default_max_delay": NUMBERS,
    "log_level": st.sampled_from(["debug", "info", "warning", "error", "critical", "off"]),
    "max_cpu_cores": COUNTS,
    "max_memory_gb": st.floats(1e-3, 1e6),
    "enable_gpu": st.booleans(),
    "use_processes": st.booleans(),
    "parallelism_level": COUNTS,
}
SECTION_OF = {name: section for section, names in SECTIONS.items() for name in names}


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These variables, and no other ``PIPELINE_*``."""
    before = {key: os.environ.pop(key) for key in [*os.environ] if key.startswith("PIPELINE_")}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key in variables:
            del os.environ[key]
        os.environ.update(before)


@pytest.fixture(autouse=True)
def _clean_environment() -> Iterator[None]:
    with environment():
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The guide


def test_the_guides_file(folder: Path) -> None:
    Path("config.yaml").write_text(GUIDE)

    # Load from config file
    config = PipelineConfig(config_file="config.yaml")

    # Access configuration
    max_workers = config.get("max_workers", default=4)
    retry_on_failure = config.get("retry_on_failure", default=True)

    assert (max_workers, retry_on_failure) == (4, True)
    assert config.as_dict() == {
        **DEFAULTS,
        "max_workers": 4,
        "max_cpu_cores": 8,
        "max_memory_gb": 16,
        "enable_gpu": False,
        "parallelism_level": 2,
        "pipeline_templates": {
            "document_processing": {"parallelism": 2},
            "rag_pipeline": {"parallelism": 4},
        },
    }
    assert config.template_parallelism("rag_pipeline") == 4
    assert config.template_parallelism("kg_construction") is None
    assert config.source("max_workers") == "file config.yaml"


def test_the_guides_variables() -> None:
    lines = """
    export PIPELINE_MAX_WORKERS=4
    export PIPELINE_RETRY_ON_FAILURE=true
    export PIPELINE_DEFAULT_MAX_RETRIES=3
    export PIPELINE_DEFAULT_BACKOFF_FACTOR=2.0
    export PIPELINE_DEFAULT_INITIAL_DELAY=1.0
    export PIPELINE_DEFAULT_MAX_DELAY=60.0
    export PIPELINE_MAX_CPU_CORES=8
    export PIPELINE_MAX_MEMORY_GB=16
    export PIPELINE_ENABLE_GPU=false
    export PIPELINE_USE_PROCESSES=false
    export PIPELINE_PARALLELISM_LEVEL=2
    """
    variables = dict(re.findall(r"export (\w+)=(\S+)", lines))
    with environment(**variables):
        config = PipelineConfig()
    assert config.as_dict() == {
        **DEFAULTS,
        "max_workers": 4,
        "max_cpu_cores": 8,
        "max_memory_gb": 16,
        "enable_gpu": False,
        "parallelism_level": 2,
        "pipeline_templates": {},
    }
    sources = {source for _, _, source in config.given()}
    assert sources == {f"environment {variable}" for variable in variables}


# Which source wins


def test_every_setting_is_tested() -> None:
    assert set(VALUES) == set(DEFAULTS) == set(SECTION_OF)
    assert PipelineConfig().as_dict() == {**DEFAULTS, "pipeline_templates": {}}


SOURCES = ("file", "environment", "constructor")  # the lowest first
SUBSETS = [subset for size in range(4) for subset in combinations(SOURCES, size)]


@pytest.mark.parametrize("name", VALUES)
@settings(max_examples=10)
@given(st.data(), st.sampled_from(["yaml", "json"]))
def test_the_highest_source_wins(name: str, data: st.DataObject, suffix: str) -> None:
    values = {source: data.draw(VALUES[name], label=source) for source in SOURCES}
    for subset in SUBSETS:
        check_winner(name, {source: values[source] for source in subset}, suffix)


def check_winner(name: str, values: dict[str, Any], suffix: str) -> None:
    variable = f"PIPELINE_{name.upper()}"
    with TemporaryDirectory() as folder:
        file = Path(folder, f"config.{suffix}")
        section = {name: values["file"]} if "file" in values else {}
        file.write_text(json.dumps({SECTION_OF[name]: section}))  # which is YAML, too
        text = {variable: str(values["environment"])} if "environment" in values else {}
        arguments = {name: values["constructor"]} if "constructor" in values else {}
        with environment(**text):
            config = PipelineConfig(file, **arguments)

    told = {
        "file": f"file {file}",
        "environment": f"environment {variable}",
        "constructor": "constructor",
    }
    winner = [*values][-1] if values else None
    expected = values[winner] if winner else DEFAULTS[name]
    assert getattr(config, name) == config.as_dict()[name] == config.get(name) == expected
    assert type(config.get(name)) is type(expected)
    assert config.get(name, default="none") == (expected if winner else "none")
    assert config.source(name) == (told[winner] if winner else "default")
    assert config.as_dict() == {**DEFAULTS, name: expected, "pipeline_templates": {}}
    assert PipelineConfig(**config.as_dict()).as_dict() == config.as_dict()


def test_settings_of_templates_are_merged_one_by_one(folder: Path) -> None:
    Path("config.yaml").write_text(GUIDE)
    config = PipelineConfig(
        "config.yaml", pipeline_templates={"rag_pipeline": {"parallelism": 9}, "mine": {}}
    )
    assert config.templates() == ["document_processing", "rag_pipeline"]
    assert config.template_parallelism("rag_pipeline") == 9
    assert config.template_parallelism("document_processing") == 2
    named = "pipeline_templates.{}.parallelism"
    assert config.source(named.format("rag_pipeline")) == "constructor"
    assert config.source(named.format("document_processing")) == "file config.yaml"
    assert config.source(named.format("mine")) == "default"
    assert PipelineConfig(**config.as_dict()).as_dict() == config.as_dict()


def test_the_environment_names_the_file(folder: Path) -> None:
    Path("a.yaml").write_text("pipeline: {max_workers: 1}")
    Path("b.yaml").write_text("pipeline: {max_workers: 2}")
    with environment(PIPELINE_CONFIG="a.yaml"):
        assert PipelineConfig().source("max_workers") == "file a.yaml"
        assert PipelineConfig("b.yaml").max_workers == 2
    with environment(PIPELINE_CONFIG=" "):
        assert PipelineConfig().max_workers is None
    with (
        environment(PIPELINE_CONFIG="none.yaml"),
        pytest.raises(ConfigurationError, match=r"^none.yaml \(PIPELINE_CONFIG\): .*No such file"),
    ):
        PipelineConfig()


@pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "Yes", "on", "ON", " true "])
def test_what_is_true_in_the_environment(value: str) -> None:
    with environment(PIPELINE_USE_PROCESSES=value, PIPELINE_ENABLE_GPU=value):
        config = PipelineConfig()
    assert (config.use_processes, config.enable_gpu) == (True, True)


@pytest.mark.parametrize("value", ["false", "False", "0", "no", "NO", "off", "Off"])
def test_what_is_false_in_the_environment(value: str) -> None:
    with environment(PIPELINE_RETRY_ON_FAILURE=value, PIPELINE_ENABLE_GPU=value):
        config = PipelineConfig(use_processes=True)
    assert (config.retry_on_failure, config.enable_gpu) == (False, False)


def test_what_is_empty_is_not_set(folder: Path) -> None:
    Path("a.yaml").write_text("pipeline:\n  max_workers:\npipeline_templates: {a: }\n")
    Path("b.json").write_text("null")
    with environment(
        PIPELINE_MAX_WORKERS="", PIPELINE_ENABLE_GPU=" ", PIPELINE_MAX_CPU_CORES="null"
    ):
        for file in ("a.yaml", "b.json"):
            config = PipelineConfig(file, max_workers=None, retry_on_failure=None)
            assert list(config.given()) == []
            assert config.get("max_workers", default=7) == 7


# Mistakes

WRONG_FILES = [
    ("pipeline: {max_worker: 4}", ["unknown key 'max_worker'; did you mean 'max_workers'?"]),
    ("pipeline: {zzz: 4}", ["pipeline: unknown key 'zzz' (known: max_workers, retry_on_failure,"]),
    ("pipelin: {}", ["the file: unknown key 'pipelin'; did you mean 'pipeline'?"]),
    ("max_workers: 4", ["unknown key 'max_workers'; it belongs in the section 'pipeline'"]),
    ("pipeline_resources: {max_workers: 1}", ["it belongs in the section 'pipeline'"]),
    ("pipeline: {enable_gpu: on}", ["it belongs in the section 'pipeline_resources'"]),
    ("pipeline: {max_workers: 4.5}", ["pipeline.max_workers: Expected `int | null`, not 4.5"]),
    ("pipeline: {max_workers: true}", ["pipeline.max_workers: Expected `int | null`, not True"]),
    ("pipeline: {max_workers: '4'}", ["pipeline.max_workers: Expected `int | null`, not '4'"]),
    ("pipeline: {max_workers: 0}", ["pipeline.max_workers: Expected `int` >= 1, not 0"]),
    (f"pipeline: {{max_workers: {2**70}}}", ["pipeline.max_workers: Expected `int` <= "]),
    ("pipeline: {default_max_retries: -1}", ["default_max_retries: Expected `int` >= 0, not -1"]),
    ("pipeline: {default_max_delay: -0.5}", ["default_max_delay: Expected `float` >= 0"]),
    ("pipeline: {default_max_delay: .nan}", ["default_max_delay: Expected `float` >= 0"]),
    ("pipeline: {default_max_delay: .inf}", ["default_max_delay: Expected `float` <= 1000000000"]),
    ("pipeline: {retry_on_failure: yes}", ["retry_on_failure: Expected `bool`, not 'yes'"]),
    ("pipeline_resources: {max_memory_gb: 0}", ["max_memory_gb: Expected `float` > 0.0, not 0"]),
    ("pipeline_resources: [8]", ["pipeline_resources: expected keys with values, not [8]"]),
    ("[]", ["the file: expected keys with values, not []"]),
    ("5: {}", ["the file: the key 5 must be text"]),
    ("pipeline_templates: {a: 4}", ["pipeline_templates.a: expected keys with values, not 4"]),
    ("pipeline_templates: {a: {parallelism: 0}}", ["templates.a.parallelism: Expected `int` >= 1"]),
    ("pipeline_templates: {a: {paralelism: 2}}", ["templates.a: unknown key 'paralelism'; did"]),
    ("pipeline: {max_workers: 4", ["the YAML text is not valid at line 2"]),
    ("pipeline: {}\npipeline: {}", ["the key 'pipeline' appears twice"]),
    (
        "pipeline: {max_worker: 4, default_max_retries: x}\npipeline_resources: {enable_gpu: 2}",
        ["'max_worker'", "pipeline.default_max_retries", "pipeline_resources.enable_gpu"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG_FILES)
def test_a_wrong_file_is_named_with_all_that_is_wrong(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        PipelineConfig(file, max_workers=3)
    assert str(caught.value).startswith(f"{file}:")
    assert len(caught.value.problems) == len(expected)
    for one, problem in zip(expected, caught.value.problems, strict=True):
        assert one in problem
        assert problem in str(caught.value)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(["parallelism", "rag_pipeline", *DEFAULTS]) | st.text(max_size=5)
ENTRIES = st.dictionaries(KEYS, SCALARS | st.dictionaries(KEYS, SCALARS), max_size=4)
SECTION_NAMES = st.sampled_from([*SECTIONS, "pipeline_templates"]) | st.text(max_size=5)


@given(SCALARS | st.dictionaries(SECTION_NAMES, SCALARS | ENTRIES, max_size=4))
def test_any_file_is_a_configuration_or_one_clear_error(document: Any) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "config.json")
        file.write_text(json.dumps(document))
        try:
            config = PipelineConfig(file)
        except ConfigurationError as error:
            assert str(error).startswith(f"{file}:")
            event("refused")
        else:
            assert PipelineConfig(**config.as_dict()).as_dict() == config.as_dict()
            event("accepted")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "latin.yaml").write_bytes(b"pipeline: \xe9")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "deep.json").write_text("[" * 500 + "]" * 500)
    for name, reason in {
        "config.toml": "must end in .yaml, .yml, .json",
        "latin.yaml": "cannot be read: .*utf-8",
        "folder.yaml": "cannot be read: Is a directory",
        "deep.json": "nested deeper than 100",
        "none.yaml": "cannot be read: No such file",
        "nul\0.yaml": "cannot be read: embedded null byte",
    }.items():
        with pytest.raises(ConfigurationError, match=reason) as caught:
            PipelineConfig(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_workers", "many", "Expected `int | null`, not 'many'"),
        ("max_workers", "4.5", "Expected `int | null`, not '4.5'"),
        ("max_workers", "0", "Expected `int` >= 1, not '0'"),
        ("default_max_delay", "nan", "Expected `float` >= 0.0, not 'nan'"),
        ("use_processes", "perhaps", "Expected `bool`, not 'perhaps'"),
        ("max_workers", "\udcff", "Expected `int | null`, not '?'"),
        ("enable_gpu", "2", "Expected `bool | null`, not '2'"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, expected: str) -> None:
    variable = f"PIPELINE_{name.upper()}"
    with environment(**{variable: value}), pytest.raises(ConfigurationError) as caught:
        PipelineConfig(**{name: None})
    assert str(caught.value) == f"the environment: {variable}: {expected}"


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigurationError) as caught:
        PipelineConfig(max_workers="4", enable_gpu=1, default_max_retries=2)
    assert str(caught.value) == (
        "constructor argument:\n"
        "  - max_workers: Expected `int | null`, not '4'\n"
        "  - enable_gpu: Expected `bool | null`, not 1"
    )
    with pytest.raises(TypeError, match="no setting 'max_worker'; did you mean 'max_workers'"):
        PipelineConfig(max_worker=4)
    with pytest.raises(TypeError, match="no setting 'config'; did you mean 'config_file'"):
        PipelineConfig(config="config.yaml")


def test_asking_for_what_there_is_not() -> None:
    config = PipelineConfig()
    for ask in (config.get, config.source):
        with pytest.raises(PipelineError, match=r"'max_worker'; did you mean 'max_workers'\?"):
            ask("max_worker")
    with pytest.raises(PipelineError, match="no setting 'pipeline_templates'"):
        config.get("pipeline_templates")


def test_a_configuration_does_not_change() -> None:
    config = PipelineConfig(max_workers=4)
    with pytest.raises(AttributeError, match="does not change"):
        config.max_workers = 5
    templates = config.as_dict()
    templates["max_workers"] = 5
    assert config.max_workers == config.get("max_workers") == 4
    for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert copied.as_dict() == config.as_dict()
        assert copied.source("max_workers") == "constructor"
    assert repr(config) == "<PipelineConfig max_workers=4>"


# What it costs, and what it says


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    with environment(**variables):
        done = subprocess.run(
            [sys.executable, "-c", f"from semantica.pipeline.config import PipelineConfig\n{code}"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    return done


def test_misspelt_variables_are_mentioned_once() -> None:
    done = run(
        "PipelineConfig(); print(PipelineConfig().max_workers)",
        PIPELINE_MAX_WORKRS="4",
        PIPELINE_WORKERS="4",
        PIPELINE_LOGS="x",
        PIPELINE_CONFIG_FILE="x",
        PIPELINE_LOG="ours",
        PIPELINE_CONFIG="",
        PIPELINE_USE_PROCESSES="true",
        PIPELINE_JENKINS_URL="somebody else's",
    )
    told = re.findall(r"variable (\w+) means nothing; did you mean (\w+)\?", done.stderr)
    assert sorted(told) == [
        ("PIPELINE_CONFIG_FILE", "PIPELINE_CONFIG"),
        ("PIPELINE_LOGS", "PIPELINE_LOG"),
        ("PIPELINE_MAX_WORKRS", "PIPELINE_MAX_WORKERS"),
        ("PIPELINE_WORKERS", "PIPELINE_MAX_WORKERS"),
    ]
    assert len(done.stderr.splitlines()) == len(told)
    assert done.stdout == "None\n"


def test_without_a_yaml_file_nothing_more_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"pipeline": {"max_workers": 3}}')
    code = "import sys; print(PipelineConfig().max_workers, {'yaml', 'structlog'} & {*sys.modules})"
    assert run(code, PIPELINE_CONFIG=str(file)).stdout == "3 set()\n"
