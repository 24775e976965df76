"""Statements that cannot all be true: who is believed, why, and that nothing is lost."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline.engine.steps.corpus import Corpus, CorpusWriter, Document, Entity, Relation
from semantica.pipeline.engine.steps.knowledge.canonical import rejection_of
from semantica.pipeline.engine.steps.knowledge.conflicts import resolve_conflicts

Said = tuple[str, str, str]
"""Document, predicate, object; the subject is always the same."""


def corpus_of(context: Any, said: list[Said], order: random.Random | None = None) -> Corpus:
    entities, relations = [], []
    for number, (document, predicate, target) in enumerate(said):
        subject, thing = f"s{number:02}", f"o{number:02}"
        entities.append(Entity(subject, document, "PERSON", "Ada Moor", 0, 8,
                               metadata={"canonical": "s", "name": "Ada Moor"}))  # fmt: skip
        value = {"value": target} if target[:1].isdigit() else {}
        metadata = {"canonical": target, "name": target, **value}
        entities.append(Entity(thing, document, "DATE", target, 9, 19, metadata=metadata))
        relations.append(Relation(f"r{number:02}", document, subject, predicate, thing))
    if order is not None:
        order.shuffle(entities)
        order.shuffle(relations)
    writer = CorpusWriter(context.artifacts)
    dates = {"old.txt": "1990-01-01", "new.pdf": "2020-05-05"}
    for name in sorted({document for document, _, _ in said}):
        known = {"date": dates[name]} if name in dates else {}
        writer.add(Document(name, f"/docs/{name}", "text/plain", text="...", metadata=known))
    writer.add(*entities, *relations)
    return writer.finish()


def settled(context: Any, said: list[Said], strategy: str = "most_frequent", **options: Any) -> Any:
    corpus = corpus_of(context, said)
    found = resolve_conflicts(
        corpus, context, strategy, options.get("functional"), options.get("trust")
    )
    return {one.id: rejection_of(one) for one in found.relations}


DATES = [
    ("old.txt", "born_on", "1870-05-03"),
    ("a.txt", "born_on", "1870-05-03"),
    ("new.pdf", "born_on", "1871"),
]


def test_what_most_say_is_believed_and_the_reason_is_recorded(context: Any) -> None:
    assert settled(context, DATES) == {
        "r00": None,
        "r01": None,
        "r02": {
            "strategy": "most_frequent",
            "kept": "r00",
            "because": "2 relations say '1870-05-03'; 1 relation says '1871'",
        },
    }
    assert context.metrics == {"conflicts_resolved": 1, "relations_rejected": 1}


def test_the_newest_is_believed(context: Any) -> None:
    found = settled(context, DATES, "most_recent")
    assert found["r02"] is None
    assert found["r00"]["because"] == "'1871' is of 2020-05-05; '1870-05-03' is of 1990-01-01"


def test_a_date_in_a_files_name_counts(context: Any) -> None:
    said = [("2019-03.txt", "born_in", "Cork"), ("2021-01-02.txt", "born_in", "Kent")]
    found = settled(context, said, "most_recent")
    assert found["r00"]["because"] == "'Kent' is of 2021-01-02; 'Cork' is of 2019-03"


def test_the_trusted_is_believed(context: Any) -> None:
    found = settled(context, DATES, "most_trusted", trust={"*.pdf": 3, "old.txt": 0.5})
    assert found["r02"] is None
    assert found["r00"]["because"] == "'1871' has the weight 3; '1870-05-03' has the weight 1"


def test_a_year_and_a_day_in_it_agree(context: Any) -> None:
    said = [("a", "born_on", "1870"), ("b", "born_on", "1870-05-03"), ("c", "born_on", "1870-05")]
    assert set(settled(context, said).values()) == {None}
    assert context.metrics["conflicts_resolved"] == 0


def test_only_functional_predicates_conflict_and_the_list_is_ones_own(context: Any) -> None:
    said = [("a", "works_for", "Moor"), ("b", "works_for", "Brandt"), ("c", "born_in", "Cork")]
    assert set(settled(context, said).values()) == {None}
    found = settled(context, said, functional=["works_for"])
    assert sorted(map(bool, found.values())) == [False, False, True]


def test_deciding_again_decides_anew(context: Any) -> None:
    once = resolve_conflicts(corpus_of(context, DATES), context, "most_frequent", None, None)
    assert resolve_conflicts(once, context, "most_frequent", None, None) == once
    turned = resolve_conflicts(once, context, "most_recent", None, None)
    assert [bool(rejection_of(one)) for one in turned.relations] == [True, True, False]


claims = st.tuples(
    st.sampled_from(["old.txt", "new.pdf", "a.txt"]),
    st.sampled_from(["born_on", "born_in"]),
    st.sampled_from(["1870", "1870-05-03", "1871", "Cork", "Kent"]),
)


@given(
    st.lists(claims, max_size=10),
    st.sampled_from(["most_frequent", "most_recent", "most_trusted"]),
    st.randoms(use_true_random=False),
)
def test_the_order_does_not_matter_and_what_is_left_agrees(
    fresh_context: Callable[..., Any], said: list[Said], strategy: str, order: random.Random
) -> None:
    context = fresh_context()
    found = []
    for shuffled in (None, order):
        corpus = corpus_of(context, said, shuffled)
        result = resolve_conflicts(corpus, context, strategy, None, {"*.pdf": 2})  # type: ignore[arg-type]
        assert {one.id for one in result.relations} == {one.id for one in corpus.relations}
        found.append({one.id: rejection_of(one) for one in result.relations})
    assert found[0] == found[1]
    for predicate in ("born_on", "born_in"):
        kept = {
            target
            for number, (_, other, target) in enumerate(said)
            if other == predicate and found[0][f"r{number:02}"] is None
        }
        longest = max(kept, key=len, default="")
        assert all(longest == value or longest.startswith(f"{value}-") for value in kept)
    for rejection in found[0].values():
        assert rejection is None or found[0][rejection["kept"]] is None


def test_an_unknown_strategy_is_refused_before_the_run() -> None:
    from semantica.pipeline import PipelineBuilder, PipelineValidator

    builder = PipelineBuilder().add_step("r", "resolve_conflicts", strategy="most_recet")
    result = PipelineValidator().validate_pipeline(builder.build("p"))
    assert not result.valid
    assert any("strategy" in str(error) for error in result.errors)


def test_the_command_line_tells_what_each_option_means() -> None:
    asked = [sys.executable, "-m", "semantica.pipeline", "steps", "deduplicate"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    assert "float >= 0, <= 100" in said.stdout
    assert "how alike two names, and each of their words, must be" in " ".join(said.stdout.split())
