"""Looking at a pipeline without running it: what is wrong with it, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..engine.configuration import PipelineConfig
from ..engine.findings import Finding, ValidationResult
from ..engine.model import Pipeline
from ..engine.validator import PipelineValidator
from ..events.directory import RunRow
from ..events.errors import ArchivedRun, PipelineError, RunNotFound, nearest
from ..projections.catchup import load_run
from . import mermaid
from .finding import find, opened, place_of
from .loading import add_path, apply_settings, is_target, load, template_names
from .terminal import PROGRAM, BadInput, clean, one_line, paint, print_json

SHOWN = 100
"""Findings of a kind that are listed."""


def check(
    validator: PipelineValidator,
    target: str,
    settings: Sequence[str],
    paths: Sequence[str],
    config: str | None,
    options: dict[str, bool],
    *,
    as_json: bool,
) -> int:
    """List what is wrong with a pipeline, and what it would take; returns the exit status.

    Args:
        options: Those of :meth:`PipelineValidator.validate_pipeline`.
    """
    find_modules(paths)
    pipeline = load(target, PipelineConfig(config))
    apply_settings(pipeline, settings)
    result = validator.validate_pipeline(pipeline, **options)
    if as_json:
        print_json(
            {
                "valid": result.valid,
                "name": pipeline.name,
                "errors": list(map(_as_json, result.errors)),
                "warnings": list(map(_as_json, result.warnings)),
                "metadata": result.metadata,
            }
        )
    else:
        _show(pipeline, result)
        if "performance" in result.metadata:
            from .performance import show

            show(result.metadata["performance"])
    return 0 if result.valid else 2


def find_modules(paths: Sequence[str]) -> None:
    """Have modules be found in the current folder and in these. Raises BadInput."""
    for folder in reversed((str(Path.cwd()), *paths)):
        if not Path(folder).is_dir():
            raise BadInput(f"--path: {folder} is not a folder")
        add_path(folder)


def _as_json(finding: Finding) -> dict[str, Any]:
    return {"code": finding.code, "step": finding.step, "message": finding.message}


def _show(pipeline: Pipeline, result: ValidationResult) -> None:
    for kind, colour, findings in (
        ("error:", "red", result.errors),
        ("warning:", "yellow", result.warnings),
    ):
        for finding in findings[:SHOWN]:
            print(f"{paint(kind, colour)} {one_line(finding)}")
        if len(findings) > SHOWN:
            print(f"{paint(kind, colour)} and {len(findings) - SHOWN} more (--json lists them)")
    verdict = paint("valid", "green") if result.valid else paint("not valid", "red")
    facts = [_counted(len(result.errors), "error")] if result.errors else []
    facts += [_counted(len(result.warnings), "warning")] if result.warnings else []
    measures = result.metadata
    facts += [_counted(measures["steps"], "step")]
    if result.valid:
        facts += [f"{measures['depth']} deep", f"{measures['width']} wide"]
    print(f"{clean(f'{pipeline.name:.80}')} is {verdict}: {', '.join(facts)}")


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def show_graph(text: str, log: str | None, paths: Sequence[str], *, as_json: bool) -> None:
    """The graph of a pipeline or of a recorded run. Raises BadInput."""
    drawing = drawing_of(text, log, paths)
    if as_json:
        print_json(mermaid.as_json(drawing))
    else:
        print(mermaid.mermaid(drawing))


def drawing_of(text: str, log: str | None, paths: Sequence[str]) -> mermaid.Drawing:
    """A file or module is a pipeline; a plain word is a run, if there is one, else a template.

    Raises:
        BadInput: It is none of them.
    """
    find_modules(paths)
    if is_target(text):
        return mermaid.of_pipeline(load(text))
    place = place_of(log)
    missing = f"and there is no log at {place}"
    if place is not None and (place.exists() or text not in template_names()):
        try:
            with opened(log) as opened_log:
                row: RunRow = find(opened_log.store, text)
                return mermaid.of_run(load_run(opened_log.store, row.run_id))
        except ArchivedRun:
            if text not in template_names():
                raise
        except RunNotFound:
            missing = f"and no run in {place} ('{PROGRAM} runs' lists them)"
        except PipelineError:
            if place.exists():
                raise
    names = template_names()
    if text in names:
        return mermaid.of_pipeline(load(text))
    raise BadInput(
        f"{text!r} names neither a pipeline (a .yaml or .json file, module:attribute, "
        f"path/file.py:attribute, or a template) {missing}{nearest(text, names)}"
    )
