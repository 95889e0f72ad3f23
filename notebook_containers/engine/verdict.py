"""Why a container ended, in words, and what to do next: from facts to a :class:`Verdict`; pure.

The facts are the runtime's state (what its monitor saw), the command, the tail of its log and what the seccomp profile kills for. A
verdict says only what is known: a signal that nobody asked this engine for is "from outside", and a call that the seccomp profile answers
with an error is only named when the program's own last words name it too, or when the monitor saw it refused a moment before the end.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Callable, Collection, Sequence
from typing import Literal

from notebook_containers.lean import dataclass
from notebook_containers.runtime.state import ContainerState, SignalRequest

Cause = Literal[
    "",
    "unhealthy",
    "success",
    "error",
    "oom",
    "stopped",
    "killed",
    "signal",
    "crash",
    "not-found",
    "not-executable",
    "start",
    "disk-full",
    "seccomp",
    "timeout",
    "lost",
]

_OWN_FAULT = {
    signals.SIGSEGV: ("it read or wrote memory that is not its own (segmentation fault)", "run it under gdb, or look for a broken library"),
    signals.SIGABRT: ("it gave up by itself (abort: a failed assertion or broken memory)", "its last lines say why: nbc logs"),
    signals.SIGBUS: ("it touched memory that is not backed (bus error)", "a full /dev/shm does that: give more with --shm-size"),
    signals.SIGFPE: ("it made an impossible calculation, such as a division by zero", "its last lines say where: nbc logs"),
    signals.SIGILL: ("it executed an instruction that this processor has not", "the program is built for a newer processor"),
    signals.SIGTRAP: ("it ran into a breakpoint or a failed check", "its last lines say why: nbc logs"),
}
_MIB = 1 << 20
_REFUSED = ("operation not permitted", "permission denied", "function not implemented")  # mount(8) has words of its own for EPERM
_EPERM = "operation not permitted"
_NEAR_S, _SILENT_NEAR_S = 10.0, 2.0  # so long before the end a refused call may be its reason, if the program says EPERM, or nothing
# What libraries try once and do without: to have been refused it is no reason to fail.
_OPTIONAL = frozenset(("io_uring_setup", "mbind", "set_mempolicy", "get_mempolicy", "move_pages", "kcmp"))
_ENOSPC = ("No space left on device", "ENOSPC", "Disk quota exceeded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why it ended (or what ails it while it runs) and the next step; empty while all is well. ``str()`` is both in one line."""

    cause: Cause = ""
    text: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """Return text and hint in one line."""
        return f"{self.text}; {self.hint}" if self.text and self.hint else self.text

    @property
    def bad(self) -> bool:
        """Whether something went wrong that the exit status alone does not tell."""
        return self.cause not in ("", "success", "error", "stopped")


def judge(
    state: ContainerState,
    *,
    name: str,
    log_tail: Callable[[], str] = str,
    killed_for: Callable[[], Sequence[str]] = tuple,
    refused: Callable[[], Collection[str]] = tuple,
) -> Verdict:
    """Return the verdict; ``log_tail``, ``killed_for`` and ``refused`` are asked only if need be.

    The last two are system calls for which the seccomp profile kills, and those that it answers with an error.
    """
    if state.status in ("running", "paused"):
        return _alive(state)
    if state.start_failed:
        return _not_started(state)
    if state.exit_code is None:
        return Verdict()
    code = state.exit_code
    steps: tuple[Callable[[], Verdict | None], ...] = (
        lambda: _lost(state, name),
        lambda: _memory(state),
        lambda: _seccomp(state, code, killed_for),
        lambda: _asked(state, code),
        lambda: _disk(state, code, log_tail),
        lambda: _refused(state, code, log_tail, refused),
        lambda: _signal(state, code),
        lambda: _exit(code, name),
    )
    return next(found for step in steps if (found := step()) is not None)


def _alive(state: ContainerState) -> Verdict:
    if state.health is None or state.health.status != "unhealthy":
        return Verdict()
    last = state.health.log[-1] if state.health.log else None
    said = _last_line(last.output) if last else ""
    how = "could not run or took too long" if last and last.exit_code < 0 else f"exit status {last.exit_code}" if last else "failed"
    text = f"it runs, but its health check fails ({how}, {state.health.failing_streak} times in a row)" + (f": {said}" if said else "")
    return Verdict(cause="unhealthy", text=text, hint="nothing restarts it by itself: see nbc logs, and nbc inspect for every result")


def start_hint(exit_status: int, text: str) -> str:
    """Return the next step for a command that could not start (127 not found, 126 not executable); empty for other reasons."""
    if exit_status == 127:
        return "the image may lack it, or its PATH: see what there is with ls /bin"
    return _executable_hint(text) if exit_status == 126 else ""


