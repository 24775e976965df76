"""Settings, each with where it comes from: the constructor, the environment, a file, or nobody.

::

    pipeline:                                        # a configuration file; JSON has the same keys
      max_workers: 4                                 # or PIPELINE_MAX_WORKERS=4, which goes before
    pipeline_resources: {max_memory_gb: 16, enable_gpu: false}
    pipeline_parallelism: {parallelism_level: 2}
    pipeline_templates:
      rag_pipeline: {parallelism: 4}
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from ..events.arguments import MAX_SECONDS, instance
from ..events.errors import ConfigurationError, PipelineError, SerializationError, nearest
from . import safe_file
from .logger import logger

PREFIX = "PIPELINE_"
"""How the names of environment variables begin; the setting's name in capitals follows."""

CONFIG_FILE = "PIPELINE_CONFIG"
"""The environment variable that names a configuration file."""

SECTIONS = {
    "pipeline": (
        "max_workers",
        "retry_on_failure",
        "default_max_retries",
        "default_backoff_factor",
        "default_initial_delay",
        "default_max_delay",
        "log_level",
    ),
    "pipeline_resources": ("max_cpu_cores", "max_memory_gb", "enable_gpu"),
    "pipeline_parallelism": ("use_processes", "parallelism_level"),
}
"""Of a file, with their settings."""

TEMPLATES = "pipeline_templates"
"""The section with the settings of single templates."""

MAX_WORKERS = 10_000
"""Of an engine or manager: more threads than that serve no purpose, and take all memory."""

_MOST = 2**31 - 1
Workers = Annotated[int, msgspec.Meta(ge=1, le=MAX_WORKERS)]
Count = Annotated[int, msgspec.Meta(ge=1, le=_MOST)]
Retries = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)]
LogLevel = Literal["debug", "info", "warning", "error", "critical", "off"]
Capacity = Annotated[float, msgspec.Meta(gt=0, lt=2**63)]

_UNSET: Any = object()


