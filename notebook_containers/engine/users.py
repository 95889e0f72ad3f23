"""``USER`` and ``--user`` words to numbers, from the image's own passwd and group files, and which of them exist in a container.

The files come from untrusted layers: the store reads them inside the root only, one MiB at most (CVE-2024-9676, CVE-2026-47262). A word
that is neither a known name nor a number in range is an error, never user 0 (CVE-2024-40635). Digits are always a number, whatever a
passwd file calls its users.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass, replace
from notebook_containers.linux.idmaps import IdMaps

if TYPE_CHECKING:
    from notebook_containers.engine.documents import ContainerDocument
    from notebook_containers.engine.parts import Parts

_NUMBER = re.compile(r"[0-9]{1,10}\Z", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?\Z", re.ASCII)
_MAX_ID = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Numbers of a user inside the container, its supplementary groups and its home.

    The first group is among the supplementary ones too, as after a login: else a set-group-id program could take it away from a process,
    and with it what is denied to that group (CVE-2022-2989, CVE-2022-36109).
    """

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/root"


Reader: TypeAlias = Callable[[str], "bytes | None"]


def resolve(text: str, read: Reader) -> Identity:
    """Return the identity for ``user[:group]``; ``read`` gives a file of the root; raises InvalidArgument naming the word."""
    user, colon, group = text.partition(":")
    if colon and not group:
        raise InvalidArgument(f"user {text!r} has an empty group")
    entries = [e for e in _lines(read, "/etc/passwd") if len(e) >= 6 and _NUMBER.match(e[2]) and _NUMBER.match(e[3])]
    uid, gid, home, name = _user(user or "0", entries)
    members = [g for g in _lines(read, "/etc/group") if len(g) >= 4 and _NUMBER.match(g[2])]
    if group:
        number = _group(group, members)
        return Identity(uid=uid, gid=number, groups=(number,), home=home)
    extra = sorted({_in_range(g[2], "group") for g in members if name and name in g[3].split(",")} - {gid})
    return Identity(uid=uid, gid=gid, groups=(gid, *extra), home=home)


def of_container(parts: Parts, document: ContainerDocument) -> Identity:
    """Return the identity that a container runs as: its ``--user``, else its image's, else the caller's with keep-id."""
    kept = parts.host.kept_ids(document.options.userns)
    word = document.options.user or ("" if kept else document.config.user)
    maps = parts.host.container_maps(document.options.userns, first_id=document.first_id)
    return identity(word, lambda path: parts.store.snapshots.read_file(document.layers, path), maps, caller=kept)


def identity(text: str, read: Reader, maps: IdMaps | None, *, caller: tuple[int, int] | None = None) -> Identity:
    """Return the identity for ``text`` in a container with the ids ``maps`` (None: all of them); the caller's own ids for an empty one.

    ``caller`` are the ids for ``--userns keep-id``, or None. Groups that do not exist inside are left out; a user that does not exist
    raises InvalidArgument with what to do.
    """
    found = resolve(text or (f"{caller[0]}:{caller[1]}" if caller else ""), read)
    if maps is None:
        return found
    if not maps.has(found.uid, found.gid):
        raise _missing(text, found, maps)
    return replace(found, groups=() if maps.single else tuple(group for group in found.groups if maps.has_group(group)))


def passwd_with_caller(read: Reader, uid: int, gid: int, *, home: str) -> bytes | None:
    """Return the image's passwd file with a line for ``uid``, the caller's own name where it is free; None when the file knows it."""
    data = read("/etc/passwd") or b""
    rows = [line.split(b":") for line in data.splitlines()]
    if any(len(row) > 2 and row[2] == b"%d" % uid for row in rows):
        return None
    name = _own_name(uid)
    if any(row[0] == name.encode() for row in rows):
        name = f"user{uid}"
    line = f"{name}:x:{uid}:{gid}:{name}:{home.replace(':', '_')}:/bin/sh\n".encode()
    return data + (b"" if data.endswith(b"\n") or not data else b"\n") + line


def _own_name(uid: int) -> str:
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user{uid}"
    return name if _WORD.match(name) else f"user{uid}"


def groups(words: Sequence[str], read: Reader, maps: IdMaps | None) -> tuple[int, ...]:
    """Return the numbers of further groups (``--group-add``) in a container with the ids ``maps``; InvalidArgument for unknown ones."""
    members = [g for g in _lines(read, "/etc/group") if len(g) >= 4 and _NUMBER.match(g[2])]
    found = tuple(dict.fromkeys(_group(word, members) for word in words))
    for word, number in zip(words, found, strict=False):
        if maps is not None and (maps.single or not maps.has_group(number)):
            raise InvalidArgument(
                f"--group-add {word} is not possible: the group {number} does not exist for this user's containers",
                hint="have ids lent in /etc/subuid and /etc/subgid: see nbc doctor" if maps.single else "use a smaller number",
            )
    return found


def _missing(text: str, found: Identity, maps: IdMaps) -> InvalidArgument:
    if not maps.single:
        return InvalidArgument(
            f"user {text!r} ({found.uid}:{found.gid}) does not exist here: this user's ids end at {maps.highest}",
            hint="use a smaller id, or have more ids lent in /etc/subuid and /etc/subgid",
        )
    only = maps.uids[0][0]
    return InvalidArgument(
        f"user {text!r} needs more than one user id, and an ordinary user has one here",
        hint=f"run as user {only} (which is you outside), or have ids lent in /etc/subuid and /etc/subgid: see nbc doctor",
    )


def _lines(read: Reader, path: str) -> list[list[str]]:
    try:
        data = read(path) or b""
    except OSError as err:  # longer than any such file, or links in a circle: an image may have it so
        raise InvalidArgument(
            f"{path} of the image cannot be read: {err.strerror}",
            hint="users and groups are looked up there: use an image whose file is sound",
        ) from err
    return [line.split(":") for line in data.decode("utf-8", "replace").splitlines()]


def _user(word: str, entries: list[list[str]]) -> tuple[int, int, str, str]:
    _check_word(word, "user")
    if not _NUMBER.match(word):
        for entry in entries:
            if entry[0] == word:
                return _in_range(entry[2], "user"), _in_range(entry[3], "group"), entry[5] or "/", entry[0]
    number = _number(word, "user")
    for entry in entries:
        if int(entry[2]) == number:
            return number, _in_range(entry[3], "group"), entry[5] or "/", entry[0]
    return number, 0, "/root" if number == 0 else "/", ""


def _group(word: str, entries: list[list[str]]) -> int:
    _check_word(word, "group")
    if not _NUMBER.match(word):
        for entry in entries:
            if entry[0] == word:
                return _in_range(entry[2], "group")
    return _number(word, "group")


def _check_word(word: str, kind: str) -> None:
    if not _WORD.match(word):
        raise InvalidArgument(f"{word!r} is no {kind} name or number")


def _number(word: str, kind: str) -> int:
    if not _NUMBER.match(word):
        raise InvalidArgument(
            f"{kind} {word!r} is not known in the image",
            hint=f"add it in the Dockerfile, or use a number; see the image's /etc/{'passwd' if kind == 'user' else 'group'}",
        )
    return _in_range(word, kind)


def _in_range(number: str, kind: str) -> int:
    if int(number) > _MAX_ID:
        raise InvalidArgument(f"{kind} id {number} is out of range", hint=f"0 to {_MAX_ID} are possible")
    return int(number)
