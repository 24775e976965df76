"""Running a program, and ending it with all that it has started.

The program leads a process group of its own. A watcher in that group, a shell that the program
does not know of, reads from a pipe that only this process can write to: when this process dies,
however that happens, the pipe ends and the watcher kills the group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ...context import Context

MAX_ERRORS = 1 << 16
"""Bytes of the standard error output that are kept: the last ones."""
_BLOCK = 1 << 16

# The watcher is nobody's child: a program that waits for all of its children has no other ones.
_WATCHED = '((read _ </dev/fd/$0; kill -s KILL 0) >/dev/null 2>&1 &); exec "$@"'


class Ended(NamedTuple):
    """What a program left.

    Args:
        status: As :attr:`subprocess.Popen.returncode`: negative for a signal.
        output: None: there was more than was asked for, and it was killed.
        errors: The end of its standard error output.
    """

    status: int
    output: bytes | None
    errors: bytes


def run(
    command: Sequence[str],
    context: Context,
    *,
    cwd: str | None,
    env: Mapping[str, str],
    data: bytes,
    max_output: int,
) -> Ended:
    """Run a program to its end, or until the attempt is cancelled, which kills it.

    What it has left running in its process group ends with it. Each piece of output shows life, for
    a step with a ``heartbeat_timeout``.

    Args:
        data: What it can read from standard input.
        max_output: Bytes of its standard output.

    Raises:
        OSError: It cannot be started.
    """
    with tempfile.TemporaryFile() as given, _Watch() as watch:
        given.write(data)
        given.seek(0)
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHED, str(watch.end), *command],
            cwd=cwd,
            env=env,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(watch.end,),
        )
        return _Running(process, context).to_its_end(max_output)


class _Watch:
    """A pipe that ends with this process, or when the program has ended."""

    def __enter__(self) -> _Watch:
        self.end, self._kept = os.pipe()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.end)
        os.close(self._kept)


class _Running:
    def __init__(self, process: subprocess.Popen[bytes], context: Context) -> None:
        self._process = process
        self._context = context
        self._ending = threading.Lock()
        self._over = False
        self._errors = b""

    def to_its_end(self, max_output: int) -> Ended:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        others = [
            threading.Thread(target=self._read, args=(self._process.stderr, self._keep_errors)),
            threading.Thread(target=self._wait),
        ]
        for thread in others:
            thread.start()
        self._context.on_cancel(self._kill)
        output, size = [], 0

        def keep(block: bytes) -> bool:
            nonlocal size
            size += len(block)
            output.append(block)
            return size <= max_output

        whole = self._read(self._process.stdout, keep)
        if not whole:
            self._kill()
        for thread in others:
            thread.join()
        self._process.stdout.close()
        self._process.stderr.close()
        status = self._process.returncode
        return Ended(status, b"".join(output) if whole else None, self._errors)

    def _read(self, pipe: IO[bytes], keep: Callable[[bytes], bool]) -> bool:
        """Read to the end, or as long as ``keep`` says."""
        while block := os.read(pipe.fileno(), _BLOCK):
            self._context.heartbeat()
            if not keep(block):
                return False
        return True

    def _keep_errors(self, block: bytes) -> bool:
        self._errors = (self._errors + block)[-MAX_ERRORS:]
        return True

    def _wait(self) -> None:
        """What the program has left would keep its output open."""
        self._process.wait()
        self._kill()
        with self._ending:
            self._over = True  # from now on its number may be somebody else's

    def _kill(self) -> None:
        with self._ending, suppress(ProcessLookupError, PermissionError):
            if not self._over:
                os.killpg(self._process.pid, signal.SIGKILL)
