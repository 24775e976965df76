"""What a worker process does: take a request, carry it out, answer, until its socket closes."""

from __future__ import annotations

import io
import os
import pickle
import signal
import threading
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
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)  # and what it has started

    def send(self, message: Any) -> None:
        """Send a message. Raises whatever pickling it raises; nothing is sent then."""
        data = pickle.dumps(message)
        with self._sending:
            self._connection.send_bytes(data)

    def load(self, pickled: bytes) -> Any:
        """Unpickle, importing the main script first if something is defined there."""
        return _Unpickler(io.BytesIO(pickled), self.main).load()


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


def import_main(main: dict[str, str]) -> None:
    """Import the main script of the process that this one works for, once."""
    if not main:
        return
    from multiprocessing.spawn import prepare

    told = dict(main)
    main.clear()
    process.importing_main = True  # an engine made by an unguarded script would run it again
    try:
        prepare(told)
    finally:
        process.importing_main = False


def main(descriptor: int) -> None:
    """Work until the socket closes. Called in a fresh interpreter."""
    connection = Connection(descriptor)
    os.register_at_fork(after_in_child=connection.close)  # a fork must not keep the socket open
    channel = Channel(connection)
    threading.Thread(target=channel.listen, name="semantica-listener", daemon=True).start()
    while True:
        request = channel.requests.get()
        try:
            serve = pickle.loads(request)  # a function of this library, with its arguments
        except Exception as error:
            channel.send(error)
            continue
        serve(channel)
