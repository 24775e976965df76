"""What can be asked of a log: the half of the engine that changes nothing."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from ..events.arguments import fault, instance, whole
from ..events.directory import RunRow
from ..events.envelope import Envelope
from ..events.errors import AmbiguousRun
from ..events.lines import LEVELS, LogLine, Wanted
from ..events.machines import PipelineStatus
from ..events.retention import not_here, stubs
from ..events.store import Backup
from ..events.stub import RunArchived
from ..projections.catchup import load_run
from ..projections.progress import Progress, expected_durations, progress
from ..projections.status import Report, report
from ..projections.timeline import Timeline, timeline
from .logs import SharedLoop

if TYPE_CHECKING:
    from .exporting import Exported


class Queries(ABC):
    """Questions that an engine answers from the committed events of its log."""

    id: str

    @abstractmethod
    def _open(self) -> SharedLoop:
        """The log that is asked."""

    @abstractmethod
    def _catch_up(self) -> None:
        """Wait until the runs that this engine has been given are recorded."""

    def get_status(self, pipeline_id: str) -> PipelineStatus:
        """The status of a run, by its id or its pipeline's name (this engine's newest run of that
        name, else the newest in the log). Raises RunNotFound."""
        return self.find(pipeline_id).status

    def get_progress(self, pipeline_id: str) -> Progress:
        """How far a run is; see :class:`Progress`. Raises RunNotFound."""
        shared = self._open()
        row = self.find(pipeline_id)
        run = load_run(shared.store, row.run_id)
        expected = None if row.status.finished else self._expected(row)
        return progress(run, shared.loop.clock.now(), expected)

    def report(self, pipeline_id: str) -> Report:
        """A run with all its steps, and what each waits for. Raises RunNotFound."""
        shared = self._open()
        run = load_run(shared.store, self.find(pipeline_id).run_id)
        return report(run, shared.loop.clock.now(), shared.store.run)

    def runs(
        self, name: str | None = None, status: PipelineStatus | str | None = None
    ) -> list[RunRow]:
        """The runs of the log, newest first.

        Raises:
            ValueError: An unknown status.
        """
        statuses = None if status is None else [PipelineStatus(status)]
        self._catch_up()
        return self._open().store.runs(name=name, statuses=statuses)

    def archived(self, name: str | None = None) -> list[RunArchived]:
        """The runs that have left the log, of a name or of any, in the order of their leaving."""
        return list(stubs(self._open().store, name))

    def history(self, pipeline_id: str) -> list[Envelope]:
        """The recorded events of a run, in order. Raises RunNotFound."""
        row = self.find(pipeline_id)
        return list(self._open().store.read(row.stream))

    def lines(
        self,
        pipeline_id: str,
        *,
        step: str | None = None,
        level: str = "debug",
        limit: int | None = None,
    ) -> list[LogLine]:
        """What the handlers of a run have said by ``context.log``, in order, each line with
        ``event``, ``fields``, ``level``, ``at`` (ns, UTC), ``step``, ``attempt`` and ``item``.

        Args:
            step: Of this step alone.
            level: This severe, or more.
            limit: The last ones, so many.

        Raises:
            RunNotFound: There is no such run.
            ValueError: There is no such level, or the limit is below 1.
        """
        row = self.find(pipeline_id)
        if level not in LEVELS:
            raise fault(ValueError, "level", f"one of {', '.join(LEVELS)}", level)
        lines, wanted = self._open().store.lines, Wanted(step, level=level)
        if limit is None:
            return list(lines.read(row.run_id, wanted=wanted))
        return lines.newest(row.run_id, whole("limit", limit, 1), wanted=wanted)

    def timeline(self, pipeline_id: str) -> Timeline:
        """Every attempt of a run, with start, end and outcome. Raises RunNotFound."""
        row = self.find(pipeline_id)
        return timeline(self._open().store.read(row.stream))

    def backup(self, path: str | os.PathLike[str]) -> Backup:
        """Copy the log, as it is at one moment, to a new file; engines go on with their work.

        The copy, ``path`` and ``path.artifacts``, is a log: it is checked, and runs that are
        unfinished in it can be recovered from it, where they execute a second time.

        Returns:
            What the copy holds.

        Raises:
            LogError: There is something at ``path``, the log is one in memory, or damaged, or the
                copy cannot be written.
        """
        self._catch_up()
        return self._open().store.backup(Path(path))

    def export_runs(
        self, path: str | os.PathLike[str], *pipeline_ids: str, with_keys: bool = False
    ) -> Exported:
        """Write runs, with the steps of them that are runs and all values, to one new file, which
        any log can take in: see :meth:`import_runs`. The same runs give the same bytes.

        Args:
            path: The file.
            pipeline_ids: Ids or names of runs; none: every run of the log.
            with_keys: Write the keys of encrypted runs, too, for whoever may read all of the file.

        Raises:
            RunNotFound: One is not here.
            LogError: There is something at ``path``, it cannot be written, or a run is a step of
                another one.
            LogCorrupt: A run is damaged.
        """
        from .exporting import export_runs

        self._catch_up()
        rows = [self.find(one) for one in pipeline_ids]
        return export_runs(self._open().store, rows or None, Path(path), with_keys=with_keys)

    def _expected(self, row: RunRow) -> dict[str, float] | None:
        """Durations of the steps in the newest completed run of the same name."""
        store = self._open().store
        for earlier in store.runs(name=row.name, statuses=[PipelineStatus.COMPLETED], limit=1):
            return expected_durations(load_run(store, earlier.run_id))
        return None

    def find(self, pipeline_id: str, *, for_control: bool = False) -> RunRow:
        """The run that is meant by an id or a name.

        Raises:
            TypeError: It is no text.
            RunNotFound: None; an ArchivedRun, if it is not here any more.
            AmbiguousRun: ``for_control``, and several active runs have this name.
        """
        store = self._open().store
        instance("pipeline_id", pipeline_id, str, "the id of a run, or the name of its pipeline")
        self._catch_up()
        row = store.run(pipeline_id)
        if row is not None:
            return row
        mine = store.runs(name=pipeline_id, engine=self.id, roots=True, limit=1)
        if mine:
            return mine[0]
        rows = store.runs(name=pipeline_id, roots=True, limit=1)
        rows = rows or store.runs(name=pipeline_id, limit=1)
        if not rows:
            raise not_here(store, pipeline_id)
        if for_control:
            unfinished = [s for s in PipelineStatus if not s.finished and s != "stopped"]
            active = store.runs(name=pipeline_id, statuses=unfinished, roots=True, limit=20)
            if len(active) > 1:
                listing = ", ".join(one.run_id for one in active)
                raise AmbiguousRun(
                    f"{len(active)} runs of {pipeline_id!r} are active; name one: {listing}"
                )
            return active[0] if active else rows[0]
        return rows[0]
