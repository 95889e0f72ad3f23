"""What is known of a container: the state its monitor wrote, checked against the processes that really exist."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from notebook_containers.lean import dataclass, field, replace
from notebook_containers.linux import process as processes
from notebook_containers.linux.boot import boot_id
from notebook_containers.oci.documents import JSON, Document, always, named, untrusted_json
from notebook_containers.runtime import document

LOST = 137
LOST_TEXT = "lost: its monitor ended without writing an exit code (the machine restarted, or the monitor was killed)"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class HealthResult(Document):
    """One run of a health check: RFC 3339 times, the exit code (-1: it could not run, or took too long), its first 4096 bytes."""

    start: str = field(default="", metadata=always("Start"))
    end: str = field(default="", metadata=always("End"))
    exit_code: int = field(default=0, metadata=always("ExitCode"))
    output: str = field(default="", metadata=always("Output"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class HealthState(Document):
    """Docker's ``State.Health``: ``status`` is starting, healthy or unhealthy; ``log`` holds the last five results, oldest first."""

    status: str = field(default="starting", metadata=always("Status"))
    failing_streak: int = field(default=0, metadata=always("FailingStreak"))
    log: tuple[HealthResult, ...] = field(default=(), metadata=always("Log"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class SignalRequest(Document):
    """A signal that somebody asked the monitor to send: ``why`` is the verb (stop, kill, rm, …), the rest is who asked and when."""

    signal: int
    why: str = ""
    at: float = 0.0
    pid: int = 0
    uid: int = 0
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ContainerState(Document):
    """One container: ``status`` is created, running, paused, restarting or stopped; times are UTC seconds.

    About an end: ``signal`` killed the first process (0: it exited), ``manual`` says that a caller ended it, ``requests`` are the last
    signals asked for, ``denied`` is the system call that seccomp killed it for, ``refused`` are those that it answered with EPERM, the
    latest first, and ``refused_at`` when that was, ``start_failed`` says that its command never ran.
    """

    id: str
    status: str
    bundle: str
    pid: int = 0
    pid_started: int = field(default=0, metadata=named("pidStarted"))
    monitor_pid: int = field(default=0, metadata=named("monitorPid"))
    monitor_started: int = field(default=0, metadata=named("monitorStarted"))
    created_at: float = field(default=0.0, metadata=named("created"))
    started_at: float | None = field(default=None, metadata=named("started"))
    finished_at: float | None = field(default=None, metadata=named("finished"))
    exit_code: int | None = field(default=None, metadata=named("exitCode"))
    oom_killed: bool = field(default=False, metadata=named("oomKilled"))
    restart_count: int = field(default=0, metadata=named("restartCount"))
    error: str = ""
    warnings: tuple[str, ...] = ()
    cgroup: str = ""
    cgroup_locations: Mapping[str, str] = field(default_factory=dict, metadata=named("cgroupLocations"))
    boot: str = ""
    health: HealthState | None = None
    signal: int = 0
    manual: bool = False
    start_failed: bool = field(default=False, metadata=named("startFailed"))
    requests: tuple[SignalRequest, ...] = ()
    oom_kills: int = field(default=0, metadata=named("oomKills"))
    memory_peak: int = field(default=0, metadata=named("memoryPeak"))
    memory_limit: int = field(default=0, metadata=named("memoryLimit"))
    disk_full: bool = field(default=False, metadata=named("diskFull"))
    denied: str = ""
    refused: tuple[str, ...] = ()
    refused_at: float = field(default=0.0, metadata=named("refusedAt"))

    def live(self) -> bool:
        """Tell whether it is not over: created, running, paused or restarting."""
        return self.status != "stopped"


def read_state(directory: Path) -> ContainerState | None:
    """Return the true state of the container whose run directory this is, or None when there is none."""
    try:
        written = ContainerState.from_json(_read(directory / "state.json"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None  # any other error (no descriptor is to be had) must not mean that there is none
    if written.status == "stopped" or (this_boot(written) and processes.alive(written.monitor_pid, written.monitor_started)):
        return written
    finished = read_exit(Path(written.bundle))
    if finished is not None and finished.monitor_pid == written.monitor_pid and finished.monitor_started == written.monitor_started:
        return finished
    return _lost(written)


def this_boot(state: ContainerState) -> bool:
    """Tell whether the state was written since the machine started: older pids are other processes' by now, whatever their start times."""
    return not state.boot or state.boot == boot_id()


def read_exit(bundle: Path) -> ContainerState | None:
    """Return what a bundle's exit.json says, or None when it has none."""
    try:
        return ContainerState.from_json(_read(bundle / _exit_name(bundle)))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def lost_state(identity: str, bundle: Path) -> ContainerState:
    """Return the state of a container of which nothing but its bundle is left."""
    return ContainerState(id=identity, status="stopped", bundle=str(bundle), exit_code=LOST, error=LOST_TEXT)


def _exit_name(bundle: Path) -> str:
    try:
        return document.text(document.read(os.fspath(bundle / "monitor.json")), "exitPath", "exit.json")
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return "exit.json"


def _read(path: Path) -> dict[str, JSON]:
    return untrusted_json(path.read_bytes(), what=path.name)


def _lost(written: ContainerState) -> ContainerState:
    # init dies with its monitor, unless the container's process asked not to: then it still runs, and can be killed, not attached
    running = this_boot(written) and processes.alive(written.pid, written.pid_started)
    return replace(
        written,
        status="running" if running else "stopped",
        pid=written.pid if running else 0,
        monitor_pid=0,
        monitor_started=0,
        exit_code=None if running else LOST,
        finished_at=None,  # what is written there is the end of the life before
        error=LOST_TEXT,
    )
