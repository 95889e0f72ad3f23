"""The shared libraries a program needs, found as the dynamic loader finds them (ld.so(8)), without running anything (no ldd)."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from notebook_containers.engine.bases.tree import image_path, readable
from notebook_containers.lean import dataclass

_ALWAYS = ("libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
"""What glibc opens by name at run time, so no file says that it needs it: thread cancellation, and name look-ups before 2.34."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """What the loader reads of a file; ``paths`` are its RUNPATH, else its RPATH, with ``$ORIGIN`` resolved."""

    kind: tuple[str, int]
    interpreter: str
    needed: tuple[str, ...]
    paths: tuple[str, ...]
    inherits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library: the host file it really is, and the paths it has in the image as asked for and as resolved (a link and its target).

    ``private`` says that only an RPATH or ld.so.conf leads to it, so the image's loader would not find it where it lies.
    """

    real: str
    asked_path: str
    real_path: str
    private: bool

    @classmethod
    def at(cls, asked: str, *, private: bool = False) -> Library:
        """Describe the library that a host path leads to."""
        real = os.path.realpath(asked)
        return cls(real=real, asked_path=image_path(asked), real_path=image_path(real), private=private)


class Libraries:
    """Resolves the libraries of many files, reading each once."""

    def __init__(self) -> None:
        self._elf: dict[str, Elf | None] = {}
        self._found: dict[tuple[str, tuple[str, int], tuple[str, ...]], Library | None] = {}
        self._configured = tuple(_configured("/etc/ld.so.conf"))

    def elf(self, path: str) -> Elf | None:
        """Return what the loader reads of a file, or None when it is no ELF file."""
        if path not in self._elf:
            self._elf[path] = _read(path)
        return self._elf[path]

    def closure(self, path: str) -> tuple[Library, ...] | None:
        """Return every library the file needs, and its ELF interpreter, or None when one cannot be found."""
        found: dict[str, Library] = {}
        pending: list[tuple[str, tuple[str, ...]]] = [(path, ())]
        while pending:
            current, inherited = pending.pop()
            elf = self.elf(current)
            if elf is None:
                return None
            if elf.interpreter and "interpreter" not in found:
                found["interpreter"] = Library.at(elf.interpreter)
            passed_on = (*elf.paths, *inherited) if elf.inherits else inherited
            wanted = (*elf.needed, *self._opened(elf))
            for name in wanted:
                if name in found:
                    continue
                library = self._find(name, elf, elf.paths if not elf.inherits else passed_on)
                if library is not None:
                    found[name] = library
                    pending.append((library.real, passed_on))
                elif name in elf.needed:
                    return None
        return tuple(found.values())

    def _opened(self, elf: Elf) -> tuple[str, ...]:
        return _ALWAYS if "libc.so.6" in elf.needed else ()

    def _find(self, name: str, elf: Elf, paths: tuple[str, ...]) -> Library | None:
        key = (name, elf.kind, paths)
        if key not in self._found:
            self._found[key] = self._search(name, elf, paths)
        return self._found[key]

    def _search(self, name: str, elf: Elf, paths: tuple[str, ...]) -> Library | None:
        standard = _standard(elf)
        for directory in (*paths, *self._configured, *standard):
            path = os.path.join(directory, name)
            real = os.path.realpath(path)
            if readable(real) and (candidate := self.elf(real)) is not None and candidate.kind == elf.kind:
                known = os.path.realpath(directory) in {os.path.realpath(each) for each in standard}
                return Library.at(path, private=not known)
        return None


def _read(path: str) -> Elf | None:
    try:
        with open(path, "rb") as stream:
            if stream.read(4) != b"\x7fELF":
                return None
            file = ELFFile(stream)
            interpreter = ""
            tags: dict[str, list[str]] = {"DT_NEEDED": [], "DT_RPATH": [], "DT_RUNPATH": []}
            for segment in file.iter_segments():
                if segment["p_type"] == "PT_INTERP":
                    interpreter = segment.get_interp_name()
                elif isinstance(segment, DynamicSegment):
                    _dynamic(segment, tags)
            kind = (file["e_machine"], file.elfclass)
    except (OSError, ELFError):
        return None
    runpath, rpath = ":".join(tags["DT_RUNPATH"]), ":".join(tags["DT_RPATH"])
    return Elf(
        kind=kind,
        interpreter=interpreter,
        needed=tuple(tags["DT_NEEDED"]),
        paths=tuple(_expand(runpath or rpath, os.path.dirname(path))),
        inherits=bool(rpath and not runpath),
    )


def _dynamic(segment: DynamicSegment, tags: dict[str, list[str]]) -> None:
    names = {"DT_NEEDED": "needed", "DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}
    for tag in segment.iter_tags():
        name = tag.entry.d_tag
        if name in names:
            tags[name].append(getattr(tag, names[name]))


def _expand(paths: str, origin: str) -> Iterator[str]:
    for path in paths.split(":"):
        path = path.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
        if path.startswith("/") and "$" not in path:
            yield path


def _standard(elf: Elf) -> tuple[str, ...]:
    """Return the loader's built-in directories: where Debian's multiarch, and where everybody else's loader looks."""
    machine = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_386": "i386", "EM_RISCV": "riscv64", "EM_S390": "s390x"}.get(elf.kind[0])
    triplet = {"EM_ARM": "arm-linux-gnueabihf", "EM_PPC64": "powerpc64le-linux-gnu"}.get(elf.kind[0], f"{machine}-linux-gnu")
    wide = ("/lib64", "/usr/lib64") if elf.kind[1] == 64 else ()
    return (f"/lib/{triplet}", f"/usr/lib/{triplet}", *wide, "/lib", "/usr/lib")


def _configured(path: str, depth: int = 0) -> Iterator[str]:
    """Read ld.so.conf and what it includes."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].replace("=", " ").split()
        if words and words[0] == "include" and depth < 8:
            for pattern in words[1:]:
                for included in sorted(glob.glob(os.path.join(os.path.dirname(path), pattern))):
                    yield from _configured(included, depth + 1)
        elif words and words[0].startswith("/"):
            yield words[0]
