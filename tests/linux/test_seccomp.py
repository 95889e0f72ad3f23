"""The compiler against the interpreter: what a program decides for every number, ABI and argument sample."""

from __future__ import annotations

import itertools
import operator
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from notebook_containers.linux.seccomp import compile_profile, default_profile, program_key, resolve_profile
from notebook_containers.linux.seccomp_docker import resolve
from notebook_containers.linux.seccomp_numbers import numbers
from tests.linux import bpf
from tests.needs import need

EPERM, ENOSYS = bpf.ERRNO | 1, bpf.ERRNO | 38
CAPABILITIES = frozenset({"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_CHROOT", "CAP_KILL"})
SAMPLES = (0, 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 0x5412, (1 << 32) + 0x5412, (1 << 63), -1)
MACHINES = {"x86_64": bpf.X86_64, "aarch64": bpf.AARCH64}


def words(text: str) -> list[str]:
    return text.split()


# Docker's list for these capabilities blocks exactly these of the calls that Linux 6.1 has.
BLOCKED = words("""
    acct add_key afs_syscall bpf clock_settime clone3 create_module delete_module init_module finit_module fanotify_init fsconfig fsmount
    fsopen fspick get_kernel_syms get_mempolicy getpmsg io_uring_setup io_uring_enter io_uring_register ioperm iopl kcmp kexec_load
    kexec_file_load keyctl lookup_dcookie mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl open_by_handle_at
    open_tree perf_event_open pidfd_getfd pivot_root process_madvise putpmsg query_module quotactl quotactl_fd reboot request_key
    security set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday swapoff swapon sysfs _sysctl syslog
    tuxcall umount2 unshare uselib userfaultfd ustat vhangup vserver
""")
ABSENT = words("clone3 listmount listns lsm_get_self_attr lsm_list_modules lsm_set_self_attr open_tree_attr statmount")
BY_ARGUMENT = ("clone", "socket", "socketpair", "personality", "ioctl")