class PipelineConfig:
    """Settings of engines, schedulers and templates. It does not change once it is made.

    The constructor's arguments go before environment variables (``PIPELINE_MAX_WORKERS``), those
    before the file, and that before the defaults. What is empty, null or None counts as not set.
    Every source is checked as a whole, also where another goes before it.

    Args:
        config_file: A YAML or JSON file; by default the one that ``$PIPELINE_CONFIG`` names, if
            any.
        settings: By the names of the attributes below; ``pipeline_templates`` maps the names of
            templates to their settings, as in a file.

    Raises:
        ConfigurationError: The file cannot be read; a section or key is unknown, or a value of
            the wrong type or out of its range. Names the source and all that is wrong in it.
        TypeError: An argument that is no setting.
    """

    max_workers: Workers | None = None
    """Steps in flight at once, over all runs of an engine, at most 10,000; None leaves it to the
    engine."""
    retry_on_failure: bool = True
    """Whether steps without a retry policy of their own are retried."""
    default_max_retries: Retries = 3
    """How often those are retried."""
    default_backoff_factor: Amount = 2.0
    """The growth of the delay between their attempts."""
    default_initial_delay: Amount = 1.0
    """The delay before their first retry, in seconds."""
    default_max_delay: Amount = 60.0
    """The upper bound of a delay, in seconds."""
    log_level: LogLevel = "info"
    """The least severe lines of ``context.log`` that are kept with their run; ``"off"``: none."""

    max_cpu_cores: Count | None = None
    """Cores to be allocated at most; None means all that the process may use."""
    max_memory_gb: Capacity | None = None
    """Memory to be allocated at most, in GB of 10**9 bytes; None means all there is."""
    enable_gpu: bool | None = None
    """Whether GPUs are allocated; None means if there are any."""

    use_processes: bool = False
    """Whether steps run in processes that do not say where they run."""
    parallelism_level: Count | None = None
    """Steps of a run in flight at once, where its pipeline does not say it; None sets no cap."""

    _given: _Given

    def __init__(self, config_file: str | os.PathLike[str] | None = None, **settings: Any) -> None:
        arguments = _of_arguments(settings)
        given = {**_of_file(config_file), **_of_environment(), **arguments}
        values = {name: value for name, (value, _) in given.items() if name in _KINDS}
        self.__dict__.update(values, _given=given)

    def __setattr__(self, name: str, _: Any) -> None:
        raise AttributeError(f"a configuration does not change: make one with {name}=...")

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value, _ in self.given())
        return f"<PipelineConfig {told or 'of defaults'}>"

    def get(self, name: str, default: Any = _UNSET) -> Any:
        """The value of a setting; where nobody has set it, ``default``, else the setting's own.

        A template's setting is named as by :meth:`given`:
        ``"pipeline_templates.rag_pipeline.parallelism"``.

        Raises:
            PipelineError: There is no setting of this name.
        """
        _kind(name)
        if name in self._given:
            return self._given[name][0]
        return getattr(self, name, None) if default is _UNSET else default

    def source(self, name: str) -> str:
        """Where a value comes from: ``"constructor"``, ``"environment PIPELINE_MAX_WORKERS"``,
        ``"file config.yaml"`` or ``"default"``.

        Raises:
            PipelineError: There is no setting of this name.
        """
        _kind(name)
        return self._given[name][1] if name in self._given else "default"

    def given(self) -> Iterator[tuple[str, Any, str]]:
        """Name, value and source of every setting that somebody has set."""
        for name, (value, source) in self._given.items():
            yield name, value, source

    def template_parallelism(self, name: str) -> int | None:
        """The steps in flight at once in pipelines of a template; None if it is not set here."""
        return self.get(_of_template(name))  # type: ignore[no-any-return]  # as converted

    def templates(self) -> list[str]:
        """The names of the templates that have settings here, whether they exist or not."""
        own = [name for name in self._given if name not in _KINDS]
        return [name.removeprefix(f"{TEMPLATES}.").removesuffix(".parallelism") for name in own]

    def as_dict(self) -> dict[str, Any]:
        """Every setting's value by its name; as keyword arguments they make an equal one."""
        templates = {
            name: {"parallelism": self.template_parallelism(name)} for name in self.templates()
        }
        return {name: getattr(self, name) for name in _KINDS} | {TEMPLATES: templates}


def given_config(config: PipelineConfig | None) -> PipelineConfig:
    """What an argument ``config`` gives; None: the environment, and the file that it names.

    Raises:
        TypeError: It is no configuration.
        ConfigurationError: The environment, or the file, is at fault.
    """
    if config is None:
        return PipelineConfig()
    instance("config", config, PipelineConfig, "a PipelineConfig")
    return config


# The schema

_Given = dict[str, tuple[Any, str]]
"""Value and source by the name of the setting."""

_HINTS = get_type_hints(PipelineConfig, include_extras=True)
_KINDS = {name: _HINTS[name] for names in SECTIONS.values() for name in names}
"""What msgspec converts to; the settings of templates have names of their own."""


def _of_template(template: str) -> str:
    """The name of the only setting that a template has."""
    return f"{TEMPLATES}.{template}.parallelism"


def _kind(name: str) -> Any:
    """The type of a setting. Raises PipelineError."""
    if name in _KINDS:
        return _KINDS[name]
    if name.startswith(f"{TEMPLATES}.") and name.endswith(".parallelism"):
        return Count
    raise PipelineError(
        f"there is no setting {name!r}{nearest(name, _KINDS)} (settings: {', '.join(_KINDS)})"
    )


