"""State diagrams of the law, in Mermaid, as ``events/README.md`` shows them.

``python -m semantica.pipeline.tools.diagrams events/README.md`` writes them between their markers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from transitions import Machine

from ..events.machines import (
    NEW,
    allocation_machine,
    pipeline_machine,
    resource_machine,
    step_machine,
)


def mermaid(machine: Machine) -> str:
    """The machine as a Mermaid state diagram; events between the same two states share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for event in machine.events.values():
        for source, transitions in event.transitions.items():
            for transition in transitions:
                if transition.dest not in (None, source):
                    arrows.setdefault((source, transition.dest), []).append(event.name)
    lines = ["stateDiagram-v2", "    direction LR"]
    if NEW not in machine.states:
        lines.append(f"    [*] --> {machine.initial}")
    for (source, dest), events in arrows.items():
        begin = "[*]" if source == NEW else source
        lines.append(f"    {begin} --> {dest}: {', '.join(events)}")
    return "\n".join(lines)


def updated(text: str) -> str:
    """``text`` with the present diagrams between ``<!-- diagram: name -->`` and its end marker.

    Raises:
        KeyError: A marker names no machine.
    """
    machines = {
        "pipeline": pipeline_machine,
        "step": step_machine,
        "allocation": allocation_machine,
        "resource": resource_machine,
    }

    def diagram(found: re.Match[str]) -> str:
        body = mermaid(machines[found[2]]())
        return f"{found[1]}\n```mermaid\n{body}\n```\n{found[3]}"

    pattern = r"(<!-- diagram: (\w+) -->)\n.*?(<!-- end of diagram -->)"
    return re.sub(pattern, diagram, text, flags=re.DOTALL)


def main(path: str) -> None:
    """Rewrite the diagrams of a file."""
    file = Path(path)
    file.write_text(updated(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
