"""What keeps a log: runs that leave it, come into it or are erased, and the space they took."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..events.machines import PipelineStatus
from ..events.retention import Vacuumed
from ..events.stub import RunArchived
from .queries import Queries
from .submission import actor

if TYPE_CHECKING:
    from .encrypting import Erased
    from .importing import Imported


class Keeping(Queries):
    """What an engine does to its log as a whole."""

    def archive(
        self,
        *,
        older_than: float,
        to: str | os.PathLike[str] | None,
        name: str | None = None,
        statuses: Iterable[PipelineStatus | str] | None = None,
        dry_run: bool = False,
    ) -> list[RunArchived]:
        """Move finished runs to another log, and leave a stub of each, with the digest of its
        history. Of those runs nothing can be resumed, forked or taken from the cache here any more;
        their ids are not given again.

        Args:
            older_than: Seconds since they ended, at least.
            to: That log, created if need be; None: they are discarded.
            name: Only runs of this pipeline.
            statuses: Only runs that ended like this; None: all that ended, failed ones too.
            dry_run: Change nothing; only say which they are.

        Returns:
            The stubs, oldest run first. Killed on the way, do it again.

        Raises:
            LogCorrupt: A run is damaged; it stays, and those before it are archived.
            LogError: The other log cannot be used.
            TypeError, ValueError: An argument.
        """
        from . import retention

        shared = self._open()
        return retention.archive(
            shared.store,
            older_than=older_than,
            to=to,
            name=name,
            statuses=statuses,
            dry_run=dry_run,
            actor=actor(),
            now=shared.loop.clock.now(),
        )

    def import_runs(self, path: str | os.PathLike[str], *, allow_pickle: bool = False) -> Imported:
        """Take in the runs of a file that :meth:`export_runs` wrote, unchanged: with the same
        versions and digests. All of it is checked first, and each run appears whole or not at all.
        Doing it again changes nothing; killed on the way, do it again.

        An unfinished run can then be recovered in this log too, where it executes a second time.

        Args:
            path: The file.
            allow_pickle: Take values in that are pickled, or encrypted without their key. Reading
                a pickle runs code of whoever wrote the file.

        Raises:
            LogCorrupt: The file is damaged; nothing was changed.
            LogError: It cannot be read, it has a pickle, or the log has another history of one of
                the runs; nothing was changed.
        """
        from .importing import import_runs

        self._catch_up()
        shared = self._open()
        now = shared.loop.clock.now()
        return import_runs(shared.store, Path(path), allow_pickle=allow_pickle, now=now)

    def vacuum(self, *, grace: float = 24 * 3600.0, dry_run: bool = False) -> Vacuumed:
        """Remove artifacts that nothing names any more, and give the file's free space back.

        Engines may work on the log; they cannot record anything while its file is written anew.

        Args:
            grace: Seconds that an artifact stays at least since it was put, or since a run that
                named it has left.
            dry_run: Change nothing; say what artifacts there are to remove.

        Raises:
            LogCorrupt: An artifact is damaged, so that what it names is unknown; none is removed.
            LogUnavailable: No space for a second copy of the file, or somebody else locks it.
        """
        from . import retention

        self._catch_up()
        return retention.vacuum(self._open().store, grace=grace, dry_run=dry_run)

    def erase(self, pipeline_id: str, *, dry_run: bool = False) -> Erased:
        """Destroy the key of an encrypted run, and with it the contents of that run, of the runs
        within it, and of its forks, wherever they have been copied to. Their events stay, and who
        erased them, and when, is one of them.

        Args:
            dry_run: Change nothing; only say which runs it would be.

        Returns:
            Those. Killed on the way, do it again.

        Raises:
            RunNotFound: There is no such run.
            MissingKey: Its key is not here.
            LogError: It is not encrypted, or one of them has not ended.
        """
        from .encrypting import erase

        shared, row = self._open(), self.find(pipeline_id)
        now = shared.loop.clock.now()
        return erase(shared.store, row, actor=actor(), now=now, dry_run=dry_run)
