"""Reading where a crash of a native library costs one document, not the engine.

PDF, DOCX, HTML, and the HTML in Markdown, are read by libraries written in C. A document that is
damaged, or made to do harm, can crash those or keep them busy for ever, so they run in a process
of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backends.calls import CallPool, WorkerLost
from .errors import DocumentError
from .formats import format_of
from .reading import Reading, read_source
from .records import Document

if TYPE_CHECKING:
    from ..context import Context

NATIVE = frozenset({"pdf", "docx", "html", "md"})
"""Formats that are read in a process of their own."""

TIMEOUT = 60.0
_START_TIMEOUT = 60.0
_READ = "semantica.pipeline.engine.steps.reading:read_source"
_READY = "semantica.pipeline.engine.steps.reading:ready"


class Isolation:
    """Reads documents, with one worker process that is started when first needed.

    The process is killed when the attempt is cancelled, whatever it is doing.

    Args:
        context: Of the attempt.
        timeout: Seconds for a document that is read in the worker process.
    """

    def __init__(self, context: Context, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._context = context
        self._pool = CallPool()
        self._ready = False  # whether there is a worker process, as far as we know
        context.on_cancel(self._pool.interrupt)

    def read(self, document: Document, data: bytes | None = None) -> Reading:
        """What is in ``document``, or in ``data`` if its bytes are given.

        Raises:
            DocumentError: It cannot be read, or its reader crashed or took too long.
            MissingExtra: The library for its format is not installed.
            WorkerLost: No worker process can be started, so no such document can be read.
        """
        what = document.source, document.media_type, document.digest, data
        if format_of(document.media_type) not in NATIVE:
            return read_source(*what)
        self._start()
        try:
            reading: Reading = self._pool.call(_READ, *what, timeout=self._timeout)
        except WorkerLost as error:
            self._ready = False
            self._context.raise_if_cancelled()  # then it was we who killed it
            how = str(error).removeprefix("the worker process was ")
            raise DocumentError(f"the reader crashed: {how}") from error
        except TimeoutError as error:
            self._ready = False
            self._context.raise_if_cancelled()
            raise DocumentError(f"reading took longer than {self._timeout:g} s") from error
        return reading

    def _start(self) -> None:
        """See to it that there is a worker process: else each document would be blamed for it."""
        if self._ready:
            return
        try:
            self._pool.call(_READY, timeout=_START_TIMEOUT)
        except WorkerLost as error:
            self._context.raise_if_cancelled()
            raise WorkerLost(f"documents cannot be read: {error}") from error
        except TimeoutError as error:
            self._context.raise_if_cancelled()
            raise WorkerLost("documents cannot be read: no worker process answers") from error
        self._ready = True

    def __enter__(self) -> Isolation:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()
