"""Every fenced block of the guide is executed, character by character, and keeps its promises."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest
from guide.blocks import GUIDE, blocks
from guide.case import Case, all_cases
from guide.running import LIMIT, Runner, check_left

BLOCKS = blocks(GUIDE.read_text("utf-8"))
CASES = all_cases()


@pytest.fixture(scope="session")
def runner(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runner]:
    """Runs cases: all that were asked for begin at once, unless pytest shares them out itself."""
    runner = Runner(tmp_path_factory.mktemp("guide"), BLOCKS)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        for item in request.session.items:
            asked = getattr(item, "callspec", None)
            if asked is not None and isinstance(asked.params.get("case"), Case):
                runner.start(asked.params["case"])
    yield runner
    runner.close()


@pytest.mark.timeout(10 * LIMIT)  # the last one waits for all before it
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_block_keeps_its_promises(case: Case, runner: Runner) -> None:
    done = runner.start(case).result()
    assert done.code == 0, f"{case.section}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    check_left(runner.folder(case))


def test_the_guide_is_as_it_was_given() -> None:
    """No formatter and no editor has been at the specification."""
    digest = hashlib.sha256(GUIDE.read_bytes()).hexdigest()
    assert digest == "85c96a55b354fc65e53b0ba44aba535c2df9c1862fb20b34cd0d4c725224c56c"


def test_every_block_has_a_case() -> None:
    checked = {case.key for case in CASES}
    missing = [f"line {one.line}: {one.key}" for one in BLOCKS if one.key not in checked]
    assert not missing, "a block of the guide is not executed"


def test_every_case_has_its_block() -> None:
    there = {block.key for block in BLOCKS}
    stale = [f"{case.name}: {case.key}" for case in CASES if case.key not in there]
    assert not stale, "the guide has no such block"
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names), "two cases of one name"
