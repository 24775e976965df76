"""The pre-built templates.

They configure no more than what they are about. Source, model and store are for whoever uses a
template, or for the handlers' defaults; that also lets any handler take the place of a step's own.
"""

from __future__ import annotations

from typing import Any

from .templates import PipelineTemplate


def _step(name: str, **config: Any) -> dict[str, Any]:
    """A step of the type it is named after, which follows the step before it."""
    return {"name": name, "type": name, "config": config}


TEMPLATES = (
    PipelineTemplate(
        name="document_processing",
        description="Read documents, extract what they say, and build a knowledge graph of it",
        steps=[
            _step("ingest", recursive=True),
            _step("parse"),
            _step("normalize", unicode_form="NFC"),
            _step("extract", entities=True, relations=True),
            _step("embed"),
            _step("build_kg", merge_entities=True, resolve_conflicts=True),
        ],
        config={"parallelism": 2},
        metadata={"category": "documents", "version": "1.0"},
    ),
    PipelineTemplate(
        name="rag_pipeline",
        description="Cut documents into chunks and store their vectors, for retrieval",
        steps=[
            _step("ingest", recursive=True),
            _step("parse"),  # nothing can be cut of a document that was not read
            _step("chunk", chunk_size=512, overlap=50),
            _step("embed"),
            _step("store_vectors"),
        ],
        config={"parallelism": 4},
        metadata={"category": "rag", "version": "1.0"},
    ),
    PipelineTemplate(
        name="kg_construction",
        description="Build a knowledge graph of what documents say, without its contradictions",
        steps=[
            _step("ingest", recursive=True),
            _step("extract_entities"),
            _step("extract_relations"),
            _step("deduplicate"),
            _step("resolve_conflicts"),
            _step("build_graph"),
        ],
        config={"parallelism": 2},
        metadata={"category": "knowledge_graph", "version": "1.0"},
    ),
)
"""All of them; every :class:`.PipelineTemplateManager` has its own copies."""
