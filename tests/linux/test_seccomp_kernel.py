"""The default filter in the real kernel: what is refused and how, and that ordinary programs do not notice it."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import need

ROOT = Path(__file__).resolve().parents[2]

BLOCKED = """
    acct add_key bpf fsopen init_module io_uring_setup kexec_load keyctl mount move_pages open_by_handle_at open_tree perf_event_open
    pivot_root quotactl request_key sethostname setns swapon syslog umount2 unshare userfaultfd vhangup
"""

LIBRARIES = """
import asyncio, multiprocessing, socket, sqlite3, ssl, subprocess, threading
sqlite3.connect("database").execute("create table t(a)")
subprocess.run(["true"], check=True)
asyncio.run(asyncio.sleep(0))
thread = threading.Thread(target=print)
thread.start()
thread.join()
process = multiprocessing.get_context("fork").Process(target=print)
process.start()
process.join()
assert process.exitcode == 0
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    pass
"""

PREPARE = """
import sys
sys.path.insert(0, sys.argv[1])
from notebook_containers.linux import syscalls
from notebook_containers.linux.seccomp import compile_profile, default_profile
program = compile_profile(default_profile(frozenset({"CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT"})))
syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.seccomp_set_filter(program)
"""

CALLS = """
import ctypes, json
from notebook_containers.linux.seccomp_numbers import numbers
import os
table = numbers(os.uname().machine)
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    number = name if isinstance(name, int) else table[name]
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(a) for a in args))
    return ctypes.get_errno() if result == -1 else 0
print(json.dumps([call(*wanted) for wanted in json.loads(sys.argv[2])]))
"""


def filtered(script: str, *args: str) -> str:
    """Run Python code behind the filter in a process of its own; return what it printed."""
    command = [sys.executable, "-c", PREPARE + script, str(ROOT), *args]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def errors(*calls: tuple[object, ...]) -> list[int]:
    """Return the errno of each call (0 for success)."""
    return list(map(int, json.loads(filtered(CALLS, json.dumps(calls)))))


def test_rt22_the_filter_is_loaded() -> None:
    status = filtered("print(open('/proc/self/status').read())")
    assert "Seccomp:\t2\n" in status
    assert "NoNewPrivs:\t1\n" in status


@pytest.mark.parametrize(
    "name",
    BLOCKED.split(),
)
def test_rt22_blocked_calls(name: str) -> None:
    assert errors((name, 0, 0, 0, 0, 0)) == [errno.EPERM]


def test_rt22_unknown_calls_do_not_exist() -> None:
    assert errors((999,), ("clone3", 0, 0), ("statmount", 0, 0), ("open_tree_attr", 0, 0)) == [errno.ENOSYS] * 4


def test_rt22_namespaces_by_clone() -> None:
    flags = (0x10000000, 0x20000, 0x40000000 | 17, (1 << 32) | 0x10000000)
    assert errors(*(("clone", f, 0, 0, 0, 0) for f in flags)) == [errno.EPERM] * len(flags)


def test_rt24_typing_into_the_terminal() -> None:
    """The refused request does not even look at the descriptor; its neighbour does (EBADF)."""
    requests = (0x5412, (1 << 32) | 0x5412, 0x541C, 0x5413)
    assert errors(*(("ioctl", 999, r, 0) for r in requests)) == [errno.EPERM, errno.EPERM, errno.EPERM, errno.EBADF]


def test_rt27_socket_families() -> None:
    """AF_ALG (38), AF_VSOCK (40), old ones; unix, internet and netlink work."""
    refused = (38, 40, 3, 4, 5, 9, 12, 21, 30, 44)
    assert errors(*(("socket", family, 1, 0) for family in refused)) == [errno.EPERM] * len(refused)
    assert errors(("socket", 1, 1, 0), ("socket", 2, 1, 0), ("socket", 2, 2, 0), ("socket", 16, 3, 0)) == [0] * 4


def test_rt22_i386_and_x32() -> None:
    """``int 0x80`` with getpid, and getpid with the x32 bit: neither reaches the kernel's table."""
    need(platform.machine() == "x86_64", "x86_64")
    script = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex("53b814000000cd805bc3"))
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print(call())
"""
    assert int(filtered(script)) == -errno.ENOSYS
    assert errors((0x40000000 | 39,)) == [errno.ENOSYS]


@pytest.mark.parametrize(
    "command",
    [
        "true",
        "echo one | cat | grep one | sed s/one/two/ | awk '{print $1}'",
        "ls -la / /proc/self >/dev/null && find /etc -maxdepth 1 >/dev/null && id && stat /",
        "tar -C /etc -cf - passwd group | gzip | gzip -d | tar -tf -",
        "cp -a /etc/passwd here && chmod 640 here && touch -d @0 here && ln here hard && ln -s here soft && mv hard soft",
        f"python3 - <<'END'{LIBRARIES}END",
        "python3 -m venv --without-pip v && v/bin/python -c 'print(1)'",
        "timeout 5 sleep 0.01 && nice true && nohup true && setsid -w true",
    ],
)
def test_programs_run_behind_the_filter(command: str, tmp_path: Path) -> None:
    script = "import os\nos.chdir(sys.argv[3])\nos.execv('/bin/sh', ['sh', '-ec', sys.argv[2]])"
    filtered(script, command, str(tmp_path))


@pytest.mark.root
@pytest.mark.needs("useradd")
def test_a_user_can_be_added_behind_the_filter(tmp_path: Path) -> None:
    """useradd locks, opens an audit socket, copies and changes owners: in a copy of /etc."""
    (tmp_path / "etc").mkdir()
    for name in ("passwd", "group", "shadow", "gshadow", "login.defs"):
        if os.path.exists(f"/etc/{name}"):
            shutil.copy(f"/etc/{name}", tmp_path / "etc" / name)
    script = "import os\nos.execvp('useradd', ['useradd', '--prefix', sys.argv[2], '-M', 'nbc-somebody'])"
    filtered(script, str(tmp_path))
    assert "nbc-somebody:" in (tmp_path / "etc/passwd").read_text()


@pytest.mark.root
@pytest.mark.needs("dpkg-deb")
def test_a_package_can_be_unpacked_behind_the_filter(tmp_path: Path) -> None:
    package = tmp_path / "in"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN/control").write_text("Package: x\nVersion: 1\nArchitecture: all\nMaintainer: n\nDescription: n\n")
    (package / "file").write_text("content")
    script = "import os\nos.chdir(sys.argv[2])\nos.execv('/bin/sh', ['sh', '-ec', 'dpkg-deb -b in x.deb && dpkg-deb -x x.deb out'])"
    filtered(script, str(tmp_path))
    assert (tmp_path / "out/file").read_text() == "content"
