"""From what a user names, a file or ``module:attribute``, to a pipeline."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ..engine.builder import PipelineBuilder
from ..engine.configuration import PipelineConfig
from ..engine.model import RESERVED_OPTIONS, Pipeline, PipelineStep, known_options
from ..events.errors import PipelineError, nearest
from .terminal import BadInput

FORMATS = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
SETTABLE = ("priority", "timeout", "heartbeat_timeout", "at_most_once", "executor", "cache")
"""Options of a step that ``--set`` may change; other keys are its handler's configuration."""


def load(target: str, config: PipelineConfig | None = None) -> Pipeline:
    """The pipeline that ``target`` names.

    Args:
        target: A ``.yaml``, ``.yml`` or ``.json`` file, ``module:attribute`` or
            ``path/file.py:attribute``. The attribute is a pipeline, a builder, or a function
            without parameters that returns one; without it, ``pipeline`` is meant. A word
            without ``:`` and ``.`` is the name of a template.
        config: With settings of templates; by default that of the environment.

    Raises:
        BadInput: There is none; the message says why.
    """
    path = Path(target)
    if path.suffix.lower() in FORMATS:
        return _read(path)
    source, separator, attribute = target.rpartition(":")
    if not separator:
        source, attribute = target, "pipeline"
    if source.endswith(".py"):
        module = import_file(Path(source))
    elif separator and all(part.isidentifier() for part in source.split(".")):
        module = _import(source)
    elif target in template_names():
        return _from_template(target, config)
    else:
        raise BadInput(
            f"{target!r} names no pipeline: give a .yaml or .json file, module:attribute, "
            f"path/file.py:attribute, or a template{nearest(target, template_names())}"
        )
    return _pipeline_of(module, attribute, target)


def is_target(text: str) -> bool:
    """Whether ``text`` looks like a file or ``module:attribute``, rather than a plain word."""
    source, separator, _ = text.rpartition(":")
    named = Path(text)
    return (
        named.suffix.lower() in {*FORMATS, ".py"}
        or source.endswith(".py")
        or bool(separator and all(part.isidentifier() for part in source.split(".")))
    )


def template_names() -> list[str]:
    """The templates that a pipeline can be made from."""
    from ..engine.templates import PipelineTemplateManager

    return sorted(PipelineTemplateManager().list_templates())


def _from_template(name: str, config: PipelineConfig | None) -> Pipeline:
    from ..engine.templates import PipelineTemplateManager

    return PipelineTemplateManager(config).create_pipeline_from_template(name).build()


def absolute(target: str) -> str:
    """``target`` as it can be named from any folder; a module stays a module."""
    source, separator, attribute = target.rpartition(":")
    if separator and source.endswith(".py"):
        return f"{Path(source).absolute()}:{attribute}"
    named = Path(target)
    return str(named.absolute()) if named.suffix in {*FORMATS, ".py"} else target


def add_path(folder: Path | str) -> None:
    """Have modules be found in a folder, before any other."""
    place = str(Path(folder).absolute())
    if place not in sys.path:
        sys.path.insert(0, place)


def import_file(path: Path) -> ModuleType:
    """Import a Python file under its name, so that what it defines can be found again by name.

    Raises:
        BadInput: It does not exist, cannot be imported, or its name belongs to another module.
    """
    _check_file(path)
    path = path.resolve()
    folder, name = path.parent, path.stem
    while (folder / "__init__.py").exists():  # inside a package, which its imports may rely on
        folder, name = folder.parent, f"{folder.name}.{name}"
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadInput(f"{path} cannot be imported as {name!r}; give it the name of a module")
    add_path(folder)
    module = _import(name)
    found = getattr(module, "__file__", None)
    if found is None or Path(found).resolve() != path:
        raise BadInput(f"{path}: the module name {name!r} is taken by {found}; rename the file")
    return module


