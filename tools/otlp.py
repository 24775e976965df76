"""OpenTelemetry spans rebuilt from the log: a run is a trace, its steps and their attempts are
spans.

Nothing is measured anew: starts, ends and errors are those of the events, and all ids follow from
the run's, so that sending a run twice gives the same spans. Needs the extra ``otel``.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from ..engine.steps.errors import MissingExtra
from ..events import pipeline as p
from ..events import step as s
from ..events.directory import RunRow
from ..events.sealed_store import as_stored
from ..events.store import Store
from ..events.upcasters import to_event
from ..events.values import ErrorInfo
from ..projections.timeline import Attempt, timeline
from .terminal import BadInput

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link, SpanContext

_BATCH = 500
"""Spans of one request, or of one line of a file."""
PATIENCE = 10
"""Seconds that a collector has to take a batch, tries included."""
BROKEN = ("failed", "timed_out", "not_undone", "interrupted", "abandoned")


def send(store: Store, rows: Iterable[RunRow], target: str) -> int:
    """Send the spans of runs to a collector (a URL), or write them to a new file, a JSON object a
    line (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/); returns how many.

    Raises:
        MissingExtra: The libraries are not installed.
        BadInput: The file exists.
        ClickException: The collector does not take them.
    """
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        raise MissingExtra("OpenTelemetry", "otel") from None
    stored = as_stored(store)  # traces are kept elsewhere: no contents of encrypted runs
    spans = (span for row in rows for span in spans_of(stored, row))
    batches = iter(lambda: list(islice(spans, _BATCH)), [])
    if urlsplit(target).scheme in ("http", "https"):
        return _post(batches, target)
    return _write(batches, Path(target))


def _post(batches: Iterable[Sequence[ReadableSpan]], url: str) -> int:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    if urlsplit(url).path in ("", "/"):
        url = url.rstrip("/") + "/v1/traces"  # as every OTLP client has it
    said = _Said()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(said)
    exporter = OTLPSpanExporter(endpoint=url, timeout=PATIENCE)
    sent = 0
    try:
        for batch in batches:
            if exporter.export(batch) is not SpanExportResult.SUCCESS:
                raise click.ClickException(f"{url} does not take the spans: {said.last}")
            sent += len(batch)
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]
        logger.removeHandler(said)
    return sent


class _Said(logging.Handler):
    """What the exporter says, which it tells to nobody else."""

    last = "no answer"

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def _write(batches: Iterable[Sequence[ReadableSpan]], path: Path) -> int:
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    sent = 0
    try:
        with path.open("x", encoding="utf-8") as file:
            for batch in batches:
                plain = MessageToDict(encode_spans(batch), use_integers_for_enums=True)
                file.write(json.dumps(_in_hex(plain), ensure_ascii=False) + "\n")
                sent += len(batch)
    except FileExistsError:
        raise BadInput(f"{path} exists; name a new file") from None
    return sent


def _in_hex(plain: Any) -> Any:
    """OTLP's JSON has ids in hex, where that of protobuf has base64."""
    if isinstance(plain, dict):
        return {
            key: base64.b64decode(value).hex()
            if key in ("traceId", "spanId", "parentSpanId")
            else _in_hex(value)
            for key, value in plain.items()
        }
    return [_in_hex(one) for one in plain] if isinstance(plain, list) else plain


class _Facts:
    """What of a run's events stands in no timeline."""

    def __init__(self, store: Store, row: RunRow) -> None:
        self.end = row.submitted_at
        self.over = row.status.finished
        self.errors = dict[tuple[str, int], ErrorInfo]()
        self.cause: ErrorInfo | None = None
        self.runs = dict[str, str]()
        self.submitted: p.PipelineSubmitted | None = None
        for envelope in store.read(row.stream):
            event = to_event(envelope)
            self.end = max(self.end, envelope.at)
            if isinstance(event, p.PipelineSubmitted):
                self.submitted = event
            elif isinstance(event, s.StepSuspended) and event.run is not None:
                self.runs[event.step] = event.run
            elif isinstance(event, p.PipelineFailed | p.PipelineRollbackFailed):
                self.cause = event.cause
            elif isinstance(getattr(event, "error", None), ErrorInfo):
                self.errors[event.step, event.attempt] = event.error


