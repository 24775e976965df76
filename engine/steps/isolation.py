"""Reading where a crash of a native library costs one document, not the engine.

PDF, DOCX and HTML are read by libraries written in C. A document that is damaged, or made to do
harm, can crash those or keep them busy for ever, so they run in a process of their own.
"""

from __future__ import annotations

from ..backends.calls import CallPool, WorkerLost
from .errors import DocumentError, positive
from .formats import format_of
from .reading import Reading, read_source
from .records import Document

NATIVE = frozenset({"pdf", "docx", "html"})
"""Formats that are read in a process of their own."""

TIMEOUT = 60.0
_READ = "semantica.pipeline.engine.steps.reading:read_source"


class Isolation:
    """Reads documents, with one worker process that is started when first needed.

    Args:
        step: Name of the step, for messages.
        timeout: Seconds for a document that is read in the worker process.

    Raises:
        StepConfigError: ``timeout`` is not a number above 0.
    """

    def __init__(self, step: str, timeout: float = TIMEOUT) -> None:
        positive(step, "document_timeout", timeout)
        self._timeout = timeout
        self._pool = CallPool()

    def read(self, document: Document, data: bytes | None = None) -> Reading:
        """What is in ``document``, or in ``data`` if its bytes are given.

        Raises:
            DocumentError: It cannot be read, or its reader crashed or took too long.
            MissingExtra: The library for its format is not installed.
        """
        what = document.source, document.media_type, document.digest, data
        if format_of(document.media_type) not in NATIVE:
            return read_source(*what)
        try:
            reading: Reading = self._pool.call(_READ, *what, timeout=self._timeout)
        except WorkerLost as error:
            how = str(error).removeprefix("the worker process was ")
            raise DocumentError(f"the reader crashed: {how}") from error
        except TimeoutError as error:
            raise DocumentError(f"reading took longer than {self._timeout:g} s") from error
        return reading

    def __enter__(self) -> Isolation:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()
