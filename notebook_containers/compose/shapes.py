"""The shapes that values of a compose file may have; each checks a node and returns it in its one canonical form.

A shape is a function of where we are, the node and its path. What is wrong is a ComposeError at its place. A node marked ``!reset`` is
never looked into. Where variables are left unfilled (``config --no-interpolate``), a text that still has one passes as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from notebook_containers.compose import units
from notebook_containers.compose.nodes import Fields, Node, joined, near
from notebook_containers.errors import ComposeError, InvalidArgument
from notebook_containers.lean import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What reading depends on: where relative paths start (None leaves them as they are), and whether variables were filled in.

    ``within`` is the directory that paths of a file from elsewhere must not leave.
    """

    directory: Path | None
    filled: bool = True
    within: Path | None = None

    def absolute(self, text: str) -> str:
        """Return an absolute path for one relative to the file or to the home directory; ``..`` and ``.`` are worked out in the text.

        Raises InvalidArgument for one that leaves the directory of a file from elsewhere.
        """
        if self.directory is None:
            return text
        found = os.path.normpath(self.directory / os.path.expanduser(text))
        if self.within is not None and not Path(found).is_relative_to(self.within):
            hint = "write such a path in a file of your own"
            raise InvalidArgument(f"{text!r} leads out of what was fetched from elsewhere", hint=hint)
        return found

    def passes(self, node: Node) -> bool:
        """Tell whether the node is a text whose variables are not filled in, of which nothing can be said."""
        return not self.filled and isinstance(node.value, str) and "$" in node.value


Shape: TypeAlias = Callable[[Setting, Node, str], Node]


def kind(node: Node) -> str:
    """Return in words what a node is."""
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "a truth value"
    return "a text" if isinstance(node.value, str) else "a number"


def wrong(node: Node, path: str, wanted: str, *, hint: str = "") -> ComposeError:
    """Return the error for a value of another type than the key takes."""
    return node.error(path, f"{wanted} is wanted here, this is {kind(node)}", hint=hint)


def shaped(shape: Shape, setting: Setting, node: Node, path: str) -> Node:
    """Apply a shape, except to what is to be reset."""
    return node if node.mark == "reset" else shape(setting, node, path)


def anything(_setting: Setting, node: Node, _path: str) -> Node:
    """Whatever it is (``x-`` keys)."""
    return node


def text(_setting: Setting, node: Node, path: str) -> Node:
    """A text; a number counts as it is written."""
    if isinstance(node.value, str):
        return node
    if isinstance(node.value, (dict, list, bool)) or node.value is None:
        raise wrong(node, path, "a text", hint="put it in quotes" if isinstance(node.value, bool) else "")
    return node.with_value(node.text())


def scalar(_setting: Setting, node: Node, path: str) -> Node:
    """A text, number or truth value, as a text; nothing stays nothing."""
    if isinstance(node.value, (dict, list)):
        raise wrong(node, path, "a single value")
    return node if node.value is None or isinstance(node.value, str) else node.with_value(node.text())


def flag(setting: Setting, node: Node, path: str) -> Node:
    """True or false; the words of YAML 1.1 count when they are texts."""
    if isinstance(node.value, bool) or setting.passes(node):
        return node
    if isinstance(node.value, str) and node.value.lower() in units.TRUTH:
        return node.with_value(units.TRUTH[node.value.lower()])
    raise wrong(node, path, "true or false")


def checked(check: Callable[[str], object], wanted: str) -> Shape:
    """A text that a check is content with; the check raises InvalidArgument."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        if isinstance(node.value, (dict, list, bool)) or node.value is None:
            raise wrong(node, path, wanted)
        if setting.passes(node):
            return node
        found = node.with_value(node.text())
        try:
            check(found.text())
        except InvalidArgument as err:
            raise node.error(path, err.message, hint=err.hint) from err
        return found

    return shape


def converted(convert: Callable[[str], str | int | float], wanted: str) -> Shape:
    """A scalar in another writing; the conversion raises InvalidArgument."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        if isinstance(node.value, (dict, list, bool)) or node.value is None:
            raise wrong(node, path, wanted)
        if setting.passes(node):
            return node
        try:
            return node.with_value(convert(node.text()))
        except InvalidArgument as err:
            raise node.error(path, err.message, hint=err.hint) from err

    return shape


integer = converted(units.integer, "a whole number")
number = converted(units.number, "a number")
size = converted(lambda word: str(units.size(word)), "a size such as 64m")
duration = converted(units.canonical_duration, "a duration such as 1m30s")
mode = converted(units.canonical_mode, 'an octal file mode such as "0440"')


def one_of(*words: str) -> Shape:
    """One of some words."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        found = text(setting, node, path)
        if found.value not in words and not setting.passes(node):
            raise node.error(path, f"{found.value!r} is none of {', '.join(words)}", hint=near(str(found.value), words))
        return found

    return shape


def list_of(item: Shape, *, single: bool = False, unique: bool = False) -> Shape:
    """A list; ``single`` takes one item for a list of it, ``unique`` drops what stands twice."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        if single and not isinstance(node.value, (list, dict)) and node.value is not None:
            return node.with_value([shaped(item, setting, Node(value=node.value, place=node.place, raw=node.raw), path)])
        if not isinstance(node.value, list):
            raise wrong(node, path, "a text or a list" if single else "a list")
        found = [shaped(item, setting, one, f"{path}[{index}]") for index, one in enumerate(node.value)]
        return node.with_value(list({one.text(): one for one in found}.values()) if unique else found)

    return shape


