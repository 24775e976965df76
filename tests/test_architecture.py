"""The house rules that no linter knows: who may import whom, what is pure, what is documented."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import semantica.pipeline as facade

ROOT = Path(__file__).parents[1]
LAYERS = ["events", "projections", "engine", "tools"]
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
IMPURE = [
    "time",
    "datetime",
    "random",
    "secrets",
    "uuid",
    "uuid_utils",
    "threading",
    "concurrent",
    "queue",
    "asyncio",
    "multiprocessing",
    "subprocess",
    "signal",
    "socket",
    "sqlite3",
    "sqlite_utils",
    "structlog",
    "logging",
    "os",
    "io",
    "pathlib",
    "shutil",
]


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports, absolute, with ``semantica.pipeline.`` for the repository."""
    package = ("semantica", "pipeline", *path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) + "." if node.level else ""
            base = (start + (node.module or "")).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_one_way(layer: str) -> None:
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    for path in (ROOT / layer).rglob("*.py"):
        if path == ROOT / "engine/api/__main__.py":  # starts the command line
            continue
        ours = [name.split(".") for name in imports(path) if name.startswith("semantica.pipeline.")]
        above = {name[2] for name in ours} - set(allowed)
        # The facade is for those above the engine, and for users.
        assert not above & set(LAYERS), f"{path.relative_to(ROOT)} imports {above}"
        assert layer == "tools" or not above, (
            f"{path.relative_to(ROOT)} imports the facade: {above}"
        )


def test_the_core_imports_no_clock_chance_thread_database_or_log() -> None:
    for path in (ROOT / "engine/core").glob("*.py"):
        impure = {name.split(".")[0] for name in imports(path)} & set(IMPURE)
        assert not impure, f"{path.relative_to(ROOT)} imports {impure}"


def test_the_facade_exports_exactly_what_it_defines() -> None:
    tree = ast.parse((ROOT / "engine/api/__init__.py").read_text())
    defined = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("semantica")
        for alias in node.names
    }
    assert sorted(facade.__all__) == sorted(name for name in defined if not name.startswith("_"))
    assert all(hasattr(facade, name) for name in facade.__all__)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_small_and_documented(path: Path) -> None:
    text = path.read_text()
    lines = len(text.splitlines())
    assert lines <= 400, f"{path.name} has {lines} lines: split what changes apart"
    tree = ast.parse(text)
    assert not text.strip() or ast.get_docstring(tree), "the module has no docstring"
    missing = [
        f"line {node.lineno}: {node.name}"
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not (node.name.startswith("_") or ast.get_docstring(node))
    ]
    assert not missing, "without a docstring"
