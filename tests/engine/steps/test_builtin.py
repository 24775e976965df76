"""The table of step types: everything in it exists, and reading it loads nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from typing import Any

import msgspec
import pytest

from semantica.pipeline.engine.binding import schema_of
from semantica.pipeline.engine.kinds import description_of, kind_of
from semantica.pipeline.engine.steps.builtin import BUILTIN


def handler_of(step_type: str) -> Any:
    module, _, name = BUILTIN[step_type].partition(":")
    return getattr(import_module(module), name)


@pytest.mark.parametrize("step_type", BUILTIN)
def test_every_step_type_has_a_handler(step_type: str) -> None:
    parameters = list(inspect.signature(handler_of(step_type)).parameters)
    assert parameters[:2] == ["data", "context"]


@pytest.mark.parametrize("step_type", BUILTIN)
def test_a_schema_says_what_each_key_means(step_type: str) -> None:
    handler = handler_of(step_type)
    schema = schema_of(handler)
    assert schema is not None
    parameters = inspect.signature(handler).parameters
    fields = msgspec.structs.fields(schema)
    for field in fields:
        assert len(description_of(field.type)) > 10, f"{field.name} is not described"
        assert "Meta(" not in kind_of(field.type)
        default = parameters[field.name].default
        assert default in (inspect.Parameter.empty, field.default), f"two defaults of {field.name}"
    rest = set(parameters) - {field.name for field in fields}
    assert rest <= {"data", "context", "step"}, "what can be told is in the schema"


def test_the_types_that_the_guide_names() -> None:
    assert {"ingest", "file_ingest", "parse", "document_parse"} <= set(BUILTIN)
    assert {"normalize", "text_normalize", "chunk"} <= set(BUILTIN)
    assert {"network_step", "process", "merge", "shell"} <= set(BUILTIN)


def test_nothing_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; import semantica.pipeline.engine.steps.builtin as builtin;"
        "modules = {value.partition(':')[0] for value in builtin.BUILTIN.values()};"
        "early = modules & set(sys.modules);"
        "assert not early, early;"
        "from semantica.pipeline.engine.steps import chunk, ingest, normalize, parse;"
        "from semantica.pipeline.engine.steps.general import join, process, shell;"
        "heavy = {'selectolax', 'markdown_it', 'charset_normalizer', 'pypdfium2', 'docx', 'ftfy',"
        "'httpx', 'asyncio'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
