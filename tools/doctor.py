"""Whether pipelines can run here, and what to do where they cannot: what ``doctor`` says."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec

from ..engine.configuration import PipelineConfig
from ..engine.encrypting import is_readable
from ..engine.model import PipelineStep
from ..engine.requests import beginning_of
from ..engine.steps import registry
from ..events.envelope import first_break
from ..events.errors import ConfigurationError, HandlerNotFound, PipelineError
from ..events.machines import PipelineStatus
from ..events.sealed_store import as_stored, keys_of
from ..events.sqlite_file import NETWORK, file_system
from ..events.store import Store
from .finding import opened, place_of, unowned
from .terminal import command, fitted, one_line, paint, print_json, wrapped

OLDEST = (3, 11)
"""Python."""
FIXED = (3, 51, 3)
"""The first SQLite whose checkpoints in WAL mode need no lock of ours."""
SPACE = (100 * 2**20, 2 * 2**30)
"""Bytes free on the log's disk: below the first it fails, below the second it is a warning."""
CHECKED = 20
"""Newest runs whose digests are computed again."""
EVENTS = 200_000
"""Events of a run up to which that is done."""
EXTRAS = ("selectolax", "markdown_it", "charset_normalizer", "pypdfium2", "docx", "ftfy", "httpx")
"""Modules that reading documents is better with."""

INDENT = 19
"""Columns before what was found."""