class _Reader:
    """Takes what one source says, and collects what is wrong with it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[str] = []
        self._given: _Given = {}

    def given(self) -> _Given:
        """Raises ConfigurationError."""
        if self.problems:
            raise ConfigurationError(self.source, self.problems)
        return self._given

    def take(self, name: str, value: Any, place: str, source: str, *, text: bool = False) -> None:
        """A setting; ``place`` is what the source calls it, ``text`` that all it has is text."""
        if value is None:
            return
        if name == "log_level" and isinstance(value, str):
            value = value.lower()  # as people write it elsewhere: INFO
        try:
            converted = msgspec.convert(value, _kind(name), strict=not text)
        except msgspec.ValidationError as error:
            expected = str(error).partition(", got")[0]
            self.problems.append(f"{place}: {expected}, not {value!r:.60}")
        else:
            self._given[name] = (converted, source)

    def templates(self, value: Any, source: str) -> None:
        """The settings of templates."""
        for template, settings in self.entries(value, TEMPLATES):
            place = f"{TEMPLATES}.{template}"
            for key, setting in self.entries(settings, place):
                if key == "parallelism":
                    self.take(_of_template(template), setting, f"{place}.{key}", source)
                else:
                    self.unknown(key, place, ["parallelism"])

    def entries(self, value: Any, place: str) -> Iterable[tuple[str, Any]]:
        """Of a mapping, whose keys are text."""
        if value is None:
            return
        if not isinstance(value, Mapping):
            self.problems.append(f"{place}: expected keys with values, not {value!r:.60}")
            return
        for key, entry in value.items():
            if isinstance(key, str):
                yield key, entry
            else:
                self.problems.append(f"{place}: the key {key!r:.60} must be text")

    def unknown(self, key: str, place: str, known: Iterable[str]) -> None:
        """A key that nobody knows here, although perhaps elsewhere."""
        section = next((section for section, names in SECTIONS.items() if key in names), None)
        if section is not None:
            hint = f"; it belongs in the section {section!r}"
        else:
            hint = nearest(key[:60], known) or f" (known: {', '.join(known)})"
        self.problems.append(f"{place}: unknown key {key[:60]!r}{hint}")


# The sources


def _of_arguments(settings: dict[str, Any]) -> _Given:
    reader = _Reader("constructor argument")
    for name, value in settings.items():
        if name == TEMPLATES:
            reader.templates(value, "constructor")
        elif name in _KINDS:
            reader.take(name, value, name, "constructor")
        else:
            hint = nearest(name, (*_KINDS, TEMPLATES, "config_file"))
            raise TypeError(f"PipelineConfig has no setting {name!r}{hint}")
    return reader.given()


_BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""Words besides those that msgspec knows: true, false, 1 and 0."""


def _of_environment() -> _Given:
    reader = _Reader("the environment")
    for name, kind in _KINDS.items():
        variable = PREFIX + name.upper()
        text = os.environ.get(variable, "").strip()
        text = text.encode(errors="replace").decode()  # variables may hold any bytes
        if text in ("", "null"):
            continue
        if kind in (bool, bool | None):
            text = _BOOLEANS.get(text.lower(), text)
        reader.take(name, text, variable, f"environment {variable}", text=True)
    for variable in os.environ:
        if variable.startswith(PREFIX):
            _mention_misspelt(variable)
    return reader.given()


@cache  # so that it is said once
def _mention_misspelt(variable: str) -> None:
    ours = [name.upper() for name in _KINDS] + ["LOG", CONFIG_FILE.removeprefix(PREFIX)]
    name = variable.removeprefix(PREFIX)
    close = [] if name in ours else get_close_matches(name, ours, n=1)
    if close:  # others may have variables of this prefix, too
        logger().warning(
            f"the environment variable {variable} means nothing; did you mean {PREFIX}{close[0]}?"
        )


def _of_file(named: str | os.PathLike[str] | None) -> _Given:
    file = named or os.environ.get(CONFIG_FILE, "").strip()
    if not file:
        return {}
    path = Path(file)
    reader = _Reader(str(path) if named else f"{path} ({CONFIG_FILE})")
    try:
        document = safe_file.load(path)
    except SerializationError as error:
        raise ConfigurationError(reader.source, [str(error)]) from None
    for section, settings in reader.entries(document, "the file"):
        if section == TEMPLATES:
            reader.templates(settings, f"file {path}")
        elif section in SECTIONS:
            for key, value in reader.entries(settings, section):
                if key in SECTIONS[section]:
                    reader.take(key, value, f"{section}.{key}", f"file {path}")
                else:
                    reader.unknown(key, section, SECTIONS[section])
        else:
            reader.unknown(section, "the file", (*SECTIONS, TEMPLATES))
    return reader.given()
