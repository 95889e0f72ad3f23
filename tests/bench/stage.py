"""The stage: the whole benchmark, ours and the peers, runs in network, mount and process namespaces of its own.

So nothing of the machine's links, firewall and mounts is touched, and whatever a peer forgets is gone at the end, also after Ctrl-C.
The stage sees its own /run and /var/lib, and works on a file system of its own (ext4 with its journal, as Debian makes it): what else the
machine writes, and how its own disk was formatted, is then not measured. Cgroups have no such fence: the machine is compared before and
after, and the difference is said.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.machine import traces

_MOST_LINES = 20
_DISK_BYTES = 24 << 30  # of which only what is written takes room
_PLACE = "NBC_BENCH_PLACE"


def place() -> str:
    """Return the temporary directory of this run, or an empty text outside the stage."""
    return os.environ.get(_PLACE, "")


def volatile(name: str, elsewhere: Path) -> Path:
    """Return where something keeps what lasts until a restart: below /run, as everybody does, or ``elsewhere`` off the stage."""
    return Path("/run") / name if place() else elsewhere


def enter(arguments: Sequence[str], *, module: str = "tests.bench") -> int:
    """Run the module's command again on the stage, wait for it, and say what it left; returns its exit status."""
    before = traces()
    with tempfile.TemporaryDirectory(prefix="nbc-bench-") as directory:
        words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [*words, sys.executable, "-m", module, *arguments]
        status = subprocess.run(command, env={**os.environ, _PLACE: directory}, check=False).returncode
    _say_difference(before, traces())
    return status


def settle() -> None:
    """Give the stage its own disk and volatile directories: some peers write to fixed places, whatever they are told."""
    print(f"file system: {_own_disk()}\n", flush=True)
    for directory in ("/run", "/dev/shm"):
        _mount("tmpfs", directory)
    _show_own_links()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)  # for the registry that everybody pushes to
    upper, work = (os.path.join(place(), name) for name in ("var-upper", "var-work"))
    os.mkdir(upper)
    os.mkdir(work)
    _mount("overlay", "/var/lib", f"lowerdir=/var/lib,upperdir={upper},workdir={work}")


def _own_disk() -> str:
    """Mount a new ext4 over the stage's directory, where there are loop devices, and say what is there now.

    Without it rounds do not repeat: an ext4 that has no journal searches long for the inodes of files that were just deleted.
    """
    image = os.path.join(place(), "disk")
    with open(image, "wb") as file:
        file.truncate(_DISK_BYTES)
    for words in (["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop,noinit_itable", image, place()]):
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return f"the machine's own ({words[0]} is not installed)"
        if done.returncode:
            return f"the machine's own ({words[0]}: {done.stderr.strip()[:100]})"
    return "ext4 of its own, on a loop device"


def _show_own_links() -> None:
    """Mount a sysfs of this network namespace, which shows its links, below the cgroups that are mounted in the old one."""
    cgroups = os.path.join(place(), "cgroups")
    os.mkdir(cgroups)
    subprocess.run(["mount", "--move", "/sys/fs/cgroup", cgroups], check=True)
    _mount("sysfs", "/sys", "nosuid,nodev,noexec")
    subprocess.run(["mount", "--move", cgroups, "/sys/fs/cgroup"], check=True)


def _mount(kind: str, directory: str, options: str = "mode=755") -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, kind, directory], check=True)


def _say_difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> None:
    lines = [f"  {kind} appeared: {what}" for kind in before for what in sorted(after[kind] - before[kind])]
    lines += [f"  {kind} gone: {what}" for kind in before for what in sorted(before[kind] - after[kind])]
    if not lines:
        print("\nThe machine is as it was: mounts, links, firewall, cgroups, files; every process of the run has ended.")
        return
    print("\nThe machine is not as it was (other programs may have done this meanwhile):", *lines[:_MOST_LINES], sep="\n")
    if len(lines) > _MOST_LINES:
        print(f"  and {len(lines) - _MOST_LINES} more")
