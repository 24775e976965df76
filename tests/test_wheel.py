"""The wheel holds what the tree holds: only users would miss a forgotten subpackage."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "engine/api": "semantica/pipeline",
    "engine": "semantica/pipeline/engine",
    "events": "semantica/pipeline/events",
    "projections": "semantica/pipeline/projections",
    "tools": "semantica/pipeline/tools",
}


def installed_as(path: str) -> str:
    """Where a file of the tree belongs in the wheel."""
    folder = next(folder for folder in FOLDERS if path.startswith(f"{folder}/"))
    return FOLDERS[folder] + path.removeprefix(folder)


def test_the_wheel_holds_every_module_of_the_tree_and_nothing_else(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    for name in ("events", "projections", "engine", "tools", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--quiet", "-w", tmp_path],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr

    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {
        installed_as(path.relative_to(tree).as_posix())
        for folder in ("events", "projections", "engine", "tools")
        for path in (tree / folder).rglob("*.py")
        if not {"bench", "build", "samples"} & set(path.relative_to(tree).parts)
    }
    assert {name for name in names if name.endswith(".py")} == modules
    assert "semantica/pipeline/py.typed" in names
    page = {
        installed_as(path.relative_to(tree).as_posix())
        for path in (tree / "tools/web/static").iterdir()
    }
    assert len(page) > 15 and page <= names, "the window's page is not whole"
    assert not [name for name in names if not name.startswith("semantica/pipeline/")]
