"""Makes the virtual machine's disk, boots it with software emulation, and reads what it reported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.vm import parts

QEMU = "qemu-system-x86_64"
LONGEST_S = 900
DISK_SIZE = "3G"
MEMORY_MIB = 3072


def missing() -> str:
    """Return why no virtual machine can be booted here, or an empty text."""
    for file in ("/usr/lib/systemd/systemd", "/usr/lib/systemd/user/dbus.socket"):
        if not os.path.exists(file):
            return f"{file} is needed (Debian's systemd and dbus-user-session)"
    for program in (QEMU, "mke2fs"):
        if not shutil.which(program):
            return f"{program} is needed"
    kernel = parts.find_kernel()
    if kernel is None:
        return f"a Debian kernel is needed: unpack (dpkg -x) the package that linux-image-cloud-amd64 names, {parts.KERNEL_VARIABLE}=there"
    return kernel.missing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One test as the machine reports it; ``words`` are the failure's, or the reason of a skip."""

    suite: str
    name: str
    outcome: str
    seconds: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything the machine said: facts about itself, the results, the console."""

    facts: dict[str, str]
    results: tuple[Result, ...]
    console: str
    seconds: dict[str, float]

    def of(self, suite: str) -> list[Result]:
        """Return the results of one suite."""
        return [result for result in self.results if result.suite == suite]


def boot(place: Path) -> Report:
    """Make a disk in ``place``, boot it, wait until the machine turns itself off; AssertionError with the last words of one that hangs."""
    kernel = parts.find_kernel()
    assert kernel is not None
    start = time.monotonic()
    root = place / "root"
    root.mkdir()
    parts.fill(root, kernel)
    disk = _disk(place, root)
    made = time.monotonic()
    _run(place, kernel, disk)
    seconds = {"making the disk": made - start, "running": time.monotonic() - made}
    disk.unlink()
    return _read(place, seconds)


def _disk(place: Path, root: Path) -> Path:
    """Return a sparse image of an ext4 file system with ``root`` in it; nothing is mounted for that."""
    disk = place / "disk"
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", str(root), str(disk), DISK_SIZE]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    shutil.rmtree(root)
    return disk


def _run(place: Path, kernel: parts.Kernel, disk: Path) -> None:
    words = "root=/dev/nvme0n1 rootfstype=ext4 rw init=/vm/tree/tests/vm/init console=ttyS0 panic=-1 mitigations=off loglevel=4"
    command = [
        *(QEMU, "-machine", "pc,accel=tcg", "-cpu", "max", "-smp", "2", "-m", str(MEMORY_MIB)),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-serial", f"file:{place}/console", "-serial", f"file:{place}/report"),
        *("-drive", f"file={disk},format=raw,if=none,id=disk,cache=unsafe", "-device", "nvme,drive=disk,serial=root"),
        *("-kernel", str(kernel.image), "-append", words),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the machine runs longer than {LONGEST_S} s; its last words:\n{_tail(place)}") from None
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"qemu: {error.stderr.strip()[-500:]}") from None


def _tail(place: Path) -> str:
    return "\n".join((place / "console").read_text(errors="replace").splitlines()[-40:])


def _read(place: Path, seconds: dict[str, float]) -> Report:
    facts, results = {}, []
    for line in (place / "report").read_text(errors="replace").splitlines():
        entry = json.loads(line)
        if "fact" in entry:
            facts[entry["fact"]] = entry["value"]
        else:
            results.append(Result(**entry))
    assert facts.get("end") == "reached", f"the machine stopped early; its last words:\n{_tail(place)}"
    console = (place / "console").read_text(errors="replace")
    return Report(facts=facts, results=tuple(results), console=console, seconds=seconds)
