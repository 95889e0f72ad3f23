"""The machine a run took place on: its facts, and what a run could have left behind on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "docker": ("dockerd", "--version"),
    "podman": ("podman", "--version"),
    "buildah": ("buildah", "--version"),
    "runc": ("runc", "--version"),
    "bubblewrap": ("bwrap", "--version"),
    "docker-registry": ("docker-registry", "--version"),
    "GNU tar": ("tar", "--version"),
}


def facts() -> list[str]:
    """Return lines about processor, memory, kernel, file system and cgroups."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    model = re.search(r"model name\s*:\s*(.+)", _text("/proc/cpuinfo"))
    return [
        f"processor: {os.cpu_count()} x {model[1] if model else platform.machine()}",
        f"memory: {pages * size / 2**30:.0f} GiB",
        f"kernel: Linux {platform.release()}, {_cgroups()}",
        f"Python: {platform.python_version()}",
    ]


def versions() -> list[str]:
    """Return one line per peer: its version, or that it is not installed."""
    return [f"{name}: {_version(words)}" for name, words in PROGRAMS.items()]


def traces() -> dict[str, set[str]]:
    """Return what a run could leave behind: mounts, links, firewall rules, cgroups, files in the usual places."""
    return {
        "mount": {line.split(" - ")[-1] + " " + line.split()[4] for line in _text("/proc/self/mountinfo").splitlines()},
        "link": _names("/sys/class/net"),
        "firewall": _firewall(),
        "cgroup": {path for top in _names("/sys/fs/cgroup") for path, _names_, _files in os.walk(f"/sys/fs/cgroup/{top}")},
        "path": {f"{place}/{name}" for place in ("/run", "/var/run", "/var/lib", "/run/lock", "/dev/shm") for name in _names(place)},
    }


def _firewall() -> set[str]:
    if not shutil.which("nft"):
        return set()
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=False)
    table, found = "", set()
    for line in done.stdout.splitlines():
        table = line if line.startswith("table") else table
        found.add(f"{table} {line.strip()}")
    return found


def _cgroups() -> str:
    kinds = {line.split(" - ")[1].split()[0] for line in _text("/proc/self/mountinfo").splitlines() if " - cgroup" in line}
    return {frozenset({"cgroup"}): "cgroup v1", frozenset({"cgroup2"}): "cgroup v2"}.get(frozenset(kinds), "cgroup v1 and v2 (hybrid)")


def _version(words: tuple[str, ...]) -> str:
    if not shutil.which(words[0], path=SEARCH):
        return "not installed"
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": SEARCH})
    number = re.search(r"\d+\.\d[\w.+~-]*", done.stdout or done.stderr)
    return number[0] if number else "?"


SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
"""Where the peers are looked for: Debian's own before anything else."""


def _names(place: str) -> set[str]:
    try:
        return set(os.listdir(place))
    except OSError:
        return set()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
