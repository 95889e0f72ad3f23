"""Device rules: the version 1 lines, the version 2 program against a reading of the rules by hand, and both in the real kernel."""

from __future__ import annotations

import itertools
import os
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from notebook_containers.linux import bpf
from notebook_containers.linux.cgroups import devices, v2_devices
from tests.linux.conftest import Groups

Rules = Sequence[Mapping[str, object]]

DENY_ALL: Mapping[str, object] = {"allow": False, "access": "rwm"}
NULL: Mapping[str, object] = {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}
KINDS, BITS = {"b": 1, "c": 2}, {"m": 1, "r": 2, "w": 4}
STEPS_AT_MOST = 10_000


def ask(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """Run the program as the kernel does; an instruction that it does not know, or a jump out of it, is a failure."""
    context = struct.pack("<III", sum(BITS[letter] for letter in access) << 16 | KINDS[kind], major, minor)
    registers = [0] * 11
    position = 0
    for _ in range(STEPS_AT_MOST):
        code, both, offset, value = struct.unpack_from("<BBhi", program, position * 8)
        target, source = both & 15, both >> 4
        position += 1
        match code:
            case 0x61:
                assert source == 1
                (registers[target],) = struct.unpack_from("<I", context, offset)
            case 0xB7:
                registers[target] = value
            case 0xBF:
                registers[target] = registers[source]
            case 0x57:
                registers[target] &= value
            case 0x77:
                registers[target] >>= value
            case 0x05 | 0x15 | 0x55 | 0x45:
                taken = {0x05: True, 0x15: registers[target] == value, 0x55: registers[target] != value, 0x45: registers[target] & value}
                position += offset if taken[code] else 0
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")
    raise AssertionError("the program does not end")


def read_by_hand(rules: Rules, kind: str, major: int, minor: int, letter: str) -> bool:
    """The last rule that speaks of this device and this access decides; none: no."""
    answer = False
    for rule in rules:
        fits = rule.get("type", "a") in ("a", kind) and rule.get("major", -1) in (-1, major) and rule.get("minor", -1) in (-1, minor)
        if fits and letter in str(rule.get("access", "rwm")):
            answer = rule["allow"] is True
    return answer


def some_rules(chance: random.Random) -> Rules:
    accesses = ["".join(letters) for count in (1, 2, 3) for letters in itertools.combinations("rwm", count)]
    return [
        {
            "allow": chance.random() < 0.6,
            "type": chance.choice("aabbccc"),
            "major": chance.choice((-1, 1, 8)),
            "minor": chance.choice((-1, 3, 300_000)),
            "access": chance.choice(accesses),
        }
        for _ in range(chance.randint(1, 8))
    ]


@pytest.mark.parametrize("seed", range(60))
def test_the_program_answers_as_the_rules_read(seed: int) -> None:
    rules = some_rules(random.Random(seed))
    program = devices.program(rules)
    for kind, major, minor in itertools.product("bc", (1, 8, 9), (3, 4, 300_000)):
        for access in ("r", "w", "m", "rw", "rwm", "wm"):
            wanted = all(read_by_hand(rules, kind, major, minor, letter) for letter in access)
            answer = ask(program, kind, major, minor, access) if program else True
            assert answer is wanted, (rules, kind, major, minor, access)


def test_a_list_that_allows_everything_needs_no_program() -> None:
    assert devices.program([DENY_ALL, {"allow": True, "access": "rwm"}]) == b""
    assert devices.program([DENY_ALL]) != b""


def test_lines() -> None:
    rules: Rules = [
        DENY_ALL,
        NULL,
        {"allow": True, "type": "c", "major": 136, "access": "rwm"},
        {"allow": True, "type": "b", "major": -1, "minor": -1, "access": "m"},
        {"type": "c", "major": 0, "minor": 0},
        {"allow": True, "type": "u", "major": 7, "minor": 0, "access": "r"},
    ]
    assert list(devices.lines(rules)) == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rw"),
        ("devices.allow", "c 136:* rwm"),
        ("devices.allow", "b *:* m"),
        ("devices.deny", "c 0:0 rwm"),
        ("devices.allow", "c 7:0 r"),
    ]


def test_rt18_to_make_any_node_is_not_to_open_any_device() -> None:
    """The kernel reads ``a`` as everything, whatever stands behind it: a narrower rule must not be written so."""
    assert list(devices.lines([{"allow": True, "type": "a", "access": "m"}])) == [
        ("devices.allow", "b *:* m"),
        ("devices.allow", "c *:* m"),
    ]


@pytest.mark.parametrize(
    "rule", [{"allow": True, "access": "rx"}, {"allow": True, "type": "p"}, {"allow": True, "type": "c", "major": 1 << 31, "minor": 0}]
)
def test_rules_that_mean_nothing(rule: Mapping[str, object]) -> None:
    for read in (devices.lines, devices.program):
        with pytest.raises(ValueError, match="device"):
            list(read([rule]))


SCRIPT = """
import errno, os
for path, flags in (("/dev/null", os.O_RDWR), ("/dev/zero", os.O_RDONLY), ("/dev/urandom", os.O_RDONLY), ("/dev/urandom", os.O_WRONLY)):
    try:
        os.close(os.open(path, flags))
        print(path, flags, "open")
    except OSError as error:
        print(path, flags, errno.errorcode[error.errno])
"""


@pytest.mark.root
def test_rt18_the_kernel_obeys_the_program(make_groups: Callable[[str], Groups]) -> None:
    groups = make_groups("v2")
    group = groups.create()
    directory = group.locations()["unified"]
    rules = [dict(DENY_ALL), dict(NULL), {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "r"}]
    assert v2_devices.apply(directory, rules) == []
    words = groups.start(group, "/usr/bin/python3", "-c", SCRIPT).communicate(timeout=60)[0].split()
    assert words[2::3] == ["open", "EPERM", "open", "EPERM"]
    assert group.pids() == []


@pytest.mark.root
def test_a_new_list_replaces_the_old(make_groups: Callable[[str], Groups]) -> None:
    groups = make_groups("v2")
    group = groups.create()
    directory = group.locations()["unified"]
    for rules, count in (
        ([dict(DENY_ALL)], 1),
        ([dict(DENY_ALL), dict(NULL)], 1),
        ([{"allow": True, "access": "rwm"}], 0),
        ([dict(DENY_ALL)], 1),
    ):
        assert v2_devices.apply(directory, rules) == []
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            assert len(bpf.attached(descriptor, bpf.CGROUP_DEVICE_HOOK)) == count
        finally:
            os.close(descriptor)


@pytest.mark.root
def test_a_user_who_may_not_load_programs_is_told(make_groups: Callable[[str], Groups]) -> None:
    directory = make_groups("v2").create().locations()["unified"]
    os.seteuid(65534)
    try:
        warnings = v2_devices.apply(directory, [dict(DENY_ALL)])
    finally:
        os.seteuid(0)
    assert warnings == ["the device list is not enforced: this user may not load device programs; the nodes in /dev and CAP_MKNOD decide"]
    assert Path(directory).is_dir()
