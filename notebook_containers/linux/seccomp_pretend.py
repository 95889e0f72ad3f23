"""Answers that make package installers work where only one user id exists: what cannot be done is said to be done (seccomp(2), errno 0).

``dpkg``, ``tar``, ``useradd`` and the like give files to other owners, switch to other users and make device nodes. With one id the kernel
refuses all of that, and nothing is gained by the refusal: every file and every process has the same owner whatever they do. The idea is
Charliecloud's (its ``--seccomp``). Setting ``security.capability`` is not among the calls: the kernel allows it in user name spaces.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping

OWNERS = ("chown", "fchown", "lchown", "fchownat")
IDENTITIES = ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups")
_NODES = {"mknod": 1, "mknodat": 2}  # name → index of the mode
_DEVICES = (stat.S_IFCHR, stat.S_IFBLK)
_OTHERS = (0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK)
_TYPE = 0o170000


def pretend(profile: Mapping[str, object] | None) -> dict[str, object]:
    """Return the OCI ``linux.seccomp`` object with these answers in front of what ``profile`` says; None is one that allows everything."""
    base: Mapping[str, object] = profile or {"defaultAction": "SCMP_ACT_ALLOW"}
    rules = base.get("syscalls") or []
    if not isinstance(rules, list):
        raise ValueError("the seccomp profile's syscalls are not a list")
    names = {*OWNERS, *IDENTITIES, *_NODES}
    return {**base, "syscalls": [*_answers(), *_without(rules, names)]}


def _answers() -> Iterable[dict[str, object]]:
    yield {"names": [*OWNERS, *IDENTITIES], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    for name, index in _NODES.items():
        yield from (_by_type(name, index, kind, "SCMP_ACT_ERRNO") for kind in _DEVICES)
        yield from (_by_type(name, index, kind, "SCMP_ACT_ALLOW") for kind in _OTHERS)


def _by_type(name: str, index: int, kind: int, action: str) -> dict[str, object]:
    argument = {"index": index, "value": _TYPE, "valueTwo": kind, "op": "SCMP_CMP_MASKED_EQ"}
    extra: dict[str, object] = {"errnoRet": 0} if action == "SCMP_ACT_ERRNO" else {}
    return {"names": [name], "action": action, "args": [argument], **extra}


def _without(rules: list[object], names: set[str]) -> Iterable[object]:
    """Yield the rules for other calls: one rule without arguments would win over these."""
    for rule in rules:
        if not isinstance(rule, dict) or not isinstance(rule.get("names"), list):
            yield rule
        elif left := [name for name in rule["names"] if name not in names]:
            yield {**rule, "names": left}
