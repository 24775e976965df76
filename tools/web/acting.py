"""What the page does to runs, by the ways of the command line.

Pausing, stopping, cancelling and signals are commands for the owner of the run, by the inbox. What
executes steps (going on with a run that nobody holds, a fork) is a process of its own: the command
line, which finds the handlers where the run came from, and outlives the window.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from ...engine.core.commands import Cancel, Control, Pause, Refused, Resume, Stop
from ...engine.submission import new_id
from ...events.directory import RunRow
from ...events.machines import PipelineStatus
from ..executing import check_admitted, send, send_signal
from ..finding import Log, holder
from ..terminal import BadInput

PATIENCE = 20.0
"""Seconds that a process of its own gets to begin; it may have to import much."""
LOOK = 0.05
"""Seconds between two looks at whether it has."""
_STATUS = PipelineStatus
COMMANDS: dict[str, tuple[Control, list[PipelineStatus]]] = {
    "pause": (Pause(), [_STATUS.PAUSING, _STATUS.PAUSED]),
    "stop": (Stop(), [_STATUS.STOPPING, _STATUS.STOPPED]),
    "cancel": (Cancel(), [_STATUS.CANCELLING, _STATUS.CANCELLED, _STATUS.ROLLED_BACK]),
}
RESTING = (_STATUS.PAUSED, _STATUS.STOPPED, _STATUS.FAILED, _STATUS.ROLLBACK_FAILED)
ACTIONS = (*COMMANDS, "resume", "recover", "signal", "fork")


class Acting:
    """Acts on the runs of a log.

    Args:
        paths: Folders where the modules of handlers are found, too.

    Raises:
        BadInput: One of them is no folder.
    """

    def __init__(self, log: Log, paths: Sequence[str] = ()) -> None:
        self._log = log
        for path in paths:
            if not Path(path).is_dir():
                raise BadInput(f"--path: {path} is not a folder")
        self._paths = [f"--path={Path(path).absolute()}" for path in paths]

    def act(self, row: RunRow, action: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """Do what the page asks for.

        Args:
            told: The action's arguments.

        Returns:
            The run that it concerns, and its status.

        Raises:
            BadInput: There is no such action, or an argument is wrong.
            Refused: The run's state does not admit it, or it cannot be executed; says why.
        """
        if action in COMMANDS:
            return _told(send(self._log, row, *COMMANDS[action]))
        if action == "signal":
            return _told(send_signal(self._log, row, _text(told, "name"), _json(told)))
        if action == "resume":
            return _told(self._resume(row))
        if action == "recover":
            return _told(self._begin(row.run_id, lambda: self._held(row.run_id), "recover"))
        if action == "fork":
            return _told(self._fork(row, told))
        raise BadInput(f"no action {action!r}; actions: {', '.join(ACTIONS)}")

    def _resume(self, row: RunRow) -> RunRow:
        check_admitted(self._log.store, row, Resume())
        if holder(self._log.store, row) is not None:
            going = [status for status in PipelineStatus if status not in RESTING]
            return send(self._log, row, Resume(), going)

        def begun() -> RunRow | None:
            now = self._log.store.run(row.run_id)
            return now if now is not None and now.changed_at > row.changed_at else None

        return self._begin(row.run_id, begun, "resume")

    def _held(self, run_id: str) -> RunRow | None:
        row = self._log.store.run(run_id)
        ended = row is not None and not row.status.active
        return row if row and (ended or holder(self._log.store, row)) else None

    def _fork(self, row: RunRow, told: Mapping[str, Any]) -> RunRow:
        steps, settings = _texts(told, "steps"), _texts(told, "settings")
        run_id = new_id()
        options = [f"--run-id={run_id}", *(f"--from={step}" for step in steps)]
        options += [f"--set={setting}" for setting in settings]
        return self._begin(row.run_id, lambda: self._log.store.run(run_id), "fork", *options)

    def _begin(
        self, run_id: str, begun: Callable[[], RunRow | None], command: str, *options: str
    ) -> RunRow:
        """Start the command line and wait until what it is to do has begun."""
        log = f"--log={self._log.store.location}"
        words = [command, log, "--json", *self._paths, *options, "--", run_id]
        with TemporaryFile() as complaints:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "semantica.pipeline", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise Refused(f"cannot start a process for it: {error}") from error
            # Nobody else waits for it, and a process that nobody waits for stays in the table.
            threading.Thread(target=process.wait, daemon=True).start()
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                over = process.poll() is not None  # before the look: what it did is there
                row = begun()
                if row is not None:
                    return row
                if over:
                    raise Refused(_complaint(complaints) or f"{command} ended without effect")
                time.sleep(LOOK)
        raise Refused(f"{command} goes on in process {process.pid}, which has not begun yet")


def _complaint(file: IO[bytes]) -> str:
    """The last error of the command line."""
    file.seek(0)
    lines = file.read().decode(errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else (lines[-1] if lines else "")


def _told(row: RunRow) -> dict[str, Any]:
    return {"run": row.run_id, "status": row.status}


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key, "")
    if not isinstance(value, str):
        raise BadInput(f"{key} must be text")
    return value


def _json(told: Mapping[str, Any]) -> str:
    """The JSON text of a signal's value. That it may name a file is for a shell only."""
    value = _text(told, "value")
    if value.startswith("@"):
        raise BadInput("the value must be JSON")
    return value or "null"


def _texts(told: Mapping[str, Any], key: str) -> list[str]:
    values = told.get(key, [])
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise BadInput(f"{key} must be a list of texts")
    return values