def _check_file(path: Path) -> None:
    if path.is_file():
        return
    if path.exists():
        raise BadInput(f"{path} is not a file")
    known = [str(path.with_name(one.name)) for one in path.parent.glob(f"*{path.suffix}")]
    raise BadInput(f"{path} does not exist{nearest(str(path), known)}")


def _read(path: Path) -> Pipeline:
    _check_file(path)
    add_path(path.parent.resolve())  # its handlers may lie beside it
    add_path(Path.cwd())
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    try:
        return PipelineBuilder().deserialize(text, format=FORMATS[path.suffix.lower()])
    except PipelineError as error:
        raise BadInput(f"{path}: {error}") from error


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a module may raise anything
        raise BadInput(f"cannot import {name!r}: {_told(error)}") from error


def _pipeline_of(module: ModuleType, attribute: str, target: str) -> Pipeline:
    try:
        found = getattr(module, attribute)
    except AttributeError:
        hint = nearest(attribute, [name for name in vars(module) if not name.startswith("_")])
        raise BadInput(f"{target}: {module.__name__} has no {attribute!r}{hint}") from None
    if callable(found) and not isinstance(found, (Pipeline, PipelineBuilder)):
        try:
            found = found()
        except (Exception, SystemExit) as error:  # the user's function may raise anything
            raise BadInput(f"{target}: calling it failed: {_told(error)}") from error
    if isinstance(found, PipelineBuilder):
        found = found.build()
    if not isinstance(found, Pipeline):
        raise BadInput(
            f"{target} is a {type(found).__name__}; it must be a Pipeline, a PipelineBuilder, or "
            "a function without parameters that returns one"
        )
    return found


def _told(error: BaseException) -> str:
    """An exception of the user's code, with the place where it was raised."""
    if isinstance(error, SyntaxError):
        place = f"{error.filename}, line {error.lineno}"
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}, line {last.lineno}"
    known = isinstance(error, ImportError) and place.startswith("<frozen")
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    told = text if isinstance(error, PipelineError) else f"{type(error).__name__}: {text}"
    return told if known else f"{told} ({place})"


def parse_data(text: str | None, where: str = "--data") -> Any:
    """The input given as JSON, or as ``@file`` that holds JSON. Raises BadInput."""
    if text is None:
        return None
    named = where
    if text.startswith("@"):
        where = text[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise BadInput(f"{named}: cannot read {where}: {reason}") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        hint = "" if where != named else f"; text needs quotes: {named} '\"text\"'"
        raise BadInput(f"{where} is not JSON: {error}{hint}") from error


def apply_settings(pipeline: Pipeline, settings: Sequence[str]) -> None:
    """Carry out ``step.key=value`` settings on a pipeline. Raises BadInput."""
    for name, key, value in parsed(settings):
        _set(_step(pipeline, name), key, value)


def parsed(settings: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Step, key and value of ``step.key=value`` settings. Raises BadInput."""
    for setting in settings:
        place, equals, text = setting.partition("=")
        name, dot, key = place.rpartition(".")
        if not (equals and dot and name and key):
            raise BadInput(f"--set {setting!r}: write it as step.key=value")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        yield name, key, value


def _step(pipeline: Pipeline, name: str) -> PipelineStep:
    try:
        return pipeline.step(name)
    except KeyError:
        names = [step.name for step in pipeline.steps]
        known = nearest(name, names) or f"; its steps: {', '.join(names[:20])}"
        raise BadInput(f"--set: pipeline {pipeline.name!r} has no step {name!r}{known}") from None


def _set(step: PipelineStep, key: str, value: Any) -> None:
    check_settable(step.name, key)
    if key in SETTABLE:
        setattr(step, key, value)
    else:
        step.config[key] = value


def check_settable(step: str, key: str) -> None:
    """Raises BadInput: an option that is no matter of a command line."""
    if key not in SETTABLE and (key in RESERVED_OPTIONS or key in known_options()):
        raise BadInput(f"--set {step}.{key}: this option cannot be set here")
