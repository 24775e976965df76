"""Whether the handlers of a pipeline's steps can be had, and take what the steps are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from ..events.arguments import shown
from ..events.errors import HandlerNotFound, UnreadableValue
from .annotations import Configurations
from .findings import Finding
from .model import Given, Handler, Pipeline, PipelineStep, find_handler, handler_reference
from .shape import Hints
from .wellformed import has_names, is_reference, label

Known = Callable[[PipelineStep], bool]
_Problem = tuple[str, str]
"""A finding's code and message."""


class Handlers:
    """Finds the handlers of steps, each type and name once.

    Args:
        known: Says which steps without a handler of their own have one. Then nothing is imported:
            only handlers that are given with their steps are found. None: the registry of step
            types, and what can be imported, count.
        executor: How steps are executed that do not say so.
    """

    def __init__(self, known: Known | None = None, executor: str = "thread") -> None:
        self.executor = executor
        self.imports = known is None
        """Whether what is named may be imported."""
        self._found: dict[tuple[str, bool], Handler | HandlerNotFound | None] = {}
        if known is None:
            from .steps import registry

            known = registry.has_handler
        self._known: Known = known

    def find(self, step: PipelineStep) -> Handler | None:
        """The handler of a step, or None where it has none or it is not to be looked up here.

        Raises:
            HandlerNotFound: It cannot be imported, and the step would run in this process.
        """
        if callable(step.handler):
            return step.handler
        elsewhere = self.elsewhere(step)
        named = step.handler is not None
        text = step.handler if named else step.step_type
        if not self.imports or not isinstance(text, str) or (named and elsewhere):
            return None  # a module may do anything when it is imported
        found = self._import(text, named)
        if isinstance(found, HandlerNotFound):
            if elsewhere:
                return None
            raise found
        return found

    def imports_for(self, step: PipelineStep) -> bool:
        """Whether what a step names may be imported here: a module may do anything then."""
        return self.imports and not self.elsewhere(step)

    def elsewhere(self, step: PipelineStep) -> bool:
        """Whether a step runs in a process of its own."""
        return step.pipeline is None and (step.executor or self.executor) == "process"

    def named(self, reference: str) -> Handler | None:
        """The function ``module:qualname``; None for what is no such name.

        Raises:
            HandlerNotFound: It cannot be imported.
        """
        found = self._import(reference, named=True)
        if isinstance(found, HandlerNotFound):
            raise found
        return found

    def _import(self, text: str, named: bool) -> Handler | HandlerNotFound | None:
        key = text, named
        if key not in self._found:
            try:
                self._found[key] = _import_reference(text) if named else _import_type(text)
            except HandlerNotFound as error:
                self._found[key] = error
        return self._found[key]

    def findings(self, pipeline: Pipeline) -> Iterator[Finding]:
        """All that is wrong with the handlers of a pipeline's steps, and with what they get."""
        told: dict[tuple[int, bool], list[_Problem]] = {}
        for step in pipeline.steps:
            if step.pipeline is not None:
                continue
            if step.handler is None:
                problems = self._without_handler(step)
            else:
                key = id(step.handler), self.elsewhere(step)
                if key not in told:
                    told[key] = list(_lost(step.handler, in_process=key[1]))
                problems = told[key]
            for code, message in problems:
                yield Finding(code, message, label(step))
        yield from self.misfits(pipeline)

    def misfits(self, pipeline: Pipeline) -> Iterator[Finding]:
        """What is wrong with the configuration of a pipeline's steps, for their handlers."""
        configurations = Configurations()
        for step in pipeline.steps:
            if step.pipeline is not None:
                continue
            try:
                handler = self.find(step)
            except HandlerNotFound as error:
                yield Finding("unimportable_handler", str(error), label(step))
                continue
            if handler is not None and has_names(step.config):
                for code, message in configurations.check(handler, step.config):
                    yield Finding(code, message, label(step))

    def _without_handler(self, step: PipelineStep) -> list[_Problem]:
        kind = step.step_type
        if not isinstance(kind, str) or self._known(step):
            return []
        mend = self._hint(kind) or "; register one with @step(...) or give handler="
        said = f"passes its input through: no handler for type {shown(kind)}{mend}"
        return [("no_handler", said)]

    @cached_property
    def _hint(self) -> Hints:
        """Of all types that there are; looking for what is installed takes its time."""
        from .steps import registry

        return Hints(registry.known_types() if self.imports else ())


def _lost(handler: Handler | str, *, in_process: bool) -> Iterator[_Problem]:
    """Where a handler that is given with its step cannot be found again."""
    if not isinstance(handler, str) and not callable(handler):
        return  # reported with the options
    reference = handler_reference(handler)
    function = None if isinstance(handler, str) else handler
    if in_process and reference is None and not is_sendable(Given(function)):
        yield (
            "unsendable_handler",
            "the step runs in a process, where its handler cannot be found; define it at the "
            "top level of a module, or use executor='thread'",
        )
    elif reference is None:
        yield (
            "unrecoverable_handler",
            "the handler is a lambda, a closure or a method, so a process that recovers the run "
            "must build the pipeline again, as the command line does from the file it is in; "
            "define it with def in a module",
        )
    elif reference.startswith("__main__:"):
        yield (
            "main_handler",
            f"the handler {reference} lives in the script, so only the same script can "
            "recover the run; define it in a module",
        )


def is_sendable(given: Given) -> bool:
    """Whether a worker process can be given these callables."""
    from .backends.remote import pickle_given

    try:
        pickle_given("", given)
    except HandlerNotFound:
        return False
    return True


def _import_reference(reference: str) -> Handler | None:
    if not is_reference(reference):
        return None  # reported with the options
    try:
        return find_handler(reference)
    except UnreadableValue as error:
        raise HandlerNotFound(str(error)) from error
    except SystemExit as error:
        raise _ends_program(repr(reference)) from error


def _import_type(step_type: str) -> Handler | None:
    from .steps.registry import lookup

    try:
        return lookup(step_type)
    except SystemExit as error:
        raise _ends_program(f"the handler of step type {step_type!r}") from error


def _ends_program(what: str) -> HandlerNotFound:
    return HandlerNotFound(
        f"cannot import {what}: its module ends the program; put what it does as a script under: "
        "if __name__ == '__main__':"
    )
