"""How much of the labelled corpus the rules find; bounds are somewhat under what was measured.

The documents of ``test`` were not looked at while rules were made: a rule that helps ``dev`` alone
is worth nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from semantica.pipeline.engine.steps.corpus import Corpus
from semantica.pipeline.tools.bench.quality import Labels, Score, extracted, labels, score

Bounds = Mapping[str | None, tuple[float, float]]

ENTITIES: Mapping[str, Bounds] = {
    "dev": {
        None: (0.96, 0.95),
        "PERSON": (0.95, 0.95),
        "ORGANIZATION": (0.95, 0.94),
        "PLACE": (0.95, 0.9),
        "DATE": (0.97, 0.97),
        "MONEY": (0.95, 0.95),
    },
    "test": {
        None: (0.94, 0.91),
        "PERSON": (0.94, 0.94),
        "ORGANIZATION": (0.92, 0.9),
        "PLACE": (0.95, 0.8),
        "DATE": (0.9, 0.92),
        "MONEY": (0.8, 0.8),
    },
}
RELATIONS = {"dev": (0.92, 0.8), "test": (0.78, 0.53)}
LOWERED = {"dev": (0.9, 0.7), "test": (0.88, 0.7)}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return extracted()


@pytest.mark.parametrize("split", ENTITIES)
def test_entities(corpus: Corpus, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = score(corpus, split)
    told(capsys, f"entities, {split}", found)
    for kind, (precision, recall) in ENTITIES[split].items():
        assert found.precision(kind) >= precision, found.table()
        assert found.recall(kind) >= recall, found.table()


@pytest.mark.parametrize("split", RELATIONS)
def test_relations(corpus: Corpus, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = score(corpus, split)
    told(capsys, f"relations, {split}", found)
    assert (found.precision(), found.recall()) >= RELATIONS[split], found.table()
    assert found.recall() >= RELATIONS[split][1], found.table()


def told(capsys: pytest.CaptureFixture[str], what: str, found: Score) -> None:
    with capsys.disabled():
        print(f"\n{what}: precision {found.precision():.2f}, recall {found.recall():.2f}")


def test_the_guides_lower_case_loses_some_and_not_all() -> None:
    corpus = extracted(case="lower")
    for split, (precision, recall) in LOWERED.items():
        found, _ = score(corpus, split)
        assert found.precision() >= precision, found.table()
        assert found.recall() >= recall, found.table()


def test_the_broken_documents_say_why(corpus: Corpus) -> None:
    broken = {one.source.rpartition("/")[2] for one in corpus.documents if one.error}
    assert broken == {"broken-archive.docx", "broken-empty.html", "broken-truncated.pdf"}
    assert len(corpus.documents) == 26


def test_the_labels_hold() -> None:
    """Each is unique, names a mention, and a third of the documents is for measuring alone."""
    known: list[Labels] = labels()
    assert len({one.file for one in known}) == len(known) == 23
    assert sum(one.split == "test" for one in known) == 8
    for one in known:
        names = {text for _, text, _ in one.mentions}
        assert len(set(one.mentions)) == len(one.mentions)
        assert all({subject, target} <= names for subject, _, target in one.relations), one.file
