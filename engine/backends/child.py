"""What a worker process does: take a request, carry it out, answer, until its socket closes."""

from __future__ import annotations

import io
import os
import pickle
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from .. import process


class Channel:
    """The child's end of the socket.

    Args:
        connection: To the process that this one works for.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self.requests: SimpleQueue[bytes] = SimpleQueue()
        self.main: dict[str, str] = pickle.loads(connection.recv_bytes())
        self.words: SimpleQueue[Any] = SimpleQueue()
        """What is said to the request under way."""

    def listen(self) -> None:
        """Read for ever; when nobody is left to work for, end this process."""
        try:
            while True:
                data = self._connection.recv_bytes()
                if data[:1] == WORD:
                    self.words.put(pickle.loads(data[1:]))
                else:
                    self.requests.put(data)
        finally:  # also when a message cannot be read: there is no going on without this thread
            os.killpg(0, signal.SIGKILL)  # and what it has started

    def send(self, message: Any) -> None:
        """Send a message. Raises whatever pickling it raises; nothing is sent then."""
        data = pickle.dumps(message)
        with self._sending:
            self._connection.send_bytes(data)

    def load(self, pickled: bytes) -> Any:
        """Unpickle, importing the main script first if something is defined there."""
        return _Unpickler(io.BytesIO(pickled), self.main).load()


def survives_pickling(error: BaseException) -> bool:
    """Whether an exception can be sent; some pickle, and cannot be unpickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except BaseException:  # whatever its class does
        return False
    return True


WORD = b"\0"
"""Begins a message to the request under way; no pickle begins with it."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, main: dict[str, str]) -> None:
        super().__init__(file)
        self._main = main

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__":
            import_main(self._main)
        return super().find_class(module, name)


_imported: list[BaseException | None] = []
"""Once the main script has been imported: None, or why that failed."""


def import_main(main: dict[str, str]) -> None:
    """Import the main script of the process that this one works for, once.

    Raises:
        ImportError: There is none that could be imported.
        BaseException: Whatever importing it raises, each time.
    """
    if _imported:
        if _imported[0] is not None:
            raise _imported[0]
        return
    if not main:
        raise ImportError(
            "it is defined in a script without a file; put it in a module, or run it in a thread"
        )
    from multiprocessing.spawn import prepare

    process.importing_main = True  # an engine made by an unguarded script would run it again
    try:
        prepare(main)
        _imported.append(None)
    except BaseException as error:
        _imported.append(error)
        raise
    finally:
        process.importing_main = False


def main(descriptor: int) -> None:
    """Work until the socket closes. Called in a fresh interpreter."""
    os.set_inheritable(descriptor, False)  # what a handler starts must not keep the socket open
    connection = Connection(descriptor)
    os.register_at_fork(after_in_child=connection.close)
    # Ctrl-C is the engine's; a handler of ours, unlike SIG_IGN, is not passed on to programs.
    signal.signal(signal.SIGINT, lambda *_: None)
    pid = os.getpid()
    try:
        _work(Channel(connection), pid)
    except BaseException:  # whatever a handler did to this process, nobody may wait for it
        traceback.print_exc()
    if os.getpid() == pid:
        os.killpg(0, signal.SIGKILL)
    os._exit(1)  # a fork of a handler's that came back from it


def _work(channel: Channel, pid: int) -> None:
    threading.Thread(target=channel.listen, name="semantica-listener", daemon=True).start()
    while os.getpid() == pid:
        request = channel.requests.get()
        serve = pickle.loads(request)  # a function of this library, with its arguments
        serve(channel)
