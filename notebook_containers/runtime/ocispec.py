"""A Spec that somebody else wrote: what is wrong in it or cannot be done is refused before anything is made, the rest is completed.

(OCI runtime-spec 1.0 to 1.2.) What a Spec asks for is done, refused with the member's name, or, where it is only a label that this kernel
has no use for, left out with a warning. Nothing is silently dropped but members that the specification does not know.
"""

from __future__ import annotations

import os
import posixpath
import resource

from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.linux import capabilities, namespaces
from notebook_containers.runtime import clocks, document, hooks, idmapped, scheduling
from notebook_containers.runtime.document import Table

CGROUP_PARENT = "notebook-containers"

_NOT_DONE = {
    "": ("vm", "zos", "windows", "solaris"),
    "process": ("execCPUAffinity",),
    "linux": ("intelRdt", "netDevices", "memoryPolicy"),
}
# what runc lets every container use, whatever the list of the bundle denies: null, zero, full, random, urandom, tty, console, ptmx, pts
_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1))
_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


class Completed:
    """A Spec ready to run: ``config``, its cgroup (relative to the hierarchy's top), and ``warnings`` about what was left out."""

    __slots__ = ("cgroup", "config", "lent_parents", "warnings")

    def __init__(self, config: Table) -> None:
        self.config = config
        self.cgroup = ""
        self.lent_parents = False
        self.warnings: list[str] = []


def read(bundle: str) -> Table:
    """Return the bundle's config.json; InvalidArgument when there is none or it is no JSON object."""
    path = os.path.join(bundle, "config.json")
    try:
        return document.read(path)
    except FileNotFoundError:
        raise InvalidArgument(f"JSON specification file {path} not found", hint="make one with 'nbc runtime spec'") from None
    except (OSError, ValueError) as err:
        raise InvalidArgument(f"{path} cannot be read: {err}") from err


def complete(config: Table, bundle: str, identity: str) -> Completed:
    """Check and complete a Spec; InvalidArgument for what is wrong, Unsupported for what cannot be done here."""
    done = Completed({**config})
    try:
        _check_version(config)
        _check_members(config)
        hooks.check(config)
        _complete_root(done, bundle)
        _complete_process(done)
        _complete_linux(done, identity)
        _complete_mounts(done, bundle)
    except ValueError as err:
        if isinstance(err, InvalidArgument):
            raise
        raise InvalidArgument(f"config.json: {err}") from err
    return done


def _check_version(config: Table) -> None:
    version = document.text(config, "ociVersion")
    if version.partition(".")[0] != "1":
        raise Unsupported(f"ociVersion {version!r} is not supported", hint="versions 1.0.0 to 1.2.1 of the runtime specification are")


def _check_members(config: Table) -> None:
    for section, names in _NOT_DONE.items():
        found = document.table(config, section) if section else config
        for name in names:
            if found.get(name):
                raise Unsupported(f"{section}{'.' if section else ''}{name} is not supported", hint="leave it out of config.json")


def _complete_root(done: Completed, bundle: str) -> None:
    root = document.table(done.config, "root")
    path = document.text(root, "path")
    if not path:
        raise InvalidArgument("root.path must not be empty")
    real = os.path.realpath(os.path.join(bundle, path))
    if not os.path.isdir(real):
        raise InvalidArgument(f"rootfs {real} is no directory")
    done.config["root"] = {**root, "path": real}


def complete_process(process: Table) -> list[str]:
    """Check one process object and leave out of it, in place, what this kernel lacks; return warnings."""
    if not document.texts(process, "args") or not document.texts(process, "args")[0]:
        raise InvalidArgument("process.args must not be empty")
    cwd = document.text(process, "cwd")
    if not cwd.startswith("/"):
        raise InvalidArgument(f"process.cwd must be an absolute path, not {cwd!r}")
    _check_rlimits(process)
    scheduling.check(process)
    return [*_complete_capabilities(process), *_labels(process)]


def _complete_process(done: Completed) -> None:
    process = document.table(done.config, "process")
    if not process:
        raise InvalidArgument("process must not be empty", hint="config.json says what to run in its member process")
    done.config["process"] = process = {**process}
    done.warnings += complete_process(process)


def _check_rlimits(process: Table) -> None:
    seen = set()
    for entry in document.tables(process, "rlimits"):
        kind = document.text(entry, "type")
        if not kind.startswith("RLIMIT_") or not hasattr(resource, kind):
            raise InvalidArgument(f"rlimit type {kind!r} does not exist")
        if kind in seen:
            raise InvalidArgument(f"rlimit {kind} is given twice")
        seen.add(kind)
        soft, hard = document.number(entry, "soft"), document.number(entry, "hard")
        if soft > hard >= 0:
            raise InvalidArgument(f"the soft limit {soft} of {kind} is above its hard limit {hard}")


