"""``--rm=true``, ``-it=false``: docker's flags may carry a truth value, click's may not; words with one become words without."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import click

_TRUTH = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def plain(command: click.Command, words: Sequence[str]) -> list[str]:
    """Return the words of a command line as click reads them; UsageError for a value that is none, as of ``--rm=maybe``.

    A flag that is said to be false is left out, unless it has a form that says so. Values of other options, and what stands behind the
    first argument where that ends the options, stay as they are.
    """
    flags = {name: option for option in command.params if isinstance(option, click.Option) for name in option.opts}
    mixed = command.context_settings.get("allow_interspersed_args", command.allow_interspersed_args)
    left = deque(words)
    found: list[str] = []
    while left:
        word = left.popleft()
        if word == "--" or (not word.startswith("-") and not mixed):
            found.append(word)
            break
        said = _long(flags, word) if word.startswith("--") else _short(flags, word)
        found = [*(found if said else _without(flags, found, word)), *said]
        if left and _wants_value(flags, word, left[0]):
            found.append(left.popleft())
    return [*found, *left]


def _without(flags: Mapping[str, click.Option], found: list[str], word: str) -> list[str]:
    """Return the words so far without the flag that ``word`` says is false: the last one counts."""
    name = word.partition("=")[0]
    option = flags[name if name.startswith("--") else f"-{name[-1]}"]
    return [one for one in found if one not in option.opts]


def _long(flags: Mapping[str, click.Option], word: str) -> list[str]:
    name, equals, value = word.partition("=")
    option = flags.get(name)
    return _said(option, name, value) if equals and option is not None and _is_flag(option) else [word]


def _short(flags: Mapping[str, click.Option], word: str) -> list[str]:
    """Return ``-it=false`` as ``-i`` and no ``-t``: the value is the last letter's."""
    letters, equals, value = word.partition("=")
    options = [flags.get(f"-{letter}") for letter in letters[1:]]
    last = options[-1] if options else None
    if not equals or last is None or not all(option is not None and _is_flag(option) for option in options):
        return [word]
    return [*([letters[:-1]] if len(letters) > 2 else []), *_said(last, f"-{letters[-1]}", value)]


def _said(option: click.Option, name: str, value: str) -> list[str]:
    if value not in _TRUTH:
        raise click.UsageError(f"{name}={value}: a flag is true or false; say {name}, {name}=true or {name}=false")
    if _TRUTH[value]:
        return [name]
    return option.secondary_opts[:1]


def _wants_value(flags: Mapping[str, click.Option], word: str, following: str) -> bool:
    """Tell whether the ``following`` word is this option's value."""
    if word.startswith("--"):
        option = flags.get(word)
        if option is not None and option._flag_needs_value and following.startswith("-"):  # its value may be left out
            return False
        return option is not None and not option.is_flag and not option.count
    for position, letter in enumerate(word[1:] if word.startswith("-") else "", start=2):
        option = flags.get(f"-{letter}")
        if option is None:
            return False
        if not option.is_flag and not option.count:
            return position == len(word)
    return False


def _is_flag(option: click.Option) -> bool:
    return option.is_flag and option.is_bool_flag