def spans_of(store: Store, row: RunRow) -> Iterator[ReadableSpan]:
    """The spans of a run: its own, then those of its steps, each before its attempts."""
    facts = _Facts(store, row)
    links = []
    if row.parent is not None and facts.submitted and facts.submitted.parent:
        parent = facts.submitted.parent
        links.append(_link(_context(parent.run, "step", parent.step), "parent"))
    if facts.submitted and facts.submitted.forked_from:
        links.append(_link(_context(facts.submitted.forked_from), "forked_from"))
    whole = _context(row.run_id)
    yield _span(
        row.name, whole, None, row.submitted_at, facts.end, links=links, error=facts.cause,
        failed=facts.cause is not None and row.status not in ("completed", "running"),
        attributes={"pipeline.run": row.run_id, "pipeline.status": str(row.status),
                    "pipeline.unfinished": not facts.over},
    )  # fmt: skip
    steps = dict[str, list[Attempt]]()
    for attempt in timeline(store.read(row.stream)).attempts:
        steps.setdefault(attempt.step, []).append(attempt)
    for name, attempts in steps.items():
        yield from _step(row.run_id, name, attempts, facts, whole)


def _step(
    run_id: str, name: str, attempts: Sequence[Attempt], facts: _Facts, whole: SpanContext
) -> Iterator[ReadableSpan]:
    context = _context(run_id, "step", name)
    child = facts.runs.get(name)
    last = attempts[-1]
    yield _span(
        name, context, whole, attempts[0].start, max(one.end or facts.end for one in attempts),
        links=[] if child is None else [_link(_context(child), "child")],
        error=facts.errors.get((name, last.attempt)), failed=last.outcome in BROKEN,
        attributes={"pipeline.step": name, "pipeline.outcome": last.outcome,
                    "pipeline.attempts": len(attempts)},
    )  # fmt: skip
    for one in attempts:
        word = "undo" if one.undoes else "attempt"
        yield _span(
            f"{name} {word} {one.attempt}", _context(run_id, word, name, str(one.attempt)), context,
            one.start, one.end or facts.end,
            error=facts.errors.get((name, one.attempt)), failed=one.outcome in BROKEN,
            attributes={"pipeline.step": name, "pipeline.attempt": one.attempt,
                        "pipeline.outcome": one.outcome, "pipeline.worker": one.worker,
                        "pipeline.fallback": one.fallback},
        )  # fmt: skip


def _context(run_id: str, *names: str) -> SpanContext:
    """The ids of a span: the trace's follows from the run, the span's from what it is of it."""
    from opentelemetry.trace import SpanContext, TraceFlags

    whole = json.dumps([run_id, *names]).encode("utf-8", "surrogatepass")
    trace = blake2b(run_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return SpanContext(
        trace_id=int.from_bytes(trace),
        span_id=int.from_bytes(blake2b(whole, digest_size=8).digest()),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _link(context: SpanContext, relation: str) -> Link:
    from opentelemetry.trace import Link

    return Link(context, {"pipeline.relation": relation})


def _span(
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    start: int,
    end: int,
    *,
    attributes: dict[str, Any],
    links: Sequence[Link] = (),
    error: ErrorInfo | None,
    failed: bool,
) -> ReadableSpan:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Status, StatusCode

    events = []
    if error is not None:
        told = {"exception.type": error.type, "exception.message": error.message}
        if error.traceback:
            told["exception.stacktrace"] = error.traceback
        events.append(Event("exception", told, end))
    status = Status(StatusCode.ERROR, str(error or "")) if failed else Status()
    return ReadableSpan(
        name=name,
        context=context,
        parent=parent,
        resource=Resource({"service.name": "semantica.pipeline"}),
        attributes=attributes,
        events=events,
        links=links,
        status=status,
        start_time=start,
        end_time=end,
        instrumentation_scope=InstrumentationScope("semantica.pipeline"),
    )
