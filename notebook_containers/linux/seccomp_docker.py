"""Docker's seccomp profile format, which people keep in files, as an OCI ``linux.seccomp`` object; pure.

It is the OCI object plus, for each rule, what it is for: ``includes`` and ``excludes`` with capabilities, architectures and a kernel
version. Those are decided here, for one container on one machine.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ARCHITECTURES = {"x86_64": ("amd64", "SCMP_ARCH_X86_64"), "aarch64": ("arm64", "SCMP_ARCH_AARCH64")}
_KEPT = ("names", "action", "errnoRet", "args")


def is_dockers(profile: Mapping[str, object]) -> bool:
    """Tell whether a profile has what only Docker's format has."""
    rules = profile.get("syscalls")
    keys = {key for rule in (rules if isinstance(rules, list) else []) if isinstance(rule, dict) for key, value in rule.items() if value}
    return "archMap" in profile or bool(keys & {"includes", "excludes", "name"})


def resolve(profile: Mapping[str, object], capabilities: frozenset[str], *, machine: str, release: str) -> dict[str, object]:
    """Return the OCI object for a container that holds ``capabilities``; ``machine`` and ``release`` are uname(2)'s.

    ValueError for a list of rules that is none.
    """
    architecture, name = _ARCHITECTURES.get(machine, ("", ""))
    rules = profile.get("syscalls") or []
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise ValueError("the seccomp profile's syscalls are not a list of objects")
    found: dict[str, object] = {key: profile[key] for key in ("defaultAction", "defaultErrnoRet", "flags") if key in profile}
    if name:
        found["architectures"] = [name]
    found["syscalls"] = [
        {"names": [rule["name"]] if rule.get("name") else [], **{key: rule[key] for key in _KEPT if rule.get(key) is not None}}
        for rule in rules
        if _applies(rule, capabilities, architecture, _version(release))
    ]
    return found


def _applies(rule: Mapping[str, object], capabilities: frozenset[str], architecture: str, kernel: tuple[int, ...]) -> bool:
    """Tell whether everything that a rule includes holds, and nothing that it excludes."""
    return all(_conditions(rule, "includes", capabilities, architecture, kernel)) and not any(
        _conditions(rule, "excludes", capabilities, architecture, kernel)
    )


def _conditions(
    rule: Mapping[str, object], key: str, capabilities: frozenset[str], architecture: str, kernel: tuple[int, ...]
) -> Iterator[bool]:
    """Yield each condition under ``includes`` or ``excludes``."""
    conditions = rule.get(key)
    if not isinstance(conditions, dict):
        return
    yield from (capability in capabilities for capability in conditions.get("caps") or ())
    if conditions.get("arches"):
        yield architecture in conditions["arches"]
    if conditions.get("minKernel"):
        yield kernel >= _version(str(conditions["minKernel"]))


def _version(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a kernel version."""
    words = text.partition("-")[0].split(".")[:2]
    return tuple(int(word) for word in words if word.isdigit())
