"""Everything that is wrong with a pipeline, found before anything runs.

The time is linear in the size of the pipeline, whatever its graph looks like.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..events.arguments import fault, instance, whole
from ..events.errors import PipelineValidationError, nearest
from . import wellformed
from .conditions import conditions
from .core import graph as graphs
from .depth import bottomless, nested_in, nesting
from .error_names import retried
from .findings import SHOWN, Finding, Findings, ValidationResult
from .handlers import Handlers, Known
from .logger import logger
from .model import EXECUTORS, Pipeline, PipelineStep
from .recordable import unrecordable
from .shape import Shape, connections, dependencies

if TYPE_CHECKING:
    from ..events.store import Store
    from .estimate import Estimate

_OPTIONS = ("strict", "known", "executor", "check_performance", "resource_scheduler")
_WARNINGS = frozenset(
    f"{kind}_{role}"
    for kind in ("unrecoverable", "main")
    for role in ("handler", "condition", "compensation")
) | {"unimportable_error"}


class PipelineValidator:
    """Checks pipelines, and foresees what they will take.

    Args:
        known: Says whether a step without a handler of its own has one in the registry; then
            nothing is imported, and only handlers given with their steps are asked what they take.
            None asks the registry of step types, and imports what handlers are named.
        log: Where earlier runs are recorded, for estimates: a path, ``sqlite:///path`` or a store;
            None for ``$PIPELINE_LOG``, else the default log. It is opened only for an estimate,
            and never created.
        workers: Steps that run at once, for estimates; None for what an engine takes by default.
    """

    def __init__(
        self,
        known: Known | None = None,
        *,
        log: str | os.PathLike[str] | Store | None = None,
        workers: int | None = None,
    ) -> None:
        self._known = known
        self._log = log
        self._workers = None if workers is None else whole("workers", workers, 1)

    def validate_pipeline(self, pipeline: Pipeline, **options: Any) -> ValidationResult:
        """All that is wrong with ``pipeline``.

        Args:
            strict: A step whose type has no handler is an error, not a warning.
            known: As for the class, for this call.
            executor: ``"thread"`` (the default) or ``"process"``: how steps are executed that do
                not say so. What runs in a process is not imported here by its name.
            check_performance: Put :meth:`estimate_performance` into ``metadata["performance"]``,
                if the pipeline is valid.
            resource_scheduler: Knows what there is of resources; a step that needs more is an
                error.

        Raises:
            TypeError: An unknown option, or what is no pipeline.
            ValueError: ``executor`` is neither.
            LogError: The log for ``check_performance`` cannot be read.
        """
        for option in options:
            if option not in _OPTIONS:
                listing = f"; options: {', '.join(_OPTIONS)}"
                hint = nearest(option, _OPTIONS) or listing
                raise TypeError(f"validate_pipeline() has no option {option!r}{hint}")
        endless = Findings(bottomless(pipeline))
        if endless:
            return ValidationResult(False, endless)
        pipeline, errors = _sound(pipeline)
        shape = Shape(pipeline)
        handlers = self._handlers(**options)
        errors += [
            *wellformed.structure(pipeline), *dependencies(shape), *wellformed.options(pipeline)
        ]  # fmt: skip
        warnings = Findings([*connections(shape), *wellformed.suspicious(pipeline)])
        lenient = _WARNINGS if options.get("strict", False) else {*_WARNINGS, "no_handler"}
        for finding in (
            *nesting(pipeline),
            *handlers.findings(pipeline),
            *conditions(pipeline, handlers),
            *retried(pipeline, handlers),
        ):
            (warnings if finding.code in lenient else errors).append(finding)
        inner = {**options, "check_performance": False}
        for name, nested in nested_in(pipeline):
            found = self.validate_pipeline(nested, **inner)
            errors.extend(finding.within(name) for finding in found.errors)
            warnings.extend(finding.within(name) for finding in found.warnings)
        if not errors:
            errors.extend(unrecordable(pipeline))
        scheduler = options.get("resource_scheduler")
        if scheduler is not None and not errors:
            from .needs import unsatisfiable  # few pipelines need something

            errors.extend(unsatisfiable(pipeline, scheduler))
        result = ValidationResult(not errors, errors, warnings, shape.measures())
        if options.get("check_performance", False) and result:
            result.metadata["performance"] = self._estimate(pipeline, shape, handlers)
        return result

    def validate_dependencies(self, pipeline: Pipeline) -> ValidationResult:
        """Only missing, repeated and circular dependencies."""
        pipeline, errors = _sound(pipeline)
        shape = Shape(pipeline)
        errors += dependencies(shape)
        return ValidationResult(not errors, errors, metadata=shape.measures())

    def validate_structure(self, pipeline: Pipeline) -> ValidationResult:
        """Only the presence of steps, their names, types and configuration, and (as warnings)
        their being connected and reachable."""
        pipeline, errors = _sound(pipeline)
        shape = Shape(pipeline)
        errors += [*wellformed.structure(pipeline), *self._handlers().misfits(pipeline)]
        return ValidationResult(not errors, errors, Findings(connections(shape)), shape.measures())

    def detect_cycles(self, pipeline: Pipeline) -> list[list[str]]:
        """Circular dependencies: ``[a, b, c]`` says that b needs a, c needs b and a needs c.

        At most 100 in all, but one of each knot of steps at the least.
        """
        shape = Shape(_sound(pipeline)[0])
        return [cycle for cycles in graphs.cycles(shape.graph) for cycle in cycles]

    def estimate_performance(self, pipeline: Pipeline) -> Estimate:
        """How long a run of ``pipeline`` will take and why, from how long earlier runs took.

        Raises:
            PipelineValidationError: It cannot run, so that there is nothing to foresee.
            LogError: The log cannot be read.
        """
        pipeline, errors = _sound(pipeline)
        shape = Shape(pipeline)
        errors += [
            *wellformed.structure(pipeline), *dependencies(shape), *wellformed.options(pipeline)
        ]  # fmt: skip
        if errors:
            raise PipelineValidationError(pipeline.name, errors)
        return self._estimate(pipeline, shape, self._handlers())

    def _handlers(
        self, known: Known | None = None, executor: str = "thread", **others: Any
    ) -> Handlers:
        if executor not in EXECUTORS:
            raise fault(ValueError, "executor", "'thread' or 'process'", executor)
        return Handlers(known or self._known, executor)

    def _estimate(self, pipeline: Pipeline, shape: Shape, handlers: Handlers) -> Estimate:
        from .estimate import estimate  # few ask for it

        return estimate(pipeline, shape.graph, handlers, log=self._log, workers=self._workers)


def mention_idle_steps(pipeline: Pipeline, warnings: Iterable[Finding]) -> None:
    """Steps that do nothing are worth a line in the log."""
    without = [str(one.step) for one in warnings if one.code == "no_handler"]
    if without:
        logger().warning(
            "steps without a handler pass their input through",
            pipeline=pipeline.name,
            steps=", ".join(without[:SHOWN]) + ", ..." * (len(without) > SHOWN),
        )


def _sound(pipeline: Pipeline) -> tuple[Pipeline, Findings]:
    """A pipeline of those of its steps that are steps, and what the others are."""
    instance("pipeline", pipeline, Pipeline, "a Pipeline, as a builder's build() makes it")
    wrong = Findings(wellformed.unsound(pipeline))
    if not wrong:
        return pipeline, wrong
    steps = pipeline.steps if isinstance(pipeline.steps, list | tuple) else []
    steps = [step for step in steps if isinstance(step, PipelineStep)]
    return replace(pipeline, steps=steps), wrong
