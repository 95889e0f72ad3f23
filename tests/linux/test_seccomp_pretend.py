"""What cannot be done with one id is answered as done, and nothing else changes."""

from __future__ import annotations

import os
import stat

import pytest

from notebook_containers.linux.seccomp import compile_profile, default_profile
from notebook_containers.linux.seccomp_numbers import numbers
from notebook_containers.linux.seccomp_pretend import IDENTITIES, OWNERS, pretend
from tests.linux import bpf

DONE, ALLOW = bpf.ERRNO, bpf.ALLOW
MACHINES = {"x86_64": bpf.X86_64, "aarch64": bpf.AARCH64}


def decide(program: bytes, machine: str, name: str, *arguments: int) -> int:
    return bpf.decide(program, numbers(machine)[name], *arguments, arch=MACHINES[machine])


@pytest.mark.parametrize("machine", MACHINES)
def test_owners_and_identities_are_done(machine: str) -> None:
    program = compile_profile(pretend(default_profile(frozenset(), machine=machine)), machine=machine)
    for name in (*OWNERS, *IDENTITIES):
        if name in numbers(machine):
            assert decide(program, machine, name, 5, 6, 7) == DONE, name


@pytest.mark.parametrize("machine", MACHINES)
def test_devices_are_done_and_other_nodes_are_made(machine: str) -> None:
    program = compile_profile(pretend(default_profile(frozenset(), machine=machine)), machine=machine)
    for name, index in (("mknod", 1), ("mknodat", 2)):
        if name not in numbers(machine):
            continue
        for kind, answer in (
            (stat.S_IFCHR, DONE),
            (stat.S_IFBLK, DONE),
            (stat.S_IFIFO, ALLOW),
            (stat.S_IFREG, ALLOW),
            (stat.S_IFSOCK, ALLOW),
            (0, ALLOW),
        ):
            assert decide(program, machine, name, *([0] * index), kind | 0o644) == answer, (name, kind)


@pytest.mark.parametrize("machine", MACHINES)
def test_everything_else_is_as_before(machine: str) -> None:
    before = compile_profile(default_profile(frozenset(), machine=machine), machine=machine)
    after = compile_profile(pretend(default_profile(frozenset(), machine=machine)), machine=machine)
    for name in numbers(machine):
        if name not in (*OWNERS, *IDENTITIES, "mknod", "mknodat"):
            assert decide(before, machine, name) == decide(after, machine, name), name


def test_in_front_of_everything_allowed() -> None:
    program = compile_profile(pretend(None), machine="x86_64")
    assert decide(program, "x86_64", "chown") == DONE
    assert decide(program, "x86_64", "openat") == ALLOW


def test_a_rule_that_allowed_more_names_keeps_the_others() -> None:
    mine = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["chown", "read"], "action": "SCMP_ACT_ALLOW"}]}
    program = compile_profile(pretend(mine), machine="x86_64")
    assert decide(program, "x86_64", "read") == ALLOW
    assert decide(program, "x86_64", "chown") == DONE


def test_the_kernel_answers_so(tmp_path: os.PathLike[str]) -> None:
    pid = os.fork()
    if pid == 0:
        from notebook_containers.linux import syscalls

        path = f"{tmp_path}/f"
        os.close(os.open(path, os.O_CREAT, 0o600))
        owner = os.stat(path).st_uid
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.seccomp_set_filter(compile_profile(pretend(None)))
        os.chown(path, 12345, 12345)
        os.setresuid(12345, 12345, 12345)
        os.mknod(f"{tmp_path}/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mkfifo(f"{tmp_path}/pipe")
        good = os.stat(path).st_uid == owner and not os.path.exists(f"{tmp_path}/null") and os.path.exists(f"{tmp_path}/pipe")
        os._exit(0 if good else 1)
    assert os.waitpid(pid, 0)[1] == 0
