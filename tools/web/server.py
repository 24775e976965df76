"""The application behind the window: its files, the log's answers, a stream of what happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ...engine.core.commands import Refused
from ...engine.supply import machine_name
from ...events.errors import AmbiguousRun, LogError, PipelineError, RunNotFound
from ...events.lines import LEVELS, Wanted
from ...events.machines import PipelineStatus
from ..finding import Log
from ..terminal import BadInput
from .acting import Acting
from .changes import Changes
from .documents import STATES
from .guard import Guard, refused
from .reading import Reading

STATIC = Path(__file__).parent / "static"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE = 500
"""Events that are told at once, at most."""

Answer = Callable[[Request], Any]


def application(
    log: Log, acting: Acting, *, hosts: list[str], token: str, read_only: bool
) -> Starlette:
    """The window on a log.

    Args:
        acting: What it does to runs.
        hosts: Its names, with the port, as a browser says them.
        token: What a request must know.
        read_only: It changes nothing.
    """
    reading = Reading(log.store, machine_name())
    changes = Changes(reading)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(changes.follow())
        yield
        following.cancel()

    async def stream(request: Request) -> StreamingResponse:
        async def events() -> AsyncIterator[bytes]:
            with changes.listening() as listener:
                yield b"event: hello\ndata: {}\n\n"
                async for news in listener.news():
                    if news is None:
                        yield b": still here\n\n"
                        continue
                    if news.runs:
                        yield _event("runs", list(news.runs.values()))
                    if news.said:
                        yield _event("said", news.said)

        return StreamingResponse(events(), media_type="text/event-stream")

    async def act(request: Request) -> Response:
        async def done() -> Any:
            told = _object(await request.body())
            row = await run_in_threadpool(reading.row, str(told.get("run", "")))
            return await run_in_threadpool(acting.act, row, str(told.get("action", "")), told)

        return await _answered(done())

    about = {
        "version": version_of("semantica-pipeline"),
        "log": log.store.location,
        "read_only": read_only,
        "states": STATES,
        "statuses": list(PipelineStatus),
        "finished": [status for status in PipelineStatus if status.finished],
    }
    answers = _answers(reading) | {"about": lambda request: {**about, "now": time.time() * 1000}}
    routes = [
        *(Route(f"/api/{name}", _route(answer)) for name, answer in answers.items()),
        Route("/api/stream", stream),
        Route("/api/act", act, methods=["POST"]),
        *files(),
    ]
    guard = Middleware(Guard, hosts=hosts, token=token, read_only=read_only)
    return Starlette(routes=routes, middleware=[guard], lifespan=lifespan)


def _answers(reading: Reading) -> dict[str, Answer]:
    """What can be asked, by name."""

    def run(request: Request) -> str:
        return _given(request, "run")

    def compare(request: Request) -> Any:
        versions = (_whole(request, "va"), _whole(request, "vb"))
        return reading.compare(_given(request, "a"), _given(request, "b"), versions)

    def events(request: Request) -> Any:
        first, count = _whole(request, "first", 0), min(PAGE, _whole(request, "count", 100) or 0)
        upto, text = _whole(request, "upto", 0), request.query_params.get("text", "")
        return reading.events(run(request), upto or 0, first or 0, count, text)

    def lines(request: Request) -> Any:
        level, count = request.query_params.get("level") or LEVELS[0], _whole(request, "count", 100)
        if level not in LEVELS:
            raise BadInput(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
        return reading.lines(
            run(request),
            _whole(request, "version"),
            Wanted(request.query_params.get("step") or None, level=level),
            min(PAGE, count or 0),
            before=_whole(request, "before"),
            after=_whole(request, "after"),
        )

    def moment(request: Request) -> Any:
        version = _whole(request, "version")
        if version is not None:
            return reading.moment(run(request), version)
        return reading.moment_at(run(request), float(_whole(request, "at", 0) or 0))

    return {
        "runs": lambda request: reading.rows(),
        "resources": lambda request: reading.resources(),
        "state": lambda request: reading.state(run(request), _whole(request, "version")),
        "graph": lambda request: reading.graph(run(request)),
        "timeline": lambda request: reading.timeline(
            run(request), _whole(request, "after", 0) or 0
        ),
        "step": lambda request: reading.step(
            run(request), _whole(request, "index", 0) or 0, _whole(request, "version")
        ),
        "events": events,
        "lines": lines,
        "moment": moment,
        "compare": compare,
    }


def _route(answer: Answer) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        return await _answered(run_in_threadpool(answer, request))

    return respond


async def _answered(answer: Any) -> Response:
    """An answer as JSON; what is wrong in one line, with a status that fits."""
    try:
        told = await answer
    except RunNotFound as error:
        return refused(404, str(error))
    except (Refused, AmbiguousRun) as error:
        return refused(409, str(error))
    except LogError as error:
        return refused(503, str(error))
    except (BadInput, PipelineError) as error:
        return refused(400, str(error))
    return Response(msgspec.json.encode(told), media_type="application/json")


def _event(name: str, told: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(told))


def _given(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise BadInput(f"{name} is not given")
    return value


def _whole(request: Request, name: str, default: int | None = None) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise BadInput(f"{name} must be a whole number, not {text!r}")
    return int(text)


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BadInput(f"the request is not JSON: {error}") from error
    if not isinstance(told, dict):
        raise BadInput("the request is no object")
    return told


def files() -> list[Route]:
    """A route for each file of the page; whatever else is asked for is not there."""
    found = []
    for file in sorted(STATIC.iterdir()):
        if file.suffix in KINDS:
            path = "/" if file.name == "index.html" else f"/{file.name}"
            found.append(Route(path, _file(file.read_bytes(), KINDS[file.suffix])))
    return found


def _file(content: bytes, kind: str) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return respond