@pytest.fixture(scope="module", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def default(machine: str = "x86_64", *more: str) -> bytes:
    return compile_profile(default_profile(CAPABILITIES | frozenset(more), machine=machine), machine=machine)


def one(name: str, *args: dict[str, object], action: str = "SCMP_ACT_ALLOW") -> bytes:
    rule = {"names": [name], "action": action, "args": list(args)}
    return compile_profile({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}, machine="x86_64")


def argument(index: int, op: str, value: int, second: int = 0) -> dict[str, object]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": second}


def test_default_decides_every_number_of_its_own_abi(machine: str) -> None:
    """RT-22: allowed, EPERM, and ENOSYS for what is newer than the table."""
    program, table = default(machine), numbers(machine)
    names = {number: name for name, number in table.items()}
    for number in range(601):
        name = names.get(number, "")
        if name in BY_ARGUMENT:
            continue
        expected = EPERM if name in (*BLOCKED, "uprobe") else bpf.ALLOW
        if not name or name in ABSENT:
            expected = ENOSYS
        for value in SAMPLES:
            found = bpf.decide(program, number, *[value] * 6, arch=MACHINES[machine])
            assert found == expected, f"{number} {name}: {found:#x}"


def test_default_refuses_other_abis(machine: str) -> None:
    """RT-22: i386, x32 and the other architecture see no call at all."""
    program = default(machine)
    for arch in {bpf.X86_64, bpf.I386, bpf.AARCH64} - {MACHINES[machine]}:
        assert {bpf.decide(program, number, value, arch=arch) for number in range(601) for value in (0, 1)} == {ENOSYS}
    x32 = (0x40000000 | number for number in (*range(601), 0x3FFFFFFF, 0xBFFFFFFF))
    assert {bpf.decide(program, number, arch=MACHINES[machine]) for number in x32} == {ENOSYS}


def test_x32_is_refused_where_everything_is_allowed() -> None:
    program = compile_profile({"defaultAction": "SCMP_ACT_ALLOW"}, machine="x86_64")
    assert bpf.decide(program, 39) == bpf.ALLOW
    assert bpf.decide(program, 5000) == bpf.ALLOW
    assert bpf.decide(program, 0x40000000 | 39) == ENOSYS
    assert bpf.decide(program, 20, arch=bpf.I386) == ENOSYS


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_default_terminal_ioctls(machine: str, high: int) -> None:
    """RT-24: TIOCSTI and TIOCLINUX with any high half; every neighbour goes through."""
    program, number = default(machine), numbers(machine)["ioctl"]
    requests = [*range(0x5400, 0x5440), 0, 0xFFFFFFFF, 0x80045430, 0x8912, 0x541B]
    denied = {r for r in requests if bpf.decide(program, number, 0, high | r, arch=MACHINES[machine]) == EPERM}
    assert denied == {0x5412, 0x541C}


@pytest.mark.parametrize("high", [0, 1 << 32])
def test_default_socket_families(machine: str, high: int) -> None:
    """RT-27: AF_ALG, AF_VSOCK and the old families are out."""
    program, number = default(machine), numbers(machine)["socket"]
    allowed = {f for f in range(64) if bpf.decide(program, number, high | f, 1, 0, arch=MACHINES[machine]) == bpf.ALLOW}
    assert allowed == {1, 2, 10, 16, 17}


def test_default_clone_flags(machine: str) -> None:
    program, number = default(machine), numbers(machine)["clone"]
    for bit in range(64):
        found = bpf.decide(program, number, 1 << bit | 17, arch=MACHINES[machine])
        forbidden = 1 << bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
        assert found == (EPERM if forbidden else bpf.ALLOW), f"bit {bit}"


def test_default_personalities(machine: str) -> None:
    program, number = default(machine), numbers(machine)["personality"]
    values = (0, 1, 8, 9, 0x20000, 0x20008, 0x40000, 0x0400000, 0xFFFFFFFF, -1)
    allowed = [v for v in values if bpf.decide(program, number, v, arch=MACHINES[machine]) == bpf.ALLOW]
    assert allowed == [0, 8, 0x20000, 0x20008, 0xFFFFFFFF, -1]


@pytest.mark.parametrize(
    ("capability", "calls"),
    [
        ("CAP_SYS_ADMIN", "mount umount2 unshare setns clone3 fsopen statmount open_tree_attr bpf"),
        ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
        ("CAP_SYS_TIME", "settimeofday clock_settime"),
        ("CAP_SYS_NICE", "mbind get_mempolicy"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("SYSLOG", "syslog"),
    ],
)
def test_capabilities_open_their_calls(capability: str, calls: str) -> None:
    before, after, table = default(), default("x86_64", capability), numbers("x86_64")
    for name in calls.split():
        assert bpf.decide(before, table[name]) in (EPERM, ENOSYS), name
        assert bpf.decide(after, table[name]) == bpf.ALLOW, name
    namespaces = bpf.decide(after, table["clone"], 0x10000000)
    assert namespaces == (bpf.ALLOW if capability == "CAP_SYS_ADMIN" else EPERM)
    assert bpf.decide(after, table["io_uring_setup"]) == EPERM


def test_chroot_needs_its_capability() -> None:
    without = compile_profile(default_profile(frozenset(), machine="x86_64"), machine="x86_64")
    assert bpf.decide(without, numbers("x86_64")["chroot"]) == EPERM
    assert bpf.decide(default(), numbers("x86_64")["chroot"]) == bpf.ALLOW


WIDE = (0, 1, 5, (1 << 31), (1 << 32) - 1, 1 << 32, (5 << 32) | 5, (5 << 32) | 6, (6 << 32), (1 << 63), (1 << 64) - 1)
ORDERS: dict[str, Callable[[int, int], bool]] = {
    "EQ": operator.eq, "NE": operator.ne, "LT": operator.lt, "LE": operator.le, "GT": operator.gt, "GE": operator.ge,
}  # fmt: skip


@pytest.mark.parametrize("op", ORDERS)
@pytest.mark.parametrize(("name", "index", "mask"), [("read", 2, (1 << 64) - 1), ("socket", 0, (1 << 32) - 1), ("mmap", 5, (1 << 64) - 1)])
def test_comparisons_of_64_and_32_bits(op: str, name: str, index: int, mask: int) -> None:
    """All 64 bits count, but for arguments that the kernel reads as int the low 32."""
    for value in WIDE:
        program = one(name, argument(index, op, value))
        for sample in WIDE:
            args = [0] * 6
            args[index] = sample
            found = bpf.decide(program, numbers("x86_64")[name], *args) == bpf.ALLOW
            assert found == ORDERS[op](sample & mask, value & mask), f"{sample:#x} {op} {value:#x}"


@pytest.mark.parametrize(("mask", "wanted"), [(0xFF, 5), (0xFF << 32, 5 << 32), ((1 << 64) - 1, 7), (0x10000000F, 0x100000005), (0, 0)])
def test_masked_comparison(mask: int, wanted: int) -> None:
    program = one("read", argument(0, "MASKED_EQ", mask, wanted))
    for sample in (*WIDE, 7, 0x105, 0x100000105):
        assert (bpf.decide(program, 0, sample) == bpf.ALLOW) == (sample & mask == wanted), f"{sample:#x}"


def test_all_arguments_of_a_rule_must_match() -> None:
    program = one("mmap", argument(0, "EQ", 3), argument(3, "LT", 1 << 40), argument(5, "NE", 9))
    for first, fourth, last in itertools.product((3, 4), (0, 1 << 40), (8, 9)):
        found = bpf.decide(program, 9, first, 0, 0, fourth, 0, last) == bpf.ALLOW
        assert found == (first == 3 and fourth == 0 and last == 8)


def test_an_argument_compared_twice_needs_one_match() -> None:
    program = one("read", argument(0, "EQ", 3), argument(0, "EQ", 5))
    assert [n for n in range(8) if bpf.decide(program, 0, n) == bpf.ALLOW] == [3, 5]


def test_rules_of_one_call() -> None:
    """The first match counts among rules with arguments, and one without arguments counts before all of them."""
    first = {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": [argument(0, "LT", 5)]}
    second = {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [argument(0, "LT", 9)]}
    always = {"names": ["read"], "action": "SCMP_ACT_KILL_PROCESS"}
    profile: dict[str, object] = {"defaultAction": "SCMP_ACT_TRAP", "syscalls": [first, second]}
    program = compile_profile(profile, machine="x86_64")
    assert [bpf.decide(program, 0, n) for n in (4, 5, 9)] == [bpf.ERRNO | 5, bpf.ALLOW, bpf.TRAP]
    program = compile_profile({**profile, "syscalls": [first, second, always]}, machine="x86_64")
    assert bpf.decide(program, 0, 4) == bpf.KILL_PROCESS


@pytest.mark.parametrize(
    ("action", "errno_return", "expected"),
    [
        ("SCMP_ACT_ERRNO", None, bpf.ERRNO | 1),
        ("SCMP_ACT_ERRNO", 0, bpf.ERRNO),
        ("SCMP_ACT_ERRNO", 95, bpf.ERRNO | 95),
        ("SCMP_ACT_LOG", None, bpf.LOG),
        ("SCMP_ACT_TRACE", 7, bpf.TRACE | 7),
        ("SCMP_ACT_KILL", None, bpf.KILL_THREAD),
        ("SCMP_ACT_KILL_THREAD", 3, bpf.KILL_THREAD),
    ],
)
def test_actions(action: str, errno_return: int | None, expected: int) -> None:
    profile: dict[str, object] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "no_such_call"], "action": action, "errnoRet": errno_return}],
    }
    program = compile_profile(profile, machine="x86_64")
    assert bpf.decide(program, numbers("x86_64")["mkdir"]) == expected
    assert bpf.decide(program, numbers("x86_64")["rmdir"]) == bpf.ALLOW