def _not_started(state: ContainerState) -> Verdict:
    text, _, hint = state.error.partition("; ")
    causes: dict[int | None, Cause] = {127: "not-found", 126: "not-executable"}
    if cause := causes.get(state.exit_code):
        return Verdict(cause=cause, text=text, hint=hint or start_hint(state.exit_code or 0, text))
    return Verdict(cause="start", text=text, hint=hint or "nbc info says what this machine can do, and what is weaker here and why")


def _executable_hint(text: str) -> str:
    if "another machine" in text:
        return "build or pull the image for this processor (--platform)"
    if "no program" in text:
        return "write its interpreter into the first line, such as #!/bin/sh"
    if "\\r" in text:
        return (
            "the file has line ends of Windows: give it those of Unix (sed -i 's/\\r$//'), and keep them so in git (.gitattributes: eol=lf)"
        )
    if "interpreter" in text:
        return "install it in the image, or name one that is there in the first line"
    if "loader or a library" in text:
        return "the program wants another C library: use an image with glibc (or musl), or link it statically"
    return "make it executable: chmod +x" if "permission" in text else "name a program"


def _lost(state: ContainerState, name: str) -> Verdict | None:
    if not state.error.startswith("lost:"):
        return None
    return Verdict(
        cause="lost", text=f"its end was not seen: {state.error.removeprefix('lost: ')}", hint=f"start it again: nbc start {name}"
    )


def _memory(state: ContainerState) -> Verdict | None:
    if not state.oom_killed:
        return None
    peak, limit = _size(state.memory_peak), _size(state.memory_limit)
    if state.memory_limit and state.memory_peak < state.memory_limit * 0.9:
        text = f"the machine itself ran out of memory, and the kernel chose this container (it used at most {peak} of its {limit})"
        return Verdict(cause="oom", text=text, hint="run less at the same time, or give heavy containers a limit of their own (-m)")
    if not state.memory_limit:
        used = f" (it used up to {peak})" if state.memory_peak else ""
        return Verdict(
            cause="oom", text=f"the machine ran out of memory, and the kernel killed it{used}", hint="free memory, or set a limit"
        )
    text = f"out of memory: it wanted more than its limit of {limit} (peak {peak}), and the kernel killed it"
    return Verdict(cause="oom", text=text, hint=f"give it more: -m {-(-state.memory_limit * 2 // _MIB)}m, or make it need less")


def _seccomp(state: ContainerState, code: int, killed_for: Callable[[], Sequence[str]]) -> Verdict | None:
    if state.signal != signals.SIGSYS and code != 128 + signals.SIGSYS:
        return None
    who = "it" if state.signal == signals.SIGSYS else "a process that it started"
    what = f"the system call {state.denied}" if state.denied else "a system call that its seccomp profile kills for"
    possible = () if state.denied else killed_for()
    if 0 < len(possible) <= 8:
        what += f" (one of {', '.join(possible)})" if len(possible) > 1 else f", {possible[0]}"
    return Verdict(
        cause="seccomp",
        text=f"{who} made {what} and was killed (SIGSYS)",
        hint="allow the call in the profile: --security-opt seccomp=FILE",
    )


def _asked(state: ContainerState, code: int) -> Verdict | None:
    """Somebody asked this engine for it: the last request that fits says who."""
    if not state.requests:
        return None
    number = state.signal or (code - 128 if code > 128 else 0)
    first, last = state.requests[0], state.requests[-1]
    stopping = next((r for r in state.requests if r.why == "stop"), None)
    if stopping is not None and last.signal == signals.SIGKILL and number == signals.SIGKILL and last is not stopping:
        passed = max(last.at - stopping.at, 0)  # as it was: who stops it may give it another time than it was made with
        waited = f"{passed:.0f}" if passed > 2 else f"{passed:.1g}"
        text = f"stopped by {_who(stopping)}: it did not end within {waited} s of {_name(stopping.signal)}, so it was killed"
        return Verdict(cause="timeout", text=text, hint="let it handle the signal (CMD [...] instead of a shell line, or --init)")
    asked = next((r for r in reversed(state.requests) if r.signal == number), stopping or (first if state.manual else None))
    if asked is None:
        return None
    verb = "stopped" if asked.why == "stop" else "killed"
    how = f"exit status {code}" if code else "exit status 0"
    text = f"{verb} by {_who(asked)} with {_name(asked.signal)} ({how})"
    return Verdict(cause="stopped" if asked.why in ("stop", "rm") or asked.signal != signals.SIGKILL else "killed", text=text)


def _who(request: SignalRequest) -> str:
    command = f"{request.command or 'a process'} (pid {request.pid}, user {request.uid})" if request.pid else "a caller"
    return f"nbc {request.why} from {command}" if request.why else command