def _complete_capabilities(process: Table) -> list[str]:
    caps = document.table(process, "capabilities")
    if not caps:
        return []
    known = capabilities.NAMES[: capabilities.last() + 1]
    unknown = sorted({name for key in _SETS for name in document.texts(caps, key)} - set(known))
    process["capabilities"] = {key: [name for name in document.texts(caps, key) if name in known] for key in _SETS}
    return [f"capability {name} is left out: this kernel does not know it" for name in unknown]


def _labels(process: Table) -> list[str]:
    warnings = []
    for member, present, what in (("apparmorProfile", apparmor(), "AppArmor"), ("selinuxLabel", selinux(), "SELinux")):
        if document.text(process, member) and not present:
            warnings.append(f"process.{member} is left out: {what} is not active on this kernel")
            process.pop(member)
    return warnings


def apparmor() -> bool:
    """Tell whether AppArmor is active."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return file.read(1) == "Y"
    except OSError:
        return False


def selinux() -> bool:
    """Tell whether SELinux is active."""
    return os.path.exists("/sys/fs/selinux/enforce")


def _complete_linux(done: Completed, identity: str) -> None:
    linux = {**document.table(done.config, "linux")}
    done.config["linux"] = linux
    _check_namespaces(linux)
    clocks.check(linux)
    scheduling.check_personality(linux)
    if document.text(linux, "mountLabel") and not selinux():
        done.warnings.append("linux.mountLabel is left out: SELinux is not active on this kernel")
    elif document.text(linux, "mountLabel"):
        raise Unsupported("linux.mountLabel is not supported", hint="turn labels off for this container (--security-opt label=disable)")
    resources = {**document.table(linux, "resources")}
    if devices := list(document.tables(resources, "devices")):
        allowed: list[object] = [{"allow": True, "type": "c", "major": a, "minor": b, "access": "rwm"} for a, b in _DEVICES]
        nodes: list[object] = [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
        resources["devices"] = [*devices, *nodes, *allowed]
    linux["resources"] = resources
    done.cgroup, done.lent_parents = cgroup_path(document.text(linux, "cgroupsPath"), identity)


def cgroup_path(asked: str, identity: str) -> tuple[str, bool]:
    """Return the group relative to the hierarchy's top, and whether its parents are the caller's (an absolute path) or ours."""
    if asked.count(":") == 2:
        raise Unsupported(
            f"cgroupsPath {asked!r} is in systemd's form (slice:prefix:name)", hint="use the cgroupfs cgroup manager (--cgroup-manager)"
        )
    inside = posixpath.normpath("/" + asked.lstrip("/")).strip("/")
    if asked.startswith("/") and inside:
        return inside, True
    return f"{CGROUP_PARENT}/{inside or identity}", False


def _check_namespaces(linux: Table) -> None:
    seen = set()
    for entry in document.tables(linux, "namespaces"):
        kind, path = document.text(entry, "type"), document.text(entry, "path")
        if kind not in namespaces.FLAGS:
            raise Unsupported(f"a {kind!r} namespace is not supported", hint=f"known are {', '.join(sorted(namespaces.FLAGS))}")
        if kind in seen:
            raise InvalidArgument(f"the {kind} namespace is given twice")
        if path and not path.startswith("/"):
            raise InvalidArgument(f"the path of the {kind} namespace must be absolute, not {path!r}")
        seen.add(kind)
    if "mount" not in seen:
        raise Unsupported("a container needs a mount namespace of its own", hint='add {"type": "mount"} to linux.namespaces')
    if "user" not in seen and (linux.get("uidMappings") or linux.get("gidMappings")):
        raise InvalidArgument("id mappings are given, but no user namespace")


def _complete_mounts(done: Completed, bundle: str) -> None:
    mounts: list[object] = []
    for number, entry in enumerate(document.tables(done.config, "mounts")):
        destination, words = document.text(entry, "destination"), document.texts(entry, "options")
        if not destination:
            raise InvalidArgument(f"mounts[{number}] has no destination")
        idmapped.check(entry, document.table(done.config, "linux"))
        source = document.text(entry, "source")
        if _is_bind(entry, words) and not source.startswith("/"):
            source = os.path.join(bundle, source)
        mounts.append({**entry, "source": source, "type": document.text(entry, "type") or ("bind" if _is_bind(entry, words) else "")})
    done.config["mounts"] = mounts


def _is_bind(entry: Table, words: list[str]) -> bool:
    return document.text(entry, "type") == "bind" or "bind" in words or "rbind" in words
