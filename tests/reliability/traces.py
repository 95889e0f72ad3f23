"""What a program asked of the kernel: strace's record of it, read back call by call."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SYNCS = ("fsync", "fdatasync", "syncfs")
NAMES = ("mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat", "symlink", "symlinkat")
OPENS = ("open", "openat", "openat2", "creat")
BYTES = (
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "truncate",
    "ftruncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "splice",
)
ATTRIBUTES = ("chmod", "fchmod", "fchmodat", "fchmodat2", "utimensat", "futimesat", "utime", "utimes")
XATTRS = ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr")
CALLS = (*SYNCS, *NAMES, *OPENS, *BYTES, *ATTRIBUTES, *XATTRS, "lseek")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A system call that went well: when it began and ended (lines of the trace), and its words as strace writes them."""

    name: str
    words: str
    began: int
    ended: int

    @property
    def strings(self) -> list[bytes]:
        """Return its strings, in order."""
        return [_bytes(found) for found in re.findall(r'"((?:\\x..)*)"', self.words)]

    @property
    def descriptors(self) -> list[tuple[str, str]]:
        """Return its descriptors' numbers (or AT_FDCWD) and their paths, in order; the last one may be what it returned."""
        return [(number, _bytes(path).decode("utf-8", "replace")) for number, path in re.findall(r"(\w+)<([^>]*)>", self.words)]

    @property
    def paths(self) -> list[str]:
        """Return the paths it names: each string below the descriptor before it, or the descriptors' own where it has no string."""
        found, folder = [], ""
        for descriptor, string in re.findall(r'\w+<([^>]*)>|"((?:\\x..)*)"', self.words):
            if descriptor:
                folder = _bytes(descriptor).decode("utf-8", "replace")
            else:
                found.append(str(Path(folder, _bytes(string).decode("utf-8", "replace"))))
        return found or [path for _number, path in self.descriptors]

    @property
    def result(self) -> int:
        """Return the number it returned."""
        return int(re.search(r"\) += (\d+)[^)\"]*$", self.words)[1])  # type: ignore[index]


def record(program: Sequence[str], trace: Path, environment: Mapping[str, str]) -> list[Call]:
    """Run a program until it ends and return its calls of :data:`CALLS` that went well."""
    words = ["strace", "-f", "-y", "-qq", "-xx", "-s", "1000000", "-e", f"trace={','.join(f'?{name}' for name in CALLS)}"]
    subprocess.run(
        [*words, "-e", "signal=none", "-o", str(trace), *program], env=dict(environment), check=True, capture_output=True, timeout=120
    )
    return read(trace.read_text())


def read(trace: str) -> list[Call]:
    """Return the calls of a trace that went well, in the order in which they ended."""
    found: list[Call] = []
    open_calls: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(trace.splitlines()):
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if resumed := re.match(r"<\.\.\. (\w+) resumed>", rest):
            began, start = open_calls.pop((pid, resumed[1]))
            rest = start + rest[resumed.end() :]
        else:
            began = number
        name = rest.partition("(")[0]
        if rest.endswith("<unfinished ...>"):
            open_calls[pid, name] = began, rest.removesuffix("<unfinished ...>")
        elif re.search(r"\) += \d", rest):
            found.append(Call(name=name, words=rest, began=began, ended=number))
    assert open_calls == {}
    return found


def _bytes(text: str) -> bytes:
    """Return the bytes of ``\\x6e\\x62\\x63``."""
    return bytes.fromhex(text.replace("\\x", ""))
