"""``--init``: the program itself, on this processor and emulated for both, and as first process of a container."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from unicorn import (
    UC_ARCH_ARM64,
    UC_ARCH_X86,
    UC_HOOK_INSN,
    UC_HOOK_INTR,
    UC_MODE_64,
    UC_MODE_ARM,
    Uc,
    arm64_const as arm,
    x86_const as x86,
)

from notebook_containers.errors import StartFailed, Unsupported
from notebook_containers.oci.runtime import User
from notebook_containers.runtime import reaper
from notebook_containers.runtime.bundle import MonitorOptions
from tests.runtime.boxes import Box, collect, spec_for

CODE, STACK = 0x400000, 0x7F0000
X86_ARGUMENTS = (x86.UC_X86_REG_RDI, x86.UC_X86_REG_RSI, x86.UC_X86_REG_RDX, x86.UC_X86_REG_R10)
ARM_ARGUMENTS = tuple(getattr(arm, f"UC_ARM64_REG_X{n}") for n in range(4))
NAMES = {
    "x86_64": {128: "sigtimedwait", 62: "kill", 61: "wait4", 231: "exit_group"},
    "aarch64": {137: "sigtimedwait", 129: "kill", 260: "wait4", 94: "exit_group"},
}
CHILD = 4711


@dataclass(slots=True, kw_only=True)
class Kernel:
    """Answers the program's four system calls from lists, and remembers what it asked for."""

    signals: list[int]
    children: list[tuple[int, int]]
    killed: list[tuple[int, int]] = field(default_factory=list)
    code: int | None = None

    def call(self, uc: Uc, name: str, arguments: Sequence[int]) -> int:
        if name == "sigtimedwait":
            assert uc.mem_read(arguments[0], 8) == b"\xff" * 8
            assert (arguments[1], arguments[2], arguments[3]) == (0, 0, 8)
            return self.signals.pop(0)
        if name == "kill":
            self.killed.append((arguments[0], arguments[1]))
            return 0
        if name == "wait4":
            assert (arguments[0] & 0xFFFFFFFF, arguments[2], arguments[3]) == (0xFFFFFFFF, 1, 0)
            pid, status = self.children.pop(0) if self.children else (-10, 0)
            if pid > 0:
                uc.mem_write(arguments[1], status.to_bytes(4, "little"))
            return pid
        self.code = arguments[0]
        uc.emu_stop()
        return 0


def emulate(machine: str, kernel: Kernel, child: int = CHILD) -> Kernel:
    is_x86 = machine == "x86_64"
    uc = Uc(UC_ARCH_X86, UC_MODE_64) if is_x86 else Uc(UC_ARCH_ARM64, UC_MODE_ARM)
    uc.mem_map(CODE, 0x1000)
    uc.mem_map(STACK, 0x2000)
    uc.mem_write(CODE, reaper.code(machine))
    uc.mem_write(STACK + 0x1800, f"init\0{child}\0".encode())
    words = (2, STACK + 0x1800, STACK + 0x1805, 0, 0)
    uc.mem_write(STACK + 0x1000, b"".join(word.to_bytes(8, "little") for word in words))
    number, answer, sp = (
        (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RAX, x86.UC_X86_REG_RSP)
        if is_x86
        else (arm.UC_ARM64_REG_X8, arm.UC_ARM64_REG_X0, arm.UC_ARM64_REG_SP)
    )
    uc.reg_write(sp, STACK + 0x1000)

    def on_call(emulator: Uc, *_unused: object) -> None:
        arguments = [int(emulator.reg_read(register)) for register in (X86_ARGUMENTS if is_x86 else ARM_ARGUMENTS)]
        result = kernel.call(emulator, NAMES[machine][int(emulator.reg_read(number))], arguments)
        emulator.reg_write(answer, result & 0xFFFFFFFFFFFFFFFF)

    if is_x86:
        uc.hook_add(UC_HOOK_INSN, on_call, None, 1, 0, x86.UC_X86_INS_SYSCALL)
    else:
        uc.hook_add(UC_HOOK_INTR, on_call)
    uc.emu_start(CODE, CODE + len(reaper.code(machine)), count=100_000)
    return kernel


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("status", "code"), [*((n << 8, n) for n in (0, 1, 7, 126, 127, 255)), *((n, 128 + n) for n in (1, 9, 15, 31, 64)), (0x80 | 11, 139)]
)
def test_the_childs_end_is_its_own(machine: str, status: int, code: int) -> None:
    kernel = emulate(machine, Kernel(signals=[17], children=[(12, 0x100), (13, 9), (CHILD, status)]))
    assert kernel.code == code
    assert kernel.killed == []


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_other_signal_goes_to_the_child(machine: str) -> None:
    others = [n for n in range(1, 65) if n != signal.SIGCHLD]
    kernel = emulate(machine, Kernel(signals=[-4, *others, -11, 17, 17], children=[(12, 0), (0, 0), (CHILD, 0)]))
    assert kernel.killed == [(CHILD, number) for number in others]
    assert kernel.code == 0


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("child", [1, 2, 10, 99999, 2**22])
def test_the_childs_number_is_read(machine: str, child: int) -> None:
    assert emulate(machine, Kernel(signals=[15, 17], children=[(child, 0)]), child).killed == [(child, 15)]


def test_another_machine_has_none_and_says_so() -> None:
    with pytest.raises(Unsupported, match="--init is not available on riscv64"):
        reaper.program("riscv64")


