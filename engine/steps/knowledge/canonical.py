"""Which mentions mean the same, as the records say it.

:mod:`.deduplicate` keeps every mention and notes in each which one stands for all that mean the
same; :mod:`.conflicts` keeps every relation and notes in those that lost a conflict why. Whoever
builds on them reads those notes here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..records import Entity, Relation

CANONICAL = "canonical"
NAME = "name"
REJECTED = "rejected"


def canonical_of(entity: Entity) -> str:
    """Id of the mention that stands for all mentions of what ``entity`` names; its own id when it
    stands for itself, or nothing was deduplicated."""
    return str(entity.metadata.get(CANONICAL, entity.id))


def name_of(entity: Entity) -> str:
    """The name that all mentions of what ``entity`` names go by."""
    return str(entity.metadata.get(NAME, entity.text))


def rejection_of(relation: Relation) -> dict[str, Any] | None:
    """Why ``relation`` is not believed: ``strategy``, ``kept`` (id of the relation that is
    believed instead) and ``because``; None for one that is."""
    return relation.metadata.get(REJECTED)


def with_canonical(entity: Entity, canonical: str, name: str) -> Entity:
    """``entity`` with the notes that :func:`canonical_of` and :func:`name_of` read."""
    metadata = {**entity.metadata, CANONICAL: canonical, NAME: name}
    return msgspec.structs.replace(entity, metadata=metadata)


def with_rejection(relation: Relation, rejection: dict[str, Any] | None) -> Relation:
    """``relation`` with the note that :func:`rejection_of` reads, or without one."""
    if rejection is None and REJECTED not in relation.metadata:
        return relation
    metadata = {key: value for key, value in relation.metadata.items() if key != REJECTED}
    if rejection is not None:
        metadata[REJECTED] = rejection
    return msgspec.structs.replace(relation, metadata=metadata)
