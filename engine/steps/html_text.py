"""The visible text of HTML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .errors import MissingExtra
from .layout import BLOCK, CELL, LINE, Layout


def _tags(names: str) -> frozenset[str]:
    return frozenset(names.split())


_UNSEEN = _tags(
    "head script style template noscript iframe object svg math canvas audio video select "
    "textarea -comment"
)
_BLOCKS = _tags(
    "address article aside blockquote body center details dialog div dl fieldset figcaption "
    "figure footer form header hgroup hr main nav ol p pre section summary table ul"
)
_LINES = _tags("br dd dt caption legend tr")
_CELLS = _tags("td th")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


def parse_html(text: str) -> Any:
    """The tree of ``text``; HTML is never wrong, only odd. Raises MissingExtra."""
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError as error:
        raise MissingExtra("parsing HTML", "documents") from error
    return LexborHTMLParser(text)


def title_of(tree: Any) -> str | None:
    """What ``<title>`` says."""
    node = tree.css_first("title")
    return " ".join(node.text().split()) if node else None


def language_of(tree: Any) -> str | None:
    """The ``lang`` of ``<html>``."""
    language: str | None = tree.root.attributes.get("lang") if tree.root else None
    return language


def write_html(tree: Any, layout: Layout) -> None:
    """Write what a reader would see; scripts, styles and hidden parts are left out."""
    preformatted = 0
    for entering, node in _walk(tree.root) if tree.root else ():
        tag = node.tag
        if tag == "-text":
            if entering:
                (layout.verbatim if preformatted else layout.write)(node.text_content or "")
            continue
        if tag == "pre":
            preformatted += 1 if entering else -1
        if tag in _HEADINGS:
            if entering:
                layout.open_heading()
            else:
                layout.close_heading(_HEADINGS[tag])
        elif tag == "li":
            layout.item("- ") if entering else layout.separate(LINE)
        elif tag in _BLOCKS:
            layout.separate(BLOCK)
        elif tag in _LINES:
            layout.separate(LINE)
        elif tag in _CELLS:
            layout.separate(CELL)


def _walk(root: Any) -> Iterator[tuple[bool, Any]]:
    """Each node twice: when it is entered and when it is left. Depth costs no recursion."""
    node, depth = root, 0
    while True:
        yield True, node
        child = None if _unseen(node) else node.child
        if child is not None:
            node, depth = child, depth + 1
            continue
        while True:
            yield False, node
            if depth == 0:
                return
            if node.next is not None:
                node = node.next
                break
            node, depth = node.parent, depth - 1


def _unseen(node: Any) -> bool:
    if node.tag in _UNSEEN:
        return True
    if not node.is_element_node:
        return False
    attributes = node.attributes
    style = (attributes.get("style") or "").replace(" ", "").lower()
    return "hidden" in attributes or "display:none" in style
