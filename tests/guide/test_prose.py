"""What the guide's lists promise of names: methods, states, chapters."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from guide.blocks import GUIDE, headings

import semantica.pipeline
from semantica.pipeline import StepStatus

TEXT = GUIDE.read_text("utf-8")
METHODS = [
    (part.partition(" ")[0], *method)
    for part in re.split(r"^#+ ", TEXT, flags=re.MULTILINE)
    if re.match(r"\w+ Methods\n", part)
    for method in re.findall(r"^- `(\w+)\((.*)\)`: ", part, re.MULTILINE)
]
"""Class, method and parameters, as the guide writes them."""


@pytest.mark.parametrize(("owner", "method", "parameters"), METHODS)
def test_the_method_takes_what_the_guide_says(owner: str, method: str, parameters: str) -> None:
    """By name, and in that order; ``**more`` stands for whatever else it takes."""
    function: Any = getattr(getattr(semantica.pipeline, owner), method)
    names = [name for name in parameters.split(", ") if name and not name.startswith("**")]
    signature = inspect.signature(function)
    bound = signature.bind_partial("self", *names)
    assert list(bound.arguments) == ["self", *names]
    assert signature.bind_partial("self", **{name: name for name in names})
    assert inspect.getdoc(function), "undocumented"


def test_methods_of_all_seven_classes_are_listed() -> None:
    assert len({owner for owner, _, _ in METHODS}) == 7
    assert len(METHODS) == 42


def test_the_states_of_a_step_have_the_guides_names() -> None:
    listed = re.findall(r"^- \*\*(\w+)\*\*: Step ", TEXT, re.MULTILINE)
    assert listed == ["Pending", "Running", "Completed", "Failed", "Skipped"]
    assert [StepStatus(name.lower()).value for name in listed] == [name.lower() for name in listed]


def test_the_contents_lead_to_the_chapters() -> None:
    contents = re.findall(r"^\d+\. \[(.+)\]\(#(.+)\)$", TEXT, re.MULTILINE)
    chapters = [path for path in headings(TEXT) if " > " not in path]
    assert [title for title, _ in contents] == chapters[1:-1], "all but itself and the last"
    for title, anchor in contents:
        assert anchor == title.lower().replace(" ", "-")
