"""System call filters: an OCI ``linux.seccomp`` object becomes a classic BPF program, without libseccomp (seccomp(2)).

What a program decides, in this order: another ABI than this machine's own 64-bit one (i386 and x32 on x86-64) is ENOSYS; a call that is
newer than our table is ENOSYS too, so that programs fall back to older ones; the rest is as the profile says. Where the kernel reads an
argument as 32 bits, the program compares 32 bits.

Standard library only; tables and compiler are loaded when something is compiled.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from notebook_containers.linux.seccomp_bpf import Code

    Rule = tuple[list[Code], int]

_VERSION = 1  # of the compiler: a change makes every cached program stale

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}

_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_ACTIONS = {
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": _ALLOW,
}
_WITH_DATA = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
_NO_SUCH_CALL = _ERRNO | errno.ENOSYS

# Arguments that the kernel takes as int or unsigned int, or of which it uses the low half only: name → indexes. A comparison of all
# 64 bits would be passed by any value with a bit set above (CVE-2019-7303 and CVE-2019-10063: TIOCSTI through such a filter).
_NARROW = {
    "ioctl": (0, 1),
    "socket": (0, 1, 2),
    "socketpair": (0, 1, 2),
    "personality": (0,),
    "clone": (0,),
    "unshare": (0,),
    "setns": (0, 1),
    "prctl": (0,),
    "fcntl": (0, 1),
    "keyctl": (0,),
    "bpf": (0, 2),
    "setsockopt": (0, 1, 2, 4),
    "getsockopt": (0, 1, 2),
    "shmctl": (0, 1),
    "semctl": (0, 1, 2),
    "msgctl": (0, 1),
    "sync_file_range": (0, 3),
    "quotactl": (0, 2),
    "fanotify_init": (0, 1),
    "kcmp": (0, 1, 2),
    "arch_prctl": (0,),
}


def default_profile(capabilities: frozenset[str], *, machine: str = "") -> dict[str, object]:
    """Return the default OCI ``linux.seccomp`` object for a container that holds ``capabilities`` (``CAP_…`` names)."""
    from notebook_containers.linux import seccomp_default

    return seccomp_default.profile(capabilities, architecture=_ARCHITECTURES.get(machine or os.uname().machine, ""))


def resolve_profile(profile: Mapping[str, object], capabilities: frozenset[str]) -> dict[str, object]:
    """Return the OCI object of a profile that a person wrote, in Docker's format or in OCI's, for a container with ``capabilities``."""
    from notebook_containers.linux import seccomp_docker

    if not seccomp_docker.is_dockers(profile):
        return dict(profile)
    system = os.uname()
    return seccomp_docker.resolve(profile, capabilities, machine=system.machine, release=system.release)


def program_key(profile: Mapping[str, object]) -> str:
    """Return a text that names the program which ``profile`` compiles to: same key, same program; fit for a file name."""
    import hashlib
    import json

    text = json.dumps([_VERSION, os.uname().machine, profile], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def compile_profile(profile: Mapping[str, object], *, machine: str = "") -> bytes:
    """Return the program (struct sock_filter array, for ``syscalls.seccomp_set_filter``) of an OCI ``linux.seccomp`` object.

    Rules are read as runc and libseccomp do: names that this machine does not have are skipped; of several rules for a call the
    one without arguments wins, else the first whose arguments all match; a rule that compares one argument twice holds when either
    comparison does. ``machine`` is uname(2)'s word, this machine when empty. ValueError for a profile that cannot be expressed.
    """
    from notebook_containers.linux import seccomp_bpf
    from notebook_containers.linux.seccomp_numbers import numbers

    machine = machine or os.uname().machine
    _check_architectures(profile, machine)
    default = _action(profile, "defaultAction", "defaultErrnoRet")
    table = numbers(machine)
    rules = _rules(profile, table)
    unknown = default if profile.get("defaultAction") in _PERMISSIVE else _NO_SUCH_CALL
    codes = {number: _decide(rules.get(number, []), default) for number in sorted(table.values())}
    head = seccomp_bpf.check_architecture(_AUDIT[machine], _NO_SUCH_CALL)
    return seccomp_bpf.assemble(head + seccomp_bpf.search(list(_ranges(codes, seccomp_bpf.give(unknown), seccomp_bpf.give(_NO_SUCH_CALL)))))


def _check_architectures(profile: Mapping[str, object], machine: str) -> None:
    """Refuse a machine without a table, and a profile for other machines only; further ABIs in the list stay denied."""
    if machine not in _AUDIT:
        raise ValueError(f"no system call table for {machine}: seccomp filters can be made for {' and '.join(_AUDIT)}")
    listed = profile.get("architectures")
    if isinstance(listed, list) and listed and _ARCHITECTURES[machine] not in listed:
        raise ValueError(f"the seccomp profile is for {', '.join(map(str, listed))}, this machine is {_ARCHITECTURES[machine]}")


def _action(rule: Mapping[str, object], key: str, data_key: str) -> int:
    """Return the kernel's number for an action with its data (EPERM when not given)."""
    name, data = str(rule.get(key, "")), rule.get(data_key)
    if name not in _ACTIONS:
        raise ValueError(f"unsupported seccomp action: {name or 'none given'}")
    return _ACTIONS[name] | ((data if isinstance(data, int) else errno.EPERM) & 0xFFFF if name in _WITH_DATA else 0)


