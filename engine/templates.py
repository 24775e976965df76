"""Templates: pipelines to be had by name, each time with other configuration.

::

    name: summaries                      # a template file; JSON has the same keys
    description: Summaries of a folder
    config: {parallelism: 2}
    metadata: {category: text, version: "1.0"}
    steps:
      - {name: ingest, type: ingest, config: {source: ./documents}}
      - {name: summarize, type: summarize, timeout: 60, retry: {max_retries: 5}}
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..events.definition import RetryPolicy
from ..events.errors import PipelineError, PipelineValidationError, SerializationError, nearest
from . import safe_file
from .builder import PipelineBuilder
from .configuration import PipelineConfig
from .logger import logger
from .model import known_options
from .validator import PipelineValidator


class PipelineTemplate(msgspec.Struct, forbid_unknown_fields=True):
    """A pipeline to be built by name, with its configuration as default.

    Args:
        name: By which the template is found; also the name of its pipelines.
        description: What its pipelines do.
        steps: Mappings with the keys ``name`` and ``type``, and as needed ``config``,
            ``dependencies`` (without them a step follows the one before it; ``[]`` makes a root)
            and the other options of :meth:`PipelineBuilder.add_step`.
        config: Of the pipeline: ``parallelism`` caps how many of its steps run at once.
        metadata: Of its pipelines; ``category`` and ``version`` are also the template's own.
    """

    name: str
    description: str
    steps: list[dict[str, Any]]
    config: dict[str, Any] = {}
    metadata: dict[str, Any] = {}

    @property
    def category(self) -> str | None:
        """What :meth:`PipelineTemplateManager.list_templates` can be asked for."""
        return self.metadata.get("category")

    @property
    def version(self) -> str | None:
        """As whoever made the template counts."""
        return self.metadata.get("version")


class PipelineTemplateManager:
    """Knows templates by name, and builds pipelines of them.

    It has the pre-built ones of :mod:`.template_library`, and those registered or loaded.

    Args:
        config: Whose settings of single templates go before the templates' own; by default that
            of the environment, read when the first pipeline is made. Settings for templates
            that are not there are mentioned then, in a warning: by then others are registered.
    """

    def __init__(self, config: PipelineConfig | None = None) -> None:
        from .template_library import TEMPLATES  # which is made of PipelineTemplate

        self._given_config = config
        self._templates: dict[str, PipelineTemplate] = {}
        for template in TEMPLATES:
            self.register_template(template)

    def list_templates(self, category: str | None = None) -> list[str]:
        """The names of all templates, or of those of a category."""
        return [
            name
            for name, template in self._templates.items()
            if category is None or template.category == category
        ]

    def get_template(self, template_name: str) -> PipelineTemplate:
        """A copy of the template; register it to make changes count.

        Raises:
            PipelineError: There is none of this name.
        """
        return deepcopy(self._find(template_name))

    def get_template_info(self, template_name: str) -> dict[str, Any]:
        """What a template is, with ``step_count`` and the names of its ``steps``.

        Raises:
            PipelineError: There is none of this name.
        """
        template = self.get_template(template_name)
        return {
            "name": template.name,
            "description": template.description,
            "category": template.category,
            "version": template.version,
            "step_count": len(template.steps),
            "steps": [step["name"] for step in template.steps],
            "config": template.config,
            "metadata": template.metadata,
        }

    def create_pipeline_from_template(
        self, template_name: str, **overrides: Mapping[str, Any]
    ) -> PipelineBuilder:
        """A builder with the template's steps, which may still be added to.

        Args:
            template_name: Of a template.
            overrides: By step name, what replaces single entries of the step's configuration, or
                options such as ``timeout`` and ``handler``, named as for
                :meth:`PipelineBuilder.add_step`.

        Raises:
            PipelineError: There is no such template, or no such step in it.
            ConfigurationError: The configuration of the environment cannot be used.
        """
        builder = _builder(self._find(template_name), overrides)
        parallelism = self._config.template_parallelism(template_name)
        if parallelism is not None:
            builder.set_parallelism(parallelism)
        return builder

    def register_template(self, template: PipelineTemplate) -> None:
        """Make a template known, in place of an earlier one of its name. It is copied.

        Raises:
            PipelineValidationError: No valid pipeline can be built of it; says all that is wrong.
        """
        template = _copied(template)
        _check(template)
        self._templates[template.name] = template

    def load_templates(self, path: str | os.PathLike[str]) -> list[str]:
        """Register the template of a YAML or JSON file, or of every one in a folder; all or none.

        Returns:
            Their names.

        Raises:
            SerializationError: Which file cannot be read or is no valid template, and why.
        """
        loaded: dict[str, PipelineTemplate] = {}
        files: dict[str, Path] = {}
        for file in _files(Path(path)):
            template = _load(file)
            name = template.name
            if name in loaded:
                raise SerializationError(f"{file}: name: {name!r} is taken by {files[name]}")
            loaded[name], files[name] = template, file
        self._templates.update(loaded)
        return list(loaded)

    @cached_property
    def _config(self) -> PipelineConfig:
        config = self._given_config or PipelineConfig()
        for name in config.templates():
            if name not in self._templates:
                logger().warning(
                    f"the configuration has settings for the template {name!r}, "
                    f"which does not exist{nearest(name, self._templates)}"
                )
        return config

    def _find(self, name: str) -> PipelineTemplate:
        if name not in self._templates:
            raise PipelineError(
                f"there is no template {name!r}{nearest(str(name), self._templates)} "
                f"(templates: {', '.join(self._templates)})"
            )
        return self._templates[name]


# Building


class _Step(msgspec.Struct):
    """What every step has; the other options that ``add_step`` takes are added below."""

    name: str
    type: str
    config: dict[str, Any] = {}
    dependencies: list[str] | None = None

    def options(self) -> dict[str, Any]:
        fields = msgspec.structs.asdict(self)
        return {key: fields[key] for key in known_options() if fields[key] is not msgspec.UNSET}


_STEP: Any = msgspec.defstruct(
    "_STEP",
    [(option, Any, msgspec.UNSET) for option in known_options() if option != "dependencies"],
    bases=(_Step,),
    forbid_unknown_fields=True,
)
"""The schema of a step; the values of its options are checked by the pipeline's validator."""


