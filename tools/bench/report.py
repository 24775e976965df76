"""Results as tables: what was measured, and how it compares with the targets."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping

from .catalogue import TARGETS, Group, Target
from .measuring import Results


def value(results: Results, target: Target) -> float | None:
    """What a target compares with its bound; None where a part of it was not measured."""
    figure = results.median(target.figure)
    over = [results.median(path) for path in target.over]
    if figure is None or None in over:
        return None
    if not over:
        return figure
    ratio = figure / sum(one for one in over if one is not None)
    return 1 / ratio if target.inverse else ratio


def is_met(target: Target, found: float, bound: float) -> bool:
    """Whether a value keeps a bound."""
    return found >= bound if target.at_least else found <= bound


def broken(results: Results) -> list[str]:
    """The guards that do not hold, in words."""
    said = []
    for target in TARGETS:
        found = value(results, target)
        if target.guard and found is not None and not is_met(target, found, target.guard):
            least = "at least" if target.at_least else "at most"
            said.append(f"{target.title}: {found:.3g}, where {least} {target.guard:g} is expected")
    return said


def tables(results: Results, groups: Mapping[str, Group]) -> str:
    """All results, in Markdown."""
    return "\n".join([*_targets(results), "", *_figures(results, groups)])


def _targets(results: Results) -> Iterator[str]:
    yield "| measure | target | found | |"
    yield "|---|---:|---:|---|"
    for target in TARGETS:
        found = value(results, target)
        bound = f"{'at least' if target.at_least else 'at most'} {target.bound:,g}"
        if found is None:
            yield f"| {target.title} | {bound} | not measured | |"
        elif results.short:
            yield f"| {target.title} | {bound} | {found:,.3g} | |"
        else:
            met = "met" if is_met(target, found, target.bound) else "**not met**"
            yield f"| {target.title} | {bound} | {found:,.3g} | {met} |"


def _figures(results: Results, groups: Mapping[str, Group]) -> Iterator[str]:
    yield "| workload | | median | least to most | above the floor | CPU | |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for name, sides in results.figures.items():
        title = groups[name].title
        floor = results.median(f"{name}/floor/us")
        for side, figures in sides.items():
            found = figures["us"]
            median = statistics.median(found)
            above = time_of(median - floor) if floor is not None and side != "floor" else ""
            spread = f"{time_of(min(found))} to {time_of(max(found))}"
            rate = f"{1e6 / median:,.0f}/s" if median < 100_000 else ""
            cpu = time_of(statistics.median(figures["cpu"])) if "cpu" in figures else ""
            yield f"| {title} | {side} | {time_of(median)} | {spread} | {above} | {cpu} | {rate} |"
            title = ""
    for side, reason in results.absent.items():
        yield f"| | {side} | absent | {reason} | | | |"


def time_of(microseconds: float) -> str:
    """A time with three digits and its unit."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if abs(microseconds) >= size:
            return f"{_digits(microseconds / size)} {unit}"
    return f"{_digits(microseconds)} us"


def _digits(number: float) -> str:
    if abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.3g}"
