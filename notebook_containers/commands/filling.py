"""A template's tree filled with values: the functions of Go's text/template and Docker's (json, join, lower, title, …).

Values are JSON's, and for a table's row a :class:`Fields`, whose texts are made when they are asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from notebook_containers.commands.templates import Action, Block, Call, Expression, Literal, Node, Path, Pipeline, parse
from notebook_containers.errors import InvalidArgument

Maker: TypeAlias = Callable[..., object]
_VERB = re.compile(r"%([-+# 0]*\d*(?:\.\d+)?)([a-zA-Z%])")
_MOST_STEPS = 200_000


class Fields(Mapping[str, object]):
    """The fields of one row by name; a value that can be called is a method, as ``.Label "name"``, and no part of its JSON."""

    def __init__(self, makers: Mapping[str, Callable[[], object]], methods: Mapping[str, Maker] | None = None) -> None:
        self._makers, self.methods = makers, methods or {}

    def __getitem__(self, name: str) -> object:
        """Make one value."""
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._makers)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._makers)


def fill(template: str, value: object) -> str:
    """Fill a template with a value; InvalidArgument names a field or function that does not exist, and what there is."""
    return Template(template).fill(value)


class Template:
    """A parsed template, to be filled once for each row."""

    def __init__(self, text: str) -> None:
        self._nodes = parse(text)

    def fill(self, value: object) -> str:
        """Return the text for this value."""
        return "".join(_Filler(value).nodes(self._nodes, value))


class _Filler:
    """One filling: the variables, and where it is."""

    def __init__(self, root: object) -> None:
        self._variables: dict[str, object] = {"$": root}
        self._action = ""
        self._steps = 0

    def nodes(self, nodes: Sequence[Node], dot: object) -> Iterator[str]:
        """Yield the text of some nodes."""
        for node in nodes:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise InvalidArgument("the template goes on for too long", hint="ask for less with it")
            if isinstance(node, str):
                yield node
            elif isinstance(node, Action):
                self._action = node.text
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    yield shown(value)
            else:
                yield from self._block(node, dot)

    def _block(self, block: Block, dot: object) -> Iterator[str]:
        self._action = block.text
        if block.word == "range":
            yield from self._range(block, dot)
            return
        value = self._pipeline(block.pipeline, dot)
        if true(value):
            yield from self.nodes(block.body, value if block.word == "with" else dot)
        else:
            yield from self.nodes(block.otherwise, dot)

    def _range(self, block: Block, dot: object) -> Iterator[str]:
        value = self._pipeline(Pipeline(calls=block.pipeline.calls), dot)
        pairs = _pairs(value)
        if pairs is None:
            raise self._error(f"{shown(value)!r} is no list")
        for key, item in pairs:
            self._variables.update(
                zip(block.pipeline.variables, (key, item) if len(block.pipeline.variables) > 1 else (item,), strict=False)
            )
            yield from self.nodes(block.body, item)
        if not pairs:
            yield from self.nodes(block.otherwise, dot)

    def _pipeline(self, pipeline: Pipeline, dot: object) -> object:
        first, *others = pipeline.calls
        value = self._call(first, dot, ())
        for call in others:
            value = self._call(call, dot, (value,))
        self._variables.update(dict.fromkeys(pipeline.variables, value))
        return value

    def _call(self, call: Call, dot: object, last: tuple[object, ...]) -> object:
        if isinstance(call.head, str):
            return self._apply(call.head, [*(self._value(argument, dot) for argument in call.arguments), *last])
        found = self._value(call.head, dot)
        arguments = [*(self._value(argument, dot) for argument in call.arguments), *last]
        if callable(found):
            return self._guarded(found, arguments)
        if arguments:
            raise self._error("what it calls is no function")
        return found

    def _value(self, expression: Expression, dot: object) -> object:
        if isinstance(expression, Literal):
            return expression.value
        if isinstance(expression, Call):
            return self._call(expression, dot, ())
        if isinstance(expression, Pipeline):
            return self._pipeline(expression, dot)
        return self._path(expression, dot)

    def _path(self, path: Path, dot: object) -> object:
        if isinstance(path.base, Pipeline):
            value = self._pipeline(path.base, dot)
        elif path.base == ".":
            value = dot
        elif path.base in self._variables:
            value = self._variables[path.base]
        else:
            raise self._error(f"there is no {path.base}")
        for name in path.fields:
            value = self._field(value, name)
        return value

    def _field(self, value: object, name: str) -> object:
        if isinstance(value, Fields) and name in value.methods:
            return value.methods[name]
        if isinstance(value, Mapping) and name in value:
            return value[name]
        names = ", ".join(f".{key}" for key in value) if isinstance(value, Mapping) else ""
        raise InvalidArgument(f"template {self._action!r}: no field {name!r}", hint=f"there is {names or 'nothing below it'}")

    def _apply(self, name: str, arguments: list[object]) -> object:
        function = _FUNCTIONS.get(name)
        if function is None:
            raise self._error(f"{name!r} is no function", hint="there is " + ", ".join(_FUNCTIONS))
        return self._guarded(function, arguments)

    def _guarded(self, function: Maker, arguments: list[object]) -> object:
        try:
            return function(*arguments)
        except (TypeError, ValueError, LookupError, AttributeError) as err:
            raise self._error("its arguments do not fit") from err

    def _error(self, why: str, *, hint: str = "write {{.Field}} or {{json .Field}}, as for docker") -> InvalidArgument:
        return InvalidArgument(f"template {self._action!r} is not understood: {why}", hint=hint)


def _pairs(value: object) -> list[tuple[object, object]] | None:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    return None


def true(value: object) -> bool:
    """Tell whether Go takes a value for true: not false, zero, nil or empty."""
    return len(value) > 0 if isinstance(value, (str, Mapping, list, tuple)) else bool(value)


def shown(value: object) -> str:
    """Return a value as Go prints it: ``true``, ``[a b]``, ``map[a:b]``, ``<no value>`` for nil."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{shown(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(shown(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def as_json(value: object) -> str:
    """Return a value as JSON, on one line."""
    return json.dumps(dict(value) if isinstance(value, Fields) else value, ensure_ascii=False, separators=(",", ":"))


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(str(key), "")
        elif isinstance(value, (list, tuple, str)) and isinstance(key, int) and key >= 0:
            value = value[key]
        elif value is not None:
            raise TypeError
    return value