class _Config(msgspec.Struct, forbid_unknown_fields=True):
    parallelism: Annotated[int, msgspec.Meta(ge=1)] | None = None


_KEYS = {key for schema in (PipelineTemplate, _STEP, _Config) for key in schema.__struct_fields__}

_ARGUMENTS = frozenset({"self", "name", "step_type"})
"""Of ``add_step``, so that no keyword of configuration can be called like them."""


def _builder(
    template: PipelineTemplate, overrides: Mapping[str, Mapping[str, Any]]
) -> PipelineBuilder:
    """The builder copies all configuration, so that nobody can change the template through it."""
    steps, config = _plan(template)
    names = [step.name for step in steps]
    for name in overrides:
        if name not in names:
            raise PipelineError(
                f"template {template.name!r} has no step {name!r}{nearest(name, names)} "
                f"(its steps: {', '.join(names)})"
            )
    builder = PipelineBuilder(template.name, template.metadata)
    builder.set_parallelism(config.parallelism)
    for step in steps:
        changes = overrides.get(step.name, {})
        _check_override(step.name, changes)
        settings = {**step.options(), **step.config, **changes}
        settings["retry"] = _retry(step.name, settings.get("retry"))
        builder.add_step(step.name, step.type, **settings)
    return builder


def _plan(template: PipelineTemplate) -> tuple[list[_Step], _Config]:
    """Steps and configuration of the template, whose types are checked.

    Raises:
        PipelineValidationError: Something is of the wrong type, missing or unknown.
    """
    place = ""
    try:
        msgspec.convert(msgspec.structs.asdict(template), PipelineTemplate)
        steps = []
        for number, step in enumerate(template.steps):
            place = f"steps[{number}]"
            steps.append(msgspec.convert(step, _STEP))
        place = "config"
        config = msgspec.convert(template.config, _Config)
    except msgspec.ValidationError as error:
        raise PipelineValidationError(template.name, [_problem(error, place)]) from None
    misplaced = [
        f"steps[{number}].config.{key}: "
        + ("this name is not free" if key in _ARGUMENTS else "an option, to be put beside 'config'")
        for number, step in enumerate(steps)
        for key in step.config
        if key in _ARGUMENTS or key in known_options()
    ]
    if misplaced:
        raise PipelineValidationError(template.name, misplaced)
    return steps, config


def _check_override(step: str, changes: Any) -> None:
    if not isinstance(changes, Mapping):
        raise PipelineError(
            f"the override of step {step!r} must be a mapping, such as "
            f"{step}={{'key': 'value'}}, not {changes!r:.60}"
        )
    for key in changes:
        if not isinstance(key, str) or key in _ARGUMENTS:
            raise PipelineError(f"the override of step {step!r} cannot set {key!r}")


def _retry(step: str, policy: Any) -> Any:
    """A retry policy may also be given as a mapping, as in a file."""
    if not isinstance(policy, Mapping):
        return policy
    try:
        return RetryPolicy(**policy)
    except (TypeError, ValueError) as error:
        raise PipelineError(f"step {step!r}: retry: {error}") from None


def _check(template: PipelineTemplate) -> None:
    """Raises PipelineValidationError. A step without a handler is left for the execution."""
    try:
        pipeline = _builder(template, {}).build()
    except PipelineValidationError:
        raise
    except (PipelineError, TypeError) as error:  # options that add_step() refuses
        raise PipelineValidationError(template.name, [str(error)]) from None
    result = PipelineValidator(known=lambda _: True).validate_pipeline(pipeline)
    if not result:
        raise PipelineValidationError(template.name, result.errors)


def _copied(template: PipelineTemplate) -> PipelineTemplate:
    if not isinstance(template, PipelineTemplate):
        raise TypeError(f"expected a PipelineTemplate, not {template!r:.60}")
    try:
        return deepcopy(template)
    except Exception as error:  # a class of the user's may raise anything
        problem = f"a value in it cannot be copied: {error}"
        raise PipelineValidationError(template.name, [problem]) from error


def _problem(error: msgspec.ValidationError, around: str = "") -> str:
    """msgspec's words, with the place in front and the nearest key for an unknown one."""
    problem, _, place = str(error).partition(" - at ")
    place = (place or "$").replace("`", "").replace("key in ", "the keys of ")
    place = place.replace("$", around).replace(" .", " ").removeprefix(".")
    unknown = re.search("unknown field `(.*)`", problem)
    hint = nearest(unknown[1][:60], _KEYS) if unknown else ""
    return f"{place or 'the template'}: {problem}{hint}"


# Files


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    suffixes = safe_file.SUFFIXES
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes)
    if not files:
        raise SerializationError(f"{path}: the folder holds no file {', '.join(suffixes)}")
    yield from files


def _load(file: Path) -> PipelineTemplate:
    """The valid template of a file. Raises SerializationError."""
    try:
        template = msgspec.convert(safe_file.load(file), PipelineTemplate)
        _check(template)
    except msgspec.ValidationError as error:
        raise SerializationError(f"{file}: {_problem(error)}") from None
    except PipelineError as error:
        raise SerializationError(f"{file}: {error}") from error
    return template
