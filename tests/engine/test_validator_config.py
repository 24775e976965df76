"""A step's configuration against what its handler takes: what is refused, and what is not."""

from __future__ import annotations

import decimal
import enum
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import MakeEngine

from semantica.pipeline import (
    Context,
    ExecutionEngine,
    Pipeline,
    PipelineBuilder,
    PipelineStep,
    PipelineTemplateManager,
    PipelineValidationError,
    PipelineValidator,
    ValidationResult,
    step,
)
from semantica.pipeline.engine import binding
from semantica.pipeline.engine.secrecy import Secrets
from semantica.pipeline.engine.steps import registry

if TYPE_CHECKING:
    from nowhere_at_all import Ghost


def check(handler: Any, **config: Any) -> ValidationResult:
    one = PipelineStep("s", "t", config=config, handler=handler)
    return PipelineValidator().validate_pipeline(Pipeline("p", [one]))


def builtin(kind: str, **config: Any) -> ValidationResult:
    one = PipelineStep("s", kind, config=config)
    return PipelineValidator().validate_pipeline(Pipeline("p", [one]), strict=True)


def codes(result: ValidationResult) -> list[str]:
    return [finding.code for finding in result.errors]


@pytest.mark.parametrize(
    ("kind", "config", "code", "told"),
    [
        ("chunk", {"chunk_size": "512"}, "invalid_config", ["'512'", "int", "did you mean 512?"]),
        ("chunk", {"chunk_size": 512.0}, "invalid_config", ["did you mean 512?"]),
        ("chunk", {"chunk_size": "many"}, "invalid_config", ["'many'", "int"]),
        (
            "chunk",
            {"chunk_sise": 512},
            "unknown_config",
            ["'chunk_sise'", "did you mean 'chunk_size'?", "it takes chunk_size, overlap, unit"],
        ),
        ("chunk", {"data_": 1}, "unknown_config", ["'data_'"]),
        ("chunk", {"context": 1}, "unknown_config", ["the engine fills that parameter"]),
        ("parse", {"formats": 5}, "invalid_config", ["formats=5", "str | list[str] | None"]),
        ("parse", {"formats": ["pdf", 5]}, "invalid_config", ["got `int` at formats[1]"]),
        ("parse", {"max_bytes": "env:LIMIT"}, "invalid_config", ["'env:LIMIT'", "int"]),
        ("ingest", {"recursive": "yes"}, "invalid_config", ["'yes'", "bool"]),
        (
            "ingest",
            {"source": 5},
            "invalid_config",
            ["source=5", "it should be str | list[str] | None"],
        ),
        ("normalize", {"unicode_form": ["NFC"]}, "invalid_config", ["['NFC']", "'NFC' | 'NFD'"]),
    ],
)
def test_what_builtin_steps_do_not_take(
    kind: str, config: dict[str, Any], code: str, told: list[str]
) -> None:
    result = builtin(kind, **config)
    assert codes(result) == [code]
    assert result.errors[0].step == "s"
    assert all(part in result.errors[0] for part in told), result.errors[0]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("file_ingest", {"source": "./documents"}),
        ("ingest", {"source": "documents/"}),
        ("ingest", {"source": "./documents", "recursive": True}),
        ("ingest", {"source": Path("documents")}),
        ("ingest", {"source": [Path("one"), "two"]}),
        ("ingest", {"url_timeout": 5}),
        ("document_parse", {"formats": ["pdf", "docx"]}),
        ("parse", {"formats": ["pdf", "docx", "txt"]}),
        ("parse", {"formats": "pdf"}),
        ("parse", {"formats": ("pdf", "md")}),
        ("parse", {"formats": {"pdf"}}),
        ("parse", {"file": "doc1.pdf"}),
        ("parse", {"file": Path("doc1.pdf")}),
        ("parse", {}),
        ("text_normalize", {}),
        ("normalize", {"case": "lower", "unicode_form": "NFC"}),
        ("normalize", {"case": None}),
        ("chunk", {"chunk_size": 512, "overlap": 50}),
    ],
)
def test_what_the_guide_and_users_write_is_taken(kind: str, config: dict[str, Any]) -> None:
    assert builtin(kind, **config).errors == []


def test_the_templates_are_valid() -> None:
    manager = PipelineTemplateManager()
    for name in manager.list_templates():
        assert manager.create_pipeline_from_template(name).validate().errors == []