def test_default_errno_is_the_profiles() -> None:
    program = compile_profile({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}, machine="x86_64")
    assert bpf.decide(program, 0) == ENOSYS


def test_long_programs_jump_far() -> None:
    """Conditional jumps reach 255 instructions: every call with a rule of its own makes subtrees far longer."""
    rules = [
        {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": number % 4000, "args": [argument(1, "EQ", number)]}
        for name, number in numbers("x86_64").items()
    ]
    program = compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}, machine="x86_64")
    assert len(program) // 8 > 3000
    for number in numbers("x86_64").values():
        assert bpf.decide(program, number, 0, number) == bpf.ERRNO | number % 4000
        assert bpf.decide(program, number, 0, number + 1) == bpf.ALLOW


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "unsupported seccomp action: SCMP_ACT_NOTIFY"),
        ({}, "unsupported seccomp action: none given"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}, "the seccomp profile is for SCMP_ARCH_S390X"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6}]}]},
            "compares argument 6",
        ),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"op": "X"}]}]},
            "unknown comparison in the seccomp profile: SCMP_CMP_X",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]}, "not a list of objects with names"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": {"read": 1}}, "not a list of objects with names"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [5]}]},
            "an argument that is not an object",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X"]}}],
            },
            "in Docker's format",
        ),
    ],
)
def test_profiles_that_cannot_be_expressed(profile: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        compile_profile(profile, machine="x86_64")


def test_unknown_machine() -> None:
    with pytest.raises(ValueError, match="no system call table for riscv64"):
        compile_profile({"defaultAction": "SCMP_ACT_ALLOW"}, machine="riscv64")


def test_the_program_is_small_and_soon_made() -> None:
    """At most 300 instructions, 14 of them run for a call without arguments, compiled in 20 ms."""
    profile = default_profile(CAPABILITIES, machine="x86_64")
    start = time.perf_counter()
    program = compile_profile(profile, machine="x86_64")
    elapsed = time.perf_counter() - start
    assert len(program) // 8 < 300
    assert max(bpf.run(program, bpf.call(n)).steps for n in numbers("x86_64").values() if n not in (16, 41, 56)) <= 14
    assert elapsed < 0.02


def test_program_key_tells_profiles_apart() -> None:
    first, second = default_profile(CAPABILITIES), default_profile(CAPABILITIES | {"CAP_SYS_ADMIN"})
    assert program_key(first) == program_key(dict(reversed(first.items())))
    assert program_key(first) != program_key(second)
    assert re.fullmatch("[0-9a-f]{64}", program_key(first))


@pytest.mark.parametrize(("machine", "header"), [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h")])
def test_numbers_are_the_kernels(machine: str, header: str) -> None:
    need(Path(header).exists(), header)
    found = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", Path(header).read_text()))
    table = numbers(machine)
    assert {name: int(number) for name, number in found.items()}.items() <= table.items()


def test_numbers_of_arm64() -> None:
    table = numbers("aarch64")
    known = {"openat": 56, "read": 63, "ioctl": 29, "clone": 220, "execve": 221, "socket": 198, "wait4": 260, "kexec_file_load": 294}
    assert known.items() <= table.items()
    assert "open" not in table
    assert len(set(table.values())) == len(table)
    assert {"mseal": 462, "open_tree_attr": 467, "listns": 470}.items() <= table.items()


DOCKERS: dict[str, object] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {"name": "mkdir", "action": "SCMP_ACT_ALLOW", "comment": "the old form"},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [argument(0, "MASKED_EQ", 0x7E020000)],
            "excludes": {"caps": ["CAP_SYS_ADMIN"]},
        },
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    ],
}


