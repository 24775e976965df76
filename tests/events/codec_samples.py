"""Classes whose instances are recorded and read back, as users have them."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import InitVar, dataclass, field
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")


@dataclass
class Plain:
    x: Any = 0
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    derived: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "derived", 42)


@dataclass(slots=True)
class Counting:
    """Whose construction must not happen again: it would double the total."""

    total: int
    kind: ClassVar[str] = "counting"

    def __post_init__(self) -> None:
        self.total *= 2


@dataclass
class WithInit:
    seed: InitVar[int] = 3
    x: int = 0

    def __post_init__(self, seed: int) -> None:
        self.x += seed


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Trouble(Exception):
    """A dataclass that is more than its fields."""

    code: int = 1


@dataclass
class Table(dict[str, int]):
    title: str = ""


class Struct(msgspec.Struct):
    a: Any
    b: Any = None


class FrozenStruct(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    long_name: Any


class Color(Enum):
    RED = "red"
    ROT = "red"  # noqa: PIE796 (an alias)
    BLUE = ("b", 1)


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    HELLO = "hello"


class Permission(Flag):
    READ = 1
    WRITE = 2


Pair = namedtuple("Pair", "left right")


class Point(NamedTuple):
    x: Any
    y: Any = 0


class NamedWithMore(Point):
    """A named tuple with a ``__dict__``."""


class Text(str):
    """A subclass of a built-in type."""


class Ordered(OrderedDict[str, int]):
    """Another."""


class ByItself:
    """Brings its own form."""

    def __init__(self, secret: Any) -> None:
        self.secret = secret

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByItself) and other.secret == self.secret

    __hash__ = None  # type: ignore[assignment]

    def __to_pipeline__(self, artifacts: Any) -> Any:
        return {"digest": artifacts.put(self.secret)}

    @classmethod
    def __from_pipeline__(cls, plain: Any, artifacts: Any) -> ByItself:
        return cls(artifacts.get(plain["digest"]))


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


class OneWay:
    """Can be pickled, and never be read back."""

    def __reduce__(self) -> Any:
        return (refuse, ())


def refuse() -> None:
    raise RuntimeError("no way back")


def a_function() -> None:
    """To be referred to."""


CALLS: list[Any] = []


def must_not_be_called(*arguments: Any, **keywords: Any) -> None:
    CALLS.append((arguments, keywords))


class Sensitive:
    """A class that is no record: a tag must not construct it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        CALLS.append((arguments, keywords))