class Colour(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    ONE = "one"


class Strange:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("never compare me")

    __hash__ = None  # type: ignore[assignment]


def typed(
    data: Any,
    whole: int = 1,
    real: float = 1.0,
    text: str = "",
    flag: bool = False,
    names: list[str] | None = None,
    sequence: Sequence[str] = (),
    items: Iterable[int] = (),
    table: Mapping[str, int] | None = None,
    pair: tuple[int, int] = (0, 0),
    raw: bytes = b"",
    unit: Literal["a", "b"] = "a",
    size: Annotated[int, msgspec.Meta(ge=1)] = 1,
    folder: Path = Path(),
    colour: Colour = Colour.RED,
    number: decimal.Decimal = decimal.Decimal(0),
    call: Callable[[], None] | None = None,
    secretly_none: int = None,  # type: ignore[assignment]  # noqa: RUF013
    ghost: Ghost | None = None,
    untyped=None,
    wrong: 5 = None,  # type: ignore[valid-type]
) -> None: ...


cyclic: list[Any] = []
cyclic.append(cyclic)


@pytest.mark.parametrize(
    "config",
    [
        *({"whole": 5}, {"whole": True}, {"whole": 2**70}, {"whole": Strange()}),
        *({"real": 5}, {"real": True}, {"real": float("nan")}, {"text": Word.ONE}),
        *({"names": ["a"]}, {"names": ("a",)}, {"names": []}, {"names": None}, {"names": {"a"}}),
        *({"names": [Path("a")]}, {"names": cyclic}),
        *({"sequence": "abc"}, {"sequence": ["a"]}, {"items": [1]}, {"items": range(3)}),
        *({"items": "ab"}, {"table": {"a": 1}}, {"table": {"a": True}}, {"table": None}),
        *({"pair": [1, 2]}, {"pair": (1, 2)}, {"raw": b"x"}, {"unit": "b"}, {"size": 1}),
        *({"folder": "docs"}, {"folder": Path("docs")}, {"colour": Colour.RED}, {"colour": "red"}),
        *({"number": decimal.Decimal(1)}, {"number": 1}, {"call": print}, {"secretly_none": None}),
        *({"ghost": 5}, {"untyped": object()}, {"wrong": "anything"}),
        {"data": "configured, so it takes the place of the input"},
    ],
)
def test_what_a_handler_would_take_is_no_error(config: dict[str, Any]) -> None:
    assert check(typed, **config).errors == []


def test_numpy_values_are_left_to_the_handler() -> None:
    np = pytest.importorskip("numpy")
    config = {"whole": np.int64(5), "real": np.float32(1), "names": np.array(["a"])}
    assert check(typed, **config, pair=[np.int64(1), 2]).errors == []


@pytest.mark.parametrize(
    "config",
    [
        *({"whole": "5"}, {"whole": 1.5}, {"whole": None}, {"whole": [1]}, {"real": "1.0"}),
        *({"text": 5}, {"text": b"x"}, {"text": None}, {"flag": "yes"}, {"flag": 1}),
        *({"names": "abc"}, {"names": [1]}, {"names": {"a": "b"}}, {"sequence": 5}),
        *({"items": 5}, {"table": {"a": "b"}}, {"table": ["a"]}, {"pair": (1, 2, 3)}),
        *({"raw": "x"}, {"raw": "AAAA"}, {"unit": "c"}, {"size": 0}, {"colour": "blue"}),
        {"call": 5},
    ],
    ids=repr,
)
def test_what_is_of_another_type_is_an_error(config: dict[str, Any]) -> None:
    result = check(typed, **config)
    assert codes(result) == ["invalid_config"]
    ((key, value),) = config.items()
    assert f"{key}={value!r}" in result.errors[0]


def test_all_that_is_wrong_is_told_at_once() -> None:
    def handler(data: Any, size: int, *, unit: str) -> None: ...

    found = codes(check(handler, sise=1, unit=5))
    assert sorted(found) == ["invalid_config", "missing_config", "unknown_config"]


def test_a_required_key_that_is_missing() -> None:
    def needs(data: Any, size: int) -> None: ...
    def inputs(left: Any, right: Any) -> None: ...

    (error,) = check(needs).errors
    assert error.code == "missing_config"
    assert "'size'" in error
    assert check(needs, size=1).valid
    result = check(inputs)
    assert codes(result) == ["missing_config"] * 2
    assert "is called 'data'" in result.errors[0]


def test_any_key_is_taken_by_kwargs_but_not_the_engines_own() -> None:
    def takes_any(step: PipelineStep, data: Any, **rest: Any) -> None: ...

    assert check(takes_any, anything=1, context=2).errors == []
    assert codes(check(takes_any, step="mine")) == ["unknown_config"]


Count = int
"""A name that only this module knows."""


class Callables:
    def __call__(self, data: Any, size: Count = 1) -> None: ...

    def method(self, data: Any, size: Count = 1) -> None: ...


class Made:
    def __init__(self, data: Any, size: Count = 1) -> None: ...


class Inherited(Made): ...


def sized(data: Any, unit: str, size: Count = 1) -> None: ...


@functools.wraps(sized)
def wrapped(*arguments: Any, **named: Any) -> None: ...


@pytest.mark.parametrize(
    "handler",
    [
        *(Callables(), Callables().method, Made, Inherited),
        *(functools.partial(sized, unit="a"), wrapped),
    ],
    ids=["object", "method", "class", "subclass", "partial", "wrapped"],
)
def test_every_kind_of_callable_is_asked(handler: Any) -> None:
    more = {"unit": "a"} if handler is wrapped else {}
    assert check(handler, size=2, **more).errors == []
    assert codes(check(handler, size="2", **more)) == ["invalid_config"]
    assert codes(check(handler, sise=2, **more)) == ["unknown_config"]


NAMES = ["step", "data", "context", "a", "b", "c"]
parameters = st.lists(
    st.tuples(st.sampled_from(NAMES), st.integers(0, 2), st.booleans()),
    unique_by=lambda one: one[0],
    max_size=5,
)


def function(parts: list[tuple[str, int, bool]], takes_any: bool) -> Callable[..., Any]:
    """A function of positional-only (0), ordinary (1) and keyword-only (2) parameters."""
    texts: list[str] = []
    groups = [
        sorted((p for p in parts if p[1] == kind), key=lambda p: p[2] and kind < 2)
        for kind in range(3)
    ]
    defaults = False
    for kind, group in enumerate(groups):
        texts += ["*"] if kind == 2 and group else []
        for name, _, default in group:
            defaults = (defaults and kind < 2) or default
            texts.append(f"{name}=0" if defaults else name)
        texts += ["/"] if kind == 0 and group else []
    texts += ["**rest"] if takes_any else []
    space: dict[str, Any] = {}
    exec(f"def handler({', '.join(texts)}): return locals()", space)
    return space["handler"]  # type: ignore[no-any-return]


@given(parameters, st.booleans(), st.sets(st.sampled_from([*NAMES, "d"])))
def test_validation_and_the_call_never_disagree(
    parts: list[tuple[str, int, bool]], takes_any: bool, keys: set[str]
) -> None:
    handler = function(parts, takes_any)
    one = PipelineStep("s", "t", config={key: f"own {key}" for key in keys}, handler=handler)
    errors = PipelineValidator().validate_pipeline(Pipeline("p", [one])).errors
    context = SimpleNamespace(secrets=Secrets())
    try:
        got = binding.call(handler, step=one, data="the data", context=context)
    except TypeError:
        assert errors
        return
    assert errors == []
    rest = got.pop("rest", {})
    for key in keys:
        assert f"own {key}" in (got.get(key), rest.get(key)), "nothing is dropped in silence"
    assert got.get("step", one) is one
    assert got.get("context", context) is context
    if "data" not in keys:
        assert got.get("data", "the data") == "the data"


# Schemas


class Options(msgspec.Struct, rename="camel"):
    max_size: Annotated[int, msgspec.Meta(ge=1)]
    colour: Colour = Colour.RED


@pytest.fixture
def coloured() -> Iterator[Callable[..., Any]]:
    @step("test_coloured", config=Options)
    def coloured(data: Any, max_size: int, colour: Colour) -> list[Any]:
        return [data, max_size, type(colour).__name__, colour.value]

    yield coloured
    registry._registered.pop("test_coloured")


def test_a_schema_says_it_exactly(coloured: Any) -> None:
    assert coloured.config_schema is Options
    assert builtin("test_coloured", maxSize=1, colour="red").errors == []
    for config, code, told in [
        ({}, "missing_config", "'maxSize'"),
        ({"maxSize": 1, "max_size": 1}, "unknown_config", "did you mean 'maxSize'?"),
        ({"maxSize": 0}, "invalid_config", "maxSize=0: it should be int >= 1"),
        ({"maxSize": "1"}, "invalid_config", "maxSize='1': it should be int >= 1; did you mean 1?"),
        ({"maxSize": 1, "colour": "blue"}, "invalid_config", "colour='blue': it should be 'red'"),
    ]:
        result = builtin("test_coloured", **config)
        assert codes(result) == [code]
        assert told in result.errors[0]


def test_a_handler_with_a_schema_gets_its_fields(engine: ExecutionEngine, coloured: Any) -> None:
    pipeline = PipelineBuilder().add_step("s", "test_coloured", maxSize=3).build()
    assert engine.execute_pipeline(pipeline, "in").output == ["in", 3, "Colour", "red"]


def test_a_schema_that_its_handler_cannot_take() -> None:
    with pytest.raises(TypeError, match=r"Options: .*takes no configuration 'colour'"):
        step("test_never", config=Options)(lambda data, max_size: None)
    with pytest.raises(TypeError, match=r"needs the configuration 'unit'"):
        step("test_never", config=Options)(lambda data, max_size, colour, unit: None)
    with pytest.raises(TypeError, match="Struct type"):
        step("test_never", config=dict)(lambda data: None)  # type: ignore[arg-type]
    assert "test_never" not in registry.known_types()


# Handlers that cannot be imported


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "good_flow.py").write_text("def handler(data, size: int = 1): return data\n")
    (tmp_path / "bad_flow.py").write_text("raise RuntimeError('not today')\n")
    (tmp_path / "exit_flow.py").write_text("import sys; sys.exit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("good_flow", "bad_flow", "exit_flow"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("no_such_flow:handler", "No module named 'no_such_flow'"),
        ("good_flow:missing", "no attribute 'missing'"),
        ("good_flow:__name__", "not callable"),
        ("bad_flow:handler", "not today"),
        ("exit_flow:handler", "its module ends the program"),
    ],
)
def test_a_handler_that_cannot_be_imported(modules: Path, reference: str, told: str) -> None:
    result = check(reference)
    assert codes(result) == ["unimportable_handler"]
    assert told in result.errors[0]
    assert PipelineValidator(lambda _: True).validate_pipeline(
        Pipeline("p", [PipelineStep("s", "t", handler=reference)])
    ), "who answers for the handlers has nothing imported"


