"""The last steps of every process in a container, init's and exec's alike: limits, ids, capabilities, seccomp, execve.

The order is the security: what needs a right comes before the right is given up. ``process`` is the Spec's process object.
"""

from __future__ import annotations

import errno
import os
import posixpath
import resource
import stat
from collections.abc import Callable

from notebook_containers.errors import StartFailed
from notebook_containers.linux import capabilities, mounts, process as processes, syscalls
from notebook_containers.runtime import document, scheduling
from notebook_containers.runtime.document import Table

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_JOIN_SESSION_KEYRING = 1
_RLIMIT_LOCKS = 10  # Python has no name for it


def enter_directory(path: str, *, make: bool = True) -> None:
    """Make ``path`` the current directory (made when missing, if ``make``), through no magic link, and check that it lies in this root.

    A path such as /proc/self/fd/7 would lead out of the root by a descriptor somebody left open (CVE-2024-21626).
    """
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        target = mounts.open_in_root(root, path or "/", os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        if not make or ".." in path.split("/"):
            raise
        target = mounts.open_target(root, path, directory=True)
    os.fchdir(target)
    os.close(target)
    os.close(root)
    if not os.getcwd().startswith("/"):
        raise OSError(errno.EXDEV, "the working directory lies outside the container's root", path)


def set_limits(process: Table) -> None:
    """Apply the resource limits and the scheduling; a hard limit above what we may set becomes the highest allowed one."""
    scheduling.apply(process)
    for entry in document.tables(process, "rlimits"):
        kind = _limit_kind(entry)
        soft, hard = _limit(document.number(entry, "soft")), _limit(document.number(entry, "hard"))
        try:
            resource.setrlimit(kind, (soft, hard))
        except (PermissionError, ValueError):
            allowed = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (soft if _within(soft, allowed) else allowed, hard if _within(hard, allowed) else allowed))


def possible_limits(process: Table) -> list[object]:
    """Return the resource limits as :func:`set_limits` would set them in this process."""
    found: list[object] = []
    for entry in document.tables(process, "rlimits"):
        kind, (own_soft, own_hard) = _limit_kind(entry), resource.getrlimit(_limit_kind(entry))
        soft, hard = _limit(document.number(entry, "soft")), _limit(document.number(entry, "hard"))
        if not _within(hard, own_hard):
            try:
                resource.setrlimit(kind, (own_soft, hard))
                resource.setrlimit(kind, (own_soft, own_hard))
            except (PermissionError, ValueError):
                soft, hard = soft if _within(soft, own_hard) else own_hard, own_hard
        found.append({**entry, "soft": soft % 2**64, "hard": hard % 2**64})
    return found


def _limit_kind(entry: Table) -> int:
    name = document.text(entry, "type")
    return _RLIMIT_LOCKS if name == "RLIMIT_LOCKS" else int(getattr(resource, name))


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value < 0 or value >= 2**63 else value


def _within(value: int, allowed: int) -> bool:
    return allowed == resource.RLIM_INFINITY or (value != resource.RLIM_INFINITY and value <= allowed)


def take_identity(
    process: Table,
    seccomp: bytes,
    *,
    may_set_groups: bool,
    new_keyring: bool = True,
    install: Callable[[bytes], None] = syscalls.seccomp_set_filter,
) -> None:
    """Become the process's user with exactly its groups, capabilities, no-new-privileges and seccomp filter, which ``install`` installs."""
    user, caps = document.table(process, "user"), document.table(process, "capabilities")
    sets = {name: capabilities.mask(document.texts(caps, name)) for name in ("effective", "permitted", "inheritable", "ambient")}
    no_new_privileges = document.flag(process, "noNewPrivileges")
    if new_keyring:
        _new_keyring()
    if seccomp and not no_new_privileges:
        install(seccomp)  # needs CAP_SYS_ADMIN, which is given up below
    capabilities.limit_bounding(capabilities.mask(document.texts(caps, "bounding")))
    os.umask(document.number(user, "umask", 0o022))
    groups = document.numbers(user, "additionalGids")
    capabilities.change_ids(document.number(user, "uid"), document.number(user, "gid"), groups, may_set_groups=may_set_groups)
    capabilities.set_sets(**sets)
    if no_new_privileges:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        if seccomp:
            install(seccomp)


def _new_keyring() -> None:
    # the container must not find the session's keys (RT-23); kernels without keyrings have nothing to find
    try:
        syscalls.syscall("keyctl", _JOIN_SESSION_KEYRING, None)
    except OSError:
        pass


def environment(process: Table) -> dict[str, str]:
    """Return the environment; of a name given twice the last value."""
    return dict(entry.partition("=")[::2] for entry in document.texts(process, "env") if entry.find("=") > 0)


