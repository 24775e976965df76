"""``python tests/crash/documents_long.py [--files N] [--kills K] [--seed S]``: documents and kills.

Makes a folder of small files in mixed formats, 1 % of them broken, and has them ingested, parsed,
normalized and cut by a process that is killed on the way, then goes on by the same run id.
"""
# ruff: noqa: E402 (a script that finds its neighbours first)

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from killing import look
from workload import RUN_ID

from semantica.pipeline import Context, ExecutionEngine, Pipeline, PipelineStep
from semantica.pipeline.events.upcasters import to_event

STEPS = ("ingest", "parse", "normalize", "chunk")
AIMS = ("parse", "ingest", "normalize", "chunk")
"""The steps to kill in, the first one first; three losses of one step in a row fail the run."""
MOST_KILLS = 2 * len(STEPS)
TOKEN = "DOCUMENTS_LONG_TOKEN"
ACCENTED = "Le café près de l\u2019église coûte 5 € à Zürich, où l\u2019été fut très chaud."
_WORDS = [
    "harbour",
    "bridge",
    "river",
    "council",
    "engineer",
    "station",
    "autumn",
    "letter",
    "garden",
    "winter",
    "market",
]


class File(NamedTuple):
    """What was made: the word that only this file has, its format, whether it can be read."""

    marker: str
    kind: str
    readable: bool


class Life(NamedTuple):
    """A process that was not killed, at its end."""

    seconds: float
    rss: float
    """MiB, at most."""
    shards: list[str]
    documents: list[dict[str, Any]]
    chunks: list[dict[str, Any]]


class Outcome(NamedTuple):
    """What was seen, all checks passed."""

    life: Life
    kills: int
    interrupted: list[str]
    """The steps that kills found in flight."""
    seconds: float
    rss: float
    """MiB, the most of any life of the engine's process."""
    events: int


# Making files


