"""A file system that keeps whoever asks waiting: a process that looks at a name in it cannot be killed until it is answered.

FUSE by its raw protocol (linux/fuse.h), served by one process that stops itself once it has read a question about ``never``. The
kernel has handed the question over then, and lets nobody give up waiting (request_wait_answer in fs/fuse/dev.c). SIGCONT answers it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOKUP, FORGET, GETATTR, STATFS, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 17, 26, 36, 42
OPENDIR, RELEASEDIR, READDIR, ACCESS = 27, 29, 28, 34
HEADER = struct.Struct("<IIQQIIIHH")  # length, opcode, unique, node, uid, gid, pid, extension, padding
ANSWER = struct.Struct("<IiQ")  # length, error, unique
ENOENT, ENOSYS = 2, 38
MNT_DETACH = 2


@contextmanager
def unanswered(place: Path) -> Iterator[subprocess.Popen[str]]:
    """Mount it at the directory ``place``; yields its server, which ends (and lets everybody go) with the block."""
    server = subprocess.Popen(
        [sys.executable, __file__, str(place)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "mounted\n"
        yield server
    finally:
        server.kill()
        server.communicate()
        ctypes.CDLL(None).umount2(os.fsencode(place), MNT_DETACH)


def attributes() -> bytes:
    """The root directory's, as ``struct fuse_attr``."""
    times = (0, 0, 0, 0, 0, 0)
    return struct.pack("<QQQQQQIIIIIIIIII", 1, 0, 0, *times[:3], *times[3:], stat.S_IFDIR | 0o755, 2, 0, 0, 0, 4096, 0)


def answer(opcode: int, name: bytes) -> tuple[int, bytes]:
    """Return error and payload for one question."""
    if opcode == INIT:
        return 0, struct.pack("<IIIIHHIIHHIIIHH", 7, 23, 0, 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0)[:24]
    if opcode == GETATTR:
        return 0, struct.pack("<QII", 0, 0, 0) + attributes()
    if opcode == STATFS:
        return 0, bytes(80)
    if opcode == OPENDIR:
        return 0, bytes(16)
    if opcode in (READDIR, RELEASEDIR, ACCESS):
        return 0, b""
    if opcode == LOOKUP:
        if name == b"never":
            os.kill(os.getpid(), signal.SIGSTOP)
        return -ENOENT, b""
    return -ENOSYS, b""


def main(place: str) -> None:
    """Mount and serve until the mount is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"unanswered", os.fsencode(place), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)
    print("mounted", flush=True)
    while True:
        question = os.read(device, 1 << 17)
        _length, opcode, unique, *_rest = HEADER.unpack_from(question)
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        error, payload = answer(opcode, question[HEADER.size :].rstrip(b"\0"))
        try:
            os.write(device, ANSWER.pack(ANSWER.size + len(payload), error, unique) + payload)
        except FileNotFoundError:
            continue  # whoever asked is not waiting any more


if __name__ == "__main__":
    main(sys.argv[1])
