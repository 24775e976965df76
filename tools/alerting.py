"""Alerts: a durable consumer of the log that tells somebody what went wrong.

What is to be told is written into the log's bookmark together with the position (an outbox), and
leaves it when the receiver has said that it has it. So nothing is lost, and told twice only if the
sender dies between the receiver's answer and the record of it: then with the same id.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from hashlib import blake2b
from itertools import islice

import msgspec

from ..engine.subscribing import Record, record_of
from ..events.errors import LogError
from ..events.pipeline import (
    PipelineClaimed,
    PipelineFailed,
    PipelineResumed,
    PipelineRollbackFailed,
    PipelineRollbackResumed,
    PipelineRollbackStarted,
    PipelineSubmitted,
)
from ..events.sealed_store import as_stored
from ..events.store import Store
from ..events.subscriptions import Bookmark
from .alert_rules import Rule, Rules

MOST_DELAY = 60.0
"""Seconds between two tries to tell somebody, at most; they double from one second on."""
_PAGE = 500


LOOK_EVERY = 1.0
"""Seconds between two looks at the runs that go on."""
_BEGINS_AGAIN = (PipelineResumed, PipelineRollbackStarted, PipelineRollbackResumed)


class Alert(msgspec.Struct):
    """Something that somebody is to be told. ``at`` is ns, UTC; ``id`` is the same however often it
    is sent."""

    id: str
    rule: str
    kind: str
    run: str
    pipeline: str
    at: int
    text: str
    tries: int = 0
    due: int = 0


class Watched(msgspec.Struct):
    """A run that goes on: since when and which version, its last event, and what was told of it."""

    pipeline: str
    since: int
    began: int
    last: int
    version: int
    told: list[str] = []


class State(msgspec.Struct):
    """What the sender knows of the past."""

    runs: dict[str, Watched] = {}
    outbox: list[Alert] = []


class Alerts:
    """The sender; its caller holds the subscription.

    Args:
        store: The log.
        rules: What to tell whom.
        send: Tells it; what it raises says that nobody was told.
        begin: At the first start, failures before then (ns, UTC) are not told.
    """

    def __init__(
        self, store: Store, rules: Rules, send: Callable[[Rule, Alert], None], begin: int
    ) -> None:
        self._store, self._rules, self._send, self._begin = as_stored(store), rules, send, begin
        self._looked_at = 0
        bookmark = store.subscriptions.load(rules.name)
        self._position = bookmark.position
        try:
            self.state = msgspec.json.decode(bookmark.state or b"{}", type=State)
        except msgspec.MsgspecError:
            raise LogError(
                f"{rules.name!r} follows {store.location} for something else than alerts; give "
                "these another name"
            ) from None

    def turn(self, now: int) -> list[tuple[Alert, str | None]]:
        """Read what is new, and tell what is due; returns what was tried, and why it failed."""
        while page := list(islice(self._store.read_all(self._position), _PAGE)):
            for envelope in page:
                self._fold(record_of(envelope))
            self._position = page[-1].position
            self._save()
        if now - self._looked_at >= LOOK_EVERY * 1e9:
            self._looked_at = now
            if self._look(now):
                self._save()
        return self._deliver(now)

    def _fold(self, record: Record) -> None:
        e, event, run_id = record.envelope, record.event, record.run_id
        if run_id is None:
            return
        if isinstance(event, PipelineSubmitted) and event.parent is None:
            self.state.runs[run_id] = Watched(event.name, e.at, 1, e.at, 1)
        elif isinstance(event, _BEGINS_AGAIN) and run_id not in self.state.runs:
            row = self._store.run(run_id)
            if row is not None and row.parent is None:
                self.state.runs[run_id] = Watched(row.name, e.at, e.version, e.at, e.version)
        watched = self.state.runs.get(run_id)
        if watched is None:
            return
        if isinstance(event, PipelineResumed):
            watched.since, watched.began, watched.told = e.at, e.version, []
        elif isinstance(event, PipelineClaimed) and watched.version == 1:
            watched.since = e.at  # it had waited for somebody until then
        watched.last, watched.version = e.at, e.version
        if isinstance(event, PipelineFailed | PipelineRollbackFailed) and e.at >= self._begin:
            where = event.cause.of(event.step) if event.step else event.cause.bare
            for rule in self._rules.alerts:
                self._raise(rule, "failed", run_id, watched, e.version, e.at, f"failed: {where}")

    def _look(self, now: int) -> bool:
        """Whether an active run is stuck, or slow, of which that was not told."""
        before = len(self.state.outbox)
        for run_id, watched in list(self.state.runs.items()):
            row = self._store.run(run_id)
            if row is None or row.status.finished:
                del self.state.runs[run_id]
                continue
            if not row.status.active:
                continue
            for rule in self._rules.alerts:
                since, version = (
                    (watched.last, watched.version)
                    if rule.when == "stuck"
                    else (watched.since, watched.began)
                )
                passed = (now - since) / 1e9
                if rule.when != "failed" and passed >= rule.after:
                    told = (
                        f"nothing of it was recorded for {passed:.0f} s"
                        if rule.when == "stuck"
                        else f"it goes on for {passed:.0f} s"
                    )
                    self._raise(rule, rule.when, run_id, watched, version, now, told)
        return len(self.state.outbox) != before

    def _raise(
        self, rule: Rule, kind: str, run_id: str, watched: Watched, version: int, at: int, told: str
    ) -> None:
        if rule.when != kind or not fnmatchcase(watched.pipeline, rule.pipeline):
            return
        known = f"{rule.key} {run_id} {version}"
        name = blake2b(known.encode(), digest_size=16).hexdigest()
        if kind != "failed":
            if name in watched.told:
                return
            watched.told = [*watched.told[-20:], name]
        text = f"run {run_id} ({watched.pipeline}) {told}"
        self.state.outbox.append(Alert(name, rule.key, kind, run_id, watched.pipeline, at, text))

    def _deliver(self, now: int) -> list[tuple[Alert, str | None]]:
        rules = {rule.key: rule for rule in self._rules.alerts}
        tried = list[tuple[Alert, str | None]]()
        for alert in list(self.state.outbox):
            rule = rules.get(alert.rule)
            if rule is not None and alert.due > now:
                continue
            try:
                if rule is None:
                    raise LogError("its rule is not in the file any more; it is given up")
                self._send(rule, alert)
            except Exception as error:  # of a program or a server: anything
                tried.append((alert, str(error)))
                alert.tries += 1
                delay = min(MOST_DELAY, 2.0 ** min(alert.tries - 1, 10))
                alert.due = now + int(delay * 1e9)
                if rule is None:
                    self.state.outbox.remove(alert)
            else:
                tried.append((alert, None))
                self.state.outbox.remove(alert)
            self._save()
        return tried

    def _save(self) -> None:
        data = msgspec.json.encode(self.state)
        self._store.subscriptions.save(self._rules.name, Bookmark(self._position, data))
