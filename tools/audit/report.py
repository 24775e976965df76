"""``audit report``: one file with all that a log tells of a run to whoever has to answer for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import msgspec

from ...engine.submission import actor
from ...events.directory import RunRow
from ...events.store import Store
from ...events.verify import Fault, Verification
from ...projections.account import Account
from ...projections.catchup import load_run
from ...projections.timeline import timeline
from ..drawing.page import form_of, write
from ..replay.moments import latest
from ..terminal import counted, print_json
from . import telling
from .anchoring import Anchors
from .document import Block, Code, Drawn, Facts, Heading, Paragraph, as_html, as_markdown
from .verifying import faults_of

DRAWN = 150
"""Steps up to which a run's graph is drawn, and rows of its timeline."""


class Evidence(msgspec.Struct, frozen=True):
    """A run with the runs of its steps, and what a check of all of them found."""

    accounts: Sequence[Account]
    """The run itself first."""
    faults: Sequence[Fault]
    events: int
    artifacts: int
    anchored: int
    anchors: int


def report(store: Store, row: RunRow, file: str | None, anchors: Anchors, *, as_json: bool) -> int:
    """Write the report, or show it; returns the exit status, 1 if the record is not whole.

    Raises:
        BadInput: The file's name says no form, or it cannot be written.
    """
    form = form_of(file, (".html", ".md")) if file is not None else ".md"
    found = gathered(store, row, anchors)
    if as_json:
        told = {**msgspec.to_builtins(found, enc_hook=str), "ok": not found.faults}
        if file is None:
            print_json(told)
            return int(bool(found.faults))
    blocks = list(_blocks(store, found))
    title = f"Audit of run {row.run_id}"
    text = as_html(title, blocks) if form == ".html" else as_markdown(blocks)
    if file is None:
        print(text, end="")
        return int(bool(found.faults))
    write(file, text)
    if as_json:
        print_json({"file": file, "ok": not found.faults, "faults": found.faults})
    else:
        print(f"{file}: {_verdict(found)}")
    return int(bool(found.faults))


def gathered(store: Store, row: RunRow, anchors: Anchors) -> Evidence:
    """All that the log holds of a run, and of the runs of its steps, checked."""
    accounts = list(_family(store, row))
    ids = [one.run_id for one in accounts]
    checks = anchors.checks([f"run/{run_id}" for run_id in ids])
    checked = Verification(store, ids, checks)
    faults = [*anchors.faults(), *faults_of(store, checked)]
    compared = sum(check.compared for check in checks)
    return Evidence(accounts, faults, checked.events, checked.artifacts, compared, len(checks))


def _family(store: Store, row: RunRow) -> Iterator[Account]:
    waiting = [row]
    for one in waiting:  # grows as it is walked
        told = latest(store, one).account(store)
        yield told
        inner = (store.run(step.child) for step in told.steps.values() if step.child)
        waiting.extend(child for child in inner if child is not None)


def _blocks(store: Store, found: Evidence) -> Iterator[Block]:
    first = found.accounts[0]
    yield Heading(1, f"Audit of run {first.name}")
    yield Facts(
        [
            ("run", Code(first.run_id)),
            ("status", first.status),
            ("log", Code(str(store.location))),
            ("report made", f"{telling.when(time.time_ns())} by {actor()}"),
            ("with", f"semantica-pipeline {version('semantica-pipeline')}"),
        ]
    )
    yield Heading(2, "Is this record whole?")
    yield Paragraph(_verdict(found), "bad" if found.faults else "ok")
    yield from (Paragraph(str(fault), "bad") for fault in found.faults)
    yield Paragraph(_meaning(found))
    for one in found.accounts:
        if one is not first:
            yield Heading(1, f"Within: run {one.name} {one.run_id}")
        yield from telling.account_blocks(one)
        yield Heading(2, "Lineage")
        yield from telling.outputs_blocks(one)
        yield from _sources(store, one)
        yield from _drawings(store, one)


def _sources(store: Store, told: Account) -> Iterator[Block]:
    """Where the outputs are from that a run has taken over from others, and those from theirs."""
    taken = telling.taken_over(told, told.steps)
    for run_id, outputs in taken:  # grows as it is walked
        row = store.run(run_id)
        if row is None:
            yield Paragraph(
                f"Run {run_id}, whose outputs were taken over, is not in this log.", "bad"
            )
            continue
        source = latest(store, row).account(store)
        yield from telling.source_blocks(source, outputs)
        taken += telling.taken_over(source, telling.found_in(source, outputs))


def _drawings(store: Store, told: Account) -> Iterator[Block]:
    from ..drawing.gantt import timeline_svg
    from ..drawing.graph import graph_svg
    from ..gantt import bars_of, choose
    from ..mermaid import of_run

    run = load_run(store, told.run_id, until=told.version)
    rows = bars_of(run, timeline(store.read(run.stream)), told.at)
    if rows:
        shown = choose(rows, DRAWN, told.at)
        yield Drawn("When each step ran", timeline_svg(rows, shown, told.at, styled=False))
    if len(run.graph) <= DRAWN:
        yield Drawn("Graph", graph_svg(of_run(run), styled=False))


def _verdict(found: Evidence) -> str:
    what = f"{counted(found.events, 'event')} and {counted(found.artifacts, 'artifact')}"
    if found.faults:
        faults = counted(len(found.faults), "fault")
        return f"{faults} in {what}: this record is not as it was written"
    anchored = f", and {found.anchored} of its histories are as they were anchored"
    return f"whole: {what} are as they were written" + (anchored if found.anchors else "")


def _meaning(found: Evidence) -> str:
    told = (
        "Every digest was computed anew: each event's digest covers its content and, by the digest "
        "before it, all earlier events of its run; an artifact's name is the digest of its content."
    )
    if found.anchors:
        return told
    return (
        f"{told} No anchor was given, so events that were cut off the end, or a history that was "
        "written anew as a whole, would not show (audit verify --anchor)."
    )
