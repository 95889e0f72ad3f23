"""A bundle: the directory that says everything about one container (config.md, "filesystem bundle"), written by the engine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from notebook_containers.errors import DiskFull, InvalidArgument, InvalidDocument, RuntimeFailure, Unsupported
from notebook_containers.lean import dataclass, field, replace
from notebook_containers.oci.documents import Document, always, named, untrusted_json
from notebook_containers.oci.runtime import Linux, Mount, Process, Resources, Spec
from notebook_containers.runtime import document
from notebook_containers.runtime.exhausted import limit_named
from notebook_containers.runtime.expected import Expected

RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class MonitorOptions(Document):
    """What the monitor does besides running the Spec; paths are relative to the bundle.

    An empty ``log_path`` keeps no log. ``restart_max`` bounds ``on-failure`` (0: no bound). A restart waits 0.1 s, then twice as long
    each time up to 60 s, and starts again at 0.1 s after a run of 10 s. ``volatile``: the exit code need not survive a power cut, because
    the container is removed at its end. ``tied``: it ends with the process that made it, and its run directory goes then, for one that no
    record names. ``health`` is empty, or the check: ``args`` (a command), ``interval``, ``timeout``, ``startPeriod``
    and ``startInterval`` in nanoseconds, and ``retries``; 0 is Docker's default.
    """

    log_path: str = field(default="container.log", metadata=always("logPath"))
    log_max_bytes: int = field(default=10_000_000, metadata=always("logMaxBytes"))
    log_max_files: int = field(default=3, metadata=always("logMaxFiles"))
    exit_path: str = field(default="exit.json", metadata=always("exitPath"))
    stdin_open: bool = field(default=False, metadata=named("stdinOpen"))
    init: bool = False  # the first process is runtime/reaper.py's program, and the command its child
    runtime: str = ""  # the path of another OCI runtime that makes the container instead of this one
    volatile: bool = False
    tied: bool = False
    restart: str = "no"
    restart_max: int = field(default=0, metadata=named("restartMax"))
    stop_signal: str = field(default="SIGTERM", metadata=named("stopSignal"))
    stop_signal_number: int = field(default=0, metadata=named("stopSignalNumber"))
    health: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class RootMounts(Document):
    """The document ``rootfs.json``."""

    mounts: tuple[Mount, ...] = field(default=(), metadata=always())


def signal_number(name: str) -> int:
    """Return the number of a signal given as ``SIGTERM``, ``TERM``, ``RTMIN+3`` or ``15``; InvalidArgument for anything else."""
    text = name.strip().upper().removeprefix("SIG")
    base, plus, offset = text.partition("+")
    if text.isascii() and text.isdigit() and 0 < int(text) <= 64:
        return int(text)
    try:
        number = int(signal.Signals[f"SIG{base}"])
    except KeyError:
        number = 0
    if number and (not plus or (base == "RTMIN" and offset.isascii() and offset.isdigit() and number + int(offset) <= 64)):
        return number + int(offset or 0)
    raise InvalidArgument(f"{name!r} is no signal", hint="give a name such as SIGTERM or a number from 1 to 64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle directory with ``config.json``, ``rootfs.json``, ``monitor.json``, ``seccomp.bpf`` and the empty directory ``rootfs``."""

    path: Path

    @classmethod
    def create(
        cls, path: Path, spec: Spec, rootfs: Sequence[Mount], options: MonitorOptions, *, expected: Expected | None = None
    ) -> Bundle:
        """Write the documents, over older ones if there are any; atomic for each document, the directories are made 0700.

        Who is to start a container that is ``expected`` is told of them before. InvalidArgument for an unknown restart policy or stop
        signal, Unsupported for a seccomp profile that cannot be compiled, DiskFull or RuntimeFailure when the directory cannot be written.
        """
        if options.restart not in RESTART_POLICIES:
            raise InvalidArgument(f"restart policy {options.restart!r} does not exist", hint=f"use one of {', '.join(RESTART_POLICIES)}")
        monitor = {**options.to_json(), "stopSignalNumber": signal_number(options.stop_signal)}
        config, program = spec.to_json(), _program(spec)
        try:
            (path / (spec.root.path if spec.root else "rootfs")).mkdir(mode=0o700, parents=True, exist_ok=True)
            if expected is not None:
                expected.bundle(config, monitor, rootfs, program)
            document.write(os.fspath(path / "rootfs.json"), RootMounts(mounts=tuple(rootfs)).to_json())
            document.write(os.fspath(path / "monitor.json"), monitor)
            _write_program(path, program)
            document.write(os.fspath(path / "config.json"), config)
        except OSError as err:
            kind = DiskFull if err.errno in (28, 122) else RuntimeFailure
            raise kind(f"cannot write bundle {path}: {err.strerror}") from err
        return cls(path=path)

    def change(self, *, resources: Resources, restart: str, restart_max: int) -> None:
        """Write other limits and another restart policy, for the next start; atomic for each document."""
        spec = self.spec()
        linux = replace(spec.linux or Linux(), resources=resources)
        monitor = document.read(os.fspath(self.path / "monitor.json"))
        document.write(os.fspath(self.path / "config.json"), replace(spec, linux=linux).to_json())
        document.write(os.fspath(self.path / "monitor.json"), {**monitor, "restart": restart, "restartMax": restart_max})

    @limit_named()
    def process(self) -> Process | None:
        """Read only the Spec's process back: an exec needs no more, and most of a Spec is its seccomp profile."""
        try:
            found = document.read(os.fspath(self.path / "config.json")).get("process")
        except ValueError as err:
            raise InvalidDocument(f"config.json is damaged: {err}") from err
        return Process.from_json(found) if isinstance(found, dict) else None

    @limit_named()
    def spec(self) -> Spec:
        """Read the Spec back."""
        return Spec.from_json(untrusted_json((self.path / "config.json").read_bytes(), what="config.json"))


def _program(spec: Spec) -> bytes:
    profile = spec.linux.seccomp if spec.linux else None
    if profile is None:
        return b""
    try:
        return _compile(json.dumps(profile, sort_keys=True))
    except ValueError as err:
        raise Unsupported(f"the seccomp profile cannot be used: {err}") from err


def _write_program(path: Path, program: bytes) -> None:
    target = path / "seccomp.bpf"
    if not program:
        target.unlink(missing_ok=True)
    elif not target.exists() or target.read_bytes() != program:
        temporary = path / "seccomp.bpf.tmp"
        temporary.write_bytes(program)
        temporary.replace(target)


@lru_cache(maxsize=16)
def _compile(profile: str) -> bytes:
    from notebook_containers.linux import seccomp

    return seccomp.compile_profile(json.loads(profile))
