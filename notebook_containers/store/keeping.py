"""What of an archive's entry a file gets and keeps: owner, mode, times and attributes, by the rules of an unpack."""

from __future__ import annotations

import errno
import os
import stat

from notebook_containers.errors import InvalidDocument
from notebook_containers.lean import dataclass
from notebook_containers.store import attributes
from notebook_containers.store.tar_reader import Entry

_MOST_WARNINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How to unpack.

    ``layer``: names that begin with ``.wh.`` are deletions and become overlay's own form. ``single_id``: only one user id exists here,
    so owners cannot be kept (and devices not made). ``highest``: the last id that exists, None for all; who is beyond becomes root.
    ``owner``: give everything to this (uid, gid). ``userxattr``: overlay's attributes are in the user name space. ``keep_kinds``: a
    directory may not take the place of something else, nor the reverse. ``whole``: the archive's own ``.`` gives the directory that it is
    unpacked in its mode and owner.
    """

    layer: bool
    single_id: bool
    userxattr: bool = False
    owner: tuple[int, int] | None = None
    highest: int | None = None
    keep_kinds: bool = False
    whole: bool = False


class Warnings:
    """Remarks about what could not be kept, each once, and not without end."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}

    def add(self, text: str) -> None:
        """Note one."""
        if len(self._texts) <= _MOST_WARNINGS:
            self._texts[text] = None

    def all(self) -> tuple[str, ...]:
        """Return the first twenty."""
        return tuple(self._texts)[:_MOST_WARNINGS]


class Keeping:
    """Gives files what their entries say, as far as it exists here."""

    def __init__(self, rules: Rules, warnings: Warnings) -> None:
        self._rules, self._warnings = rules, warnings
        self._foreign: set[tuple[int, int]] = set()

    def finish(self) -> None:
        """Note the owners that could not be kept."""
        if self._foreign:
            some = ", ".join(f"{uid}:{gid}" for uid, gid in sorted(self._foreign)[:3])
            why = "an ordinary user has one id only" if self._rules.single_id else f"the ids that exist here end at {self._rules.highest}"
            self._warnings.add(f"owners {'other than root ' if self._rules.single_id else ''}were not kept ({some}): {why}")

    def owner(self, entry: Entry) -> tuple[int, int]:
        """Return who owns the file here."""
        owner = self._rules.owner or (entry.uid, entry.gid)
        if owner == (0, 0) or not self._missing(owner):
            return owner
        if len(self._foreign) < 100:
            self._foreign.add(owner)
        return 0, 0

    def _missing(self, owner: tuple[int, int]) -> bool:
        return self._rules.single_id or (self._rules.highest is not None and max(owner) > self._rules.highest)

    def file(self, fd: int, path: str, entry: Entry) -> None:
        """Give a new file everything."""
        owner = self.owner(entry)
        if not self._rules.single_id and owner != (0, 0):
            os.fchown(fd, *owner)
        os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._attributes(fd, path, entry)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def directory(self, fd: int, path: str, entry: Entry) -> None:
        """Give a directory everything, after what is in it has come."""
        owner = self.owner(entry)
        if not self._rules.single_id:
            os.fchown(fd, *owner)
        # an ordinary user must still be able to walk its own store; inside the container root's rights see no difference
        os.fchmod(fd, entry.mode | 0o500 if self._rules.single_id else entry.mode)
        self._attributes(fd, path, entry)
        os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))

    def by_name(self, parent: int, name: str, entry: Entry, *, chmod: bool = False) -> None:
        """Give what is not opened (a link, a device, a FIFO) its owner and time, and its mode if asked."""
        owner = self.owner(entry)
        if not self._rules.single_id and owner != (0, 0):
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        if chmod:
            _set_mode(parent, name, entry.mode)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _attributes(self, fd: int, path: str, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if not attributes.travels(name):
                continue
            try:
                os.setxattr(fd, name, value)
            except OSError as err:
                if err.errno in (errno.ENOTSUP, errno.EPERM):
                    self._warnings.add(f"the attribute {name} was not kept: {os.strerror(err.errno)}")
                    continue
                raise InvalidDocument(f"the attribute {name[:80]!a} of {path[:200]!a} cannot be set: {err.strerror}") from err


def _set_mode(parent: int, name: str, mode: int) -> None:
    """Set the mode of what is not opened (a device, a FIFO): by a descriptor of it, as chmod(2) by name follows a link put there."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)
