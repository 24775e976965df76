"""What drawings have in common: text that means nothing to a browser, and colours by state that
are read on a light page and on a dark one."""

from __future__ import annotations

import html

STATES = {
    "pending": ("#e5e7eb", "#6b7280", "#374151", "#9ca3af"),
    "waiting": ("#fef3c7", "#d97706", "#78350f", "#f59e0b"),
    "running": ("#cffafe", "#0891b2", "#164e63", "#22d3ee"),
    "retrying": ("#fef9c3", "#ca8a04", "#713f12", "#facc15"),
    "suspended": ("#ede9fe", "#7c3aed", "#4c1d95", "#a78bfa"),
    "compensating": ("#ffedd5", "#ea580c", "#7c2d12", "#fb923c"),
    "compensated": ("#f3f4f6", "#ea580c", "#44403c", "#fb923c"),
    "compensation_failed": ("#fee2e2", "#dc2626", "#7f1d1d", "#f87171"),
    "completed": ("#dcfce7", "#16a34a", "#14532d", "#4ade80"),
    "failed": ("#fee2e2", "#dc2626", "#7f1d1d", "#f87171"),
    "skipped": ("#f3f4f6", "#9ca3af", "#1f2937", "#6b7280"),
    "cancelled": ("#ffe4e6", "#be123c", "#881337", "#fb7185"),
    "missing": ("#ffffff", "#dc2626", "#18181b", "#f87171"),
}
"""Fill and stroke on a light page, fill and stroke on a dark one."""
OUTCOMES = {
    "timed_out": "failed",
    "interrupted": "retrying",
    "abandoned": "cancelled",
    "yielded": "pending",
    "undone": "compensated",
    "not_undone": "compensation_failed",
}
"""Outcomes of attempts that are no states of steps, with the state whose colours they have."""


def escaped(text: str) -> str:
    """``text`` for HTML or SVG, as content or within quotes: no markup, and nothing that is not
    seen, such as control characters and those that turn the direction of writing."""
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return html.escape(visible, quote=True)


def state_class(outcome: str) -> str:
    """The class of a state, or of the outcome of an attempt."""
    state = OUTCOMES.get(outcome, outcome)
    return f"s-{state}" if state in STATES else "s-pending"


def style() -> str:
    """The style sheet of drawings; on paper they are as on a light page."""
    light = "".join(f".s-{s}{{fill:{f};stroke:{k}}}" for s, (f, k, _, _) in STATES.items())
    dark = "".join(f".s-{s}{{fill:{f};stroke:{k}}}" for s, (_, _, f, k) in STATES.items())
    return (
        ".d text{font:12px system-ui,sans-serif;fill:#111827}.d .dim{fill:#6b7280}"
        ".d .grid{stroke:#d1d5db;stroke-width:1}.d .edge{fill:none;stroke:#9ca3af;stroke-width:1.3}"
        ".d .tip{fill:#9ca3af}.d .wait{stroke:#ca8a04;stroke-dasharray:2 3}.d .bad{stroke-width:2}"
        f"{light}@media screen and (prefers-color-scheme:dark){{"
        ".d text{fill:#f3f4f6}.d .dim{fill:#9ca3af}.d .grid{stroke:#374151}"
        f".d .edge{{stroke:#6b7280}}.d .tip{{fill:#6b7280}}{dark}}}"
    )


def svg(width: float, height: float, body: str, label: str, *, styled: bool) -> str:
    """A drawing.

    Args:
        label: What it shows, for those who cannot see it.
        styled: With its style sheet, for a file of its own.
    """
    sheet = f"<style>{style()}svg{{background:Canvas}}</style>" if styled else ""
    scheme = ' style="color-scheme:light dark"' if styled else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="d" role="img" viewBox="0 0 {width:g} '
        f'{height:g}" width="{width:g}" height="{height:g}" aria-label="{escaped(label)}"{scheme}>'
        f"{sheet}{body}</svg>"
    )


def cut(text: str, room: int) -> str:
    """``text`` in at most so many characters."""
    return text if len(text) <= room else text[: room - 1] + "…"
