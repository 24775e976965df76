"""Pictures of a graph: what they show, that it can be read, and that nothing in it is executed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telling import HOSTILE, SAID, TEXTS, tell

from semantica.pipeline import KnowledgeGraph
from semantica.pipeline.engine.steps.knowledge.deduplicate import merge_entities
from semantica.pipeline.engine.steps.knowledge.layout import Layout, lay_out
from semantica.pipeline.engine.steps.knowledge.picture import picture_of, width_of
from semantica.pipeline.engine.steps.knowledge.svg import KNOWN, OTHERS
from semantica.pipeline.events.artifacts import MemoryArtifacts

SVG = "{http://www.w3.org/2000/svg}"


def graph_of(context: Any, texts: list[str], said: list[Any]) -> KnowledgeGraph:
    return KnowledgeGraph(merge_entities(tell(context.artifacts, texts, said), context))


def star(context: Any, leaves: int) -> KnowledgeGraph:
    """A hub, what is around it, a chain of three, and a name that stands alone."""
    texts = ["[Hub|PLACE] [Xen|PLACE] [Yve|PLACE] [Zoe|PLACE] [Alone|PERSON]"]
    texts += [f"[Hub|PLACE] [L{number}|PLACE]" for number in range(leaves)]
    said: list[Any] = [(n + 1, "Hub", "near", f"L{n}") for n in range(leaves)]
    return graph_of(context, texts, [*said, (0, "Xen", "near", "Yve"), (0, "Yve", "near", "Zoe")])


def saved(graph: KnowledgeGraph, path: Path, **options: Any) -> str:
    graph.save(path, **options)
    return path.read_text("utf-8")


def texts_in(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]


def test_a_drawing_names_every_entity_every_relation_and_every_type(
    context: Any, tmp_path: Path
) -> None:
    svg = saved(graph_of(context, TEXTS, SAID), tmp_path / "graph.svg")
    texts = texts_in(svg)
    for name in ("Marie Curie", "Radium Institute", "Paris", "Warsaw", "Kraków"):
        assert name in texts
    assert "Lyon" not in texts, "nothing is said of it"
    for word in ("founded", "located in", "born in"):
        assert word in texts
    assert {"Person 1", "Organization 1", "Place 3"} <= set(texts), "the legend"
    assert "6 entities, 4 relations; not shown: 1 entities without relations" in texts
    root = ElementTree.fromstring(svg)
    assert not [
        one for one in root.iter() if one.tag.endswith(("script", "image", "foreignObject"))
    ]
    assert not re.search(r"(href|src)=|url\((?!#)|@import", svg), "it needs nothing else"


def test_a_large_graph_is_shown_around_its_centre(context: Any, tmp_path: Path) -> None:
    graph = star(context, 60)
    picture = picture_of(graph, 20)
    names = {box.node.name for box in picture.boxes}
    assert len(names) == 20
    assert "Hub" in names
    assert len(picture.arrows) == 19, "all of them are tied to it"
    assert (picture.hidden, picture.unconnected) == (45, 1)
    svg = saved(graph, tmp_path / "graph.svg", limit=20)
    assert "65 entities, 62 relations; not shown: 45 entities with fewer relations" in texts_in(svg)
    everything = picture_of(graph, 500)
    assert {box.node.name for box in everything.boxes} >= {"Xen", "Yve", "Zoe", "L0", "L59"}
    assert everything.hidden == 1, "that one stands alone"


def test_there_and_back_are_two_arrows_and_twice_the_same_way_is_one(context: Any) -> None:
    said = [(0, "Ada", "knows", "Bob"), (0, "Ada", "leads", "Bob"), (0, "Bob", "knows", "Ada")]
    graph = graph_of(context, ["[Ada|PERSON] [Bob|PERSON]"], said)
    arrows = picture_of(graph).arrows
    assert sorted(arrow.label for arrow in arrows) == ["knows", "knows, leads"]
    assert arrows[0].at != arrows[1].at


def contrast(one: str, other: str) -> float:
    """As WCAG 2 computes it."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_names_can_be_read_on_light_and_on_dark_ground(context: Any, tmp_path: Path) -> None:
    for colours in (*KNOWN.values(), *OTHERS):
        assert contrast("#0f172a", colours.fill) > 7
        assert contrast("#f1f5f9", colours.dark_fill) > 7
        assert contrast("#ffffff", colours.stroke) > 3
        assert contrast("#0f1420", colours.dark_stroke) > 3
    assert len(set(KNOWN.values())) == len(KNOWN), "each type has a colour of its own"
    svg = saved(graph_of(context, TEXTS, SAID), tmp_path / "graph.svg")
    light, dark = svg.split("@media (prefers-color-scheme: dark)")
    assert KNOWN["PERSON"].fill in light
    assert KNOWN["PERSON"].dark_fill in dark


