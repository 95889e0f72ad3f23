"""Judge a container from inside: compare what its first process finds with its own config.json, and print each difference.

Run as the command of a bundle (``python3 inside.py config.json``), by whatever runtime: it uses nothing but Python's standard library and
knows no runtime. What only the outside can tell it (the machine's namespaces) stands in the bundle's annotations. The words are those of
the OCI runtime specification (config.md, config-linux.md).
"""

from __future__ import annotations

import errno
import json
import os
import resource
import socket
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
SETS = {"bounding": "CapBnd", "effective": "CapEff", "permitted": "CapPrm", "inheritable": "CapInh", "ambient": "CapAmb"}
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN "
    "NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
)
FLAGS = {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime"}
FILES = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup", "user": "user", "time": "time"}
LIMITS = (
    ("memory", "limit", "memory/memory.limit_in_bytes", "memory.max"),
    ("memory", "reservation", "memory/memory.soft_limit_in_bytes", "memory.low"),
    ("cpu", "shares", "cpu/cpu.shares", ""),
    ("cpu", "quota", "cpu/cpu.cfs_quota_us", ""),
    ("cpu", "period", "cpu/cpu.cfs_period_us", ""),
    ("cpu", "cpus", "cpuset/cpuset.cpus", "cpuset.cpus"),
    ("pids", "limit", "pids/pids.max", "pids.max"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounted:
    """A line of mountinfo."""

    place: str
    flags: list[str]
    marks: list[str]
    kind: str
    options: list[str]

    @property
    def shared(self) -> bool:
        """Whether mounts made here appear elsewhere."""
        return any(mark.startswith("shared:") for mark in self.marks)


def mounted(line: str) -> Mounted:
    """Read a line of mountinfo."""
    before, _, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    return Mounted(place=fields[4], flags=fields[5].split(","), marks=fields[6:], kind=rest[0], options=rest[2].split(","))


class Judge:
    """Collects differences from a config.json."""

    def __init__(self, path: Path) -> None:
        self.spec = json.loads(path.read_text())
        self.process, self.linux = self.spec["process"], self.spec["linux"]
        self.said: list[str] = []
        self.status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
        self.mounts = [mounted(line) for line in Path("/proc/self/mountinfo").read_text().splitlines()]

    def same(self, what: str, found: object, wanted: object) -> None:
        """Note a difference."""
        if found != wanted:
            self.said.append(f"{what}: {found!r}, not {wanted!r}")

    # -- the process

    def command(self) -> None:
        """Compare args, cwd, env, terminal and what is open."""
        self.same("args", Path("/proc/self/cmdline").read_bytes().decode().split("\0")[:-1], self.process["args"])
        self.same("cwd", os.getcwd(), self.process["cwd"])
        self.same("env", dict(os.environ), dict(entry.split("=", 1) for entry in self.process["env"]))
        self.same("terminal", os.isatty(0), self.process.get("terminal", False))
        self.same("open descriptors", sorted(os.listdir("/proc/self/fd"), key=int)[:-1], ["0", "1", "2"])
        self.same("number of the first process", os.getpid(), 1)

    def user(self) -> None:
        """Compare the ids and the umask."""
        user = self.process["user"]
        self.same("uid", self.status["Uid"].split(), [str(user["uid"])] * 4)
        self.same("gid", self.status["Gid"].split(), [str(user["gid"])] * 4)
        self.same("additionalGids", sorted(map(int, self.status["Groups"].split())), sorted(user.get("additionalGids", [])))
        self.same("umask", int(self.status["Umask"], 8), user.get("umask", 0o022))

    def rights(self) -> None:
        """Compare the five sets of capabilities, the limits and the score."""
        asked = {name: set(self.process["capabilities"].get(name, [])) for name in SETS}
        # what execve makes of them for root and for a user (capabilities(7)): there is no process that still has them as they were set
        kept = asked["ambient"] if self.process["user"]["uid"] else asked["bounding"] | asked["inheritable"]
        for name, line in SETS.items():
            bits = int(self.status[line], 16)
            names = [f"CAP_{known}" for bit, known in enumerate(CAPABILITIES.split()) if bits >> bit & 1]
            self.same(f"capabilities.{name}", sorted(names), sorted(kept if name in ("permitted", "effective") else asked[name]))
        self.same("noNewPrivileges", self.status["NoNewPrivs"], str(int(bool(self.process.get("noNewPrivileges")))))
        self.same("oomScoreAdj", Path("/proc/self/oom_score_adj").read_text().strip(), str(self.process["oomScoreAdj"]))
        for entry in self.process["rlimits"]:
            self.same(entry["type"], resource.getrlimit(getattr(resource, entry["type"])), (entry["soft"], entry["hard"]))

    def seccomp(self) -> None:
        """Make each call that a rule is about."""
        self.same("seccomp mode", self.status["Seccomp"], "2" if "seccomp" in self.linux else "0")
        for rule in self.linux.get("seccomp", {}).get("syscalls", []):
            for name in rule["names"]:
                self.same(f"seccomp {name}", tried(CALLS[name]), rule["errnoRet"] if rule["action"] == "SCMP_ACT_ERRNO" else 0)

    # -- the file tree

    def root(self) -> None:
        """Compare what the root is and lets be done."""
        readonly, asked = self.spec["root"].get("readonly", False), self.linux.get("rootfsPropagation", "")
        (top,) = (mount for mount in self.mounts if mount.place == "/")
        self.same("root.readonly", "ro" in top.flags, readonly)
        if self.process["user"]["uid"] == 0:
            self.same("making a directory in the root", tried(lambda: os.mkdir("/made")), errno.EROFS if readonly else 0)
        self.same("rootfsPropagation", top.shared, asked == "shared")
        self.same("the directory above the root", os.stat("/..").st_ino, os.stat("/").st_ino)

    def tree(self) -> None:
        """Look for each mount."""
        places = {mount.place: mount for mount in self.mounts}
        for number, entry in enumerate(self.spec["mounts"]):
            if entry["destination"] in places:
                self._mount(number, places[entry["destination"]])
            else:
                self.said.append(f"mount {entry['destination']}: missing")

    def _mount(self, number: int, found: Mounted) -> None:
        entry = self.spec["mounts"][number]
        words, bind = set(entry.get("options", [])), entry["type"] == "bind"
        what, flags = f"mount {found.place}", set(found.flags) | ({"ro"} & set(found.options))
        if entry["type"] not in ("bind", "cgroup"):
            self.same(f"{what}: type", found.kind, entry["type"])
            self.same(f"{what}: flags", flags & {"nosuid", "nodev", "noexec"}, words & {"nosuid", "nodev", "noexec"})
        if entry["type"] == "tmpfs":
            for word in [word.replace("=0", "=") for word in words if word.startswith(("size=", "mode=")) and word != "mode=1777"]:
                self.same(f"{what}: options", word in found.options, True)
        self.same(f"{what}: flags", (words & FLAGS) - flags - ({"ro"} if entry["type"] == "cgroup" else set()), set())
        for word in words & {"shared", "rshared", "slave", "rslave", "private", "rprivate"}:
            self.same(f"{what}: {word}", found.shared, word.endswith("shared"))
        if bind and found.place not in ("/usr", "/judge"):
            self.same(f"{what}: what lies there", os.listdir(found.place), ["sentinel"])

    def devices(self) -> None:
        """Look at each device, and at what the list of the cgroup lets be opened."""
        for name, (major, minor) in DEVICES.items():
            self._node({"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor})
        rules = self.linux["resources"].get("devices", [])
        allowed = {(rule["type"], rule["major"], rule["minor"]) for rule in rules if rule["allow"]}
        allowed |= {("c", major, minor) for major, minor in DEVICES.values()}
        for entry in self.linux.get("devices", []):
            self._node(entry)
            if entry["type"] != "p":
                wanted = 0 if (entry["type"], entry["major"], entry["minor"]) in allowed else errno.EPERM
                self.same(f"opening {entry['path']}", opened(entry["path"]), wanted)
        for name, target in LINKS.items():
            self.same(f"/dev/{name}", os.readlink(f"/dev/{name}"), target)
        self.same("/dev/ptmx", os.path.realpath("/dev/ptmx"), "/dev/pts/ptmx")

    def _node(self, entry: dict[str, object]) -> None:
        what, found = f"device {entry['path']}", os.stat(str(entry["path"]))
        kinds = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
        self.same(f"{what}: type", stat.S_IFMT(found.st_mode), kinds[str(entry["type"])])
        self.same(f"{what}: number", (os.major(found.st_rdev), os.minor(found.st_rdev)), (entry.get("major", 0), entry.get("minor", 0)))
        self.same(f"{what}: mode", oct(stat.S_IMODE(found.st_mode)), oct(int(str(entry.get("fileMode", 0o666)))))
        if "uidMappings" not in self.linux:  # else it is the machine's node, whose owner does not exist here
            self.same(f"{what}: owner", (found.st_uid, found.st_gid), (entry.get("uid", 0), entry.get("gid", 0)))

    def hidden(self) -> None:
        """Read what is masked, and ask whether the rest is read-only."""
        for place in self.linux["maskedPaths"]:
            if os.path.isdir(place):
                self.same(f"masked {place}", os.listdir(place), [])
            elif os.path.exists(place):
                self.same(f"masked {place}", Path(place).read_bytes(), b"")
        for place in filter(os.path.exists, self.linux["readonlyPaths"]):
            self.same(f"read-only {place}", bool(os.statvfs(place).f_flag & os.ST_RDONLY), True)

    # -- the kernel's objects

    def namespaces(self) -> None:
        """Compare each namespace with the machine's and with the one that was to be joined."""
        asked = {entry["type"]: entry.get("path", "") for entry in self.linux["namespaces"]}
        for kind, file in FILES.items():
            found, outside = os.readlink(f"/proc/self/ns/{file}"), self.spec["annotations"][f"outside.{file}"]
            if asked.get(kind):
                self.same(f"the joined {kind} namespace", found, self.spec["annotations"][f"joined.{file}"])
            else:
                self.same(f"a {kind} namespace of its own", found != outside, kind in asked)
        for name in ("uid", "gid") if "user" in asked else ():
            lines = [[int(word) for word in line.split()] for line in Path(f"/proc/self/{name}_map").read_text().splitlines()]
            self.same(f"{name}Mappings", lines, [[e["containerID"], e["hostID"], e["size"]] for e in self.linux[f"{name}Mappings"]])
        self.same("hostname", socket.gethostname(), self.spec["hostname"])
        if "domainname" in self.spec:
            self.same("domainname", Path("/proc/sys/kernel/domainname").read_text().strip(), self.spec["domainname"])

    def settings(self) -> None:
        """Read every sysctl that was set."""
        for name, value in self.linux.get("sysctl", {}).items():
            self.same(f"sysctl {name}", Path("/proc/sys", *name.split(".")).read_text().split(), value.split())

    def limits(self) -> None:
        """Read the limits of the own cgroup, version 1 or 2."""
        resources, top, seen = self.linux["resources"], Path("/sys/fs/cgroup"), 0
        for section, member, *names in LIMITS:
            wanted = resources.get(section, {}).get(member)
            files = [top / name for name in names if name and (top / name).exists()]
            seen += len(files)
            if files and wanted is not None:
                self.same(f"cgroup {files[0]}", files[0].read_text().strip(), str(wanted))
        cpu = resources.get("cpu", {})
        if (top / "cpu.max").exists() and "quota" in cpu:
            self.same("cgroup cpu.max", (top / "cpu.max").read_text().split(), [str(cpu["quota"]), str(cpu["period"])])
        self.same("files of the cgroup to be seen", seen > 2, True)

    def judge(self) -> list[str]:
        """Return every difference."""
        parts: tuple[Callable[[], None], ...] = (
            self.command, self.user, self.rights, self.seccomp, self.root, self.tree, self.devices, self.hidden, self.namespaces,
            self.settings, self.limits,
        )  # fmt: skip
        for part in parts:
            try:
                part()
            except (OSError, LookupError) as err:
                self.said.append(f"{part.__name__}: {err!r}")
        return self.said


def tried(call: Callable[[], object]) -> int:
    """Return the errno that a call ends with, 0 when it succeeds."""
    try:
        call()
    except OSError as err:
        return err.errno or 0
    return 0


def opened(path: str) -> int:
    """Return the errno of opening a file, 0 when it can be opened."""
    return tried(lambda: os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK)))


CALLS: dict[str, Callable[[], object]] = {
    "getpriority": lambda: os.getpriority(os.PRIO_PROCESS, 0),
    "getsid": lambda: os.getsid(0),
    "sched_getaffinity": lambda: os.sched_getaffinity(0),
    "socket": lambda: socket.socket(socket.AF_APPLETALK, socket.SOCK_DGRAM).close(),
}

if __name__ == "__main__":
    found = Judge(Path(sys.argv[1])).judge()
    sys.stdout.write("".join(f"{line}\n" for line in found) or "no difference\n")
