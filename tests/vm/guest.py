"""The first process of the virtual machine: mounts, modules, a delegated group for a user, the suites, and off."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

from notebook_containers.linux import syscalls
from tests.vm.reporting import PORT, SUITE_VARIABLE, say

GROUPS = Path("/sys/fs/cgroup")
USER = 1000
MANAGER = f"user.slice/user-{USER}.slice/user@{USER}.service"
DELEGATED = "+memory +pids +cpu"
USERS_VARIABLES = {"HOME": "/home/user", "XDG_RUNTIME_DIR": "/home/user/run"}
POWER_OFF = 0x4321FEDC
FINIT_MODULE = 313

SUITES: dict[str, tuple[str, ...]] = {
    "groups": (
        *("tests/linux/test_cgroups_contract.py", "tests/linux/test_cgroups_limits.py", "tests/linux/test_cgroups_devices.py"),
        *("--deselect", "tests/linux/test_cgroups_devices.py::test_the_program_answers_as_the_rules_read"),
    ),
    "runtime": ("tests/runtime/test_limits.py",),
    "engine": ("tests/engine/test_limits.py", "tests/vm/journey.py"),
    "user": ("tests/vm/user_journey.py",),
}


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
    with open("/etc/passwd", "a", encoding="ascii") as users:
        users.write(f"user:x:{USER}:{USER}:user:/home/user:/bin/sh\n")
    os.mkdir("/home/user", 0o700)
    os.chown("/home/user", USER, USER)
    delegate()


def _load(path: Path) -> None:
    with open(path, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).syscall(FINIT_MODULE, file.fileno(), b"", 0) < 0:
            print(f"module {path.name}: {os.strerror(ctypes.get_errno())}", flush=True)


def delegate() -> None:
    """Give a subtree to the user, as systemd gives one to a user's manager; the user's session is a scope in it."""
    group = GROUPS
    for name in MANAGER.split("/"):
        (group / "cgroup.subtree_control").write_text(DELEGATED)
        group /= name
        group.mkdir()
    scope = group / "jupyter.scope"
    scope.mkdir()
    for directory in (group, scope):
        for path in (directory, *(directory / f"cgroup.{name}" for name in ("procs", "subtree_control", "threads"))):
            os.chown(path, USER, USER)


def run() -> None:
    """Run the suites one after the other, and report about the machine itself."""
    say(fact="kernel", value=os.uname().release)
    say(fact="mounts", value=" ".join(sorted({line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()})))
    say(fact="controllers", value=(GROUPS / "cgroup.controllers").read_text().strip())
    say(fact="booted", value=Path("/proc/uptime").read_text().split()[0])
    for name, words in SUITES.items():
        start = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-p", "tests.vm.reporting", "-p", "no:cacheprovider", "-q", *words]
        before = become_user if name == "user" else None
        environment = {**os.environ, SUITE_VARIABLE: name, **(USERS_VARIABLES if name == "user" else {})}
        status = subprocess.run(command, env=environment, preexec_fn=before, check=False).returncode
        say(fact=f"suite {name}", value=f"status {status}, {time.monotonic() - start:.0f} s")
    left = [
        str(path.relative_to(GROUPS)) for path in GROUPS.rglob("*") if path.is_dir() and ("nbc" in path.name or "notebook" in path.name)
    ]
    say(fact="groups left", value=" ".join(left))
    say(fact="end", value="reached")


def become_user() -> None:
    """Put this process into the user's scope, and become the user."""
    (GROUPS / MANAGER / "jupyter.scope/cgroup.procs").write_text("0")
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)


if __name__ == "__main__":
    main()
