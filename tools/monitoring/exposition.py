"""Figures in the text format of Prometheus, version 0.0.4
(https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "semantica_"

Kind = Literal["counter", "gauge", "histogram"]


class Sample(NamedTuple):
    """A value; ``part`` is what follows the name of its family (``_bucket``)."""

    value: float
    labels: Mapping[str, str] = MappingProxyType({})
    part: str = ""


class Family(NamedTuple):
    """Samples of one name. Names that do not begin with ``process_`` get the prefix of this
    library."""

    name: str
    kind: Kind
    help: str
    samples: list[Sample]


def histogram(
    counts: Iterable[int], bounds: Iterable[float], total: float, labels: Mapping[str, str]
) -> list[Sample]:
    """The samples of a histogram.

    Args:
        counts: How many fell into each part, the last of which has no bound.
        bounds: The upper bounds, in order.
        total: The sum of all.
    """
    counts = list(counts)
    samples, so_far = [], 0
    for bound, count in zip([*map(_number, bounds), "+Inf"], counts, strict=True):
        so_far += count
        samples.append(Sample(so_far, {**labels, "le": bound}, "_bucket"))
    return [*samples, Sample(total, labels, "_sum"), Sample(so_far, labels, "_count")]


def exposed(families: Iterable[Family]) -> bytes:
    """The page."""
    return "".join(f"{line}\n" for family in families for line in _lines(family)).encode()


def _lines(family: Family) -> Iterator[str]:
    name = family.name if family.name.startswith("process_") else PREFIX + family.name
    yield f"# HELP {name} {_escaped(family.help)}"
    yield f"# TYPE {name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(
            f'{key}="{_escaped(text, quoted=True)}"' for key, text in sample.labels.items()
        )
        where = f"{{{labels}}}" if labels else ""
        yield f"{name}{sample.part}{where} {_number(sample.value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.encode(errors="replace").decode().replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text
