"""Looks into a container of Docker's and into one of ours, over the same root file system, and writes down what each sees.

``python -m tests.runtime.beside FILE`` (root) runs on the benchmark's stage: Docker's daemon is private, and gone at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench import stage
from tests.bench.machine import SEARCH
from tests.bench.ours import IMAGE, Ours
from tests.bench.peers.docker import docker

View = Mapping[str, str]
"""What one container sees: ``area name`` → value, with nothing in it that differs from run to run."""

KINDS = ("default", "privileged")
HOSTNAME = "box"
CGROUP = "nbc-beside-docker"
PROBE = r"""
section() { echo "@@ $1"; }
section status; cat /proc/self/status
section namespace; for f in /proc/self/ns/*; do echo "${f##*/} $(readlink $f)"; done
section mount; cat /proc/self/mountinfo
section dev; cd /dev; find . -path ./pts/[0-9]* -prune -o -printf '%p %y %M %U %G %l\n' | sort
section number; for f in /dev/*; do [ -c $f ] || [ -b $f ] && stat -c '%n %t:%T' $f; done
section limit; cat /proc/self/limits
section env; env
section id; id
section oom; cat /proc/self/oom_score_adj
section umask; umask
section name; hostname; domainname 2>/dev/null
section first; echo $(tr '\0' ' ' </proc/1/cmdline | cut -c1-6)
section fd; echo $(ls /proc/self/fd)
section cwd; pwd
section net; echo $(ls /sys/class/net)
section session; cat /proc/self/sessionid /proc/self/loginuid /proc/self/coredump_filter
section root
for f in / /dev /dev/shm /dev/pts /dev/mqueue /proc /sys /etc /etc/hosts /etc/hostname /etc/resolv.conf /tmp /run; do
    stat -c '%n %a %u:%g' $f
done
section proc
for f in acpi/ bus/ fs/ irq/ scsi/ tty/ asound/ acpi/wakeup cmdline config.gz cpuinfo diskstats interrupts kallsyms kcore keys \
    kmsg latency_stats loadavg meminfo modules pagetypeinfo sched_debug schedstat slabinfo softirqs stat swaps sysrq-trigger timer_list \
    timer_stats uptime version vmallocinfo vmstat zoneinfo; do
    [ -e /proc/$f ] || continue
    [ -d /proc/$f ] && n=$(ls /proc/$f 2>/dev/null | wc -l) || n=$(head -c 50 /proc/$f 2>/dev/null | wc -c)
    [ "$n" = 0 ] && r=empty || r=content
    [ -w /proc/$f ] && w=writable || w=not-writable
    echo "$f $r $w"
done
section sys
for f in firmware fs/bpf fs/pstore kernel/debug kernel/security kernel/tracing class/dmi devices/virtual/powercap fs/cgroup kernel/mm; do
    [ -e /sys/$f ] || continue
    [ "$(ls /sys/$f 2>/dev/null | wc -l)" = 0 ] && r=empty || r=content
    touch /sys/$f/x 2>/dev/null; [ -w /sys/$f ] && w=writable || w=not-writable
    echo "$f $r $w"
done
section sysctl; find /proc/sys -type f | while read f; do
    [ -r $f ] && r=r || r=-
    [ -w $f ] && w=w || w=-
    echo "${f#/proc/sys/} $r$w"
done | sort
section value; for f in net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range net/ipv4/ip_forward net/ipv6/conf/all/disable_ipv6 \
    kernel/shmmax kernel/msgmax kernel/hostname kernel/domainname fs/mqueue/queues_max; do
    echo "$f $(tr '\t\n' '  ' <"/proc/sys/$f")"
done
section try; mknod /tmp/n c 1 3 && echo 'mknod yes' || echo 'mknod no'
mount -t tmpfs t /mnt 2>/dev/null && echo 'mount yes' || echo 'mount no'
unshare -U true 2>/dev/null && echo 'unshare-user yes' || echo 'unshare-user no'
chroot / true && echo 'chroot yes' || echo 'chroot no'
"""

CAPABILITY_SETS = {"CapInh": "inheritable", "CapPrm": "permitted", "CapEff": "effective", "CapBnd": "bounding", "CapAmb": "ambient"}
CAPABILITIES = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable"),
    *("net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot"),
    *("sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod"),
    *("lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend"),
    *("audit_read", "perfmon", "bpf", "checkpoint_restore"),
)
STATUS = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Seccomp_filters", "SigIgn", "SigBlk", "Cpus_allowed_list", "Umask")


def main(output: str) -> int:
    """Enter the stage, or look and write ``output`` when on it."""
    if not stage.place():
        return stage.enter([output], module="tests.runtime.beside")
    stage.settle()
    place = Path(stage.place())
    archive = place / "root.tar"
    ours = Ours(place / "ours")
    try:
        ours.export(archive)
        found = {"docker": _docker(place, archive), "ours": _ours(ours)}
    finally:
        ours.close()
    Path(output).write_text(json.dumps(found))
    return 0


def _docker(place: Path, archive: Path) -> dict[str, str]:
    with docker(place, cgroup=CGROUP, options=("--add-runtime", f"able={_able_runtime(place)}")) as client:
        client.call("import", "--change", "ENV LANG=C.UTF-8", str(archive), "beside")
        if client.missing:
            return {"missing": client.missing}
        words = ("run", "--rm", "--hostname", HOSTNAME, "--runtime", "able")
        return {
            "default": client.call(*words, "beside", "sh", "-c", PROBE),
            "privileged": client.call(*words, "--privileged", "beside", "sh", "-c", PROBE),
        }


def _able_runtime(place: Path) -> Path:
    """Return a runc that asks for no capability this machine's root has not: Docker's privileged container asks for all, and fails."""
    bounding = int(re.findall(r"CapBnd:\s*(\w+)", Path("/proc/self/status").read_text())[0], 16)
    lacking = [f"CAP_{name.upper()}" for number, name in enumerate(CAPABILITIES) if not bounding >> number & 1]
    script = place / "able-runc"
    script.write_text(_ABLE_RUNTIME.format(python=sys.executable, lacking=lacking, runc=shutil.which("runc", path=SEARCH)))
    script.chmod(0o755)
    return script


_ABLE_RUNTIME = """#!{python}
import json, os, sys
if "create" in sys.argv:
    path = sys.argv[sys.argv.index("--bundle") + 1] + "/config.json"
    spec = json.load(open(path))
    sets = spec["process"]["capabilities"]
    spec["process"]["capabilities"] = {{name: [cap for cap in caps if cap not in {lacking}] for name, caps in sets.items()}}
    json.dump(spec, open(path, "w"))
os.execv({runc!r}, ["runc", *sys.argv[1:]])
"""


def _ours(ours: Ours) -> dict[str, str]:
    found = {}
    for kind in KINDS:
        output = ours.engine.containers.run(
            IMAGE, ["sh", "-c", PROBE], hostname=HOSTNAME, privileged=kind == "privileged", remove=True, stderr=False
        )
        assert isinstance(output, bytes)
        found[kind] = output.decode()
    return found


def view(text: str) -> View:
    """Read what :data:`PROBE` printed."""
    found: dict[str, str] = {}
    for part in re.split(r"^@@ ", text, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        reader = _READERS.get(name, _words)
        found.update((f"{name} {key}".strip(), value) for key, value in reader(body.splitlines()))
    return found


def _words(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """One key a line where there are several, or one value for the whole section."""
    if len(lines) == 1:
        yield "", lines[0].strip()
        return
    for line in lines:
        key, _, value = line.partition(" ")
        yield key, value


def _status(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    table = dict(line.split(":", 1) for line in lines)
    yield from ((name, " ".join(table[name].split())) for name in STATUS if name in table)
    for field, word in CAPABILITY_SETS.items():
        bits = int(table[field], 16)
        yield from ((f"{word} {name}", "yes") for number, name in enumerate(CAPABILITIES) if bits >> number & 1)


def _namespaces(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Whether each namespace is this process's own: the stage's pid, network and mount namespaces count as the machine's."""
    for line in lines:
        kind, _, link = line.partition(" ")
        yield kind, "the machine's" if link == os.readlink(f"/proc/self/ns/{kind}") else "its own"


def _mounts(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each mount point with its type and options: without ids, device names, sizes of the machine and paths of the store."""
    for line in lines:
        left, _, right = line.partition(" - ")
        words, (kind, _source, options) = left.split(), right.split(" ", 2)
        per_mount = words[5].split(",")
        disk = kind in _DISKS
        special = [] if disk else [option for option in options.split(",") if option not in per_mount and not option.startswith(_VARYING)]
        inside = f" {words[3]}" if kind in ("proc", "sysfs") and words[3] != "/" else ""
        propagation = "".join(f" {word.partition(':')[0]}" for word in words[6:])
        yield (
            words[4],
            f"{'disk' if disk else kind}{inside} {','.join(sorted(per_mount))} {','.join(sorted(special))}".strip() + propagation,
        )


_VARYING = ("lowerdir", "upperdir=", "workdir=", "ro", "rw", "inode64", "nr_inodes=")
_DISKS = ("ext4", "xfs", "btrfs")


def _limits(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines[1:]:
        yield line[:26].strip(), " ".join(line[26:].split())


def _variables(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition("=")
        yield name, value


def _whole(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "", " | ".join(line.strip() for line in lines)


_READERS = {
    "status": _status,
    "namespace": _namespaces,
    "mount": _mounts,
    "limit": _limits,
    "env": _variables,
    "name": _whole,
    "session": _whole,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