def with_init(box: Box, script: str, *, user: User | None = None, terminal: bool = False) -> str:
    spec = spec_for(["/bin/sh", "-c", script], user=user, terminal=terminal)
    return box.create(spec, MonitorOptions(init=True))


def run(box: Box, script: str, *, user: User | None = None, terminal: bool = False) -> tuple[int, str]:
    identity = with_init(box, script, user=user, terminal=terminal)
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        return collect(session)


BEGUN = "until readlink /proc/1/exe | grep -q nbc-init; do :; done; "
"""The command may be quicker than its init, which cannot be looked at before it is one."""


@pytest.mark.root
def test_rt01_nothing_of_the_host_is_in_the_first_process(box: Box) -> None:
    script = "cat /proc/1/cmdline; echo; readlink /proc/1/exe; ls /proc/1/fd | wc -l; cut -d' ' -f6- /proc/1/maps; cat /proc/1/environ"
    code, output = run(box, BEGUN + script)
    assert code == 0
    lines = output.split("\n")
    assert lines[0].replace("\0", " ") == "init 2 "
    assert lines[1] == "/memfd:nbc-init (deleted)"
    assert lines[2] == "0"
    mapped = {line.strip() for line in lines[3:]} - {""}
    assert {name for name in mapped if name.startswith("/")} == {"/memfd:nbc-init (deleted)"}
    assert mapped <= {"/memfd:nbc-init (deleted)", "[stack]", "[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]", "[heap]"}


@pytest.mark.root
def test_rt01_its_program_cannot_be_written(box: Box) -> None:
    code, output = run(box, BEGUN + "(echo x > /proc/1/exe) 2>&1; exec 3</proc/1/exe; (echo x > /proc/self/fd/3) 2>&1; echo end")
    assert code == 0
    assert output.splitlines()[-1] == "end"
    assert len(output.splitlines()) == 3
    assert all("Text file busy" in line or "not permitted" in line for line in output.splitlines()[:2])


@pytest.mark.root
def test_it_has_the_commands_own_rights(box: Box) -> None:
    code, output = run(
        box, "for p in 1 self; do grep -E '^(Uid|Gid|Groups|Cap|NoNew|Seccomp:)' /proc/$p/status; done", user=User(uid=1000, gid=7)
    )
    assert code == 0
    lines = output.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert "Uid:\t1000\t1000\t1000\t1000" in lines


@pytest.mark.root
@pytest.mark.parametrize(("script", "expected"), [("exit 0", 0), ("exit 77", 77), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_rel17_the_exit_status_is_the_commands(box: Box, script: str, expected: int) -> None:
    assert run(box, script)[0] == expected


@pytest.mark.root
def test_a_command_that_is_not_there_is_said(box: Box) -> None:
    identity = box.create(spec_for(["/no/such"]), MonitorOptions(init=True))
    with pytest.raises(StartFailed) as caught:
        box.runtime.start(identity)
    assert caught.value.exit_status == 127
    assert box.runtime.wait(identity, timeout_s=10) == 127


@pytest.mark.root
def test_signals_are_passed_on(box: Box) -> None:
    identity = with_init(box, "trap 'echo usr; exit 5' USR1; echo ready; while :; do sleep 0.05; done")
    with box.runtime.attach(identity) as session:
        box.runtime.start(identity)
        stream = iter(session)
        assert next(stream) == ("stdout", b"ready\n")
        box.runtime.kill(identity, signal.SIGUSR1)
        assert b"".join(data for _name, data in stream) == b"usr\n"
    assert session.exit_code == 5


@pytest.mark.root
def test_rel19_orphans_are_reaped(box: Box) -> None:
    script = "i=0; while [ $i -lt 1000 ]; do (true &) ; i=$((i+1)); done; sleep 0.3; ps -o stat= | grep -c '^Z'; true"
    code, output = run(box, script)
    assert code == 0
    assert int(output) < 10


@pytest.mark.root
def test_a_terminal_belongs_to_the_command(box: Box) -> None:
    identity = with_init(box, "trap 'echo once' INT; tty; echo ready; sleep 0.5; sleep 0.5; exit 3", terminal=True)
    seen = b""
    with box.runtime.attach(identity, stdin=True) as session:
        box.runtime.start(identity)
        for _stream, data in session:
            seen += data
            if b"ready" in data:
                time.sleep(0.1)
                session.write(b"\x03")
    assert session.exit_code == 3
    assert seen.count(b"once") == 1
    assert b"/dev/pts/0" in seen


@pytest.mark.root
def test_kill_ends_everything(box: Box) -> None:
    identity = with_init(box, "sleep 1000 & sleep 1000")
    box.runtime.start(identity)
    pids = box.runtime.pids(identity)
    box.runtime.kill(identity, signal.SIGKILL)
    assert box.runtime.wait(identity, timeout_s=10) == 137
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


@pytest.mark.root
def test_exec_works_beside_it(box: Box) -> None:
    from notebook_containers.oci.runtime import Process
    from tests.runtime.boxes import ENV

    identity = with_init(box, "sleep 1000")
    box.runtime.start(identity)
    session = box.runtime.exec(identity, Process(args=("sh", "-c", "kill 2; exit 4"), env=ENV, cwd="/"))
    assert session is not None
    with session:
        list(session)
    assert box.runtime.wait(identity, timeout_s=10) == 143
