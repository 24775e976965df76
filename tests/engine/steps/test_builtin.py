"""The table of step types: everything in it exists, and reading it loads nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

from semantica.pipeline.engine.steps.builtin import BUILTIN


def test_every_step_type_has_a_handler() -> None:
    for reference in BUILTIN.values():
        module, _, name = reference.partition(":")
        parameters = list(inspect.signature(getattr(import_module(module), name)).parameters)
        assert parameters[:2] == ["data", "context"]
    assert {"ingest", "file_ingest", "parse", "document_parse"} <= set(BUILTIN)
    assert {"normalize", "text_normalize", "chunk"} <= set(BUILTIN)


def test_nothing_is_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; import semantica.pipeline.engine.steps.builtin as builtin;"
        "modules = {value.partition(':')[0] for value in builtin.BUILTIN.values()};"
        "early = modules & set(sys.modules);"
        "assert not early, early;"
        "from semantica.pipeline.engine.steps import chunk, ingest, normalize, parse;"
        "heavy = {'selectolax', 'markdown_it', 'charset_normalizer', 'pypdfium2', 'docx', 'ftfy',"
        "'httpx', 'asyncio'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
