"""Containers for the tests: a small busybox root, a Spec with the usual posture, a runtime on a run directory of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from notebook_containers.oci.runtime import (
    Capabilities,
    IDMapping,
    Linux,
    Mount,
    Namespace,
    Process,
    Root,
    Spec,
    User,
)
from notebook_containers.runtime.bundle import Bundle, MonitorOptions
from notebook_containers.runtime.lifecycle import Runtime
from notebook_containers.runtime.sessions import AttachSession

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
    ]
)
ENV = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
MOUNTS = (
    Mount(destination="/proc", type="proc", source="proc", options=("nosuid", "noexec", "nodev")),
    Mount(destination="/dev", type="tmpfs", source="tmpfs", options=("nosuid", "strictatime", "mode=755", "size=65536k")),
    Mount(
        destination="/dev/pts",
        type="devpts",
        source="devpts",
        options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    Mount(destination="/dev/shm", type="tmpfs", source="shm", options=("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
    Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=("nosuid", "noexec", "nodev")),
    Mount(destination="/sys", type="sysfs", source="sysfs", options=("nosuid", "noexec", "nodev", "ro")),
    Mount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=("ro", "nosuid", "noexec", "nodev")),
)
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/interrupts",
    "/sys/firmware",
    "/proc/kallsyms",
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def add_program(root: Path, program: str, place: str) -> None:
    """Copy a program of the host with the libraries it needs."""
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, root / place)
    found = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+\.so\S*)", found):
        (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.lstrip("/"))


def make_root(target: Path) -> None:
    """Make a root filesystem of busybox with the libraries it needs."""
    busybox = shutil.which("busybox")
    assert busybox, "the tests need busybox"
    for name in ("bin", "etc", "tmp", "root", "var"):
        (target / name).mkdir(parents=True)
    (target / "tmp").chmod(0o1777)
    add_program(target, busybox, "bin/busybox")
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox":
            (target / "bin" / name).symlink_to("busybox")
    (target / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")


def spec_for(args: Sequence[str], *, user: User | None = None, rootless: bool = False, terminal: bool = False) -> Spec:
    """Return a Spec with all namespaces, default mounts, masks and capabilities."""
    caps = Capabilities(bounding=CAPABILITIES, effective=CAPABILITIES, permitted=CAPABILITIES)
    kinds = ["pid", "network", "mount", "ipc", "uts", "cgroup", *(["user"] if rootless else [])]
    return Spec(
        oci_version="1.2.0",
        root=Root(path="rootfs"),
        hostname="box",
        mounts=MOUNTS,
        process=Process(
            args=tuple(args), env=ENV, cwd="/", capabilities=caps, user=user or User(), no_new_privileges=True, terminal=terminal
        ),
        linux=Linux(
            namespaces=tuple(Namespace(type=kind) for kind in kinds),
            masked_paths=MASKED,
            readonly_paths=READONLY,
            uid_mappings=(IDMapping(container_id=0, host_id=os.geteuid(), size=1),) if rootless else (),
            gid_mappings=(IDMapping(container_id=0, host_id=os.getegid(), size=1),) if rootless else (),
        ),
    )


class Box:
    """Makes containers over one shared lower tree and forgets them at the end."""

    def __init__(self, directory: Path, lower: Path) -> None:
        self.directory, self.lower = directory, lower
        self.runtime = Runtime(directory / "run")
        self._made: list[str] = []

    def bundle(self, spec: Spec, options: MonitorOptions | None = None, lower: Path | None = None) -> tuple[str, Bundle]:
        identity = uuid.uuid4().hex + uuid.uuid4().hex
        path = self.directory / "containers" / identity
        for name in ("upper", "work"):
            (path / name).mkdir(parents=True)
        words = (f"lowerdir={lower or self.lower}", f"upperdir={path}/upper", f"workdir={path}/work", "metacopy=off", "redirect_dir=off")
        mapped = spec.linux is not None and any(ns.type == "user" for ns in spec.linux.namespaces)
        root = Mount(type="overlay", source="overlay", options=(*words, "userxattr") if mapped else words)
        self._made.append(identity)
        return identity, Bundle.create(path, spec, (root,), options or MonitorOptions())

    def create(self, spec: Spec, options: MonitorOptions | None = None, lower: Path | None = None) -> str:
        identity, bundle = self.bundle(spec, options, lower)
        self.runtime.create(identity, bundle)
        return identity

    def run(self, spec: Spec, options: MonitorOptions | None = None, lower: Path | None = None) -> tuple[int, str]:
        """Run to the end and return exit code and output."""
        identity = self.create(spec, options, lower)
        with self.runtime.attach(identity) as session:
            self.runtime.start(identity)
            return collect(session)

    def sh(self, script: str, *, user: User | None = None, change: Callable[[Spec], Spec] = lambda spec: spec) -> tuple[int, str]:
        """Run a shell script to the end."""
        return self.run(change(spec_for(["/bin/sh", "-c", script], user=user)))

    def path(self, identity: str) -> Path:
        return self.directory / "containers" / identity

    def close(self) -> None:
        for identity in self._made:
            try:
                self.runtime.delete(identity, force=True)
            except LookupError:
                continue
        self.runtime.close()


def collect(session: AttachSession) -> tuple[int, str]:
    """Read a session to its end."""
    output = b"".join(data for _stream, data in session)
    assert session.exit_code is not None
    return session.exit_code, output.decode(errors="replace")


def change_process(spec: Spec, **values: object) -> Spec:
    """Return the Spec with other members in its process."""
    assert spec.process is not None
    return replace(spec, process=replace(spec.process, **values))  # type: ignore[arg-type]


def environment(text: str) -> Mapping[str, str]:
    """Parse the output of env."""
    return dict(line.partition("=")[::2] for line in text.splitlines())
