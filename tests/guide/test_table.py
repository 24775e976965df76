"""The table of README.md names every section of the guide and every case, and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from guide.blocks import GUIDE, headings
from guide.case import all_cases

TESTS = Path(__file__).parents[1]
README = (TESTS / "guide" / "README.md").read_text("utf-8")


class Row(NamedTuple):
    """A line of the table."""

    section: str
    promise: str
    proofs: list[str]


def _rows() -> list[Row]:
    rows = []
    chapter = ""
    for line in README.splitlines():
        if line.startswith("## "):
            chapter = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith("| section"):
            name, promise, proofs = line.strip("| ").split(" | ")
            section = chapter if name == chapter else f"{chapter} > {name}"
            rows.append(Row(section, promise, re.findall("`([^`]+)`", proofs)))
    return rows


ROWS = _rows()
CASES = all_cases()
NAMED = sorted({proof for row in ROWS for proof in row.proofs if ".py" in proof})


def test_every_section_that_says_something_has_one_row() -> None:
    """A heading with nothing but other headings below it promises nothing."""
    text = GUIDE.read_text("utf-8")
    paths = headings(text)
    said = [path for path in paths if not any(one.startswith(f"{path} > ") for one in paths)]
    assert [row.section for row in ROWS] == said


def test_every_row_has_a_promise_and_a_proof() -> None:
    assert all(row.promise and row.proofs for row in ROWS)


def test_every_case_stands_in_the_row_of_its_section() -> None:
    rows = {row.section: row.proofs for row in ROWS}
    missing = [case.name for case in CASES if case.name not in rows[case.section]]
    assert not missing


def test_every_case_that_is_named_exists() -> None:
    cases = {case.name for case in CASES}
    named = {proof for row in ROWS for proof in row.proofs if ".py" not in proof}
    assert named <= cases, named - cases


@pytest.mark.parametrize("proof", NAMED)
def test_the_test_that_is_named_exists(proof: str) -> None:
    file, _, function = proof.partition("::")
    assert (TESTS / file).is_file(), f"there is no tests/{file}"
    assert _tests(file), f"tests/{file} has no test"
    assert not function or function in _tests(file), f"tests/{file} has no {function}"


@cache
def _tests(file: str) -> set[str]:
    """The tests of a file; a state machine's is a name it is given: `TestPool = Pools.TestCase`."""
    nodes = list(ast.walk(ast.parse((TESTS / file).read_text("utf-8"))))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    functions = {node.name for node in nodes if isinstance(node, kinds)}
    targets = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    machines = {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in functions | machines if name.startswith(("test_", "Test"))}
