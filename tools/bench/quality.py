"""How much of what the labelled corpus says is found, and how fast.

    python -m semantica.pipeline.tools.bench.quality [extractor]

Prints precision and recall for each type of entity and each predicate, for the documents that rules
were tuned on (dev) and for those that were only measured (test), and documents and entities a
second. The corpus and how it was labelled: ``tools/samples/corpus-labels.md``.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec

from ...engine.builder import PipelineBuilder
from ...engine.execution import ExecutionEngine
from ...engine.steps.corpus import Corpus
from ...engine.steps.knowledge.canonical import canonical_of
from ...engine.steps.records import Document, Entity

SAMPLES = Path(__file__).parents[1] / "samples"


class Labels(msgspec.Struct):
    """What a document says: mentions as type, text, which occurrence; relations by names."""

    file: str
    split: str
    mentions: list[tuple[str, str, int]]
    relations: list[tuple[str, str, str]]


class Score:
    """Right, wrong and missed findings, by kind."""

    def __init__(self) -> None:
        self.right: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()

    def compare(self, kind_at: int, found: set[Any], labelled: set[Any]) -> None:
        """Count tuples; the one at ``kind_at`` is the kind."""
        self.right.update(one[kind_at] for one in found & labelled)
        self.wrong.update(one[kind_at] for one in found - labelled)
        self.missed.update(one[kind_at] for one in labelled - found)

    def precision(self, kind: str | None = None) -> float:
        return self._share(self.wrong, kind)

    def recall(self, kind: str | None = None) -> float:
        return self._share(self.missed, kind)

    def _share(self, others: Counter[str], kind: str | None) -> float:
        right = self.right.total() if kind is None else self.right[kind]
        other = others.total() if kind is None else others[kind]
        return right / (right + other) if right + other else 1.0

    def table(self) -> str:
        """A line for each kind, and one for all."""
        kinds = sorted(self.right | self.wrong | self.missed)
        lines = [self._line(kind, kind) for kind in kinds]
        return "\n".join([*lines, self._line("all", None)])

    def _line(self, name: str, kind: str | None) -> str:
        labelled = self.right + self.missed
        count = labelled.total() if kind is None else labelled[kind]
        return f"{name:18}{self.precision(kind):9.2f}{self.recall(kind):8.2f}{count:7}"


def labels() -> list[Labels]:
    """The labels of all documents."""
    lines = (SAMPLES / "corpus-gold.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Labels) for line in lines]


def extracted(extractor: str = "rules", **normalize: Any) -> Corpus:
    """The corpus, with what was found in it, mentions of the same joined."""
    builder = (
        PipelineBuilder()
        .add_step("ingest", "ingest", source=str(SAMPLES / "corpus"))
        .add_step("parse", "parse")
    )
    if normalize:
        builder.add_step("normalize", "normalize", **normalize)
    builder.add_step("extract", "extract", extractor=extractor)
    builder.add_step("deduplicate", "deduplicate")
    with ExecutionEngine(log=":memory:") as engine:
        result = engine.execute_pipeline(builder.build("quality"))
        result.raise_for_status()
        corpus: Corpus = result.output
        return corpus


def score(corpus: Corpus, split: str) -> tuple[Score, Score]:
    """Of entities, and of relations, in the documents of ``split``."""
    documents = {one.source.rpartition("/")[2]: one for one in corpus.documents}
    entities: dict[str, list[Entity]] = defaultdict(list)
    for entity in corpus.entities:
        entities[entity.document].append(entity)
    triples: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for one in corpus.relations:
        triples[one.document].add((one.subject, one.predicate, one.object))
    named, related = Score(), Score()
    for label in labels():
        if label.split == split:
            document = documents[label.file]
            found = {(one.type, one.start, one.end) for one in entities[document.id]}
            named.compare(0, found, set(_spans(document, label)))
            said = _said(label, entities[document.id], triples[document.id])
            related.compare(1, said, set(label.relations))
    return named, related


def _spans(document: Document, label: Labels) -> list[tuple[str, int, int]]:
    spans = []
    for kind, text, occurrence in label.mentions:
        pattern = r"\s+".join(map(re.escape, text.split()))
        places = list(re.finditer(pattern, document.text or "", re.IGNORECASE))
        exact = [one for one in places if " ".join(one[0].split()) == text]
        match = (exact or places)[occurrence - 1]
        spans.append((kind, match.start(), match.end()))
    return spans


def _said(
    label: Labels, entities: list[Entity], triples: set[tuple[str, str, str]]
) -> set[tuple[str, str, str]]:
    """Triples by names: as the labels have them if a mention of the same goes by that name."""
    group = {one.id: canonical_of(one) for one in entities}
    names: dict[str, set[str]] = defaultdict(set)
    for entity in entities:
        names[group[entity.id]].add(" ".join(entity.text.split()).casefold())
    said = set()
    for subject, predicate, target in triples:
        one, other = names[group[subject]], names[group[target]]
        fitting = [
            (first, predicate, second)
            for first, labelled, second in label.relations
            if labelled == predicate and first.casefold() in one and second.casefold() in other
        ]
        said.add(fitting[0] if fitting else (max(one, key=len), predicate, max(other, key=len)))
    return said


def main(extractor: str = "rules") -> None:
    """Print all of it."""
    corpus = extracted(extractor)
    for split in ("dev", "test"):
        for what, found in zip(("entities", "relations"), score(corpus, split), strict=True):
            print(f"\n{f'{split} {what}':18}precision  recall  count\n{found.table()}")
    lowered = extracted(extractor, case="lower")
    for split in ("dev", "test"):
        named, _ = score(lowered, split)
        print(f"\n{split} entities, in lower case: {named.precision():.2f} {named.recall():.2f}")
    speed(extractor)


def speed(extractor: str) -> None:
    """Print documents and entities a second, of this process's time."""
    from ...engine.steps.extraction.extractors import extractor as named

    texts = [one.text for one in extracted().documents if one.text] * 20
    using = named(extractor)
    started = time.process_time()
    found = [using.entities(text) for text in texts]
    between = time.process_time()
    for text, mentions in zip(texts, found, strict=True):
        using.relations(text, mentions)
    ended = time.process_time()
    count, characters = sum(map(len, found)), sum(map(len, texts))
    print(
        f"\nentities: {len(texts) / (between - started):.0f} documents, "
        f"{count / (between - started):.0f} entities, "
        f"{characters / (between - started) / 1000:.0f} kB a second; "
        f"relations: {len(texts) / (ended - between):.0f} documents a second"
    )


if __name__ == "__main__":
    main(*sys.argv[1:2])
