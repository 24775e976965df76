"""The validator: each code, the forms of a finding, and size."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semantica.pipeline import ExecutionEngine, PipelineValidationError, RetryPolicy
from semantica.pipeline.engine.findings import Finding, Findings, ValidationResult
from semantica.pipeline.engine.model import Pipeline, PipelineStep
from semantica.pipeline.engine.validator import PipelineValidator


def handler(data: Any) -> Any:
    return data


def typed(data: Any, number: int = 1) -> Any:
    return data


class Handlers:
    def method(self, data: Any) -> Any:
        return data


def has(step: PipelineStep) -> bool:
    return step.step_type == "known"


def step(name: Any, *dependencies: Any, **options: Any) -> PipelineStep:
    return PipelineStep(name, "known", dependencies=list(dependencies), **options)


def validate(*steps: Any, **options: Any) -> ValidationResult:
    pipeline = Pipeline("test", list(steps), parallelism=options.pop("parallelism", None))
    return PipelineValidator(has).validate_pipeline(pipeline, **options)


def codes(findings: Findings) -> list[str]:
    return [finding.code for finding in findings]


def test_a_valid_pipeline() -> None:
    result = validate(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"))
    assert result.valid
    assert result
    assert result.errors == result.warnings == []
    assert result.metadata == {
        "steps": 4,
        "dependencies": 4,
        "roots": ["a"],
        "sinks": ["d"],
        "depth": 3,
        "width": 2,
    }


def test_a_cycle_is_reported_with_its_steps() -> None:
    result = validate(step("a", "c"), step("b", "a"), step("c", "b"), step("d", "c"))
    assert not result.valid
    assert not result
    assert "circular_dependency" in result.errors
    assert "missing_dependency" not in result.errors
    assert codes(result.errors) == ["circular_dependency"]
    assert "a -> b -> c -> a" in result.errors[0]
    assert "depth" not in result.metadata


def test_each_knot_is_one_error() -> None:
    result = validate(
        step("a", "b"), step("b", "a"), step("c", "c"), step("d", "e"), step("e", "d")
    )
    assert codes(result.errors) == ["circular_dependency"] * 3
    assert [finding.step for finding in result.errors] == ["a", "c", "d"]
    assert "depends on itself" in result.errors[1]


def test_a_long_cycle_is_told_in_short() -> None:
    result = validate(*(step(str(n), str((n - 1) % 5000)) for n in range(5000)))
    assert codes(result.errors) == ["circular_dependency"]
    assert "(5000 steps)" in result.errors[0]
    assert len(result.errors[0]) < 300


def test_detect_cycles() -> None:
    pipeline = Pipeline("p", [step("a", "b"), step("b", "a"), step("c", "c"), step("d")])
    assert PipelineValidator(has).detect_cycles(pipeline) == [["a", "b"], ["c"]]


def test_a_missing_dependency_names_the_nearest() -> None:
    result = validate(step("parse"), step("extract", "prase"))
    assert "missing_dependency" in result.errors
    assert result.errors[0].step == "extract"
    assert "'prase'" in result.errors[0]
    assert "did you mean 'parse'?" in result.errors[0]


def test_a_repeated_dependency() -> None:
    assert codes(validate(step("a"), step("b", "a", "a")).errors) == ["duplicate_dependency"]


def test_a_repeated_name() -> None:
    result = validate(step("a"), step("b", "a"), step("a", "b"))
    assert codes(result.errors) == ["duplicate_step"], "no circle: which a does b wait for?"
    assert "numbers 1, 3" in result.errors[0]
    result = validate(step("a"), step("a"), step("b", "c"), step("c", "b"))
    assert codes(result.errors) == ["duplicate_step", "circular_dependency"]


def test_structure_errors_say_so() -> None:
    for result in (validate(), validate(step("")), validate(step("a"), step("a"))):
        assert any("structure" in error.lower() for error in result.errors)
    assert codes(validate().errors) == ["empty_pipeline"]


@pytest.mark.parametrize("name", ["", "  ", 5, None, "a\nb", "\x00", "x" * 256, "\x85", "a\ud800"])
def test_names_that_are_refused(name: Any) -> None:
    assert "invalid_name" in validate(step(name)).errors
    kind = PipelineStep("a", name)
    assert (
        "invalid_name"
        in PipelineValidator(lambda _: True).validate_pipeline(Pipeline("p", [kind])).errors
    )
    assert (
        "invalid_name"
        in PipelineValidator(has).validate_structure(Pipeline(name, [step("a")])).errors
    )


@pytest.mark.parametrize("name", ["größe", "文", "😀", "a b", "x" * 255, "no", "a\u2028b"])
def test_names_that_are_allowed(name: str) -> None:
    assert validate(step(name)).valid


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": -1.5},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": 10**400},
        {"timeout": "5"},
        {"timeout": True},
        {"priority": 1.5},
        {"priority": 2**64},
        {"priority": True},
        {"at_most_once": "no"},
        {"handler": "not a reference"},
        {"handler": "module:"},
        {"handler": 5},
        {"retry": {"max_retries": 5}},
        {"config": {1: 2}},
        {"config": None},
    ],
    ids=repr,
)
def test_options_that_are_refused(options: dict[str, Any]) -> None:
    result = validate(step("a", **options))
    assert codes(result.errors) == ["invalid_option"]
    assert result.errors[0].step == "a"


def test_dependencies_must_be_a_list_of_names() -> None:
    for dependencies in ("abc", [1], None, 5, [["a"]]):
        result = validate(PipelineStep("a", "known", dependencies=dependencies))  # type: ignore[arg-type]
        assert "invalid_option" in result.errors


@pytest.mark.parametrize("level", [0, -1, 1.5, "2", True])
def test_parallelism_that_is_refused(level: Any) -> None:
    assert "invalid_option" in validate(step("a"), parallelism=level).errors


def test_a_type_without_handler() -> None:
    unknown = PipelineStep("a", "nothing")
    result = validate(unknown)
    assert result.valid
    assert codes(result.warnings) == ["no_handler"]
    result = validate(unknown, strict=True)
    assert codes(result.errors) == ["no_handler"]
    assert validate(unknown, known=lambda _: True, strict=True).valid
    assert validate(PipelineStep("a", "nothing", handler=handler), strict=True).valid


def test_handlers_that_another_process_cannot_find() -> None:
    def closure(data: Any) -> Any:
        return data

    def main(data: Any) -> Any:
        return data

    for lost in (closure, lambda data: data, Handlers().method):
        result = validate(step("a", handler=lost))
        assert result.valid
        assert codes(result.warnings) == ["unrecoverable_handler"]
    assert validate(step("a", handler=handler)).warnings == []
    assert codes(validate(step("a", handler="__main__:main")).warnings) == ["main_handler"]


def test_a_step_apart() -> None:
    assert codes(validate(step("a"), step("b", "a"), step("c")).warnings) == ["disconnected_step"]
    assert validate(step("a")).warnings == []


def test_steps_that_can_never_run() -> None:
    result = validate(
        *(step("a", "b"), step("b", "a"), step("c", "b"), step("d", "c")),
        *(step("e", "nowhere"), step("f", "e"), step("free"), step("g", "free")),
    )
    assert codes(result.warnings) == ["unreachable_step"] * 3
    assert {finding.step for finding in result.warnings} == {"c", "d", "f"}
    waits = {finding.step: finding.message for finding in result.warnings}
    assert "'b', which waits for itself" in waits["d"]
    assert "'e', which depends on 'nowhere', which is not a step" in waits["f"]
    pipeline = Pipeline("p", [step("e", "nowhere"), step("f", "e")])
    structure = PipelineValidator(has).validate_structure(pipeline)
    assert any("structure" in warning for warning in structure.warnings)


def test_many_steps_that_can_never_run_are_told_in_short() -> None:
    chain = [step(f"s{n}", f"s{n - 1}") for n in range(1, 5001)]
    result = validate(*chain)
    assert codes(result.errors) == ["missing_dependency"]
    assert len(result.warnings) == 101
    assert "4899 more steps can never run" in result.warnings[-1]


def test_configuration_that_looks_like_an_option() -> None:
    result = validate(step("a", config={"dependancies": ["x"], "model": "m"}))
    assert codes(result.warnings) == ["suspicious_option"]
    assert "'dependencies'" in result.warnings[0]


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="did you mean 'strict'"):
        validate(step("a"), stric=True)


def test_the_parts_alone() -> None:
    pipeline = Pipeline("p", [step("a", "x"), step("a")])
    validator = PipelineValidator(has)
    assert codes(validator.validate_dependencies(pipeline).errors) == ["missing_dependency"]
    assert codes(validator.validate_structure(pipeline).errors) == ["duplicate_step"]


def test_a_finding_is_text_with_parts() -> None:
    finding = Finding("missing_dependency", "depends on 'x'", "a")
    assert finding == "missing_dependency: step 'a': depends on 'x'"
    for twin in (copy.deepcopy(finding), pickle.loads(pickle.dumps(finding))):
        assert twin == finding
        assert (twin.code, twin.message, twin.step) == (finding.code, finding.message, "a")
    assert finding in Findings([finding])
    assert "missing" not in Findings([finding])


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(max_size=2))
)


@given(
    st.lists(
        st.builds(
            PipelineStep,
            name=st.sampled_from("abc") | anything,
            step_type=anything,
            config=st.dictionaries(st.text(), anything) | anything,
            dependencies=st.lists(st.sampled_from("abcd")) | anything,
            handler=anything,
            priority=anything,
            timeout=anything,
            retry=anything,
            at_most_once=anything,
        ),
        max_size=5,
    ),
    anything,
    anything,
)
def test_no_pipeline_breaks_the_validator(steps: Any, name: Any, level: Any) -> None:
    result = PipelineValidator(has).validate_pipeline(Pipeline(name, steps, {}, level))
    assert result.valid is (result.errors == [])


class NoSignature:
    @property
    def __signature__(self) -> Any:
        raise RuntimeError("none of your business")

    def __call__(self, data: Any) -> int:
        return 1


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("stay here")


SOUND = step("a")


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        *((wrong, ["invalid_steps"]) for wrong in ([None], [SOUND, 5], ["a", SOUND])),
        *((wrong, ["invalid_steps"]) for wrong in (None, 5, {"a": SOUND}, iter([SOUND]), "abc")),
        ([step("a", handler=NoSignature())], []),
        ([step("a", config={"k": (c for c in "x")})], ["unrecordable"]),
        ([step("a", config={"k": Unpicklable()})], ["unrecordable"]),
        ([step("a", config={"\ud800": 1})], ["invalid_option"]),
    ],
)
def test_a_pipeline_made_by_hand_is_judged_whatever_it_is(steps: Any, found: list[str]) -> None:
    validator, pipeline = PipelineValidator(has), Pipeline("p", steps)
    errors = codes(validator.validate_pipeline(pipeline).errors)
    assert [code for code in errors if code != "empty_pipeline"] == found
    validator.validate_dependencies(pipeline)
    assert validator.validate_structure(pipeline).valid is not ("invalid_steps" in found)
    assert validator.detect_cycles(pipeline) == []
    if "invalid_steps" in found:
        with pytest.raises(PipelineValidationError, match="invalid_steps"):
            validator.estimate_performance(pipeline)
        with pytest.raises(PipelineValidationError, match="invalid_steps"):
            ExecutionEngine(":memory:").execute_pipeline(pipeline)


@pytest.mark.parametrize("metadata", [5, None, {1: 2}, {"\ud800": 1}, [("a", 1)]])
def test_metadata_has_names(metadata: Any) -> None:
    result = PipelineValidator(has).validate_pipeline(Pipeline("p", [SOUND], metadata))
    assert codes(result.errors) == ["invalid_option"]


def test_metadata_that_cannot_be_recorded() -> None:
    result = PipelineValidator(has).validate_pipeline(Pipeline("p", [SOUND], {"k": Unpicklable()}))
    assert codes(result.errors) == ["unrecordable"] and "metadata 'k'" in result.errors[0]


@pytest.mark.parametrize("nothing", [None, 5, [SOUND], "p"])
def test_what_is_no_pipeline_is_no_argument(nothing: Any) -> None:
    for look in (PipelineValidator().validate_pipeline, PipelineValidator().detect_cycles):
        with pytest.raises(TypeError, match="pipeline must be a Pipeline"):
            look(nothing)


@pytest.mark.parametrize("workers", [0, -1, float("nan"), float("inf"), 2.5])
def test_workers_of_an_estimate_are_a_whole_number(workers: Any) -> None:
    with pytest.raises(ValueError, match="workers must be a whole number from 1"):
        PipelineValidator(workers=workers)


@pytest.mark.parametrize(
    ("name", "error", "warning"),
    [
        ("ConnectionError", None, None),
        (f"{__name__}:NoSignature", "unknown_error", None),
        (f"{__name__}:Gone", "unknown_error", None),
        ("ConectionError", "unknown_error", None),
        ("no_such_module:Error", None, "unimportable_error"),
        ("__main__:Gone", None, "unimportable_error"),
    ],
)
def test_errors_that_are_retried_are_classes(
    name: str, error: str | None, warning: str | None
) -> None:
    retry = RetryPolicy(retryable_errors=[name])
    result = PipelineValidator().validate_pipeline(Pipeline("p", [step("a", retry=retry)]))
    result.warnings = Findings(one for one in result.warnings if one.code != "no_handler")
    assert (codes(result.errors), codes(result.warnings)) == (
        [error] if error else [],
        [warning] if warning else [],
    )


def test_30000_steps() -> None:
    size = 30_000
    chain = [step(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in reversed(range(size))]
    lost = [step(f"s{n}", f"x{n}") for n in range(size)]
    wrong = [step(f"s{n}", handler=typed, config={"number": "5", "wrog": 1}) for n in range(size)]
    begun = time.process_time()
    assert validate(*chain).metadata["depth"] == size
    assert len(validate(*lost).errors) == size
    assert len(validate(*wrong).errors) == 2 * size
    assert time.process_time() - begun < 20