texts = list_of(text, unique=True)
text_or_texts = list_of(text, single=True, unique=True)


def expanded(item: Callable[[Setting, Node, str], Iterator[Node]]) -> Shape:
    """A list whose items may each stand for several."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        if not isinstance(node.value, list):
            raise wrong(node, path, "a list")
        return node.with_value([made for index, one in enumerate(node.value) for made in item(setting, one, f"{path}[{index}]")])

    return shape


def fields(known: Mapping[str, Shape], *, nullable: bool = False, extensions: bool = True) -> Shape:
    """A mapping with these keys and no others, but ``x-`` ones."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        if node.value is None and nullable:
            return node.with_value({})
        if not isinstance(node.value, dict):
            raise wrong(node, path, "a mapping")
        found: Fields = {}
        for key, one in node.value.items():
            where = joined(path, key)
            if key not in known and not (extensions and key.startswith("x-")):
                raise one.key_error(where, "unknown key", hint=near(key, known))
            found[key] = shaped(known.get(key, anything), setting, one, where)
        return node.with_value(found)

    return shape


def mapping_of(item: Shape, *, name: Callable[[str], object] | None = None) -> Shape:
    """A mapping from names to values of one shape; ``x-`` keys are names too."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        if not isinstance(node.value, dict):
            raise wrong(node, path, "a mapping")
        found: Fields = {}
        for key, one in node.value.items():
            where = joined(path, key)
            if name is not None:
                try:
                    name(key)
                except InvalidArgument as err:
                    raise one.key_error(where, err.message, hint=err.hint) from err
            found[key] = shaped(item, setting, one, where)
        return node.with_value(found)

    return shape


def pairs(*, empty: str | None = None, value: Shape = scalar, separators: str = "=") -> Shape:
    """A mapping of names to texts, or a list of ``NAME=value``; a name alone is ``empty``."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        if isinstance(node.value, list):
            given = dict(_pair(setting, one, f"{path}[{index}]", separators) for index, one in enumerate(node.value))
        elif isinstance(node.value, dict):
            given = node.value
        else:
            raise wrong(node, path, "a mapping or a list of NAME=value")
        found = {key: shaped(value, setting, one, joined(path, key)) for key, one in given.items()}
        return node.with_value({key: one.with_value(empty) if one.value is None else one for key, one in found.items()})

    return shape


def _pair(setting: Setting, node: Node, path: str, separators: str) -> tuple[str, Node]:
    word = text(setting, node, path).text()
    ends = [at for at in (word.find(sign) for sign in separators) if at >= 0]
    at = ends[0] if ends else len(word)
    name, found = word[:at], word[at + 1 :] if ends else None
    if not name:
        raise node.error(path, f"{word!r} has no name", hint="write NAME=value")
    return name, Node(value=found, place=node.place, key=node.place)


def either(short: Shape, long: Shape) -> Shape:
    """A mapping of the long form, or anything else for the short one."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        return (long if isinstance(node.value, dict) else short)(setting, node, path)

    return shape


def names_or(long: Shape, member: Callable[[Node], Node]) -> Shape:
    """A list of names that stands for a mapping (``networks``, ``depends_on``), or that mapping."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        if not isinstance(node.value, list):
            return long(setting, node, path)
        found = [text(setting, one, f"{path}[{index}]") for index, one in enumerate(node.value)]
        return node.with_value({one.text(): member(one) for one in found})

    return shape


def command(_setting: Setting, node: Node, path: str) -> Node:
    """A command: a list, or a text in a shell's words; nothing leaves the image's own."""
    if node.value is None:
        return node
    if isinstance(node.value, (dict, bool)):
        raise wrong(node, path, "a text or a list")
    given: Sequence[Node] = node.items
    if not isinstance(node.value, list):
        import shlex

        try:
            given = [Node(value=word, place=node.place) for word in shlex.split(node.text())]
        except ValueError as err:
            raise node.error(path, "a quote is not closed") from err
    for index, one in enumerate(given):
        if isinstance(one.value, (dict, list)):
            raise wrong(one, f"{path}[{index}]", "a text")
    return node.with_value([one.with_value(one.text()) for one in given])


def path_text(setting: Setting, node: Node, path: str) -> Node:
    """A path of the host, made absolute."""
    found = text(setting, node, path)
    return found if setting.passes(found) or not found.value else found.with_value(absolute(setting, found, path))


def absolute(setting: Setting, node: Node, path: str, word: str = "") -> str:
    """Return the absolute path of a node's text, or of a word in it; raises ComposeError at the node."""
    try:
        return setting.absolute(word or node.text())
    except InvalidArgument as err:
        raise node.error(path, err.message, hint=err.hint) from err
