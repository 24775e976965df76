"""What pipelines can be made of: the types of steps, and the templates."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec

from ..engine.binding import GIVEN, plan, schema_of, takes_any_key
from ..engine.kinds import description_of, kind_of
from ..engine.model import Handler, Pipeline
from ..engine.steps import registry
from ..events.errors import HandlerNotFound, nearest
from .terminal import BadInput, clean, heading, print_json, print_table, terminal_width, wrapped

WIDE = 120
"""Columns from which on lists have all their columns."""

# Steps


def show_types(as_json: bool) -> None:
    """All types of steps."""
    kinds = [_type_of(name) for name in registry.known_types()]
    if as_json:
        print_json([{key: kind[key] for key in ("type", "handler", "summary")} for kind in kinds])
        return
    if (terminal_width() or WIDE) < WIDE:  # steps TYPE tells the handler
        print_table(("type", ""), [(kind["type"], kind["summary"]) for kind in kinds])
        return
    rows = [(kind["type"], kind["handler"], kind["summary"]) for kind in kinds]
    print_table(("type", "handler", ""), rows)


def show_type(name: str, as_json: bool) -> None:
    """A type of steps, with its configuration. Raises BadInput."""
    known = list(registry.known_types())
    if name not in known:
        hint = nearest(name, known) or f"; types: {', '.join(known)}"
        raise BadInput(f"no step type {name!r}{hint}")
    kind = _type_of(name)
    if kind["problem"]:
        raise BadInput(kind["problem"])
    if as_json:
        print_json({key: value for key, value in kind.items() if key != "problem"})
        return
    print(f"{heading(clean(name))}  {clean(kind['handler'])}")
    if kind["configuration"]:
        print()
        _print_configuration(kind["configuration"])
    if kind["any_key"]:
        print("any other key, too")
    if kind["doc"]:
        print()
        print("\n".join(clean(line) for line in kind["doc"].splitlines()))


def _print_configuration(keys: list[dict[str, Any]]) -> None:
    """Each key with its default and its type, and under it what it means."""
    rows = [
        (one["key"], "(required)" if one["required"] else repr(one["default"]), one["type"])
        for one in keys
    ]
    if not any(one["description"] for one in keys):
        print_table(("key", "default", "type"), rows)
        return
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:2]]
    for row, one in zip(rows, keys, strict=True):
        key, default, kind = (clean(text) for text in row)
        print(f"{key:{widths[0]}}  {default:{widths[1]}}  {kind}")
        if one["description"]:
            print(wrapped(one["description"], 4))


def _type_of(name: str) -> dict[str, Any]:
    handler, problem = None, None
    try:
        handler = registry.lookup(name)
    except HandlerNotFound as error:
        problem = str(error)
    doc = _plain((inspect.getdoc(handler) or "") if handler is not None else "")
    return {
        "type": name,
        "handler": _name_of(handler),
        "summary": problem or doc.partition("\n")[0],
        "doc": doc,
        "configuration": _configuration(handler) if handler is not None else [],
        "any_key": handler is not None and takes_any_key(handler),
        "problem": problem,
    }


def _plain(doc: str) -> str:
    """A docstring without the marks of reStructuredText."""
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", doc).replace("``", "")


def _name_of(handler: Handler | None) -> str:
    if handler is None:
        return ""
    name = getattr(handler, "__qualname__", repr(handler))
    return f"{getattr(handler, '__module__', '?')}:{name}"


def _configuration(handler: Handler) -> list[dict[str, Any]]:
    """What a step's configuration may hold, from the handler's schema or its signature."""
    schema = schema_of(handler)
    if schema is not None:
        return list(map(_field, msgspec.structs.fields(schema)))
    shape = plan(handler)
    if shape.opaque:
        return []
    return [
        {
            "key": parameter.name,
            "required": parameter.default is parameter.empty,
            "default": None if parameter.default is parameter.empty else parameter.default,
            "type": _annotation(parameter),
            "description": "",
        }
        for parameter in inspect.signature(handler).parameters.values()
        if parameter.name not in (*GIVEN, shape.data_name)
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]


def _field(field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    default = None if field.default is msgspec.NODEFAULT else field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return {
        "key": field.encode_name,
        "required": field.required,
        "default": default,
        "type": kind_of(field.type),
        "description": description_of(field.type),
    }


def _annotation(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return ""
    kind = parameter.annotation
    return kind if isinstance(kind, str) else inspect.formatannotation(kind)


# Templates


def show_templates(category: str | None, as_json: bool) -> None:
    """All templates, or those of a category. Raises BadInput."""
    from ..engine.templates import PipelineTemplateManager

    manager = PipelineTemplateManager()
    infos = [manager.get_template_info(name) for name in sorted(manager.list_templates())]
    known = sorted({str(info["category"]) for info in infos})
    if category is not None and category not in known:
        hint = nearest(category, known) or f"; categories: {', '.join(known)}"
        raise BadInput(f"no template has the category {category!r}{hint}")
    infos = [info for info in infos if category in (None, info["category"])]
    if as_json:
        print_json(infos)
        return
    if (terminal_width() or WIDE) < WIDE:
        for info in infos:
            print(f"{heading(clean(info['name']))}  {clean(info['category'] or '')}")
            print(wrapped(info["description"], 2))
            print(wrapped(" → ".join(info["steps"]), 2))
        return
    rows = [
        (info["name"], info["category"] or "", " → ".join(info["steps"]), info["description"])
        for info in infos
    ]
    print_table(("template", "category", "steps", ""), rows)


def show_template(name: str, config: str | None, as_json: bool) -> None:
    """A template with its steps and their configuration. Raises BadInput."""
    from ..engine.configuration import PipelineConfig
    from ..engine.templates import PipelineTemplateManager

    manager = PipelineTemplateManager(PipelineConfig(config))
    names = manager.list_templates()
    if name not in names:
        hint = nearest(name, names) or f"; templates: {', '.join(sorted(names))}"
        raise BadInput(f"no template {name!r}{hint}")
    info, pipeline = manager.get_template_info(name), _build(manager, name)
    if as_json:
        print_json({**info, "parallelism": pipeline.parallelism, "steps": _steps_json(pipeline)})
        return
    version = f" {info['version']}" if info["version"] else ""
    category = f"  {info['category']}" if info["category"] else ""
    print(f"{heading(clean(name))}{clean(version + category)}")
    print(wrapped(info["description"], 0))
    if pipeline.parallelism:
        print(f"at most {pipeline.parallelism} steps at once")
    print()
    rows = [
        (
            step.name,
            step.step_type,
            ", ".join(step.dependencies),
            ", ".join(f"{key}={value!r}" for key, value in step.config.items()),
        )
        for step in pipeline.steps
    ]
    print_table(("step", "type", "after", "configuration"), rows)


def _build(manager: Any, name: str) -> Pipeline:
    pipeline: Pipeline = manager.create_pipeline_from_template(name).build()
    return pipeline


def _steps_json(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [
        {
            "name": step.name,
            "type": step.step_type,
            "dependencies": step.dependencies,
            "configuration": step.config,
        }
        for step in pipeline.steps
    ]
