"""The step types that need no registration, by the handler that executes them.

Nothing is imported here: a handler's module, and the libraries it needs, are loaded when a step of
its type first runs.
"""

from __future__ import annotations

from collections.abc import Mapping

_STEPS = "semantica.pipeline.engine.steps"

BUILTIN: Mapping[str, str] = {
    "ingest": f"{_STEPS}.ingest:ingest",
    "file_ingest": f"{_STEPS}.ingest:ingest",
    "parse": f"{_STEPS}.parse:parse",
    "document_parse": f"{_STEPS}.parse:parse",
    "normalize": f"{_STEPS}.normalize:normalize",
    "text_normalize": f"{_STEPS}.normalize:normalize",
    "chunk": f"{_STEPS}.chunk:chunk",
    "embed": f"{_STEPS}.embedding.embed:embed",
    "store_vectors": f"{_STEPS}.vectors.store_vectors:store_vectors",
    "network_step": f"{_STEPS}.general.network:network_step",
    "process": f"{_STEPS}.general.process:process",
    "merge": f"{_STEPS}.general.join:merge",
    "shell": f"{_STEPS}.general.shell:shell",
    "extract": f"{_STEPS}.extraction.extract:extract",
    "extract_entities": f"{_STEPS}.extraction.extract:extract_entities",
    "extract_relations": f"{_STEPS}.extraction.extract:extract_relations",
    "deduplicate": f"{_STEPS}.knowledge.deduplicate:deduplicate",
    "resolve_conflicts": f"{_STEPS}.knowledge.conflicts:resolve_conflicts",
    "build_kg": f"{_STEPS}.knowledge.build:build_graph",
    "build_graph": f"{_STEPS}.knowledge.build:build_graph",
}
"""Step type -> ``module:function``."""
