"""Why a step was done again: causes as data, and the words for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from notebook_containers.build.keys import Material
from notebook_containers.lean import dataclass

CACHED = "cached"
METADATA = "changes no file"

_MOST_NAMED = 3
_SETTINGS = {"cwd": "WORKDIR", "user": "USER", "network": "the network", "script": "the here-document", "epoch": "SOURCE_DATE_EPOCH"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause: ``kind`` is file, argument, variable, parent, instruction, no-cache, never or gone.

    ``name`` is the file's path, the variable's name or the setting; ``before`` and ``after`` are a file's short digests (empty: not there);
    ``line`` is where a changed parent was changed.
    """

    kind: str
    name: str = ""
    before: str = ""
    after: str = ""
    line: int = 0


NO_CACHE = (Cause(kind="no-cache"),)
_SINGLE = {"no-cache": "--no-cache", "never": "never built with these inputs", "gone": "its layer is no longer in the store"}


def causes(now: Material, last: Material | None, *, parent_line: int) -> tuple[Cause, ...]:
    """Return why ``now`` has no row although ``last`` had one; ``parent_line`` is where the files below come from."""
    if last is None:
        return (Cause(kind="never"),)
    found = [
        *([Cause(kind="parent", line=parent_line)] if now.parent != last.parent else []),
        *_variables(now, last),
        *_files(now, last),
    ]
    if now.what != last.what and not any(cause.kind == "argument" for cause in found):
        found += _settings(now.what, last.what)
    return tuple(found) or (Cause(kind="gone"),)


def words(found: Sequence[Cause]) -> str:
    """Return the causes in words: ``file app.py changed (1f2e4c… → 9a0b11…) and ARG VERSION changed``."""
    return " and ".join(_in_words(found))


def _in_words(found: Sequence[Cause]) -> Iterator[str]:
    by_kind: dict[str, list[Cause]] = {}
    for cause in found:
        kind = cause.kind if cause.kind != "file" else "new" if not cause.before else "gone file" if not cause.after else "file"
        by_kind.setdefault(kind, []).append(cause)
    for kind, same in by_kind.items():
        match kind:
            case "file":
                yield f"file {_listed([_named(c, len(same) == 1) for c in same])}" + ("" if len(same) == 1 else " changed")
            case "new" | "gone file":
                yield f"file {_listed([c.name for c in same])} is {'new' if kind == 'new' else 'gone'}"
            case "argument" | "variable":
                noun = "ARG" if kind == "argument" else "variable"
                yield f"{noun} {_listed([c.name for c in same])} changed" if same[0].name else "the order of variables changed"
            case "parent":
                yield f"the parent changed at line {same[0].line}"
            case "instruction":
                yield f"{_listed([c.name for c in same])} changed"
            case "context":
                yield "the files changed"
            case _:
                yield _SINGLE[kind]


def _named(cause: Cause, alone: bool) -> str:
    """Return a changed file with its digests, or its modes where only these differ."""
    verb = " changed" if alone else ""
    (mode, old), (new_mode, new) = cause.before.split(" ", 1), cause.after.split(" ", 1)
    if old == new:
        return f"{cause.name}{verb} (mode {mode[1:]} → {new_mode[1:]})" if mode[:1] == new_mode[:1] else f"{cause.name}{verb}"
    return f"{cause.name}{verb} ({old[:6]}… → {new[:6]}…)" if mode[:1] == new_mode[:1] == "f" else f"{cause.name}{verb}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _files(now: Material, last: Material) -> list[Cause]:
    if now.trees == last.trees:
        return []
    if not now.files or not last.files:
        return [Cause(kind="context")]
    found = [
        Cause(kind="file", name=path, before=last.files.get(path, ""), after=now.files.get(path, ""))
        for path in sorted({*now.files, *last.files})
        if last.files.get(path) != now.files.get(path)
    ]
    return found or [Cause(kind="context")]


def _variables(now: Material, last: Material) -> list[Cause]:
    arguments = _different(now.arguments, last.arguments)
    others = [n for n in _different(now.variables, last.variables) if n not in {*now.arguments, *last.arguments}]
    found = [*(Cause(kind="argument", name=n) for n in arguments), *(Cause(kind="variable", name=n) for n in others)]
    return found or ([Cause(kind="variable")] if list(now.variables) != list(last.variables) else [])


def _different(now: Mapping[str, str], last: Mapping[str, str]) -> list[str]:
    return sorted(n for n in {*now, *last} if now.get(n) != last.get(n))


def _settings(now: Mapping[str, object], last: Mapping[str, object]) -> list[Cause]:
    changed = [name for key, name in _SETTINGS.items() if now.get(key) != last.get(key)]
    return [Cause(kind="instruction", name=name) for name in changed] or [Cause(kind="instruction", name="the instruction")]