def _disk(state: ContainerState, code: int, log_tail: Callable[[], str]) -> Verdict | None:
    if code == 0:
        return None
    said = next((line for line in reversed(log_tail().splitlines()) if any(word in line for word in _ENOSPC)), "")
    if not (state.disk_full or said):
        return None
    if state.disk_full:
        text = f"the disk that holds images and containers is full (exit status {code})"
        return Verdict(cause="disk-full", text=text, hint="free space: nbc system prune, or move the store (NBC_ROOT) to a larger disk")
    text = f"it found a file system full (exit status {code}): {_last_line(said)}"
    return Verdict(
        cause="disk-full", text=text, hint="a tmpfs or /dev/shm of it may be too small (--tmpfs size=, --shm-size), or a volume's disk"
    )


def _refused(state: ContainerState, code: int, log_tail: Callable[[], str], refused: Callable[[], Collection[str]]) -> Verdict | None:
    """It says that something was not permitted, and its seccomp profile refused a call that its words name, or a moment before its end."""
    if code == 0 or state.signal:
        return None
    said = next((line for line in reversed(log_tail().splitlines()) if any(word in line.lower() for word in _REFUSED)), "")
    call = _named(said, state.refused or refused()) if said else ""
    if not call and (_EPERM in said.lower() or not said):
        call = _last_refused(state, _NEAR_S if said else _SILENT_NEAR_S)
    if not call:
        return None
    words = f": {_last_line(said)}" if said else ""
    text = f"its seccomp profile refuses the system call {call} (exit status {code}){words}"
    if not said:
        text = f"it ended with exit status {code} a moment after its seccomp profile refused it the system call {call}"
    return Verdict(
        cause="seccomp", text=text, hint="allow it if you trust the program: --security-opt seccomp=FILE, or its right: --cap-add"
    )


def _named(said: str, calls: Collection[str]) -> str:
    """Return the call that these words name; a call without its number counts, as in ``umount2``."""
    words = set(re.findall(r"\w+", said))
    return next(iter(sorted(call for call in calls if call in words or call.rstrip("0123456789") in words)), "")


def _last_refused(state: ContainerState, near_s: float) -> str:
    """Return the call that was refused last, when that was so near the end that it may be the reason, and programs do not go on without."""
    latest = state.refused[0] if state.refused and state.refused[0] not in _OPTIONAL else ""
    return latest if state.finished_at is not None and state.finished_at - state.refused_at < near_s else ""


def _signal(state: ContainerState, code: int) -> Verdict | None:
    """Nobody asked: the program's own fault, or somebody outside."""
    if not state.signal:
        return None
    fault = _OWN_FAULT.get(signals.Signals(state.signal)) if state.signal in set(signals.Signals) else None
    if fault:
        return Verdict(cause="crash", text=f"{fault[0]} ({_name(state.signal)}, exit status {code})", hint=fault[1])
    text = f"ended by {_name(state.signal)} (exit status {code} is 128 + {state.signal}), which nobody asked this engine for"
    if state.signal == signals.SIGKILL:
        return Verdict(cause="signal", text=text, hint="a process of this machine, or of the container, sent it")
    return Verdict(cause="signal", text=text, hint="a process of the container, its terminal or this machine sent it")


def _exit(code: int, name: str) -> Verdict:
    if code == 0:
        return Verdict(cause="success", text="ended with success")
    meaning, hint = _EXIT_CODES.get(code, ("", ""))
    if not meaning and 128 < code <= 192:
        number = code - 128
        what = _OWN_FAULT[signals.Signals(number)][0] if number in _OWN_FAULT else f"it was ended by {_name(number)}"
        meaning, hint = f"a process that it started reported: {what} ({_name(number)})", ""
    text = f"ended with exit status {code}" + (f": {meaning}" if meaning else "")
    crash = code == 137 or code - 128 in _OWN_FAULT
    return Verdict(cause="crash" if crash else "error", text=text, hint=hint or f"its output says why: nbc logs {name}")


_EXIT_CODES = {
    124: ("it ran into the time limit of timeout(1)", "give it more time"),
    125: ("the program itself said so, not this engine", ""),
    126: ("its shell could not execute a program (no permission, or no program)", "make the file executable: chmod +x"),
    127: ("its shell did not find a program", "install it in the image, or correct the name"),
    137: ("a process that it started was killed (SIGKILL)", "often that is memory: compare nbc stats with its limit (-m)"),
    143: ("it ended itself when it got SIGTERM", ""),
}


def _name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signals.SIGRTMIN}" if signals.SIGRTMIN < number <= 64 else f"signal {number}"


def _size(count: int) -> str:
    return f"{count / _MIB:.0f} MiB" if count >= 10 * _MIB else f"{count / _MIB:.1f} MiB"


def _last_line(text: str) -> str:
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
