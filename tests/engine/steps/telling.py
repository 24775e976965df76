"""Documents with marks in them, as a corpus in which just that was found."""

from __future__ import annotations

import re

from semantica.pipeline.engine.steps.corpus import (
    Corpus,
    CorpusWriter,
    Document,
    Entity,
    Relation,
)
from semantica.pipeline.engine.steps.records import make_id
from semantica.pipeline.events.artifacts import Artifacts

Said = tuple[int, str, str, str]
"""Number of a document, and a relation between the first mentions of two names in it."""

_MARK = re.compile(r"\[(.*?)\|(\w+)\]", re.DOTALL)


def tell(artifacts: Artifacts, texts: list[str], said: list[Said]) -> Corpus:
    """The corpus of ``texts`` such as ``"[Ada|PERSON] lives in [Rome|PLACE]."``."""
    writer = CorpusWriter(artifacts)
    first: dict[tuple[int, str], Entity] = {}
    documents = []
    for number, marked in enumerate(texts):
        text, found = "", []
        end = 0
        for mark in _MARK.finditer(marked):
            text += marked[end : mark.start()]
            found.append((mark[2], len(text), mark[1]))
            text += mark[1]
            end = mark.end()
        text += marked[end:]
        document = Document(f"d{number}", f"/texts/{number}.txt", "text/plain", text=text)
        documents.append(document)
        writer.add(document)
        for kind, start, name in found:
            identity = make_id(document.id, kind, str(start))
            one = Entity(identity, document.id, kind, name, start, start + len(name), 0.9)
            writer.add(one)
            first.setdefault((number, name), one)
    for number, subject, predicate, object_ in said:
        ends = first[number, subject], first[number, object_]
        writer.add(
            Relation(
                make_id(ends[0].id, predicate, ends[1].id),
                documents[number].id,
                ends[0].id,
                predicate,
                ends[1].id,
                (documents[number].text or "")[:80],
                0.5 + number / 10,
            )
        )
    return writer.finish()


TEXTS = [
    "[Marie Curie|PERSON] was born in [Warsaw|PLACE]. [Curie|PERSON] founded the [Radium\n"
    "Institute|ORGANIZATION] in [Paris|PLACE].",
    "The [Radium Institute|ORGANIZATION] in [Paris|PLACE] was founded by [Marie Curie|PERSON], "
    "who was born in [Kraków|PLACE].",
    "[Marie Curie|PERSON] was born in [Warsaw|PLACE], and saw [Lyon|PLACE].",
]
SAID: list[Said] = [
    (0, "Marie Curie", "born_in", "Warsaw"),
    (0, "Curie", "founded", "Radium\nInstitute"),
    (0, "Radium\nInstitute", "located_in", "Paris"),
    (1, "Radium Institute", "located_in", "Paris"),
    (1, "Marie Curie", "founded", "Radium Institute"),
    (1, "Marie Curie", "born_in", "Kraków"),
    (2, "Marie Curie", "born_in", "Warsaw"),
    (0, "Marie Curie", "same_as", "Curie"),
]
"""Of two birthplaces one is said more often; the last relation ties somebody to herself."""
EDGES = {
    ("Marie Curie", "born_in", "Warsaw", 2),
    ("Marie Curie", "founded", "Radium Institute", 2),
    ("Radium Institute", "located_in", "Paris", 2),
}
"""What all that comes to, with the number of statements."""
HOSTILE = "<script>alert('&')</script>]]>\0\ud800\x1b[31m\u2028"
"""A name that means something, or nothing at all, to every format."""
