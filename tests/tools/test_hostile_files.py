"""Whatever is in a file: one line that says what is wrong, no traceback, nothing for terminals."""

from __future__ import annotations

import json
import sys
import unicodedata
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semantica.pipeline import ExecutionEngine, Pipeline, PipelineStep
from semantica.pipeline.events.envelope import first_break
from semantica.pipeline.events.errors import LogError
from semantica.pipeline.events.sqlite import SqliteStore
from semantica.pipeline.tools.cli import cli

ODD = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", " ", "..", "../../etc/passwd", "/", "a/b", "a\0b", "\x1b[2J", "\x9b31m", "\ud800",
         "a\nb", "a\rb", "\u202egnp", "\u2028", "con", "-x", "--log", "*", "'", '"', "{{x}}",
         "${HOME}", "env:HOME", "a" * 5_000, "é", "e\u0301", "\ufeff", "null", "no", "1e999", "="]
    ),
)  # fmt: skip
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ODD),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(ODD, inner, max_size=4)),
    max_leaves=12,
)
KEYS = st.one_of(
    st.sampled_from(
        ["handler", "dependencies", "timeout", "retry", "when", "compensate", "executor",
         "priority", "resources", "cache", "at_most_once", "gpu", "heartbeat_timeout", "source"]
    ),
    ODD,
)  # fmt: skip
STEP = st.one_of(
    PLAIN,
    st.builds(
        lambda name, kind, more: {"name": name, "type": kind, **more},
        ODD, st.one_of(ODD, st.sampled_from(["ingest", "parse"])),
        st.dictionaries(KEYS, PLAIN, max_size=3),
    ),
)  # fmt: skip
DEFINITION = st.one_of(
    PLAIN,
    st.builds(
        lambda name, steps, more: {"name": name, "steps": steps, **more},
        ODD, st.lists(STEP, max_size=4), st.dictionaries(ODD, PLAIN, max_size=2),
    ),
)  # fmt: skip
BOMBS = {
    "aliases.yaml": "a: &a [x, x]\nb: &b [*a, *a]\nsteps: [*b, *b]",
    "deep.yaml": "[" * 100_000,
    "deep.json": '{"steps":' * 50_000,
    "deep-lines.yaml": "\n".join("  " * i + "a:" for i in range(2_000)),
    "number.json": '{"name": "x", "steps": [], "version": 1' + "0" * 10_000 + "}",
    "tag.yaml": "name: !!python/object/apply:os.system ['echo gone']",
    "merge.yaml": "<<: &x {<<: *x}",
    "utf16.yaml": "name: x".encode("utf-16"),
    "bytes.json": bytes(range(256)),
    "nul.yaml": b"name: a\x00b\nsteps: []",
    "surrogate.json": '{"name": "\\ud800", "steps": [{"name": "a", "type": "t"}]}',
    "huge.json": '{"name": "' + "x" * 2_000_000 + '", "steps": []}',
}


def check(*words: str) -> None:
    done = CliRunner().invoke(cli, list(words))
    told = done.stdout + done.stderr
    assert done.exit_code in (0, 1, 2), (done.exit_code, told)
    assert "Traceback" not in told and "unexpected" not in told, told
    sent = {c for c in told if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"}
    assert not sent, f"{sent} was sent to the terminal"
    assert len(told) < 100_000, "a message, not the file"
    if done.exit_code == 2:
        assert done.stderr.startswith(("error: ", "Usage: ", "not valid")) or done.stdout, told


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(definition=DEFINITION, ending=st.sampled_from(["json", "yaml"]), run_it=st.booleans())
def test_any_definition(tmp_path: Path, definition: Any, ending: str, run_it: bool) -> None:
    """JSON is YAML as well. A run is refused, or runs; its log stays a log."""
    file = tmp_path / f"odd.{ending}"
    file.write_text(json.dumps(definition))
    check("validate", str(file))
    if run_it:
        check("graph", str(file))
        log = tmp_path / "log.db"
        check("run", str(file), "--log", str(log))
        if log.exists():
            check("runs", "--log", str(log))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(tmp_path: Path, name: str) -> None:
    file, text = tmp_path / name, BOMBS[name]
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    for words in (["validate"], ["run", "--log", str(tmp_path / "log.db")]):
        check(*words[:1], str(file), *words[1:])
    if (tmp_path / "log.db").exists():
        with closing(SqliteStore(tmp_path / "log.db")) as store:
            assert not list(store.read_all()), "what is refused is not recorded"


@pytest.mark.parametrize("command", ["status", "pause", "events", "signal"])
@pytest.mark.parametrize("run_id", ["\x1b[2J", "a\0b", "..", "\udcff", "x" * 10_000, ""])
def test_any_run_id(tmp_path: Path, command: str, run_id: str) -> None:
    SqliteStore(tmp_path / "log.db").close()
    more = ["go"] if command == "signal" else []
    check(command, run_id, *more, "--log", str(tmp_path / "log.db"))


def test_a_log_that_ends_anywhere(tmp_path: Path) -> None:
    """Cut off at any length: an error that names the file, or the chain of digests tells.
    (To SQLite a file of one byte is an empty one.)"""
    log = tmp_path / "log.db"
    with ExecutionEngine(log) as engine:
        steps = [PipelineStep(f"s{i}", "t", handler=len) for i in range(30)]
        engine.execute_pipeline(Pipeline("cut", steps), [1])
    with closing(SqliteStore(log)) as store:
        events = list(store.read_all())
    data = log.read_bytes()
    cut = tmp_path / "cut.db"
    refused = 0
    for length in (*range(2, len(data), 1_777), len(data) - 1):
        for companion in tmp_path.glob("cut.db*"):
            if companion.is_file():
                companion.unlink()
        cut.write_bytes(data[:length])
        try:
            with closing(SqliteStore(cut)) as store:
                found = list(store.read_all())
            assert found == events or first_break(found) is not None, (
                f"cut at {length}, and nobody says so"
            )
        except LogError as error:
            assert str(cut) in str(error)
            refused += 1
    assert refused > 20
    check("status", "--log", str(cut))


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
def test_surrogates_in_arguments(tmp_path: Path) -> None:
    check("validate", str(tmp_path / "\udcff\x1b[31m.yaml"))
