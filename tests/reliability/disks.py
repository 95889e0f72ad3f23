"""Small ext4 file systems in files in memory: what a power cut leaves of one is a copy of its file, taken while somebody works on it.

The file system writes to its file only when something is synced (it commits by itself only after 1000 s), and a loop device's writes
are in the file as soon as they are done. So a copy made at some moment holds what a disk would hold that lost its power then.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notebook_containers.linux import syscalls

_GET_FREE, _CONFIGURE, _AUTOCLEAR = 0x4C82, 0x4C0A, 4
_LOOP_MAJOR = 7
_IN_FLIGHT = 8
_INFO_BYTES, _FLAGS_AT = 232, 52
MIB = 1 << 20


def make_ext4(file: Path, *, size_mib: int = 24, inodes: int = 0) -> None:
    """Make an empty file system in a new file; without ``inodes`` it has more than it can use."""
    file.unlink(missing_ok=True)
    with open(file, "wb") as image:
        image.truncate(size_mib * MIB)
    few = ["-N", str(inodes)] if inodes else []
    subprocess.run(["mkfs.ext4", "-q", "-F", "-J", "size=4", "-I", "256", "-m", "0", *few, str(file)], check=True)


@contextmanager
def mounted(file: Path, point: Path) -> Iterator[str]:
    """Mount it while the block runs (the journal is replayed, as after a boot); yields the loop device's name."""
    device = _attach(file)
    try:
        syscalls.mount(f"/dev/{device[0]}", str(point), "ext4", 0, "commit=1000,data=ordered")
    finally:
        os.close(device[1])  # the mount holds it now; it goes with the last mount
    try:
        yield device[0]
    finally:
        _unmount(point)


def copy_during(file: Path, target: Path, device: str, pid: int) -> None:
    """Copy the file as it is at this moment, while ``pid`` works on it: that is stopped until what the kernel still writes is done."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        copy_quiet(file, target, device)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def copy_quiet(file: Path, target: Path, device: str) -> None:
    """Copy the file as it is at one moment: again, while the kernel wrote something meanwhile."""
    while True:
        before = _quiet(device)
        copy(file, target)
        if _statistics(device) == before and before[_IN_FLIGHT] == "0":
            return


def copy(file: Path, target: Path) -> None:
    """Copy a file, holes as holes.

    A target that is there is replaced, not overwritten: a mount name space that somebody else made meanwhile may still have it mounted.
    """
    target.unlink(missing_ok=True)
    with open(file, "rb") as source, open(target, "wb") as copied:
        size = os.fstat(source.fileno()).st_size
        copied.truncate(size)
        start = 0
        while start < size:
            try:
                start = os.lseek(source.fileno(), start, os.SEEK_DATA)
            except OSError:  # only a hole is left
                return
            end = os.lseek(source.fileno(), start, os.SEEK_HOLE)
            os.lseek(source.fileno(), start, os.SEEK_SET)
            os.lseek(copied.fileno(), start, os.SEEK_SET)
            while start < end:
                start += os.sendfile(copied.fileno(), source.fileno(), None, end - start)


def _statistics(device: str) -> list[str]:
    return Path(f"/sys/block/{device}/stat").read_text().split()


def _quiet(device: str) -> list[str]:
    """Wait until nothing is being written; return the device's counters."""
    found = _statistics(device)
    for _ in range(2000):
        time.sleep(0.0005)
        last, found = found, _statistics(device)
        if found == last and found[_IN_FLIGHT] == "0":
            break
    return found


def _attach(file: Path) -> tuple[str, int]:
    """Attach a file to a loop device that is freed with its last user; return its name and a descriptor that is one."""
    info = bytearray(_INFO_BYTES)
    struct.pack_into("I", info, _FLAGS_AT, _AUTOCLEAR)
    with open(file, "r+b") as image, open("/dev/loop-control", "rb") as control:
        order = struct.pack("II", image.fileno(), 0) + bytes(info) + bytes(64)
        for _ in range(100):
            name = f"loop{fcntl.ioctl(control.fileno(), _GET_FREE)}"
            if not os.path.exists(f"/dev/{name}"):  # no devtmpfs here (a container): the node is made by hand
                number = int(name.removeprefix("loop"))
                os.mknod(f"/dev/{name}", 0o600 | 0o060000, os.makedev(_LOOP_MAJOR, number))
            fd = os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, _CONFIGURE, order)
            except OSError as err:
                os.close(fd)
                if err.errno != errno.EBUSY:  # somebody else was quicker
                    raise
            else:
                return name, fd
    raise OSError(errno.EBUSY, "no loop device is to be had")


def _unmount(point: Path) -> None:
    for _ in range(200):
        try:
            syscalls.umount2(str(point))
        except OSError as err:
            if err.errno != errno.EBUSY:
                raise
            time.sleep(0.01)
        else:
            return
    syscalls.umount2(str(point))