def _rules(profile: Mapping[str, object], table: Mapping[str, int]) -> dict[int, list[Rule]]:
    """Return number → its rules in order, each the alternatives' tests and the action; a rule without arguments has no tests."""
    found: dict[int, list[Rule]] = {}
    syscalls = profile.get("syscalls") or []
    if not isinstance(syscalls, list) or not all(isinstance(rule, dict) and isinstance(rule.get("names"), list) for rule in syscalls):
        raise ValueError("the seccomp profile's syscalls are not a list of objects with names")
    for rule in syscalls:
        if rule.get("includes") or rule.get("excludes"):
            raise ValueError("the seccomp profile is in Docker's format: resolve_profile makes an OCI object of it")
        action = _action(rule, "action", "errnoRet")
        for name in rule["names"]:
            if name in table:
                found.setdefault(table[name], []).extend((tests, action) for tests in _alternatives(name, rule.get("args") or []))
    return found


def _alternatives(name: str, args: list[object]) -> Iterator[list[Code]]:
    """Yield the lists of tests of which one must hold as a whole."""
    from notebook_containers.linux import seccomp_bpf

    tests, indexes = [], set()
    for arg in args:
        if not isinstance(arg, dict):
            raise ValueError(f"the seccomp rule of {name} has an argument that is not an object")
        index, value, second = (_integer(arg, key) for key in ("index", "value", "valueTwo"))
        if not 0 <= index < 6:
            raise ValueError(f"the seccomp rule of {name} compares argument {index}, a call has 0 to 5")
        indexes.add(index)
        operation = str(arg.get("op", "")).removeprefix("SCMP_CMP_")
        tests.append(seccomp_bpf.compare(index, operation, value, second, narrow=index in _NARROW.get(name, ())))
    if len(indexes) < len(args):
        yield from ([test] for test in tests)
    else:
        yield tests


def _integer(arg: Mapping[str, object], key: str) -> int:
    """Return a number of an argument's rule, 0 when absent."""
    value = arg.get(key)
    return value if isinstance(value, int) else 0


def _decide(rules: list[Rule], default: int) -> Code:
    """Return the code of one call."""
    from notebook_containers.linux import seccomp_bpf

    for tests, action in rules:
        if not tests:
            return seccomp_bpf.give(action)
    code: Code = []
    for tests, action in rules:
        code += seccomp_bpf.when(tests, action)
    return code + seccomp_bpf.give(default)


def _ranges(codes: Mapping[int, Code], unknown: Code, foreign: Code) -> Iterator[tuple[int, Code]]:
    """Yield (first number, code) of each run of numbers with the same code, from 0 to the end of the 32 bits.

    The x32 ABI has the numbers from 2**30 on.
    """
    last: Code | None = None
    for number in [*range(max(codes) + 2), 1 << 30]:
        code = foreign if number == 1 << 30 else codes.get(number, unknown)
        if code != last:
            yield number, code
            last = code
