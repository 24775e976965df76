"""A page of its own: no script, nothing loaded, good to read in light, in dark and on paper."""

from __future__ import annotations

from pathlib import Path

from ..terminal import BadInput
from .style import escaped, style

SHEET = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;
background:#fff;color:#111827}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}
table{border-collapse:collapse;width:100%;font-size:.85rem}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;
border-bottom:1px solid #e5e7eb;overflow-wrap:anywhere}th{font-weight:600;white-space:nowrap}
code{font-family:ui-monospace,monospace;font-size:.92em;overflow-wrap:anywhere}
.n{white-space:nowrap}.dim{color:#6b7280}.ok{color:#15803d}.bad{color:#b91c1c}
.scroll{overflow-x:auto}dl{display:grid;grid-template-columns:max-content 1fr;
gap:.15rem 1rem;margin:.5rem 0}
dt{color:#6b7280}dd{margin:0;overflow-wrap:anywhere}
@media screen and (prefers-color-scheme:dark){body{background:#111827;color:#f3f4f6}
th,td{border-color:#374151}.dim,dt{color:#9ca3af}.ok{color:#4ade80}.bad{color:#f87171}}
@media print{:root{color-scheme:light}body{max-width:none;margin:0;font-size:10pt}
tr,svg,dl{break-inside:avoid}h2,h3{break-after:avoid}thead{display:table-header-group}
.scroll{overflow:visible}svg.d{max-width:100%;height:auto}}
"""


def page(title: str, body: str) -> str:
    """A page; ``body`` is HTML, in which all text is escaped."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{style()}{SHEET}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def write(file: str, text: str) -> None:
    """Write a file. Raises BadInput: it cannot be written."""
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {file}: {error.strerror}") from error


def form_of(file: str, forms: tuple[str, ...]) -> str:
    """The ending of a file's name, which says what is to be in it. Raises BadInput."""
    suffix = Path(file).suffix.lower()
    if suffix not in forms:
        raise BadInput(f"{file}: the name must end in {' or '.join(forms)}")
    return suffix
