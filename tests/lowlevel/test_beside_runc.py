"""The same bundle run by runc and by us: what the command sees must be the same, but for what is listed here with its reason."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.lowlevel.bundles import Change, Low, Spec, section
from tests.lowlevel.test_bundles import change, mount, without_namespace

pytestmark = pytest.mark.root

PROBE = r"""
echo "-- status"; grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|Umask)' /proc/self/status
echo "-- limits"; cat /proc/self/limits
echo "-- mounts"; while read -r line; do echo "$line"; done </proc/self/mountinfo
echo "-- dev"; cd /dev; for f in *; do stat -c '%n %A %u %g %t %T' "$f"; done | sort
echo "-- env"; env | sort
echo "-- id"; id; pwd; hostname; cat /proc/sys/kernel/domainname
echo "-- masks"; for p in /proc/kcore /proc/keys /proc/timer_list /sys/firmware; do
stat -c '%n %t %T' $p 2>&1; ls $p 2>/dev/null | head -1; done
echo "-- oom"; cat /proc/self/oom_score_adj
echo "-- fds"; ls /proc/self/fd
echo "-- stdin"; cat
"""
# /proc/kcore's link in /dev: runc has it only where the host has the file (here it has not)
MASKED = ("/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware")
IGNORED = {"dev": ("core ",)}


def sections(output: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        if line.startswith("-- "):
            found[line[3:]] = []
        elif found:
            found[list(found)[-1]].append(line)
    return {name: [line for line in lines if not line.startswith(IGNORED.get(name, "\0"))] for name, lines in found.items()}


def normal(lines: list[str]) -> list[str]:
    """Leave of each mount what is not a number that the kernel counts up: root, place, options, type, source, sorted words.

    Left out on purpose: read-only of the superblock beside read-only of the mount (runc sets both, we the mount's, which is what
    counts); the order of the cgroup hierarchies and of the masks; the options of the empty directories over masked ones; whose null
    device lies over masked files (the host's here, the container's there: CVE-2025-31133); and how the directory above the cgroup
    hierarchies is mounted (without a cgroup namespace runc leaves it writable, we do not).
    """
    result = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        root = re.sub(r"/(c\d+|r\d+)$", "/ID", fields[3])
        words = [word for word in sorted(kind[2].split(",")) if not word.startswith("inode") and word not in ("ro", "rw")]
        if fields[4] == "/sys/fs/cgroup":
            fields[5], kind[1] = "", ""
        if fields[4].startswith("/sys/fs/cgroup/"):
            root = "its own group" if root.endswith("/ID") else root
        if fields[4] in MASKED and kind[0] == "tmpfs":
            fields[5], words = "", []
        if root == "/null":
            fields[5], kind, words = "", ["", "", ""], []
        result.append(" ".join([root, fields[4], ",".join(sorted(fields[5].split(","))), kind[0], kind[1], ",".join(words)]))
    loose = [line for line in result if line.split(" /")[1].startswith(("sys/fs/cgroup/", "proc/", "sys/firmware"))]
    return [line for line in result if line not in loose] + sorted(loose)


def compare(low: Low, *changes: Change) -> None:
    bundle = low.bundle(["sh", "-c", PROBE], *changes)
    ours = sections(low.nbc("run", "--bundle", str(bundle), "c1", stdin="typed\n"))
    words = ["runc", "--root", str(low.directory / "runc"), "run", "--bundle", str(bundle), "c1"]
    theirs = sections(subprocess.run(words, capture_output=True, text=True, input="typed\n", check=True).stdout)
    for found in (ours, theirs):
        found["mounts"] = normal(found["mounts"])
    for name, lines in theirs.items():
        assert ours[name] == lines, name


def test_the_usual_bundle_is_the_same(low: Low) -> None:
    compare(low)


def test_a_user_with_limits_and_devices_is_the_same(low: Low) -> None:
    compare(
        low,
        change(
            "process",
            user={"uid": 1000, "gid": 1000, "additionalGids": [4, 5], "umask": 0o77},
            oomScoreAdj=55,
            noNewPrivileges=False,
            cwd="/tmp",
        ),
        change("process", rlimits=[{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}, {"type": "RLIMIT_NPROC", "soft": 500, "hard": 600}]),
        change("linux", devices=[{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 1000, "gid": 4}]),
        change("root", readonly=False),
        mount("/data", "tmpfs", "tmpfs", "size=1m", "mode=711", "nosuid"),
        mount("/bound", "bind", str(low.directory), "rbind", "ro", "nodev"),
    )


def test_capabilities_of_all_kinds_are_the_same(low: Low) -> None:
    names = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_SYS_CHROOT"]
    caps: Spec = {
        "bounding": [*names, "CAP_KILL"],
        "permitted": names,
        "effective": names[:2],
        "inheritable": names[1:],
        "ambient": names[1:2],
    }
    for uid in (0, 1000):
        compare(low, change("process", capabilities=caps, user={"uid": uid, "gid": 0}))
    compare(low, without_capabilities)


def without_capabilities(spec: Spec) -> None:
    del section(spec, "process")["capabilities"]


def test_shared_namespaces_are_the_same(low: Low) -> None:
    compare(low, without_namespace("ipc"), without_namespace("network"), without_namespace("cgroup"))
