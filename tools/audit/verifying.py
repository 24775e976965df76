"""``audit verify``: a whole log, or one run, checked and compared with anchors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...events.errors import LogCorrupt, NotALog
from ...events.verify import Fault, Verification
from ..finding import find, opened, place_of
from ..terminal import clean, counted, one_line, paint, print_json
from .anchoring import Anchors

if TYPE_CHECKING:
    from ...events.store import Store

MANY = 10_000
"""Faults that are listed; more are counted."""


class Verify:
    """One check, and what it found."""

    def __init__(self, log: str | None, run: str | None, *, archives: bool, as_json: bool) -> None:
        self._log, self._run = log, run
        self._archives, self._as_json = archives, as_json
        self._listed: list[Fault] = []
        self._count = 0

    def show(self, files: Sequence[str], key_file: str | None) -> int:
        """Check, list the faults, and say how it came out; returns the exit status.

        Args:
            files: Of anchors.
        """
        anchors = Anchors(files, key_file)
        for fault in anchors.faults():
            self._tell(fault)
        checked = self._check(anchors)
        facts = {**_facts(checked), **anchors.facts()}
        if self._as_json:
            told = {"ok": not self._count, "faults": self._count, **facts}
            print_json({**told, "listed": self._listed})
        else:
            what = ", ".join(f"{number:,} {name}" for name, number in facts.items())
            whole = paint("whole", "green")
            verdict = paint(counted(self._count, "fault"), "red") if self._count else whole
            print(f"{verdict}: {what}")
        return 1 if self._count else 0

    def _check(self, anchors: Anchors) -> Verification | None:
        place = place_of(self._log)
        if place is not None and place.is_file() and not place.stat().st_size:
            self._tell(Fault(f"{place} is empty"))
            return None
        checked = None
        try:
            with opened(self._log) as opened_log:
                store = opened_log.store
                row = None if self._run is None else find(store, self._run)
                checks = anchors.checks([row.stream] if row else None)
                checked = Verification(store, row.run_id if row else None, checks)
                for fault in faults_of(store, checked, archives=self._archives):
                    self._tell(fault)
                anchors.compared = sum(check.compared for check in checks)
        except (LogCorrupt, NotALog) as error:
            self._tell(Fault(str(error)))
        return checked

    def _tell(self, fault: Fault) -> None:
        self._count += 1
        if self._count > MANY:
            return
        if self._as_json:
            self._listed.append(fault)
        else:
            print(f"{paint('fault:', 'red')} {one_line(clean(str(fault)))}")


def faults_of(store: Store, checked: Verification, *, archives: bool = False) -> Iterator[Fault]:
    """All that is wrong with the log, with its snapshots, and with the ``archives`` of its runs."""
    from ...projections.consistency import snapshot_faults

    broken = set()
    for fault in checked.faults():
        broken.add(fault.stream)
        yield fault
    yield from snapshot_faults(store, [name for name in checked.streams if name not in broken])
    if archives:
        from ...engine.retention import archive_faults

        yield from archive_faults(checked.stubs.values())


def _facts(checked: Verification | None) -> dict[str, Any]:
    if checked is None:
        return {"events": 0, "streams": 0, "artifacts": 0, "archived": 0}
    return {
        "events": checked.events,
        "streams": len(checked.streams),
        "artifacts": checked.artifacts,
        "archived": len(checked.stubs),
    }