def _slice(value: str | Sequence[object], start: int = 0, end: int | None = None) -> object:
    return value[start:end]


def _print(*values: object) -> str:
    found = ""
    for place, value in enumerate(values):
        apart = place and not isinstance(value, str) and not isinstance(values[place - 1], str)
        found += (" " if apart else "") + shown(value)
    return found


def _printf(form: str, *values: object) -> str:
    left = list(values)

    def one(match: re.Match[str]) -> str:
        flags, verb = match[1], match[2]
        if verb == "%":
            return "%"
        value = left.pop(0)
        if verb in "sv":
            return f"%{flags}s" % shown(value)
        if verb == "q":
            return f"%{flags}s" % json.dumps(shown(value), ensure_ascii=False)
        if verb == "t":
            return shown(bool(value))
        return f"%{flags}{verb}" % value

    return _VERB.sub(one, form)


def _title(text: str) -> str:
    return re.sub(r"(^|\s)(\S)", lambda match: match[1] + match[2].upper(), text)


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else ""


def _truncate(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most]


def _and(*values: object) -> object:
    return next((value for value in values if not true(value)), values[-1])


def _or(*values: object) -> object:
    return next((value for value in values if true(value)), values[-1])


def _compared(test: Callable[[float | str, float | str], bool]) -> Maker:
    def compare(left: float | str, right: float | str) -> bool:
        return test(left, right)

    return compare


def _length(value: object) -> int:
    if isinstance(value, (str, Mapping, list, tuple)):
        return len(value)
    if value is None:
        return 0
    raise TypeError


def _join(values: Sequence[object] | Mapping[str, object] | None, between: str) -> str:
    return between.join(shown(value) for value in (values or ()))


_FUNCTIONS: Mapping[str, Maker] = {
    "json": as_json,
    "join": _join,
    "split": lambda text, between: text.split(between),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": _title,
    "pad": _pad,
    "truncate": _truncate,
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(shown(value) for value in values) + "\n",
    "and": _and,
    "or": _or,
    "not": lambda value: not true(value),
    "eq": lambda left, *others: any(left == other for other in others),
    "ne": lambda left, right: left != right,
    "lt": _compared(lambda left, right: left < right),  # type: ignore[operator]
    "le": _compared(lambda left, right: left <= right),  # type: ignore[operator]
    "gt": _compared(lambda left, right: left > right),  # type: ignore[operator]
    "ge": _compared(lambda left, right: left >= right),  # type: ignore[operator]
}
