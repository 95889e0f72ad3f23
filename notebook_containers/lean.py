"""Dataclasses that cost little to define: ``dataclass``, ``field``, ``fields`` and ``replace`` with the standard library's meaning.

The standard library writes the text of each class's methods and compiles it, a third of a millisecond a class, and imports ``inspect`` for
that: with the ninety classes that ``nbc run`` loads it was a third of a cold start. Here the methods are closures, made in a sixth of that
time; to make an object takes a microsecond more. Type checkers see the standard library's own. What this package does not use is not
here: order, ``InitVar``, ``KW_ONLY``, ``unsafe_hash``, annotations that are no strings. The standard library's ``fields``, ``asdict``,
``replace`` and ``inspect.signature`` take these classes as their own.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False  # typing is not worth its import here
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeVar

    T = TypeVar("T")


class _Missing:
    """No default."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


_MISSING = _Missing()
_FIELDS = "__lean_fields__"
_NO_METADATA: Mapping[str, str] = {}
_CLASS_VARIABLE = ("ClassVar[", "typing.ClassVar[")


class _Field:
    """What a class says about one of its values; the attributes are those of ``dataclasses.Field``."""

    __slots__ = ("compare", "default", "default_factory", "init", "kw_only", "metadata", "name", "repr", "type")
    name: str
    type: str
    kw_only: bool

    def __init__(
        self,
        *,
        default: object = _MISSING,
        default_factory: Callable[[], object] | _Missing = _MISSING,
        init: bool = True,
        repr: bool = True,  # noqa: A002  the word of dataclasses
        compare: bool = True,
        metadata: Mapping[str, str] = _NO_METADATA,
    ) -> None:
        self.default, self.default_factory = default, default_factory
        self.init, self.repr, self.compare, self.metadata = init, repr, compare, metadata

    def first(self) -> object:
        """Return the value of an object that was given none; _MISSING where there is no default."""
        return self.default if isinstance(self.default_factory, _Missing) else self.default_factory()


def _dataclass(
    cls: type | None = None,
    /,
    *,
    frozen: bool = False,
    slots: bool = False,
    kw_only: bool = False,
    repr: bool = True,  # noqa: A002  the word of dataclasses
    eq: bool = True,
) -> type | Callable[[type], type]:
    """Make a class of annotated fields: how it is made, shown, compared, hashed, and (``frozen``) kept as it is."""

    def make(cls: type) -> type:
        own = _own_fields(cls, kw_only)
        found = {name: one for base in reversed(cls.__mro__[1:]) for name, one in _of(base).items()} | own
        if slots:
            cls = _with_slots(cls, own)
        positional = tuple(name for name, one in found.items() if one.init and not one.kw_only)
        add: dict[str, object] = {_FIELDS: found, "__dataclass_fields__": _Described(), "__signature__": _Described(signature=True)}
        add |= {"__match_args__": positional, "__init__": _initialiser(cls, found, positional)}
        if repr and "__repr__" not in cls.__dict__:
            add["__repr__"] = _shown
        if eq:
            add |= _comparison(cls, found, hashed=frozen)
        if frozen:
            add |= {"__setattr__": _not_set, "__delattr__": _not_deleted}
        if frozen and slots:
            add |= {"__getstate__": _state, "__setstate__": _restore}
        for name, value in add.items():
            setattr(cls, name, value)
        return cls

    return make if cls is None else make(cls)


def _fields(of: object) -> tuple[_Field, ...]:
    """Return the fields of a class or of an object, base classes' first."""
    return tuple(getattr(of, _FIELDS).values())


def _replace(value: T, /, **changes: object) -> T:
    """Return a copy with other values for some fields."""
    same = {one.name: getattr(value, one.name) for one in _fields(value) if one.init and one.name not in changes}
    return type(value)(**same, **changes)


def _of(cls: type) -> dict[str, _Field]:
    found: dict[str, _Field] = cls.__dict__.get(_FIELDS, {})
    return found


def _own_fields(cls: type, kw_only: bool) -> dict[str, _Field]:
    own = {}
    for name, hint in cls.__dict__.get("__annotations__", {}).items():  # noqa: RUF063  inspect is what this module spares
        if hint.startswith(_CLASS_VARIABLE):
            continue
        given = cls.__dict__.get(name, _MISSING)
        one = given if isinstance(given, _Field) else _Field(default=given)
        if isinstance(one.default, (list, dict, set)):
            raise ValueError(f"mutable default of {cls.__qualname__}.{name}: use default_factory")
        one.name, one.type, one.kw_only = name, hint, kw_only
        own[name] = one
        if one.default is not _MISSING:
            setattr(cls, name, one.default)
        elif given is not _MISSING:
            delattr(cls, name)
    return own