def execute(process: Table, *, path: str = "", preserved: int = 0, seccomp: bytes = b"") -> None:
    """Replace this process by the command; StartFailed says why not (127 not found, 126 cannot execute).

    ``path`` is where the command was found before, if it was; ``preserved`` descriptors from 3 on are passed to it; the filter ``seccomp``
    is installed as the very last thing (only for who may not gain privileges any more).
    """
    args, variables = document.texts(process, "args"), environment(process)
    if not args or not args[0]:
        raise StartFailed("no command is given", hint="the image has none: name one", exit_status=127)
    path = path or find(args[0], variables.get("PATH", DEFAULT_PATH))
    processes.reset_signals()
    for fd in range(3, 3 + preserved):
        os.set_inheritable(fd, True)
    syscalls.close_range(3 + preserved, flags=syscalls.CLOSE_RANGE_CLOEXEC)
    if seccomp:
        syscalls.seccomp_set_filter(seccomp)
    try:
        os.execve(path, args, variables)  # noqa: S606 this is the point of it all
    except OSError as err:
        raise StartFailed(f"cannot execute {args[0]}: {_reason(path, err)}", exit_status=126) from err


def add_home(process: Table) -> None:
    """Set HOME, where it is not set, to what the container's /etc/passwd says of the user, or to ``/``."""
    if "HOME" in environment(process):
        return
    uid = str(document.number(document.table(process, "user"), "uid"))
    try:
        with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
            homes = [words[5] for line in file if len(words := line.rstrip("\n").split(":")) > 5 and words[2] == uid]
    except OSError:
        homes = []
    process["env"] = [*document.texts(process, "env"), f"HOME={homes[0] if homes else '/'}"]


def open_label(process: Table) -> int:
    """Return the file of this process that takes its security label, or -1 when it has none.

    What is mounted at /proc must be a procfs, and the file lie in that very instance: a container could show a harmless file instead
    (CVE-2019-16884, CVE-2019-19921).
    """
    name = "apparmor/exec" if document.text(process, "apparmorProfile") else "exec" if document.text(process, "selinuxLabel") else ""
    if not name:
        return -1
    proc = syscalls.openat2(syscalls.AT_FDCWD, "/proc", os.O_PATH | os.O_DIRECTORY, resolve=syscalls.RESOLVE_NO_SYMLINKS)
    try:
        if syscalls.filesystem_type(proc) != syscalls.PROC_SUPER_MAGIC:
            raise OSError(errno.EPERM, "it is no procfs", "/proc")
        flags = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_XDEV | syscalls.RESOLVE_NO_MAGICLINKS
        return syscalls.openat2(proc, f"self/attr/{name}", os.O_WRONLY, resolve=flags)
    finally:
        os.close(proc)


def set_label(fd: int, process: Table) -> None:
    """Write the label that execve(2) is to give this process into the file that :func:`open_label` returned."""
    profile = document.text(process, "apparmorProfile")
    os.write(fd, f"exec {profile}".encode() if profile else document.text(process, "selinuxLabel").encode())
    os.close(fd)


def find(command: str, search: str) -> str:
    """Return the path of ``command`` as execvp(3) finds it, seen with this process's rights; StartFailed when there is none."""
    candidates = [command] if "/" in command else [posixpath.join(part or ".", command) for part in search.split(":")]
    refused = ""
    for path in candidates:
        try:
            mode = os.stat(path).st_mode
        except OSError as err:
            refused = refused or ("permission denied" if err.errno == errno.EACCES else "")
            continue
        if stat.S_ISREG(mode) and os.access(path, os.X_OK):
            return path
        refused = refused or ("it is a directory" if stat.S_ISDIR(mode) else "permission denied")
    if refused:
        raise StartFailed(f"cannot execute {command}: {refused}", exit_status=126)
    where = "no such file in the container" if "/" in command else "not found in the container's PATH"
    raise StartFailed(f"command {command}: {where}", exit_status=127)


def _shown(name: bytes) -> str:
    """Return the name as it may stand in a message: what is not seen and could act, as the \\r of a file from Windows, is spelled."""
    text = name.decode(errors="replace")
    return text if text.isprintable() else repr(text)


def _reason(path: str, err: OSError) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except OSError:
        return err.strerror or ""
    if head.startswith(b"#!"):
        interpreter = _shown(head[2:].split(b"\n")[0].replace(b"\t", b" ").strip(b" ").split(b" ")[0] or b"nothing")
        return f"its interpreter {interpreter} is missing" if err.errno == errno.ENOENT else f"interpreter {interpreter}: {err.strerror}"
    if head.startswith(b"\x7fELF"):
        return "its program loader or a library is missing" if err.errno == errno.ENOENT else "it is made for another machine"
    if err.errno == errno.ENOEXEC:
        return "it is no program (a script starts with #! and its interpreter)"
    return err.strerror or ""