def test_a_handler_by_name_is_asked(modules: Path) -> None:
    assert check("good_flow:handler", size=2).errors == []
    assert codes(check("good_flow:handler", size="2")) == ["invalid_config"]


def test_what_runs_in_a_process_is_not_imported(modules: Path) -> None:
    pipeline = Pipeline("p", [PipelineStep("s", "t", handler="bad_flow:handler")])
    validator = PipelineValidator()
    assert validator.validate_pipeline(pipeline, executor="process").valid
    pipeline.steps[0].executor = "process"
    pipeline.steps += [PipelineStep("g", "t", handler="good_flow:handler", executor="process")]
    assert validator.validate_pipeline(pipeline).valid
    assert "good_flow" not in sys.modules
    pipeline.steps[1].executor = "thread"
    assert validator.validate_pipeline(pipeline, executor="process").valid
    assert "good_flow" in sys.modules
    closures = Pipeline("p", [PipelineStep("s", "t", handler=lambda data: data)])
    assert codes(validator.validate_pipeline(closures)) == []
    found = codes(validator.validate_pipeline(closures, executor="process"))
    assert found == ["unsendable_handler"]
    with pytest.raises(ValueError, match="executor must be 'thread' or 'process'"):
        validator.validate_pipeline(pipeline, executor="proces")