def _with_slots(cls: type, own: Mapping[str, _Field]) -> type:
    """Return the class made anew: slots cannot be added to one that exists."""
    inherited = {name for base in cls.__mro__[1:] for name in base.__dict__.get("__slots__", ())}
    body = {name: value for name, value in cls.__dict__.items() if name not in own and name not in ("__dict__", "__weakref__")}
    body["__slots__"] = tuple(name for name in own if name not in inherited)
    made = type(cls)(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    return made


def _initialiser(cls: type, found: Mapping[str, _Field], positional: tuple[str, ...]) -> Callable[..., None]:
    plan = tuple((name, one.default, one.default_factory) for name, one in found.items() if one.init)
    late = tuple(one for one in found.values() if not one.init and one.first() is not _MISSING)
    put, missing, finish = object.__setattr__, _MISSING, getattr(cls, "__post_init__", None)

    def init(self: object, /, *values: object, **given: object) -> None:
        if values:
            _place(cls, positional, values, given)
        for name, default, factory in plan:
            value = given.pop(name, missing)
            if value is missing:
                value = default if factory is missing else factory()  # type: ignore[operator]
                if value is missing:
                    raise TypeError(f"{cls.__qualname__}() misses the argument {name!r}")
            put(self, name, value)
        if given:
            raise TypeError(f"{cls.__qualname__}() got an unexpected argument {next(iter(given))!r}")
        for one in late:
            put(self, one.name, one.first())
        if finish is not None:
            finish(self)

    init.__name__, init.__qualname__ = "__init__", f"{cls.__qualname__}.__init__"
    return init


def _place(cls: type, positional: tuple[str, ...], values: tuple[object, ...], given: dict[str, object]) -> None:
    if len(values) > len(positional):
        raise TypeError(f"{cls.__qualname__}() takes {len(positional)} positional arguments but {len(values)} were given")
    for name, value in zip(positional, values, strict=False):
        if name in given:
            raise TypeError(f"{cls.__qualname__}() got two values for the argument {name!r}")
        given[name] = value


def _comparison(cls: type, found: Mapping[str, _Field], *, hashed: bool) -> Iterator[tuple[str, object]]:
    """Yield ``__eq__`` and ``__hash__``, as far as the class has none of its own."""
    names = [name for name, one in found.items() if one.compare]
    values: Callable[[object], object] = attrgetter(*names) if names else type

    def equal(self: object, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    def hashed_values(self: object) -> int:
        return hash(values(self))

    if "__eq__" not in cls.__dict__:
        yield "__eq__", equal
    if cls.__dict__.get("__hash__") is None:
        yield "__hash__", hashed_values if hashed else None


def _shown(self: object) -> str:
    return f"{type(self).__qualname__}({', '.join(f'{one.name}={getattr(self, one.name)!r}' for one in _fields(self) if one.repr)})"


def _not_set(_self: object, name: str, _value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _not_deleted(_self: object, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: object) -> list[object]:
    return [getattr(self, one.name) for one in _fields(self)]


def _restore(self: object, state: list[object]) -> None:
    for one, value in zip(_fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)


class _Described:
    """What the standard library asks of a dataclass: made of a dataclass of its own, and only when somebody asks."""

    __slots__ = ("_signature",)

    def __init__(self, *, signature: bool = False) -> None:
        self._signature = signature

    def __get__(self, instance: object, owner: type) -> object:
        import dataclasses
        import inspect

        parts = []
        for one in _fields(owner):
            default = {name: value for name in ("default", "default_factory") if (value := getattr(one, name)) is not _MISSING}
            options = {name: getattr(one, name) for name in ("init", "repr", "compare", "metadata", "kw_only")}
            parts.append((one.name, one.type, dataclasses.field(**default, **options)))
        made = dataclasses.make_dataclass(owner.__name__, parts)
        return inspect.signature(made) if self._signature else vars(made)["__dataclass_fields__"]


if TYPE_CHECKING:
    from dataclasses import MISSING, Field, dataclass, field, fields, replace
else:
    MISSING, Field, dataclass, field, fields, replace = _MISSING, _Field, _dataclass, _Field, _fields, _replace

__all__ = ["MISSING", "Field", "dataclass", "field", "fields", "replace"]