@pytest.mark.parametrize(
    ("capabilities", "machine", "release", "expected"),
    [
        ((), "x86_64", "6.1.0-5-amd64", ["read", "write", "mkdir", "ptrace", "clone", "arch_prctl", "clone3"]),
        (("CAP_SYS_ADMIN",), "x86_64", "6.18", ["read", "write", "mkdir", "ptrace", "mount", "arch_prctl"]),
        ((), "aarch64", "4.7.9", ["read", "write", "mkdir", "clone", "clone3"]),
    ],
)
def test_dockers_format(capabilities: tuple[str, ...], machine: str, release: str, expected: list[str]) -> None:
    found = resolve(DOCKERS, frozenset(capabilities), machine=machine, release=release)
    rules = found["syscalls"]
    assert isinstance(rules, list)
    assert [name for rule in rules for name in rule["names"]] == expected
    assert not any({"includes", "excludes", "comment"} & set(rule) for rule in rules)
    program = compile_profile(found, machine=machine)
    mount = bpf.decide(program, numbers(machine)["mount"], arch=MACHINES[machine])
    assert mount == (bpf.ALLOW if "CAP_SYS_ADMIN" in capabilities else EPERM)


def test_dockers_format_gone_wrong() -> None:
    with pytest.raises(ValueError, match="not a list of objects"):
        resolve_profile({"archMap": [], "syscalls": [1]}, frozenset())


def test_resolve_leaves_an_oci_object_alone() -> None:
    profile = default_profile(CAPABILITIES)
    assert resolve_profile(profile, frozenset()) == profile
    assert "archMap" not in resolve_profile(DOCKERS, frozenset())
