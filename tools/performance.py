"""What a run of a pipeline will take, as the command line shows it."""

from __future__ import annotations

from collections import Counter

from ..engine.estimate import Estimate
from .finding import place_of
from .terminal import BadInput, amount, clean, heading, print_table, seconds, wrapped

SHOWN = 12
"""Steps of the critical path that are named."""
_BASIS = {"run": "earlier runs", "type": "steps of its type", "unknown": "unknown"}


def check_log(log: str | None) -> None:
    """A log that is named has to be there; else there may be none yet. Raises BadInput."""
    place = place_of(log)
    if log is not None and (place is None or not place.exists()):
        raise BadInput(f"no log at {place or log} to learn durations from")


def show(told: Estimate) -> None:
    """The estimate with its tables and suggestions."""
    print()
    print(heading(_summary(told)))
    print(wrapped(f"critical path: {_path(told['critical_path'])}", 0))
    if told["bottlenecks"]:
        print()
        rows = [
            (
                one["step"],
                seconds(one["seconds"]),
                f"{one['share']:.0%}",
                seconds(one["alone"]),
                _BASIS[told["basis"][one["step"]]],
            )
            for one in told["bottlenecks"]
        ]
        headers = ("bottleneck", "takes", "of path", "alone", "known from")
        print_table(headers, rows, right=(1, 2, 3))
    if told["resources"]:
        print()
        needs = [
            (name, amount(need["peak"]), amount(need["largest"]), need["step"])
            for name, need in told["resources"].items()
        ]
        print_table(("resource", "at most", "largest", "step"), needs, right=(1, 2))
    if told["suggestions"]:
        print()
        for suggestion in told["suggestions"]:
            print(f"- {wrapped(suggestion, 2).lstrip()}")


def _summary(told: Estimate) -> str:
    known = Counter(told["basis"].values())
    slots = f"{told['workers']} worker{'' if told['workers'] == 1 else 's'}"
    if known["unknown"] == len(told["basis"]):
        return f"on {slots}: nothing is known of how long the steps take"
    return (
        f"on {slots}: about {seconds(told['estimated_time'])} (critical path "
        f"{seconds(told['critical_time'])}, all steps {seconds(told['total_work'])})"
    )


def _path(names: list[str]) -> str:
    if len(names) > SHOWN:
        names = [*names[: SHOWN - 1], f"... ({len(names)} steps)", names[-1]]
    return " → ".join(map(clean, names))
