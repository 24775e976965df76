"""Small hand-made word lists, one file each in ``data/``: an entry a line, comments after ``#``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def words(name: str) -> frozenset[str]:
    """The list of that name, in lower case."""
    text = (files(__package__) / "data" / f"{name}.txt").read_text("utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(line.casefold() for line in lines if line)


@cache
def given_names() -> frozenset[str]:
    """Given names of anyone."""
    return words("given_names") | words("female_names") | words("male_names")


@cache
def heads() -> frozenset[str]:
    """Words that make a name an organisation's or a place's."""
    return words("organization_heads") | words("place_heads")
