"""YAML text to nodes: YAML 1.2's core schema (so ``22:22`` stays text), anchors, merge keys, ``!reset`` and ``!override``, nothing else.

The parser's events are composed here, one by one and never deeper than asked for, so that neither depth nor aliases can cost more than the
text is long. No object is ever made of a tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import yaml

from notebook_containers.compose.nodes import Fields, Node, Place, Text, Value, joined
from notebook_containers.errors import ComposeError

MOST_CHARACTERS = 8 * 1024 * 1024
MOST_NODES = 100_000
MOST_NESTED = 64
_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_YAML = "tag:yaml.org,2002:"
_MARKS = {"!reset": "reset", "!override": "override"}
_LARGEST = 2**63
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_TRUTH = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INTEGER = re.compile(r"[-+]?[0-9]+\Z", re.ASCII)
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_NO_NUMBER = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")

_OLD = re.compile(
    r"(?:y|n|yes|no|on|off|<<|=|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|[-+]?[0-9][0-9_,]*(?:\.[0-9_]*)?|0b[01_]+"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?)\Z",
    re.IGNORECASE | re.ASCII,
)


def parse(text: str, *, name: str, path: str = "") -> list[Node]:
    """Return the documents of a text, each a mapping; raises ComposeError with file, line and column."""
    whole = Text(name=name, lines=tuple(text.splitlines()), path=path)
    if len(text) > MOST_CHARACTERS:
        raise Place(text=whole).error("", f"the file has {len(text)} characters, more than the {MOST_CHARACTERS} allowed")
    composer = _Composer(whole, text)
    documents = [node for node in composer.documents() if node.value is not None]
    for node in documents or [Node(value=None, place=Place(text=whole))]:
        if not isinstance(node.value, dict):
            raise node.place.error("", "a compose file is a mapping with services", hint="begin with 'services:'")
    return documents


class _Composer:
    """Makes nodes of the parser's events; counts them, aliases as what they stand for."""

    def __init__(self, whole: Text, text: str) -> None:
        self._text, self._source = whole, text
        self._events: Iterator[yaml.Event] = iter(())
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._count = 0

    def documents(self) -> list[Node]:
        try:
            self._events = yaml.parse(self._source, Loader=_LOADER)
            return list(self._all())
        except yaml.MarkedYAMLError as err:
            mark = err.problem_mark or err.context_mark
            place = self._place(mark) if mark else Place(text=self._text)
            if mark and self._source[mark.index : mark.index + 1] == "\t":
                raise place.error("", "a tab stands where YAML has none", hint="indent with spaces") from err
            raise place.error("", err.problem or "not readable as YAML", hint=f"it happened {err.context}" if err.context else "") from err
        except yaml.reader.ReaderError as err:
            before = self._source[: err.position]
            place = Place(text=self._text, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
            raise place.error("", "a control character is not allowed in YAML") from err
        except UnicodeEncodeError as err:
            raise Place(text=self._text).error("", "half a character is not allowed in YAML") from err

    def _all(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
            elif isinstance(event, yaml.NodeEvent):
                yield self._node(event, "", 0)

    def _node(self, event: yaml.NodeEvent, path: str, depth: int) -> Node:
        place = self._place(event.start_mark)
        if depth > MOST_NESTED:
            raise place.error(path, f"values are nested deeper than {MOST_NESTED} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "", path, place)
        anchor, before = event.anchor, self._counted(path, place, 1) - 1
        if anchor:
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = _scalar(event, path, place)
        elif isinstance(event, yaml.SequenceStartEvent):
            items = [self._node(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(self._items())]
            node = Node(value=items, place=place, mark=_mark(event.tag, "seq", path, place))
        else:
            assert isinstance(event, yaml.MappingStartEvent)
            node = Node(value=self._mapping(path, depth), place=place, mark=_mark(event.tag, "map", path, place))
        if anchor:
            self._anchors[anchor] = (node, self._count - before)
        return node

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event

    def _items(self) -> Iterator[yaml.NodeEvent]:
        return (_value_event(event) for event in self._until(yaml.SequenceEndEvent))

    def _mapping(self, path: str, depth: int) -> Fields:
        found: Fields = {}
        merged: Fields = {}
        for event in self._until(yaml.MappingEndEvent):
            place = self._place(event.start_mark)
            if not isinstance(event, yaml.ScalarEvent):
                raise place.error(path, "a key is a single word", hint="lists and mappings are values only")
            key = str(event.value)
            where = joined(path, key)
            merges = key == "<<" and event.implicit[0]
            value = self._node(_value_event(next(self._events)), path if merges else where, depth + 1)
            if merges:
                merged = {**_merged(value, path), **merged}
            elif key in found:
                raise place.error(where, "the key stands twice", hint=f"it stands in line {found[key].key.line} too")  # type: ignore[union-attr]
            else:
                found[key] = value.with_key(place)
        return {**merged, **found}

    def _alias(self, anchor: str, path: str, place: Place) -> Node:
        if anchor not in self._anchors:
            raise place.error(path, f"there is no anchor &{anchor} before this alias")
        known = self._anchors[anchor]
        if known is None:
            raise place.error(path, f"the anchor &{anchor} contains itself")
        self._counted(path, place, known[1])
        return known[0]

    def _counted(self, path: str, place: Place, count: int) -> int:
        self._count += count
        if self._count > MOST_NODES:
            raise place.error(path, "the file is too large once its aliases are followed", hint=f"at most {MOST_NODES} values")
        return self._count

    def _place(self, mark: yaml.Mark | yaml._yaml.Mark | None) -> Place:  # a parser in C has a mark of its own
        assert mark is not None
        return Place(text=self._text, line=mark.line + 1, column=mark.column + 1)


def _value_event(event: yaml.Event) -> yaml.NodeEvent:
    """Return the event as what begins a value: after a key, and between a list's ends, the parser gives nothing else."""
    assert isinstance(event, yaml.NodeEvent)
    return event


def _merged(node: Node, path: str) -> Mapping[str, Node]:
    """Return the members that ``<<`` brings; of several mappings the first one's win."""
    sources = node.value if isinstance(node.value, list) else [node]
    found: Fields = {}
    for source in sources:
        if not isinstance(source.value, dict):
            raise source.error(path, "<< takes a mapping or a list of mappings")
        found = {**source.value, **found}
    return found


def _mark(tag: str | None, own: str, path: str, place: Place) -> str:
    if tag is None or tag in ("!", _YAML + own):
        return ""
    if tag in _MARKS:
        return _MARKS[tag]
    raise place.error(path, f"the YAML tag {tag.replace(_YAML, '!!')} is not allowed", hint="!reset and !override are")


def _scalar(event: yaml.ScalarEvent, path: str, place: Place) -> Node:
    text, tag = str(event.value), event.tag
    if event.implicit[0] or (tag in _MARKS and not event.style):
        value = _resolved(text, path, place)
    elif tag in (_YAML + "int", _YAML + "float", _YAML + "bool", _YAML + "null"):
        value, tag = _resolved(text, path, place), None
    else:
        value = text
    written = text if not isinstance(value, str) and value is not None else ""
    return Node(value=value, place=place, raw=written, mark=_mark(tag, "str", path, place))


def _resolved(text: str, path: str, place: Place) -> Value:
    """Return what a plain scalar means in the core schema; ``017`` is 17 there, and ``raw`` keeps how it was written."""
    if _NULL.match(text):
        return None
    if _TRUTH.match(text):
        return text.lower() == "true"
    if _INTEGER.match(text) or _OCTAL_OR_HEX.match(text):
        if len(text) > 21 or abs(number := int(text, 0 if text[:2] in ("0o", "0x") else 10)) >= _LARGEST:
            return text
        return number
    if _FLOAT.match(text):
        return float(text)
    if _NO_NUMBER.match(text):
        raise _not_a_number(path, place, text)
    return text


def means_text(word: str) -> bool:
    """Tell whether a plain word is a text for every reader of YAML: in version 1.1 ``yes``, ``22:22`` and dates are none."""
    if _NULL.match(word) or _TRUTH.match(word) or _INTEGER.match(word) or _FLOAT.match(word) or _OCTAL_OR_HEX.match(word):
        return False
    return not _NO_NUMBER.match(word) and not _OLD.match(word)


def _not_a_number(path: str, place: Place, text: str) -> ComposeError:
    return place.error(path, f"{text} is no number that means anything here", hint="put it in quotes if it is a text")
