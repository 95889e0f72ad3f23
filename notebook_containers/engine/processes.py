"""A container's processes as ps(1) shows them, for ``docker top``: read from /proc, since an image need not have a ps."""

from __future__ import annotations

import os
import pwd
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRow:
    """One process: ``pid`` and ``uid`` as this machine sees them, times in seconds, memory in KiB."""

    pid: int
    ppid: int
    uid: int
    name: str
    args: str
    state: str
    tty: int
    started: float
    elapsed: float
    cpu: float
    threads: int
    size_kib: int
    resident_kib: int

    @property
    def user(self) -> str:
        """The owner's name on this machine, else its number."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


_Cell = Callable[[ProcessRow], str]

_CELLS: Mapping[str, tuple[str, _Cell]] = {
    "uid": ("UID", lambda p: str(p.uid)),
    "user": ("USER", lambda p: p.user),
    "pid": ("PID", lambda p: str(p.pid)),
    "ppid": ("PPID", lambda p: str(p.ppid)),
    "c": ("C", lambda p: str(int(_percent(p)))),
    "pcpu": ("%CPU", lambda p: f"{_percent(p):.1f}"),
    "pmem": ("%MEM", lambda p: f"{_share(p):.1f}"),
    "start": ("START", lambda p: _clock(p.started)),
    "bsdtime": ("TIME", lambda p: f"{int(p.cpu) // 60}:{int(p.cpu) % 60:02d}"),
    "stime": ("STIME", lambda p: _clock(p.started)),
    "tty": ("TTY", lambda p: _tty(p.tty)),
    "time": ("TIME", lambda p: _span(p.cpu, days=False)),
    "etime": ("ELAPSED", lambda p: _span(p.elapsed, days=True)),
    "etimes": ("ELAPSED", lambda p: str(int(p.elapsed))),
    "stat": ("STAT", lambda p: p.state),
    "nlwp": ("NLWP", lambda p: str(p.threads)),
    "vsz": ("VSZ", lambda p: str(p.size_kib)),
    "rss": ("RSS", lambda p: str(p.resident_kib)),
    "comm": ("COMMAND", lambda p: p.name),
    "args": ("COMMAND", lambda p: p.args),
    "cmd": ("CMD", lambda p: p.args),
}
_SYNONYMS = {
    "%cpu": "pcpu",
    "command": "args",
    "tname": "tty",
    "tt": "tty",
    "start_time": "stime",
    "%mem": "pmem",
    "lstart": "start",
    "s": "stat",
    "state": "stat",
    "thcount": "nlwp",
}
_FULL = ("user", "pid", "ppid", "c", "stime", "tty", "time", "cmd")
_BSD = ("user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "bsdtime", "args")


def read(pids: Sequence[int]) -> list[ProcessRow]:
    """Return the processes with these pids; ones that ended meanwhile are left out."""
    return [found for pid in sorted(pids) if (found := _read(pid)) is not None]


def _read(pid: int) -> ProcessRow | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    elapsed = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / ticks
    return ProcessRow(
        pid=pid,
        ppid=int(fields[1]),
        uid=owner,
        name=name,
        args=" ".join(w.decode("utf-8", "replace") for w in words) or f"[{name}]",
        state=fields[0] + _flags(fields, pid),
        tty=int(fields[4]),
        started=time.time() - elapsed,
        elapsed=elapsed,
        cpu=(int(fields[11]) + int(fields[12])) / ticks,
        threads=int(fields[17]),
        size_kib=int(fields[20]) // 1024,
        resident_kib=int(fields[21]) * page // 1024,
    )


def _flags(fields: Sequence[str], pid: int) -> str:
    """Return what ps writes behind the state: niceness, session leader, several threads, in its terminal's foreground."""
    nice, group, session, foreground = int(fields[16]), fields[2], fields[3], fields[5]
    found = "<" if nice < 0 else "N" if nice > 0 else ""
    found += "s" if session == str(pid) else ""
    return found + ("l" if int(fields[17]) > 1 else "") + ("+" if foreground == group else "")


def titles(ps_args: str | None) -> tuple[str, ...]:
    """Return the columns that ps options ask for, as keys for :func:`table`; InvalidArgument for what is not understood.

    ``-ef`` (and none) is the full listing, ``aux`` the BSD one; ``-o pid,args`` and ``-eo …`` choose columns.
    """
    words = shlex.split(ps_args or "")
    chosen: list[str] = []
    while words:
        word = words.pop(0)
        letters = word.lstrip("-")
        if letters.endswith("o") and words and set(letters) <= set("aexwo"):
            chosen += words.pop(0).split(",")
        elif letters and set(letters) <= set("aux") and "u" in letters:
            return _BSD
        elif not letters or not set(letters) <= set("aefwxd"):
            raise InvalidArgument(f"ps option {word!r} is not understood", hint="use -ef, aux, or -o with columns, as -o pid,etime,args")
    keys = tuple(_SYNONYMS.get(name.strip().lower(), name.strip().lower()) for name in chosen) or _FULL
    for key in keys:
        if key not in _CELLS:
            raise InvalidArgument(f"ps column {key!r} is not known", hint="there is " + ", ".join(_CELLS))
    return keys


def table(rows: Sequence[ProcessRow], keys: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the cells of a listing."""
    headings = ["UID" if key == "user" and tuple(keys) == _FULL else _CELLS[key][0] for key in keys]
    return headings, [[_CELLS[key][1](row) for key in keys] for row in rows]


def _share(row: ProcessRow) -> float:
    return 100 * row.resident_kib * 1024 / (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def _percent(row: ProcessRow) -> float:
    return min(100 * row.cpu / row.elapsed, 999) if row.elapsed > 0 else 0.0


def _clock(moment: float) -> str:
    started = datetime.fromtimestamp(moment)  # noqa: DTZ006 - ps shows the machine's own time
    return started.strftime("%H:%M" if time.time() - moment < 86400 else "%b%d")


def _span(seconds: float, *, days: bool) -> str:
    whole = int(seconds)
    text = f"{whole // 3600 % 24 if days else whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
    if days and whole < 3600:
        return text[3:]
    return f"{whole // 86400}-{text}" if days and whole >= 86400 else text


def _tty(device: int) -> str:
    major, minor = os.major(device), os.minor(device)
    if not device:
        return "?"
    return f"pts/{minor + 256 * (major - 136)}" if 136 <= major <= 143 else f"tty{minor}"
