"""A Python process of our own that does work for this one, one request at a time.

Not a pool of the usual kind, whose workers share one pipe and its locks: there a worker killed at
the wrong moment takes its neighbours along (of the pools tried, killing an *idle* worker broke
even the one that is made for such accidents). Here each process has a socket to itself, so its
death is noticed at once, without polling, and concerns nobody else.

The process starts with a clean interpreter, without importing the user's main script; that happens
when something of it is first needed. It leads a session of its own: Ctrl-C on the terminal does
not reach it, and killing it kills what it has started. When this process dies, however that
happens, the socket closes and the worker ends itself.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from socket import socketpair
from typing import Any

from ...events.errors import WorkerLost
from .child import WORD

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from semantica.pipeline.engine.backends.child import main; main(int(sys.argv[1]))"
)


class WorkerProcess:
    """A running worker process. Requests and answers are pickles.

    Raises:
        WorkerLost: The process cannot be started.
    """

    def __init__(self) -> None:
        ours, theirs = socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, str(theirs.fileno()), json.dumps(sys.path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise WorkerLost(f"no worker process can be started: {error}") from error
        finally:
            theirs.close()
        self._connection = Connection(ours.detach())
        self._sending = threading.Lock()
        self._ending = threading.Lock()
        self.send(pickle.dumps(main_script()))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        with self._ending:
            return self._process.poll() is None

    def send(self, request: bytes) -> None:
        """Send a pickled request; lost if the process has died, which :meth:`receive` tells."""
        with self._sending, suppress(OSError):
            self._connection.send_bytes(request)

    def tell(self, word: Any) -> None:
        """Say something to the request under way."""
        self.send(WORD + pickle.dumps(word))

    def receive(self) -> Any:
        """The next message. Raises WorkerLost when the process has died."""
        try:
            return pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            raise WorkerLost(self._obituary()) from None

    def kill(self) -> None:
        """Kill it and what it has started; does not wait."""
        with self._ending:
            if self._process.poll() is None:  # else its id may be somebody else's by now
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Have it end: at once, since it does nothing that anybody waits for."""
        self.kill()
        self._process.wait()
        self._connection.close()

    def _obituary(self) -> str:
        self.kill()  # a socket that was closed is of no more use
        status = self._process.wait()
        self._connection.close()
        if status >= 0:
            return f"the worker process ended by itself, with exit status {status}"
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"the worker process was killed by {name}{_REASONS.get(name, '')}"


_REASONS = {
    "SIGKILL": " (as the system does when memory runs out)",
    "SIGSEGV": " (a segmentation fault in native code)",
    "SIGABRT": " (native code aborted)",
    "SIGBUS": " (a memory fault in native code)",
}


def main_script() -> dict[str, str]:
    """How a worker can import this process's main script, as ``multiprocessing`` would."""
    from multiprocessing.spawn import get_preparation_data

    told = get_preparation_data("semantica")
    return {key: told[key] for key in ("init_main_from_name", "init_main_from_path") if key in told}