Outcome = Literal["ok", "warn", "fail"]
_COLOURS: dict[str, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


class Check(msgspec.Struct):
    """Something that was looked at: how it is, and what to do where it is not well."""

    name: str
    outcome: Outcome
    found: str
    advice: str | None = None


def examine(log: str | None, config: str | None, as_json: bool) -> int:
    """Look at everything; returns the exit status: 1 when something fails."""
    checks = []
    for check in checks_of(log, config):
        checks.append(check)
        if not as_json:
            _show(check)
    failed = sum(check.outcome == "fail" for check in checks)
    warned = sum(check.outcome == "warn" for check in checks)
    if as_json:
        print_json({"ok": not failed, "failed": failed, "warnings": warned, "checks": checks})
    elif failed or warned:
        print(f"{failed} failed, {warned} to be looked at, {len(checks) - failed - warned} well")
    else:
        print("all is well")
    return 1 if failed else 0


def _show(check: Check) -> None:
    word = paint(fitted(check.outcome, 4), _COLOURS[check.outcome])
    found = wrapped(check.found, INDENT)
    print(f"{word}  {fitted(check.name, 11)}  {found.lstrip()}", flush=True)
    if check.advice:
        print(wrapped(check.advice, INDENT))


def checks_of(log: str | None, config: str | None) -> Iterator[Check]:
    """All checks, one after the other."""
    yield _python()
    yield _sqlite()
    yield _extras()
    yield _model()
    yield _handlers()
    yield _settings(config)
    place = place_of(log)
    if place is None:
        yield Check(
            "log", "warn", "a log in memory ends with its process", "name a file with --log"
        )
        return
    yield _file_system(place)
    yield _space(place)
    if not place.exists():
        yield _new_log(place)
        return
    yield from _log(log, place)


# Here


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST:
        return Check("python", "fail", version, f"install {'.'.join(map(str, OLDEST))} or newer")
    return Check("python", "ok", f"{version}, {sys.executable}")


def _sqlite() -> Check:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < FIXED:
        fixed = ".".join(map(str, FIXED))
        note = f"the WAL-reset bug of those before {fixed} is kept off by the log's own locks"
        return Check("sqlite", "ok", f"{version}; {note}")
    return Check("sqlite", "ok", version)


def _extras() -> Check:
    missing = [name for name in EXTRAS if find_spec(name) is None]
    if not missing:
        return Check("documents", "ok", "all libraries for documents are installed")
    advice = "for more formats: pip install 'semantica-pipeline[documents]'"
    return Check("documents", "warn", f"not installed: {', '.join(missing)}", advice)


def _model() -> Check:
    from ..engine.steps.embedding.weights import MINILM, ModelMissing, locate

    try:
        folder = locate(MINILM)
    except ModelMissing:
        advice = "for embed and search by meaning: semantica-pipeline models install"
        return Check("model", "warn", f"{MINILM.name} is not installed", advice)
    return Check("model", "ok", f"{MINILM.name} in {folder}")


def _handlers() -> Check:
    known, broken = list(registry.known_types()), []
    for kind in known:
        try:
            registry.resolve(PipelineStep(kind, kind))
        except HandlerNotFound as error:
            broken.append(str(error))
    if broken:
        advice = "mend or uninstall the package that registers it"
        return Check("handlers", "fail", "; ".join(broken), advice)
    return Check("handlers", "ok", f"{len(known)} types of steps")


def _settings(config: str | None) -> Check:
    try:
        given = list(PipelineConfig(config).given())
    except ConfigurationError as error:
        advice = "correct it there: no engine starts with it"
        return Check("settings", "fail", one_line(str(error)), advice)
    told = [f"{name}={value} ({source})" for name, value, source in given]
    return Check("settings", "ok", "; ".join(told) or "all are the defaults")


# The log


def _nearest_folder(place: Path) -> Path:
    return next(folder for folder in place.absolute().parents if folder.is_dir())


def _file_system(place: Path) -> Check:
    kind = file_system(_nearest_folder(place))
    if kind in NETWORK:
        advice = "choose a local disk with --log or PIPELINE_LOG"
        return Check("disk", "fail", f"{kind}, whose locks cannot be trusted", advice)
    return Check("disk", "ok", f"a local file system ({kind})")


def _space(place: Path) -> Check:
    free = shutil.disk_usage(_nearest_folder(place)).free
    found = f"{free / 2**30:,.1f} GiB free"
    if free < SPACE[1]:
        outcome: Outcome = "fail" if free < SPACE[0] else "warn"
        return Check("space", outcome, found, f"free some space at {_nearest_folder(place)}")
    return Check("space", "ok", found)


def _new_log(place: Path) -> Check:
    folder = _nearest_folder(place)
    if not os.access(folder, os.W_OK | os.X_OK):
        advice = "mend its permissions, or choose another place with --log or PIPELINE_LOG"
        return Check("log", "fail", f"{place}: {folder} cannot be written", advice)
    return Check("log", "ok", f"{place} will be created by the first run")


def _log(log: str | None, place: Path) -> Iterator[Check]:
    try:
        with opened(log) as opened_log:
            store = opened_log.store
            yield Check("log", "ok", f"{store.location} opens for writing")
            for name, look in (("integrity", _integrity), ("digests", _digests), ("runs", _lost)):
                yield _guarded(name, look, store)
            if Path(keys_of(store).place).is_dir():
                yield _guarded("keys", _keys, store)
    except PipelineError as error:
        yield Check("log", "fail", f"{place} cannot be used", str(error))


def _guarded(name: str, look: Callable[[Store], Check], store: Store) -> Check:
    """A damaged log must not keep the other checks from being made."""
    try:
        return look(store)
    except (PipelineError, sqlite3.Error) as error:
        return Check(name, "fail", str(error), "restore a backup of the log")


@contextmanager
def _second_look(store: Store) -> Iterator[sqlite3.Connection]:
    uri = f"{Path(store.location).as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        yield connection


def _integrity(store: Store) -> Check:
    with _second_look(store) as connection:
        faults = [row[0] for row in connection.execute("PRAGMA quick_check(3)")]
    if faults != ["ok"]:
        advice = f"restore a backup, or save what is readable: sqlite3 {store.location} .recover"
        return Check("integrity", "fail", "; ".join(faults), advice)
    return Check("integrity", "ok", "the database is whole")


def _keys(store: Store) -> Check:
    """Of encrypted runs: for nobody else to read, and gone where the run was erased."""
    folder = Path(keys_of(store).place)
    files = list(folder.glob("*.key"))
    for path in (folder, *files):
        if path.stat().st_mode & 0o077:
            return Check("keys", "warn", f"other users can use {path}", f"chmod -R go= {folder}")
    for row in store.runs(statuses=[PipelineStatus.ERASED]):
        if is_readable(store, beginning_of(store, row.stream).encoding):
            found = f"run {row.run_id} was erased, and its key is still in {folder}"
            again = command("erase", row.run_id, log=store.location)
            return Check("keys", "fail", found, f"erase it again: {again}")
    return Check("keys", "ok", f"{len(files)} of encrypted runs, in {folder}")


def _digests(store: Store) -> Check:
    rows, faults = store.runs(limit=CHECKED), []
    for row in rows:
        fault = first_break(islice(as_stored(store).read(row.stream), EVENTS))
        if fault is not None:
            faults.append(f"run {row.run_id}: {fault[1]}")
    if faults:
        more = f"; {len(faults) - 1} more runs" if len(faults) > 1 else ""
        advice = "somebody has changed the log; restore a backup"
        return Check("digests", "fail", faults[0] + more, advice)
    newest = f"the {len(rows)} newest runs" if len(rows) != 1 else "the only run"
    return Check("digests", "ok", f"the history of {newest} is as it was written")


def _lost(store: Store) -> Check:
    lost = unowned(store)
    if lost:
        names = ", ".join(row.run_id for row in lost[:3]) + (", ..." if len(lost) > 3 else "")
        found = f"{len(lost)} lost, the process has ended: {names}"
        return Check("runs", "warn", found, f"go on with: {command('recover', log=store.location)}")
    return Check("runs", "ok", "every run that goes on is being executed")