def make_folder(folder: Path, count: int, seed: int) -> dict[str, File]:
    """Fill ``folder``; returns what was made by absolute path."""
    chance = random.Random(seed)
    makers, broken = list(_MAKERS.items()), list(_BROKEN.items())
    made: dict[str, File] = {}
    for number in range(count):
        where = folder / f"part{number // 500:03}"
        where.mkdir(parents=True, exist_ok=True)
        marker = f"marker{number:06}q{chance.randrange(16**6):06x}"
        readable = number % 100 != 57
        kinds = makers if readable else broken
        kind, (ending, make) = kinds[(number if readable else number // 100) % len(kinds)]
        path = where / f"{number:06}.{ending}"
        path.write_bytes(make(marker, _prose(chance, marker)))
        made[os.path.abspath(path)] = File(marker, kind, readable)  # noqa: PTH100 (as steps do)
    return made


def _prose(chance: random.Random, marker: str) -> list[str]:
    """Some lines, the marker in one of them."""
    lines = [" ".join(chance.choices(_WORDS, k=9)) + "." for _ in range(chance.randint(3, 25))]
    lines[chance.randrange(len(lines))] += f" Here is {marker} said."
    return lines


def _txt(marker: str, lines: list[str]) -> bytes:
    return "\n".join(lines).encode()


def _cp1252(marker: str, lines: list[str]) -> bytes:
    return "\r\n".join([ACCENTED, *lines, ACCENTED]).encode("cp1252")


def _md(marker: str, lines: list[str]) -> bytes:
    return ("# A *title*\n\n" + "\n\n".join(lines) + "\n\n- one\n- two\n").encode()


def _html(marker: str, lines: list[str]) -> bytes:
    body = "".join(f"<p>{line}</p>\n" for line in lines)
    return f"<!doctype html><html><head><title>t</title></head><body>{body}</body></html>".encode()


def _csv(marker: str, lines: list[str]) -> bytes:
    return "\n".join(["number,line", *(f"{i},{line}" for i, line in enumerate(lines))]).encode()


def _json(marker: str, lines: list[str]) -> bytes:
    return json.dumps({"title": "a list", "lines": lines}).encode()


def _jsonl(marker: str, lines: list[str]) -> bytes:
    return "\n".join(json.dumps({"line": line}) for line in lines).encode()


def _docx(marker: str, lines: list[str], kept: list[Any] = []) -> bytes:  # noqa: B006 (a cache)
    if not kept:
        import docx

        document = docx.Document()
        kept[:] = document, document.add_paragraph(""), document.add_paragraph("")
    document, first, second = kept  # a new document for each takes three times as long
    first.text, second.text = lines[0], "\n".join(lines[1:])
    buffer = BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def _pdf(marker: str, lines: list[str]) -> bytes:
    shown = "".join(f"({line}) Tj 0 -14 Td\n" for line in lines)
    stream = f"BT /F1 9 Tf 40 760 Td\n{shown}ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    data, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    entries = b"".join(b"%010d 00000 n \n" % place for place in places)
    table = b"xref\n0 6\n0000000000 65535 f \n" + entries
    end = b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(data)
    return data + table + end


Maker = Callable[[str, list[str]], bytes]
_MAKERS: dict[str, tuple[str, Maker]] = {
    "txt": ("txt", _txt),
    "md": ("md", _md),
    "html": ("html", _html),
    "csv": ("csv", _csv),
    "json": ("json", _json),
    "jsonl": ("jsonl", _jsonl),
    "docx": ("docx", _docx),
    "pdf": ("pdf", _pdf),
    "cp1252": ("txt", _cp1252),
}
_BROKEN: dict[str, tuple[str, Maker]] = {
    "truncated pdf": ("pdf", lambda *what: _pdf(*what)[: len(_pdf(*what)) // 2]),
    "empty": ("txt", lambda *_: b""),
    "binary": ("txt", lambda marker, _: bytes(range(256)) + marker.encode()),
    "bad json": ("json", lambda *what: _json(*what)[:-2]),
    "bad jsonl": ("jsonl", lambda *what: _jsonl(*what) + b'\n{"line": '),
    "truncated docx": ("docx", lambda *what: _docx(*what)[:900]),
}


# The process that is killed


def child() -> None:
    """``python -c "import documents_long; documents_long.child()" LOG FOLDER TRACE``.

    Each document that a step has done leaves a byte in TRACE/STEP, and the output at the end goes
    to TRACE/output.
    """
    log, folder, trace = sys.argv[1:4]
    mode = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    done = {step: os.open(Path(trace, step), mode) for step in STEPS}
    report = Context.progress

    def progress(self: Context, *what: Any) -> None:
        os.write(done[self.step], b".")
        report(self, *what)

    Context.progress = progress  # type: ignore[method-assign]
    began = time.monotonic()
    with ExecutionEngine(log, durability="full") as engine:
        result = engine.execute_pipeline_async(pipeline(folder), run_id=RUN_ID).result()
        result.raise_for_status()
        seconds, rss = time.monotonic() - began, peak(os.getpid())
        corpus = result.output
        with Path(trace, "output").open("w") as file:
            shards = [s.digest for s in (*corpus.documents.shards, *corpus.chunks.shards)]
            print(json.dumps([seconds, rss, shards]), file=file)
            for document in corpus.documents:
                known = {key: getattr(document, key) for key in ("id", "source", "text", "error")}
                print(json.dumps(["documents", known]), file=file)
            for piece in corpus.chunks:
                known = {
                    key: getattr(piece, key)
                    for key in ("id", "document", "index", "start", "end", "text")
                }
                print(json.dumps(["chunks", known]), file=file)


def pipeline(folder: str) -> Pipeline:
    """Ingest, parse, normalize, chunk."""
    configs: dict[str, dict[str, Any]] = {"ingest": {"source": folder}}
    steps = [
        PipelineStep(name, name, configs.get(name, {}), [STEPS[i - 1]] if i else [])
        for i, name in enumerate(STEPS)
    ]
    return Pipeline("documents", steps)


def peak(pid: int) -> float:
    """The most resident memory a process has had, in MiB; 0 when it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


# The process that kills


def start(log: Path, folder: Path, trace: Path, token: str) -> subprocess.Popen[str]:
    """Begin, or go on with, the run in a process of its own, known by ``token``."""
    trace.mkdir(exist_ok=True)
    for step in STEPS:
        (trace / step).write_bytes(b"")  # else what the life before left would count
    return subprocess.Popen(
        [sys.executable, "-c", "import documents_long; documents_long.child()",
         str(log), str(folder), str(trace)],
        cwd=Path(__file__).parent,
        env={**os.environ, TOKEN: token},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str], trace: Path, timeout: float) -> Life:
    """Let a process end, and read what it left."""
    _, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err[-4000:]
    found: dict[str, list[dict[str, Any]]] = {"documents": [], "chunks": []}
    with (trace / "output").open() as file:
        seconds, rss, shards = json.loads(next(file))
        for line in file:
            kind, record = json.loads(line)
            found[kind].append(record)
    return Life(seconds, rss, shards, found["documents"], found["chunks"])


def undisturbed(base: Path, folder: Path, timeout: float = 900) -> Life:
    """The run without kills, in a log of its own."""
    trace = base / "trace-undisturbed"
    return finish(start(base / "undisturbed.db", folder, trace, "none"), trace, timeout)


def survive(
    base: Path, folder: Path, made: dict[str, File], kills: int, seed: int, timeout: float = 900
) -> Outcome:
    """Run, SIGKILL ``kills`` times in different steps, let it end, and check everything."""
    assert 0 <= kills <= MOST_KILLS, f"at most {MOST_KILLS} kills: the third of a step is its end"
    chance = random.Random(seed)
    log, trace, token = base / "killed.db", base / "trace-killed", uuid.uuid4().hex
    aims = sorted((AIMS[i % len(AIMS)] for i in range(kills)), key=STEPS.index)
    seen: list[Any] = []
    killed, rss, began = 0, 0.0, time.monotonic()
    for aim in aims:
        process = start(log, folder, trace, token)
        enough = chance.uniform(0.05, 0.85) * len(made)
        while (trace / aim).stat().st_size < enough and process.poll() is None:
            time.sleep(0.0005)  # a file that another process writes
        time.sleep(chance.uniform(0, 0.002))  # the kill comes at any instruction
        rss = max(rss, peak(process.pid))
        if process.poll() is not None:
            process.communicate()
            break  # it was faster; what remains to be seen is the same
        process.kill()
        process.communicate()
        killed += 1
        nobody_left(token)
        seen = look(log, seen)
    life = finish(start(log, folder, trace, token), trace, timeout)
    seconds = time.monotonic() - began
    nobody_left(token)
    history = look(log, seen)
    interrupted = [to_event(e).step for e in history if e.type == "StepInterrupted"]  # type: ignore[attr-defined]
    check(life, made)
    return Outcome(life, killed, interrupted, seconds, max(rss, life.rss), len(history))


def nobody_left(token: str, patience: float = 5.0) -> None:
    """No process that inherited ``token`` is left: the workers of a dead process end themselves."""
    until = time.monotonic() + patience
    while left := _processes(token):
        assert time.monotonic() < until, f"processes outlived the one that they work for: {left}"
        time.sleep(0.01)  # the kernel tells nobody when a stranger's child has ended


def _processes(token: str) -> dict[str, str]:
    wanted = f"{TOKEN}={token}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found[folder.name] = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def check(life: Life, made: dict[str, File]) -> None:
    """Every file is in the output once, as what it is, and so are its chunks."""
    times = Counter(document["source"] for document in life.documents)
    assert not set(made) - set(times), f"lost: {sorted(set(made) - set(times))[:5]}"
    assert not set(times) - set(made), f"made up: {sorted(set(times) - set(made))[:5]}"
    assert set(times.values()) == {1}, f"twice: {[s for s, n in times.items() if n > 1][:5]}"
    assert len({document["id"] for document in life.documents}) == len(made), "an id is there twice"
    texts: dict[str, str] = {}
    for document in life.documents:
        file, text = made[document["source"]], document["text"]
        if not file.readable:
            assert text is None, f"{document['source']} ({file.kind}) has a text"
            assert document["error"], f"{document['source']} ({file.kind}) has no reason"
            continue
        assert document["error"] is None, f"{document['source']}: {document['error']}"
        found = re.findall(r"marker\d{6}q[0-9a-f]{6}", text)
        assert found == [file.marker], f"{document['source']} ({file.kind}) has {found}"
        if file.kind == "cp1252":
            assert text.count(ACCENTED) == 2, f"{document['source']}: {text[:200]!r}"
        texts[document["id"]] = text
    ends: dict[str, list[tuple[int, int]]] = {name: [] for name in texts}
    for piece in life.chunks:
        assert piece["document"] in ends, f"a chunk of no readable document: {piece}"
        spans = ends[piece["document"]]
        assert piece["index"] == len(spans), f"a chunk is missing, or there twice: {piece}"
        assert texts[piece["document"]][piece["start"] : piece["end"]] == piece["text"]
        spans.append((piece["start"], piece["end"]))
    assert len({piece["id"] for piece in life.chunks}) == len(life.chunks), "a chunk is there twice"
    for name, spans in ends.items():
        at = 0
        for begin, end in spans:
            assert not texts[name][at:begin].strip(), "text between chunks is in none"
            at = max(at, end)
        assert spans, f"a readable document has no chunks: {name}"
        assert not texts[name][at:].strip(), "text after the last chunk is in none"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=3, help=f"at most {MOST_KILLS}")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    lives: dict[int, Life] = {}
    with tempfile.TemporaryDirectory() as base:
        for count in (max(1, options.files // 10), options.files):
            home = Path(base, str(count))
            made = make_folder(home / "files", count, options.seed)
            lives[count] = undisturbed(home, home / "files")
            check(lives[count], made)
            print(
                f"{count} files, no kill: {lives[count].seconds:.1f} s, "
                f"peak RSS {lives[count].rss:.0f} MiB",
                flush=True,
            )
        outcome = survive(home, home / "files", made, options.kills, options.seed)
    small, large = lives.values() if len(lives) == 2 else [*lives.values()] * 2
    assert outcome.life.shards == large.shards, "the output differs from an undisturbed run's"
    assert outcome.kills == options.kills, "it was faster than the kills"
    broken = sum(not file.readable for file in made.values())
    rss = max(outcome.rss, large.rss)
    print(
        f"seed {options.seed}: {options.files} files ({broken} broken), {outcome.kills} kills "
        f"(in flight: {', '.join(outcome.interrupted)}), {outcome.seconds:.1f} s, "
        f"{len(outcome.life.chunks)} chunks, peak RSS {rss:.0f} MiB "
        f"({rss / small.rss:.2f} of {small.rss:.0f} MiB for a tenth), {outcome.events} events; "
        f"none lost, none twice, output as undisturbed, no process left"
    )
    assert rss < 1.5 * small.rss, "memory grows with the number of files"


if __name__ == "__main__":
    main()
