"""A case: one block of the guide, what it takes for granted, and what it promises.

It runs in an interpreter of its own (see :mod:`.child`), in a folder of its own with real documents
in ``./documents``. The block is executed as a script, character by character as the guide has it.
"""

from __future__ import annotations

import contextlib
import io
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from .blocks import Block, block_at


class Script:
    """A block of the guide, to be executed once.

    Attributes:
        block: The block.
        printed: What it has printed, line by line.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.printed: list[str] = []

    def run(self, **given: Any) -> Any:
        """Execute the block as the main script, and return the module: its variables.

        Args:
            given: The names that the guide takes for granted there, with their values.
        """
        path = Path("block.py").absolute()
        path.write_text(self.block.text, encoding="utf-8")
        main = ModuleType("__main__")
        main.__file__ = str(path)
        vars(main).update(given)
        sys.modules["__main__"] = main
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                exec(compile(self.block.text, path, "exec"), vars(main))
        finally:
            self.printed = said.getvalue().splitlines()
            print(said.getvalue(), end="", flush=True)  # for whoever reads of a failure
        return main

    def other(self, section: str, index: int = 0) -> str:
        """The text of another block, which this one builds on."""
        return block_at(section, index).text


Check = Callable[[Script], None]


class Case(NamedTuple):
    """Something that a block promises, and the function that runs and checks it."""

    section: str
    index: int
    check: Check

    @property
    def key(self) -> tuple[str, int]:
        """Of its block."""
        return self.section, self.index

    @property
    def name(self) -> str:
        """Chapter and function, such as ``errors.fallback_handlers``."""
        return f"{self.check.__module__.rpartition('.')[2]}.{self.check.__name__}"


_cases: list[Case] = []
"""Those of the chapters imported so far."""

CHAPTERS = Path(__file__).parent / "chapters"


def all_cases() -> list[Case]:
    """The cases of every chapter."""
    for chapter in sorted(CHAPTERS.glob("*.py")):
        import_module(f"guide.chapters.{chapter.stem}")
    return _cases


def case(section: str, index: int = 0) -> Callable[[Check], Check]:
    """Have the decorated function check the block number ``index`` of a section."""

    def register(check: Check) -> Check:
        _cases.append(Case(section, index, check))
        return check

    return register


def execute(name: str) -> None:
    """Check the case of this name, and say all that is known of a failure. For the child."""
    import_module(f"guide.chapters.{name.partition('.')[0]}")
    one = next(one for one in _cases if one.name == name)
    try:
        one.check(Script(block_at(*one.key)))
    except BaseException as error:
        sys.exit("".join(traceback.format_exception(error)) + _variables(one.check, error))


def _variables(check: Check, error: BaseException) -> str:
    """What a check had in hand when it failed, and the block, shortened."""
    frames = traceback.walk_tb(error.__traceback__)
    own = next((frame for frame, _ in frames if frame.f_code is check.__code__), None)
    if own is None:
        return ""
    known = {**own.f_locals, **vars(own.f_locals.get("main", SimpleNamespace()))}
    shown = {key: repr(value) for key, value in known.items() if not callable(value)}
    return "".join(f"{key} = {text:.400}\n" for key, text in shown.items() if key[:2] != "__")
