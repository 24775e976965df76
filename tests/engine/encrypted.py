"""A pipeline that has a telling word in everything that a run can record."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from semantica.pipeline import Context, Pipeline, PipelineBuilder, RetryPolicy

WORD = "patient-4711"


def large(data: object) -> list[str]:
    return [f"{WORD} {data}"] * 1000


def telling(data: object, context: Context, told: str) -> dict[str, str]:
    context.checkpoint(f"{WORD} so far", [WORD])
    context.checkpoint("much", [WORD] * 1000)
    context.progress(1, 2, f"at {WORD}")
    context.log.info(f"saying {WORD}", about=WORD)
    context.warn(f"{WORD} is odd")
    context.metric(f"seen {WORD}")
    return {WORD: told}


def item(one: str) -> str:
    return f"{one} {WORD}"


def mapped(data: object, context: Context) -> list[str]:
    return list(context.map(item, [f"{WORD} {i}" for i in range(3)]))


def waiting(data: object, context: Context) -> Any:
    return context.wait_for(f"{WORD} agrees", key=f"{WORD} asked")


def failing(data: object, context: Context) -> str:
    if context.attempt == 1:
        try:
            raise KeyError(WORD)
        except KeyError as error:
            raise ValueError(f"{WORD} cannot be read") from error
    return f"{WORD} read"


def hopeless(data: object) -> None:
    raise ValueError(f"{WORD} cannot be treated")


def wanted(data: object) -> bool:
    return WORD not in str(data)


def undo(output: object) -> None:
    raise RuntimeError(f"{WORD} cannot be undone")


INNER = (
    PipelineBuilder()
    .add_step("deep", "t", handler=telling, told=f"{WORD} deep")
    .add_step("deeper", "t", handler=large)
    .build("inner", about=WORD)
)


def everything(*, ends: bool = True) -> Pipeline:
    """It waits for a signal named ``{WORD} agrees``, and then ends well, or rolls back."""
    builder = PipelineBuilder()
    builder.add_step("large", "t", handler=large)
    builder.add_step("told", "t", handler=telling, told=WORD, compensate=undo, dependencies=[])
    builder.add_step("away", "t", handler=telling, told=WORD, executor="process", dependencies=[])
    builder.add_step("map", "t", handler=mapped, dependencies=["large"], cache=60)
    builder.add_step("nested", pipeline=INNER, dependencies=["map"])
    retry = RetryPolicy(max_retries=1, initial_delay=0.0, retryable_errors=[ValueError])
    builder.add_step("again", "t", handler=failing, retry=retry, dependencies=["told"])
    builder.add_step("not", "t", handler=large, when=wanted, dependencies=["again"])
    builder.add_step("asks", "t", handler=waiting, dependencies=["nested", "again", "away"])
    if not ends:
        builder.add_step("fails", "t", handler=hopeless, retry=RetryPolicy(max_retries=0))
    return builder.build("everything", about=WORD)


def found(*folders: Path) -> list[str]:
    """The files that hold the word; also in Base64, of which three bytes are four characters."""
    part = WORD.encode()
    telling = [part, part.hex().encode(), *(base64.b64encode(part[i : i + 6]) for i in range(3))]
    return [
        str(path)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and any(one in path.read_bytes() for one in telling)
    ]
