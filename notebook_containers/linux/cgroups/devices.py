"""Device rules: read from the OCI list, written as version 1 lines (cgroup-v1/devices.rst) or as a version 2 program; pure."""

from __future__ import annotations

from notebook_containers.linux import bpf
from notebook_containers.linux.cgroups.resources import integer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_ANY, _MOST = -1, (1 << 20) - 1
_KINDS = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR
_ACCESS = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_MKNOD, _READ, _WRITE
_ALL = 7
_KIND, _WANTED, _MAJOR, _MINOR = 2, 3, 4, 5  # registers of the program


class Rule:
    """One rule: ``kind`` is b, c, or a for every device and every access; ``access`` is a set of bits, -1 any number."""

    __slots__ = ("access", "allow", "kind", "major", "minor")

    def __init__(self, allow: bool, kind: str, major: int, minor: int, access: int) -> None:
        self.allow, self.kind, self.major, self.minor, self.access = allow, kind, major, minor, access

    def is_everything(self) -> bool:
        """Tell whether it speaks of every device and every access, so that no rule before it counts."""
        return self.kind == "a"


def parse(rules: Iterable[Mapping[str, object]]) -> Iterator[Rule]:
    """Yield the OCI rules in order; one for both kinds that is narrower than everything becomes two.

    (The kernel's own ``a`` means everything whatever stands behind it.)
    """
    for rule in rules:
        kind, access = text(rule, "type") or "a", _bits(text(rule, "access") or "rwm")
        kind = "c" if kind == "u" else kind  # an unbuffered character device
        if kind not in ("a", *_KINDS):
            raise ValueError(f"device type {kind!r}: none of a, b and c")
        major, minor, allow = _number(rule, "major"), _number(rule, "minor"), rule.get("allow") is True
        everything = (major, minor, access) == (_ANY, _ANY, _ALL)
        for each in (kind,) if kind != "a" or everything else _KINDS:
            yield Rule(allow, each, major, minor, access)


def lines(rules: Iterable[Mapping[str, object]]) -> Iterator[tuple[str, str]]:
    """Yield (version 1 interface file, line) for each OCI device rule, in order."""
    for rule in parse(rules):
        access = "".join(letter for letter in "rwm" if rule.access & _ACCESS[letter])
        line = "a" if rule.is_everything() else f"{rule.kind} {_star(rule.major)}:{_star(rule.minor)} {access}"
        yield ("devices.allow" if rule.allow else "devices.deny"), line


def program(rules: Iterable[Mapping[str, object]]) -> bytes:
    """Return the version 2 program for the OCI rules, or b"" when they allow everything.

    For each of the three accesses that are asked for at once, the last rule that speaks of it decides; what no rule speaks of is denied.
    """
    backwards = list(parse(rules))[::-1]
    if backwards and backwards[0].allow and backwards[0].is_everything():
        return b""
    code = [
        bpf.load_word(_KIND, 1, 0),  # struct bpf_cgroup_dev_ctx: (access << 16) | kind, major, minor
        bpf.copy(_WANTED, _KIND),
        bpf.mask(_KIND, 0xFFFF),
        bpf.shift_right(_WANTED, 16),
        bpf.load_word(_MAJOR, 1, 4),
        bpf.load_word(_MINOR, 1, 8),
    ]
    for rule in backwards:
        if rule.is_everything():
            # the kernel refuses instructions that nothing reaches: this is the end
            return b"".join([*code, bpf.leave(int(rule.allow))])
        code.append(_block(rule))
    return b"".join([*code, bpf.leave(0)])


def _block(rule: Rule) -> bytes:
    """Return one rule's instructions: an answer when it decides, or else on to what follows them."""
    if rule.allow:
        # strike off what this rule allows; the answer is yes once nothing is left
        verdict = bpf.mask(_WANTED, _ALL & ~rule.access) + bpf.jump_unequal(_WANTED, 0, 2) + bpf.leave(1)
    else:
        verdict = bpf.jump_bits(_WANTED, rule.access, 1) + bpf.jump(2) + bpf.leave(0)
    tests = [(_KIND, _KINDS[rule.kind]), (_MAJOR, rule.major), (_MINOR, rule.minor)]
    for register, value in reversed(tests):
        if value != _ANY:
            verdict = bpf.jump_unequal(register, value, len(verdict) // bpf.INSTRUCTION_BYTES) + verdict
    return verdict


def _bits(access: str) -> int:
    """Return the letters of an access as bits; ValueError for another letter."""
    if unknown := set(access) - set(_ACCESS):
        raise ValueError(f"device access {access!r}: {min(unknown)!r} is none of r, w and m")
    return sum(_ACCESS[letter] for letter in set(access))


def _number(rule: Mapping[str, object], name: str) -> int:
    """Return a device number, -1 when it is absent or negative; ValueError for one that no device has."""
    number = max(integer(rule, name), _ANY) if name in rule else _ANY
    if number > _MOST:
        raise ValueError(f"device {name} {number}: there is no such number")
    return number


def _star(number: int) -> str:
    """Return a device number as version 1 writes it."""
    return "*" if number == _ANY else str(number)
