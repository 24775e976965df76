"""``python -m semantica.pipeline.tools.bench``: what an engine costs, beside the floor and others.

See README.md beside this file.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from ...events.errors import nearest
from .catalogue import FULL, SHORT
from .measuring import Results, measure
from .plot import svg
from .report import broken, tables

HERE = Path(__file__).parent
TRIES = 3
"""Times that a short run measures before it says that a guard is broken."""


@click.command()
@click.option("--short", is_flag=True, help="Seconds instead of minutes, and compare with guards.")
@click.option("--only", multiple=True, metavar="GROUP", help=f"One of {', '.join(FULL)}.")
@click.option("--rounds", type=click.IntRange(1), help="Fewer than are usual.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures there.")
@click.option("--load", type=click.Path(path_type=Path), help="Figures of an earlier run.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), help="The disk."
)
@click.option("--peers", default=sys.executable, help="An interpreter that has the peers.")
@click.option("--write-readme", is_flag=True, help="Put tables and plot into the README.")
def main(
    short: bool,
    only: tuple[str, ...],
    rounds: int | None,
    file: Path | None,
    load: Path | None,
    folder: Path | None,
    peers: str,
    write_readme: bool,
) -> None:
    """Measure this library, what the machine allows, and others."""
    groups = SHORT if short else FULL
    for name in only:
        if name not in groups:
            raise click.UsageError(f"no group {name!r}{nearest(name, list(groups))}")
    chosen = {
        name: msgspec.structs.replace(group, rounds=min(group.rounds, rounds or group.rounds))
        for name, group in groups.items()
        if not only or name in only
    }
    faults: list[str] = []
    if load is not None:
        results = msgspec.json.decode(load.read_bytes(), type=Results)
    else:
        for _ in range(TRIES if short else 1):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                results = measure(chosen, Path(place), peers, click.echo, short=short)
            faults = broken(results) if short else []
            if not faults:
                break
    click.echo("\n" + tables(results, groups))
    if file is not None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    if write_readme:
        update(HERE / "README.md", results)
    for fault in faults:
        click.echo(f"slower than it ever should be: {fault}", err=True)
    sys.exit(bool(faults))


def update(page: Path, results: Results) -> None:
    """Put the tables of a full run between the markers of a page, and the plot beside it."""
    told = "; ".join(f"{name} {text}" for name, text in results.machine.items())
    body = f"\n{told}.\n\n{tables(results, FULL)}\n\n"
    text = page.read_text(encoding="utf-8")
    marked = r"(<!-- results -->\n).*(<!-- end of results -->)"
    page.write_text(
        re.sub(marked, lambda found: found[1] + body + found[2], text, flags=re.DOTALL),
        encoding="utf-8",
    )
    page.with_name("results.svg").write_text(svg(results, FULL), encoding="utf-8")


if __name__ == "__main__":
    main()
