"""Runs that others execute: waiting for their ends, and taking them over when their owner dies."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ..events.errors import EngineClosed, LogUnavailable
from ..events.machines import PipelineStatus
from ..events.retention import not_here
from ..projections.catchup import load_run
from .live import LiveRun, Owner, Waiter
from .model import Given

if TYPE_CHECKING:
    from .ownership import Ownership


class _Followed(msgspec.Struct, frozen=True):
    owner: Owner
    handlers: Mapping[str, Given]
    waiter: Waiter


class Following:
    """Part of an :class:`~semantica.pipeline.engine.ownership.Ownership`."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._loop = ownership.loop
        self._followed: dict[str, list[_Followed]] = {}

    def __bool__(self) -> bool:
        """Whether somebody waits."""
        return bool(self._followed)

    def follow(
        self, run_id: str, owner: Owner, handlers: Mapping[str, Given], waiter: Waiter
    ) -> None:
        """Wait for the end of a run that another process executes; take over if that one dies."""
        self._followed.setdefault(run_id, []).append(_Followed(owner, handlers, waiter))

    def follow_lost(self, live: LiveRun) -> None:
        """Wait for what the new owner makes of a run that was ours, or that we meant to begin."""
        for waiter in live.waiters:
            if live.recorded == 0 and live.submission is not None:
                # compares it with the other one
                self._ownership.submit(live.owner, live.submission, waiter)
            else:
                self.follow(live.run.run_id, live.owner, live.handlers, waiter)

    def look(self) -> None:
        """See how they are doing. Raises LogUnavailable; then look again.

        What is wrong with one run, such as an event of a newer version, is told to its waiters.
        """
        for run_id in list(self._followed):
            try:
                self._check(run_id)
            except Exception as error:
                if isinstance(error, LogUnavailable) and error.transient:
                    raise
                self._fail(run_id, error)

    def _check(self, run_id: str) -> None:
        followed = self._followed[run_id]
        live = self._loop.runs.get(run_id)
        if live is not None:  # it is ours by now
            live.waiters.extend(one.waiter for one in self._followed.pop(run_id))
            return
        row = self._loop.store.run(run_id)
        if row is None:
            if self._loop.store.archived(run_id):
                self._fail(run_id, not_here(self._loop.store, run_id))
            return
        if row.status.finished or row.status is PipelineStatus.STOPPED:
            run = load_run(self._loop.store, run_id)
            for one in self._followed.pop(run_id):
                self._ownership.tell(run, one.waiter)
        elif (
            row.status.active
            and not self._ownership.is_owned(row)
            and not followed[0].owner.draining
        ):
            live = self._ownership.claim(followed[0].owner, run_id, followed[0].handlers)
            live.waiters.extend(one.waiter for one in self._followed.pop(run_id))

    def _fail(self, run_id: str, error: Exception) -> None:
        for one in self._followed.pop(run_id, ()):
            one.waiter.resolve(partial(one.waiter.future.set_exception, error))

    def stop(self, owner: Owner) -> None:
        """An owner leaves: who waits through it is told so."""
        for run_id, followed in list(self._followed.items()):
            self._followed[run_id] = [one for one in followed if one.owner is not owner]
            if not self._followed[run_id]:
                del self._followed[run_id]
            error = EngineClosed(f"run {run_id} goes on elsewhere and this engine was closed")
            for one in followed:
                if one.owner is owner:
                    one.waiter.resolve(partial(one.waiter.future.set_exception, error))

    def fail(self, error: Exception) -> None:
        """The loop failed: whoever waits is told."""
        for run_id in list(self._followed):
            self._fail(run_id, error)
