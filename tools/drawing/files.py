"""Drawings of runs, written to files: an SVG by itself, or in a page."""

from __future__ import annotations

import time

from ...events.directory import RunRow
from ...events.store import Store
from ...projections.catchup import load_run
from ...projections.timeline import timeline
from ..gantt import bars_of, choose
from ..mermaid import Drawing
from ..terminal import BadInput, print_json
from .gantt import timeline_svg
from .graph import graph_svg
from .page import form_of, page, write
from .style import escaped

FORMS = (".svg", ".html")


def draw_timeline(store: Store, row: RunRow, file: str, *, limit: int, as_json: bool) -> None:
    """Draw when each step of a run ran. Raises BadInput: no such form, or nothing to draw."""
    form = form_of(file, FORMS)
    run, told = load_run(store, row.run_id), timeline(store.read(row.stream))
    now = run.state.ended_at or time.time_ns()
    rows = bars_of(run, told, now)
    if not rows:
        raise BadInput(f"run {row.run_id}: no step has started")
    shown = choose(rows, limit, now)
    drawn = timeline_svg(rows, shown, now, styled=form == ".svg")
    note = f"{len(rows) - len(shown):,} shorter steps are left out" if shown != rows else ""
    _write(file, form, f"{row.name}, run {row.run_id}, {row.status}", drawn, note)
    _tell(file, len(shown), as_json)


def draw_graph(drawing: Drawing, file: str, *, as_json: bool) -> None:
    """Draw the graph of a pipeline or a run. Raises BadInput: no such form."""
    form = form_of(file, FORMS)
    _write(file, form, drawing.name, graph_svg(drawing, styled=form == ".svg"), "")
    _tell(file, len(drawing.nodes), as_json)


def _write(file: str, form: str, title: str, drawn: str, note: str) -> None:
    if form == ".html":
        said = f'<p class="dim">{escaped(note)}</p>' if note else ""
        body = f'<h1>{escaped(title)}</h1><div class="scroll">{drawn}</div>{said}'
        drawn = page(title, body)
    write(file, drawn)


def _tell(file: str, steps: int, as_json: bool) -> None:
    if as_json:
        print_json({"file": file, "steps": steps})
    else:
        print(f"{file}: {steps:,} {'step' if steps == 1 else 'steps'}")
