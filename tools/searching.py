"""Asking what runs have stored: the command ``search``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import common

if TYPE_CHECKING:
    from ..engine.steps.vectors.store import Hit

SNIPPET = 400
"""Characters of a text that are shown."""


@click.command(short_help="Find what stored texts say about a question.")
@click.argument("question")
@click.option("--index", default="default", metavar="NAME", show_default=True,
              help="The index that a store_vectors step has filled.")  # fmt: skip
@click.option("--top", type=click.IntRange(1, 1000), default=5, metavar="N", show_default=True,
              help="At most so many.")  # fmt: skip
@click.option("--store", type=click.Choice(["sqlite", "pinecone"]), default="sqlite",
              show_default=True, help="Where the index is.")  # fmt: skip
@click.option("--path", metavar="FILE", help="The file of the index, if it is not beside the log.")
@common
def search(
    question: str,
    index: str,
    top: int,
    store: str,
    path: str | None,
    log: str | None,
    as_json: bool,
) -> None:
    """Find what the stored texts say that is nearest in meaning to QUESTION: each with its score
    (1 is the same meaning, 0 none in common), its source and its place in it, in characters.

    \b
    Examples:
      semantica-pipeline search "who founded the company?"
      semantica-pipeline search "opening hours" --index letters --top 3 --json | jq .[].source
    """
    from ..engine.steps.vectors.searching import search as find
    from .terminal import print_json

    hits = find(question, index=index, top=top, log=log, path=path, store=store)
    if as_json:
        print_json(hits)
    elif not hits:
        click.echo("the index is empty")
    for number, hit in enumerate([] if as_json else hits):
        if number:
            click.echo()
        _show(hit)


def _show(hit: Hit) -> None:
    from .terminal import clean, heading, paint, wrapped

    title = hit.metadata.get("title")
    name = f"  {title}" if isinstance(title, str) and title != Path(hit.source).name else ""
    place = paint(f"{hit.start}-{hit.end}", "bright_black")
    print(f"{paint(f'{hit.score:.3f}', 'green')}  {heading(clean(_short(hit.source)))} {place}"
          f"{clean(name)}")  # fmt: skip
    text = " ".join(hit.text.split())
    if len(text) > SNIPPET:
        text = text[: SNIPPET - 1] + "…"
    print(wrapped(text, 7))


def _short(source: str) -> str:
    """A path below the current directory as it is seen from there."""
    try:
        return str(Path(source).relative_to(Path.cwd()))
    except ValueError:
        return source


COMMANDS = (search,)