def test_a_page_says_of_everything_where_it_is_from_and_needs_nothing_else(
    context: Any, tmp_path: Path
) -> None:
    page = saved(graph_of(context, TEXTS, SAID), tmp_path / "graph.html")
    data = data_in(page)
    nodes = {node["name"]: node for node in data["nodes"]}
    assert nodes["Lyon"]["places"] == [["/texts/2.txt", 40, 44]], "it is listed, if not drawn"
    assert nodes["Marie Curie"]["aliases"] == ["Curie"]
    (founded,) = [edge for edge in data["edges"] if edge["predicate"] == "founded"]
    assert [place[0] for place in founded["places"]] == ["/texts/0.txt", "/texts/1.txt"]
    assert founded["places"][0][3].startswith("Marie Curie was born in Warsaw.")
    assert [(kind["name"], kind["count"]) for kind in data["types"]] == [
        ("ORGANIZATION", 1), ("PERSON", 1), ("PLACE", 4),
    ]  # fmt: skip
    assert data["caption"].startswith("6 entities, 4 relations; not shown: 1 ")
    drawn = set(re.findall(r'data-node="(\d+)"', page))
    assert {str(nodes["Marie Curie"]["number"]), str(founded["to"])} <= drawn
    assert str(nodes["Lyon"]["number"]) not in drawn
    assert not re.search(r"""(href|src)\s*=\s*["']|@import|fetch\(|XMLHttp|url\((?!#)""", page)


def data_in(page: str) -> dict[str, Any]:
    found = re.search(r"const data = (\{.*\});", page)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_what_stands_in_documents_is_never_markup_or_script(context: Any, tmp_path: Path) -> None:
    evil = f"</script><img src=x onerror=alert(1)>{HOSTILE}"
    graph = graph_of(context, [f"[{evil}|PERSON] [Lyon|PLACE]"], [(0, evil, "hates", "Lyon")])
    page = saved(graph, tmp_path / "graph.html")
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<img" not in page
    assert data_in(page)["nodes"][0]["name"].startswith("</script><img src=x")
    texts = texts_in(saved(graph, tmp_path / "graph.svg"))
    assert any(text.startswith("</script><img") and text.endswith("…") for text in texts)


def overlaps(layout: Layout, sizes: list[tuple[float, float]]) -> int:
    points, boxes = np.array(layout.centres), np.array(sizes)
    apart = np.abs(points[:, None] - points[None, :])
    room = (boxes[:, None] + boxes[None, :]) / 2
    both = (apart < room - 1).all(axis=2)
    return int(both.sum() - len(sizes)) // 2


COUNTS = st.integers(1, 40)


@settings(max_examples=60)
@given(data=st.data())
def test_boxes_do_not_overlap_and_lie_within_the_drawing(data: st.DataObject) -> None:
    count = data.draw(COUNTS)
    ends = st.integers(0, count - 1)
    links = data.draw(st.lists(st.tuples(ends, ends), max_size=60))
    sizes = data.draw(
        st.lists(st.tuples(st.floats(20, 250), st.just(30.0)), min_size=count, max_size=count)
    )
    layout = lay_out(sizes, links)
    assert layout == lay_out(sizes, links)
    assert overlaps(layout, sizes) == 0
    for (x, y), (width, height) in zip(layout.centres, sizes, strict=True):
        assert x - width / 2 >= -0.2
        assert x + width / 2 <= layout.width + 0.2
        assert y - height / 2 >= -0.2
        assert y + height / 2 <= layout.height + 0.2


def test_what_is_tied_is_near() -> None:
    """In a chain and in a star, neighbours are nearer than others."""
    for links in ([(n, n + 1) for n in range(11)], [(0, n + 1) for n in range(11)]):
        layout = lay_out([(60.0, 30.0)] * 12, links)
        points = np.array(layout.centres)
        apart = np.linalg.norm(points[:, None] - points[None, :], axis=2)
        tied = np.mean([apart[a, b] for a, b in links])
        others = [
            apart[a, b] for a in range(12) for b in range(a) if {(a, b), (b, a)}.isdisjoint(links)
        ]
        assert tied < 0.8 * np.mean(others)


@pytest.mark.parametrize("text", ["Marie Curie", "Wallis & Futuna", "北京大学", "e\u0301"])
def test_widths_follow_the_characters(text: str) -> None:
    assert width_of(text) > 0
    assert width_of(text * 2) == pytest.approx(2 * width_of(text))
    assert width_of("北京大学") > 1.5 * width_of("abcd") > width_of("llll")
    assert width_of("e\u0301") == width_of("e")


def test_an_empty_graph_is_drawn_as_such(tmp_path: Path) -> None:
    from semantica.pipeline.engine.steps.corpus import Corpus

    svg = saved(KnowledgeGraph(Corpus(MemoryArtifacts())), tmp_path / "graph.svg")
    assert "0 entities, 0 relations" in texts_in(svg)
