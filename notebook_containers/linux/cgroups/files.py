"""Cgroup files and directories: read, write, list, make, remove; every failure is an OSError that names the file.

The kernel's interface files are read and written whole, with one system call each, as their handlers expect.
"""

from __future__ import annotations

import errno
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_RETRIES = 100


def read(path: str) -> str:
    """Return the text of ``path`` without its last newline."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError as error:
        raise OSError(error.errno, f"read: {os.strerror(error.errno or 0)}", path) from error
    finally:
        os.close(descriptor)
    return b"".join(parts).decode(errors="replace").removesuffix("\n")


def read_or(path: str, default: str = "") -> str:
    """Return the text of ``path``, or ``default`` when there is no such file, no group any more, or no permission."""
    try:
        return read(path)
    except OSError:
        return default


def read_integer(path: str) -> int | None:
    """Return the number in ``path``; None for no file, ``max`` and anything else that is not a number."""
    text = read_or(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def read_table(path: str) -> dict[str, int]:
    """Return a file of ``name number`` lines as a dict; empty when it cannot be read."""
    rows = (line.split() for line in read_or(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].lstrip("-").isdigit()}


def write(path: str, *values: str) -> None:
    """Write each of ``values`` to ``path`` with a write(2) of its own; the file must exist."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
    try:
        for value in values:
            os.write(descriptor, value.encode())
    except OSError as error:
        raise OSError(error.errno, f"write {value!r}: {os.strerror(error.errno or 0)}", path) from error
    finally:
        os.close(descriptor)


def later(path: str, value: str) -> Callable[[], None]:
    """Open ``path`` now and return what writes ``value`` to it and closes it; without a path, or a file, that does nothing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC) if path else -1
    except FileNotFoundError:
        descriptor = -1

    def write_and_close() -> None:
        if descriptor >= 0:
            try:
                os.write(descriptor, value.encode())
            except OSError as error:
                if error.errno != errno.ENODEV:  # the group was removed meanwhile
                    raise
            finally:
                os.close(descriptor)

    return write_and_close


def writable(path: str) -> bool:
    """Tell whether the effective user may write ``path`` (a read-only mount says no)."""
    return os.access(path, os.W_OK, effective_ids=True)


def is_read_only(path: str) -> bool:
    """Tell whether ``path`` lies on a read-only mount."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def swap_warning(swap: int) -> list[str]:
    """Return what to say when the limit of memory and swap cannot be set: nothing where there is no swap, or no limit is asked for."""
    if swap < 0 or len(read_or("/proc/swaps").splitlines()) < 2:
        return []
    return ["the swap limit is not enforced: this kernel does not count swap for each cgroup"]


def make_group(base: str, relative: str, configure: Callable[[str], None]) -> None:
    """Make the group ``relative`` below the existing group ``base``; idempotent.

    Each group made on the way is handed to ``configure``. A group on the way may vanish at any moment, because another process
    removed its last child: it is made again.
    """
    for attempt in range(_RETRIES):
        try:
            _make_each(base, relative, configure)
        except FileNotFoundError:
            if attempt == _RETRIES - 1 or not os.path.isdir(base):
                raise
        else:
            return


def _make_each(base: str, relative: str, configure: Callable[[str], None]) -> None:
    """Make every missing group from ``base`` down to ``relative``."""
    path = base
    names = relative.split("/")
    for depth, name in enumerate(names, start=1):
        path = f"{path}/{name}"
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            continue
        if depth < len(names):
            configure(path)


def groups(path: str) -> Iterator[str]:
    """Yield the groups below ``path`` and then ``path`` itself, children first; nothing when it does not exist."""
    try:
        with os.scandir(path) as entries:
            children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for child in children:
        yield from groups(child)
    yield path


def processes(path: str) -> list[int]:
    """Return the processes in ``path`` and the groups below it, sorted; those of outer pid namespaces are not seen."""
    found: set[int] = set()
    for group in groups(path):
        found.update(int(line) for line in read_or(f"{group}/cgroup.procs").split())
    return sorted(found - {0})


def remove_group(path: str, *, timeout_s: float) -> None:
    """Remove ``path`` and all groups below it; idempotent.

    The kernel answers EBUSY for a moment after the last process has gone: tried again for ``timeout_s`` seconds, then TimeoutError.
    """

    def removed() -> bool:
        return all(_remove_one(group) for group in groups(path))

    if not wait_until(removed, timeout_s=timeout_s):
        holders = describe(processes(path))
        raise TimeoutError(errno.ETIMEDOUT, f"remove: the group still holds {holders}", path)


def remove_empty_parents(base: str, relative: str) -> None:
    """Remove the groups between ``base`` and ``relative`` that have no child left; one that gets a new child meanwhile stays."""
    while "/" in relative:
        relative = relative.rpartition("/")[0]
        if not _remove_one(f"{base}/{relative}"):
            return


def _remove_one(path: str) -> bool:
    """Remove one group; False while it is in use. rmdir(2) is atomic against a new child and against a new process."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


def wait_until(done: Callable[[], bool], *, timeout_s: float) -> bool:
    """Ask ``done`` until it says yes, with pauses from 0.2 to 10 ms; False when ``timeout_s`` seconds have passed."""
    deadline = time.monotonic() + timeout_s
    pause = 0.0002
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.01)
    return True


def wait_event(path: str, name: str, value: int, *, timeout_s: float) -> bool:
    """Wait until the line ``name`` of ``path`` (cgroup.events) says ``value``; the kernel tells of each change, nothing is asked twice.

    False when ``timeout_s`` seconds have passed; True also when the group is gone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        return _await_line(descriptor, f"{name} {value}", time.monotonic() + timeout_s)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return True
    finally:
        os.close(descriptor)


def _await_line(descriptor: int, line: str, deadline: float) -> bool:
    """Read the file again after each change until it has ``line``."""
    changes = select.poll()
    changes.register(descriptor, select.POLLPRI)
    while line not in os.pread(descriptor, 4096, 0).decode().splitlines():
        left_ms = (deadline - time.monotonic()) * 1000
        if left_ms <= 0 or not changes.poll(left_ms):
            return False
    return True


def describe(pids: Iterable[int]) -> str:
    """Return process ids in words, the first few only."""
    numbers = list(pids)
    shown = ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")
    if not numbers:
        return "no visible process"
    return f"process {shown}" if len(numbers) == 1 else f"processes {shown}"


def is_delegated(directory: str) -> bool:
    """Tell whether systemd has marked this group as given away, to others than the user's own manager."""
    name = os.path.basename(directory)
    if name.startswith("user@") and name.endswith(".service"):
        return False
    try:
        return os.getxattr(directory, "user.delegate") == b"1"
    except OSError:
        return False
