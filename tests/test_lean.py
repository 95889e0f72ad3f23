"""Cheap dataclasses mean what the standard library's mean, also to the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import timeit
from typing import ClassVar

import pytest

from notebook_containers import lean


@lean.dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """One field, and what is no field."""

    name: str
    kinds: ClassVar[tuple[str, ...]] = ("a",)


@lean.dataclass(frozen=True, slots=True, kw_only=True)
class Value(Base):
    """Every form of a default."""

    count: int = 3
    words: list[str] = lean.field(default_factory=list)
    secret: str = lean.field(default="s", repr=False, compare=False, metadata={"json": "Secret"})

    def doubled(self) -> int:
        """Return twice the count."""
        return 2 * self.count


@lean.dataclass(slots=True, kw_only=True)
class Changing:
    """Not frozen; one field is made of another."""

    count: int
    twice: int = lean.field(init=False)

    def __post_init__(self) -> None:
        self.twice = 2 * self.count


@lean.dataclass(frozen=True, slots=True)
class Pair:
    """Made by position."""

    left: int
    right: int = 2


@lean.dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Bare:
    """Neither shown nor compared."""

    count: int


def test_it_is_made_shown_compared_and_hashed() -> None:
    value = Value(name="n", count=4)
    assert repr(value) == "Value(name='n', count=4, words=[])"
    assert value == Value(name="n", count=4, secret="other")
    assert value != Value(name="n")
    assert value != Base(name="n")
    assert value.doubled() == 8
    assert Value(name="n").words is not Value(name="n").words
    assert len({Pair(1), Pair(1, 2), Pair(left=1, right=3)}) == 2
    assert Bare(count=1) != Bare(count=1)
    assert repr(Bare(count=1)).startswith("<")
    assert (Value.kinds, Value.__match_args__, Pair.__match_args__) == (("a",), (), ("left", "right"))
    with pytest.raises(TypeError, match="unhashable"):
        hash(Changing(count=1))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("Value()", "misses the argument 'name'"),
        ("Value(name='n', nmae=1)", "unexpected argument 'nmae'"),
        ("Value('n')", "takes 0 positional arguments but 1 were given"),
        ("Pair(1, 2, 3)", "takes 2 positional arguments but 3 were given"),
        ("Pair(1, left=1)", "two values for the argument 'left'"),
        ("Changing(count=1, twice=3)", "unexpected argument 'twice'"),
    ],
)
def test_a_wrong_call_names_the_argument(code: str, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        eval(code)


def test_frozen_and_slots() -> None:
    value = Value(name="n")
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'count'"):
        value.count = 4  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'count'"):
        del value.count
    assert not hasattr(value, "__dict__")
    changing = Changing(count=1)
    changing.count = 2
    assert (changing.count, changing.twice) == (2, 2)
    with pytest.raises(AttributeError):
        changing.other = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("replace", [lean.replace, dataclasses.replace])
def test_copies(replace: type) -> None:
    value = Value(name="n", words=["w"])
    assert replace(value, count=9) == Value(name="n", count=9, words=["w"])
    assert replace(Changing(count=1), count=2).twice == 4
    for same in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert same == value
        assert same is not value


def test_the_standard_library_takes_it_as_its_own() -> None:
    value = Value(name="n", words=["w"])
    assert dataclasses.is_dataclass(value)
    assert dataclasses.asdict(value) == {"name": "n", "count": 3, "words": ["w"], "secret": "s"}
    assert [one.name for one in dataclasses.fields(Value)] == [one.name for one in lean.fields(Value)]
    assert dataclasses.fields(value)[3].metadata["json"] == "Secret"
    assert str(inspect.signature(Pair)) == "(left: 'int', right: 'int' = 2) -> None"


def test_a_mutable_default_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mutable default of .*Shared\.words: use default_factory"):

        @lean.dataclass(kw_only=True)
        class Shared:
            words: list[str] = []


def test_it_costs_a_fraction_to_define() -> None:
    body = "@dataclass(frozen=True, slots=True, kw_only=True)\nclass A:\n    a: int\n" + "".join(f"    b{n}: str = ''\n" for n in range(7))
    code = compile("from __future__ import annotations\n" + body, "a", "exec")
    costs = [
        min(timeit.repeat(lambda make=make: exec(code, {"dataclass": make}), number=10, repeat=10))  # type: ignore[misc]
        for make in (lean.dataclass, dataclasses.dataclass)
    ]
    assert costs[0] < costs[1] / 2.5
