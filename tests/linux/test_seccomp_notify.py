"""A filter that tells of what it refuses: it decides as the plain one does, and nobody behind it gets anything through."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from notebook_containers.linux.seccomp import compile_profile, default_profile
from notebook_containers.linux.seccomp_notify import telling
from notebook_containers.linux.seccomp_numbers import numbers
from tests.linux import bpf
from tests.linux.test_seccomp import EPERM, SAMPLES

ROOT = Path(__file__).resolve().parents[2]
NOTIFY, BUSY = 0x7FC00000, 0x50000 | errno.EBUSY
OWN = {"x86_64": bpf.X86_64, "aarch64": bpf.AARCH64}[os.uname().machine]
NEW_LISTENER = 8

# A first process behind the filter hands its listener to this one, which answers as the test says; the first then tells what it got.
BEHIND = """
import ctypes, json, os, select, socket, sys
sys.path.insert(0, sys.argv[1])
from notebook_containers.linux import process, seccomp_notify, syscalls
from notebook_containers.linux.seccomp import compile_profile, default_profile
from notebook_containers.linux.seccomp_numbers import numbers
table = numbers(os.uname().machine)
libc = ctypes.CDLL(None, use_errno=True)
program = seccomp_notify.telling(compile_profile(default_profile(frozenset())))
assert program
def call(name, *args):
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(table[name]), *(ctypes.c_ulong(a) for a in args)) == -1 else 0
def behind(channel):
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    listener = syscalls.seccomp_listen(program)
    process.send_fds(channel, b"l", [listener])
    os.close(listener)
    if channel.recv(1) != b"g":
        os._exit(1)
    {body}
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
child = os.fork()
if child == 0:
    ours.close()
    behind(theirs)
    os._exit(0)
theirs.close()
_, (listener,) = process.recv_fds(ours, 16, 1)
{listening}
"""

ANSWERING = """
ours.send(b"g")
seen = []
poll = select.poll()
poll.register(listener, select.POLLIN)
while poll.poll(30_000) and not seccomp_notify.gone(listener):
    seen.append(seccomp_notify.refuse_next(listener))
print(json.dumps([[name for number in seen for name in table if table[name] == number], json.loads(ours.recv(4096))]))
os.waitpid(child, 0)
"""

NOBODY = """
os.close(listener)
ours.send(b"g")
print(ours.recv(4096).decode())
os.waitpid(child, 0)
"""


def behind(body: str, listening: str) -> list[object]:
    script = BEHIND.replace("{body}", body.strip().replace("\n", "\n    ")).replace("{listening}", listening)
    command = [sys.executable, "-c", script, str(ROOT)]
    return list(json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout))


@pytest.mark.parametrize("capabilities", [(), ("CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF")])
def test_rt22_it_decides_as_the_plain_one_and_tells_of_what_that_answers_with_eperm(capabilities: tuple[str, ...]) -> None:
    plain = compile_profile(default_profile(frozenset(capabilities)))
    told = telling(plain)
    for number in (*range(601), 1 << 30, (1 << 30) + 39):
        for arch in (bpf.X86_64, bpf.I386, bpf.AARCH64):
            for value in SAMPLES:
                expected = bpf.decide(plain, number, *[value] * 6, arch=arch)
                if number == numbers(os.uname().machine)["seccomp"] and value & NEW_LISTENER:
                    expected = BUSY
                elif expected == EPERM:
                    expected = NOTIFY
                assert bpf.decide(told, number, *[value] * 6, arch=arch) == expected, f"{number} {value:#x}"


def test_rt22_a_listener_of_its_own_is_refused_with_any_other_flags_and_a_high_half() -> None:
    told, number = telling(compile_profile(default_profile(frozenset()))), numbers(os.uname().machine)["seccomp"]
    for other in (0, 1, 2, 4, 16, 32, 1 << 32, 0xFFFFFFF7):
        assert bpf.decide(told, number, 1, other | NEW_LISTENER, arch=OWN) == BUSY
        assert bpf.decide(told, number, 1, other & ~NEW_LISTENER, arch=OWN) == bpf.ALLOW


@pytest.mark.parametrize(
    "profile",
    [
        {"defaultAction": "SCMP_ACT_ALLOW"},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["sendmsg", "mount"], "action": "SCMP_ACT_ERRNO"}]},
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read", "write", "execve"], "action": "SCMP_ACT_ALLOW"}]},
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 2, "value": 4, "op": "SCMP_CMP_EQ"}]}],
        },
    ],
)
def test_there_is_none_where_nothing_is_to_be_told_or_the_listener_could_not_be_handed_over(profile: dict[str, object]) -> None:
    assert telling(compile_profile(profile)) == b""
    assert telling(b"") == b""


def test_rt22_refused_calls_get_eperm_and_are_named_also_of_children() -> None:
    body = """
found = [call("unshare", 0x10000000), call("setns", 0, 0), call("getpid")]
other = os.fork()
if other == 0:
    call("swapon", 0, 0)
    os._exit(0)
os.waitpid(other, 0)
channel.send(json.dumps(found).encode())
"""
    assert behind(body, ANSWERING) == [["unshare", "setns", "swapon"], [errno.EPERM, errno.EPERM, 0]]


def test_rt22_nobody_gets_anything_through_when_the_listener_is_gone() -> None:
    """A newer filter with a listener of its own could say "go on" to what this one leaves to its listener: there can be none."""
    body = """
import struct
allow = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
buffer = ctypes.create_string_buffer(allow, 8)
header = (ctypes.c_uint64 * 2)(1, ctypes.addressof(buffer))
found = [call("unshare", 0x10000000)]
found += [call("seccomp", 1, flags, ctypes.addressof(header)) for flags in (8, 8 | 1 << 32, 8 | 16, 0)]
found += [call("unshare", 0x10000000)]
channel.send(json.dumps(found).encode())
"""
    assert behind(body, NOBODY) == [errno.ENOSYS, *[errno.EBUSY] * 3, 0, errno.ENOSYS]


def test_a_call_that_a_signal_interrupts_or_kills_is_no_trouble_to_who_answers() -> None:
    body = """
import signal
other = os.fork()
if other == 0:
    while True:
        call("setns", 0, 0)
import time
channel.send(b"[]")
time.sleep(0.1)
os.kill(other, signal.SIGKILL)
os.waitpid(other, 0)
"""
    seen, _ = behind(body, ANSWERING)
    assert isinstance(seen, list)
    assert set(seen) == {"setns"}


def test_thousands_of_refused_calls_are_all_answered_but_more_slowly_in_the_end() -> None:
    body = """
found = {call("setns", 0, 0) for number in range(10_600)}
call("unshare", 0x10000000)
channel.send(json.dumps([*found]).encode())
"""
    listening = """
import time
from notebook_containers.runtime.denials import Denials
from notebook_containers.runtime.loop import READ, Loop
loop, told = Loop(), []
denials = Denials(loop)
denials.listen(listener)
loop.watch(ours.fileno(), READ, lambda fd: told.append(json.loads(ours.recv(4096))))
ours.send(b"g")
slow = 0
while not told:
    due = denials.due()
    if due and due <= time.monotonic():
        denials.go_on()
        slow += 1
    loop.turn(max(0.0, due - time.monotonic()) if due else 30)
print(json.dumps([denials.end()["refused"], told[0], slow]))
os.waitpid(child, 0)
"""
    assert behind(body, listening) == [["unshare", "setns"], [errno.EPERM], 2]
