"""The first process of the virtual machine: mounts, modules, a delegated group for a user, the suites, and off."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
import traceback
from functools import partial
from pathlib import Path

from notebook_containers.linux import syscalls
from tests.vm.reporting import PORT, SUITE_VARIABLE, say

GROUPS = Path("/sys/fs/cgroup")
USER = 1000
MANAGER = f"user.slice/user-{USER}.slice/user@{USER}.service"
DELEGATED = "+memory +pids +cpu"
MANAGED = 1001
"""A user whose group is in the hands of a real manager: systemd --user, with the message bus that it starts."""
MANAGED_GROUP = f"user.slice/user-{MANAGED}.slice/user@{MANAGED}.service"
MANAGED_VARIABLES = {"HOME": "/home/managed", "XDG_RUNTIME_DIR": f"/run/user/{MANAGED}"}
USERS_VARIABLES = {"HOME": "/home/user", "XDG_RUNTIME_DIR": "/home/user/run"}
POWER_OFF = 0x4321FEDC
FINIT_MODULE = 313

SUITES: dict[str, tuple[str, ...]] = {
    "groups": (
        *("tests/linux/test_cgroups_contract.py", "tests/linux/test_cgroups_limits.py", "tests/linux/test_cgroups_devices.py"),
        *("--deselect", "tests/linux/test_cgroups_devices.py::test_the_program_answers_as_the_rules_read"),
    ),
    "runtime": ("tests/runtime/test_limits.py", "tests/runtime/test_spawner.py"),
    "engine": ("tests/engine/test_limits.py", "tests/vm/journey.py"),
    "network": ("tests/registry/netem_journey.py",),
    "user": ("tests/vm/user_journey.py",),
    "manager": ("tests/vm/managed_journey.py",),
}

USERS: dict[str, tuple[int, str, dict[str, str]]] = {
    "user": (USER, MANAGER, USERS_VARIABLES),
    "manager": (MANAGED, MANAGED_GROUP, MANAGED_VARIABLES),
}
"""Whose the suites of ordinary users are: user id, group, variables."""


def main() -> None:
    """Do everything in a child, bury whoever dies meanwhile, and turn the machine off."""
    if (child := os.fork()) == 0:
        try:
            prepare()
            run()
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    while os.wait()[0] != child:
        pass
    os.sync()
    ctypes.CDLL(None).reboot(ctypes.c_uint(POWER_OFF))


def prepare() -> None:
    """Make a machine of the kernel: what systemd does elsewhere."""
    quiet = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    for kind, path, flags, data in (
        ("proc", "/proc", quiet, ""),
        ("sysfs", "/sys", quiet, ""),
        ("cgroup2", str(GROUPS), quiet, "nsdelegate"),
        ("devpts", "/dev/pts", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, "mode=620,ptmxmode=666,gid=5"),
        ("tmpfs", "/dev/shm", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=1777"),
        ("tmpfs", "/run", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755"),
    ):
        os.makedirs(path, exist_ok=True)
        syscalls.mount(kind, path, kind, flags, data)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, f"/dev/{name}")
    for module in sorted(Path("/vm/modules").iterdir()):
        _load(module)
    Path("/sys/block/nvme0n1/queue/scheduler").write_text("bfq")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.chmod(PORT, 0o666)
    for uid, name in ((USER, "user"), (MANAGED, "managed")):
        with open("/etc/passwd", "a", encoding="ascii") as users:
            users.write(f"{name}:x:{uid}:{uid}:{name}:/home/{name}:/bin/sh\n")
        os.mkdir(f"/home/{name}", 0o700)
        os.chown(f"/home/{name}", uid, uid)
    delegate(USER, MANAGER)
    delegate(MANAGED, MANAGED_GROUP)
    start_manager()


def _load(path: Path) -> None:
    with open(path, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).syscall(FINIT_MODULE, file.fileno(), b"", 0) < 0:
            print(f"module {path.name}: {os.strerror(ctypes.get_errno())}", flush=True)


def delegate(user: int, manager: str) -> None:
    """Give a subtree to the user, as systemd gives one to a user's manager; the user's session is a scope in it."""
    group = GROUPS
    for name in manager.split("/"):
        (group / "cgroup.subtree_control").write_text(DELEGATED)
        group /= name
        group.mkdir(exist_ok=True)
    scope = group / "jupyter.scope"
    scope.mkdir()
    for directory in (group, scope):
        for path in (directory, *(directory / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
            os.chown(path, user, user)


def start_manager() -> None:
    """Start what logind and the first manager start for a user who lingers: the user's own systemd in the group delegated to it."""
    os.makedirs("/run/systemd/system")  # by this a systemd is told from other first processes
    Path("/etc/machine-id").write_text("0123456789abcdef" * 2 + "\n")
    place = Path(MANAGED_VARIABLES["XDG_RUNTIME_DIR"])
    place.mkdir(parents=True, mode=0o700)
    os.chown(place, MANAGED, MANAGED)
    environment = {**os.environ, **MANAGED_VARIABLES}
    environment.pop("PYTHONPATH", None)
    if os.fork() == 0:  # it lives as long as the machine
        become(MANAGED, MANAGED_GROUP)
        os.execve("/usr/lib/systemd/systemd", ["systemd", "--user", "--log-target=console"], environment)
    deadline = time.monotonic() + 60
    while not (place / "bus").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    say(fact="manager", value=f"bus after {60 - (deadline - time.monotonic()):.0f} s" if (place / "bus").exists() else "no bus")


def run() -> None:
    """Run the suites one after the other, and report about the machine itself."""
    say(fact="kernel", value=os.uname().release)
    say(fact="mounts", value=" ".join(sorted({line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()})))
    say(fact="controllers", value=(GROUPS / "cgroup.controllers").read_text().strip())
    say(fact="booted", value=Path("/proc/uptime").read_text().split()[0])
    for name, words in SUITES.items():
        start = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-p", "tests.vm.reporting", "-p", "no:cacheprovider", "-q", *words]
        uid, manager, variables = USERS.get(name, (0, "", {}))
        environment = {**os.environ, SUITE_VARIABLE: name, **variables}
        before = partial(become, uid, f"{manager}/jupyter.scope") if uid else None
        status = subprocess.run(command, env=environment, preexec_fn=before, check=False).returncode
        say(fact=f"suite {name}", value=f"status {status}, {time.monotonic() - start:.0f} s")
    left = [
        str(path.relative_to(GROUPS)) for path in GROUPS.rglob("*") if path.is_dir() and ("nbc" in path.name or "notebook" in path.name)
    ]
    say(fact="groups left", value=" ".join(left))
    say(fact="end", value="reached")


def become(user: int, group: str) -> None:
    """Put this process into a group, and become the user."""
    (GROUPS / group / "cgroup.procs").write_text("0")
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


if __name__ == "__main__":
    main()
