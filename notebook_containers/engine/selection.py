"""``images --filter``: which images a list shows, by Docker's keys."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence

from notebook_containers.engine.filters import Filters, until, values
from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord

Test = Callable[[ImageRecord], bool]


def chosen(records: Sequence[ImageRecord], filters: Filters | None, find: Callable[[str], ImageRecord]) -> list[ImageRecord]:
    """Return the images that pass every key, and of one key's values any (every label); ``find`` resolves names for before and since.

    InvalidArgument for a key or a value that is none, ImageNotFound.
    """
    tests: list[Test] = []
    for key, given in (filters or {}).items():
        each = [_test(key, value, find) for value in values(given)]
        tests += each if key == "label" else [_any(each)]
    return [record for record in records if all(test(record) for test in tests)]


def named(records: Sequence[ImageRecord], name: str) -> list[ImageRecord]:
    """Return the images of a repository, of one name, or of a pattern with ``*`` and ``?``."""
    return [record for record in records if _matches(record, name)]


def _any(tests: Sequence[Test]) -> Test:
    return lambda record: any(test(record) for test in tests)


def _test(key: str, value: str, find: Callable[[str], ImageRecord]) -> Test:
    if key == "dangling" and value.lower() in ("true", "1", "false", "0"):
        dangling = value.lower() in ("true", "1")
        return lambda record: (not record.tags) == dangling
    if key == "label":
        name, equals, wanted = value.partition("=")
        return lambda record: name in record.labels and (not equals or record.labels[name] == wanted)
    if key in ("before", "since"):
        other = find(value).created
        return (lambda record: record.created < other) if key == "before" else (lambda record: record.created > other)
    if key == "until":
        moment = until(value)
        return lambda record: record.created < moment
    if key == "reference":
        return lambda record: _matches(record, value)
    hint = "use dangling=true|false, label=NAME[=VALUE], before=IMAGE, since=IMAGE, until=24h or reference=PATTERN"
    raise InvalidArgument(f"filter {key}={value!r} is not understood by images", hint=hint)


def _matches(record: ImageRecord, pattern: str) -> bool:
    return any(_fits(name, pattern) for name in (*record.tags, *record.digests))


def _fits(name: str, pattern: str) -> bool:
    if any(mark in pattern for mark in "*?["):
        repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
        return any(_same_parts(text, pattern) for text in (name, repository))
    wanted, own = Reference.parse(pattern), Reference.parse(name)
    if own.name != wanted.name:
        return False
    return (not wanted.tag or own.tag == wanted.tag) and (not wanted.digest or own.digest == wanted.digest)


def _same_parts(text: str, pattern: str) -> bool:
    """Match as Go's ``path.Match``: a star stands for no slash."""
    parts, patterns = text.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))
