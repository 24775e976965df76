"""A Python process of our own that does work for this one, one request at a time.

Not a pool of the usual kind, whose workers share one pipe and its locks: there a worker killed at
the wrong moment takes its neighbours along (of the pools tried, killing an *idle* worker broke
even the one that is made for such accidents). Here each process has a socket to itself, so its
death is noticed at once, without polling, and concerns nobody else.

The process starts with a clean interpreter, without importing the user's main script; that happens
when something of it is first needed. It leads a session of its own: Ctrl-C on the terminal does
not reach it, and killing it kills what it has started. When this process dies, however that
happens, the socket closes and the worker ends itself, unless native code in it holds the
interpreter's lock; then it does so when that lets go.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from socket import SHUT_RDWR, socketpair
from typing import Any
from weakref import WeakSet

from ...events.errors import WorkerLost
from .child import WORD

_BOOT = (
    "import sys; sys.path[:] = {path!r}; "
    "from semantica.pipeline.engine.backends.child import main; main({descriptor})"
)


class WorkerProcess:
    """A running worker process. Requests and answers are pickles.

    Args:
        gpus: Indices of those that it sees (``CUDA_VISIBLE_DEVICES``), among those that this
            process sees. None are given: it sees what this process sees.

    Raises:
        WorkerLost: The process cannot be started.
    """

    def __init__(self, gpus: tuple[int, ...] = ()) -> None:
        self.gpus = gpus
        self._socket, theirs = socketpair()
        path = [entry for entry in sys.path if isinstance(entry, str)]
        boot = _BOOT.format(path=path, descriptor=theirs.fileno())
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", boot],  # -P: nothing from the current directory
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, DEVICES: _devices(gpus)} if gpus else None,
            )
        except OSError as error:
            self._socket.close()
            raise WorkerLost(f"no worker process can be started: {error}") from error
        finally:
            theirs.close()
        self._connection = Connection(os.dup(self._socket.fileno()))
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._ending = threading.Lock()
        self._killed = False
        _started.add(self)
        threading.Thread(target=self._write, name="semantica-sender", daemon=True).start()
        self.send(pickle.dumps(main_script()))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet; one that was killed is about to."""
        with self._ending:
            return not self._killed and self._process.poll() is None

    def send(self, request: bytes) -> None:
        """Send a pickled request; lost if the process has died, which :meth:`receive` tells.

        Does not wait: a process that does not read must not stop who talks to it.
        """
        self._outgoing.put(request)

    def _write(self) -> None:
        while (message := self._outgoing.get()) is not None:
            with suppress(OSError):  # it died; receive() tells
                self._connection.send_bytes(message)
        self._connection.close()

    def tell(self, word: Any) -> None:
        """Say something to the request under way."""
        self.send(WORD + pickle.dumps(word))

    def receive(self) -> Any:
        """The next message.

        Raises:
            WorkerLost: The process has died.
            Exception: Whatever unpickling it raises.
        """
        try:
            message = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise WorkerLost(self._obituary()) from None
        return pickle.loads(message)

    def kill(self) -> None:
        """Kill it and what it has started; does not wait."""
        with self._ending:
            self._killed = True
            if self._process.poll() is None:  # else its id may be somebody else's by now
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Have it end: at once, since it does nothing that anybody waits for."""
        self.kill()
        self._process.wait()
        self._hang_up()

    def _hang_up(self) -> None:
        """Also for the writer, which may be in the middle of a message."""
        with suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)
        self._socket.close()
        self._outgoing.put(None)

    def forget(self) -> None:
        """In a fork of this process: the worker is the parent's, and must notice when that dies."""
        self._connection.close()
        self._socket.close()

    def _obituary(self) -> str:
        self.kill()  # a socket that was closed is of no more use
        status = self._process.wait()
        self._hang_up()
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


_started: WeakSet[WorkerProcess] = WeakSet()


def _after_fork() -> None:
    for worker in _started:
        worker.forget()


os.register_at_fork(after_in_child=_after_fork)


DEVICES = "CUDA_VISIBLE_DEVICES"


def _devices(gpus: tuple[int, ...]) -> str:
    """The value of ``CUDA_VISIBLE_DEVICES`` that leaves these of the present ones."""
    visible = [name.strip() for name in os.environ.get(DEVICES, "").split(",") if name.strip()]
    names = dict(enumerate(visible))
    return ",".join(names.get(index, str(index)) for index in gpus)


def main_script() -> dict[str, str]:
    """How a worker can import this process's main script, as ``multiprocessing`` would."""
    from multiprocessing.spawn import get_preparation_data

    told = get_preparation_data("semantica")
    if "init_main_from_name" in told:
        return {"init_main_from_name": told["init_main_from_name"]}
    path = told.get("init_main_from_path", "")
    return {"init_main_from_path": path} if Path(path).is_file() else {}  # else typed, or piped in