def test_an_entry_point_that_fails(modules: Path) -> None:
    info = modules / "flows-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flows\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[{registry.GROUP}]\ntest_bad = bad_flow:handler\ntest_good = good_flow:handler\n"
    )
    registry._installed.cache_clear()
    try:
        assert builtin("test_good", size=1).valid
        assert codes(builtin("test_good", size="1")) == ["invalid_config"]
        result = builtin("test_bad")
        assert codes(result) == ["unimportable_handler"]
        assert "'test_bad': not today" in result.errors[0]
        pipeline = Pipeline("p", [PipelineStep("s", "test_bad")])
        assert PipelineValidator().validate_pipeline(pipeline, executor="process").valid
    finally:
        registry._installed.cache_clear()


def test_the_structure_includes_the_configuration() -> None:
    pipeline = Pipeline("p", [PipelineStep("s", "chunk", config={"chunk_sise": 1})])
    (error,) = PipelineValidator().validate_structure(pipeline).errors
    assert error.code == "unknown_config"
    assert "structure" in error.lower()


def test_a_run_with_a_wrong_configuration_is_refused(make_engine: MakeEngine) -> None:
    def handler(data: Any, context: Context, size: int) -> None: ...

    engine = make_engine()
    pipeline = PipelineBuilder().add_step("s", "t", handler=handler).build()
    with pytest.raises(PipelineValidationError, match=r"missing_config.*'size'"):
        engine.execute_pipeline(pipeline)
    assert engine.runs() == []
