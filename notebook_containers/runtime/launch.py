"""The last steps of every process in a container, init's and exec's alike: limits, ids, capabilities, seccomp, execve.

The order is the security: what needs a right comes before the right is given up. ``process`` is the Spec's process object.
"""

from __future__ import annotations

import errno
import os
import posixpath
import resource
import stat

from notebook_containers.errors import StartFailed
from notebook_containers.linux import capabilities, mounts, process as processes, syscalls
from notebook_containers.runtime import document
from notebook_containers.runtime.document import Table

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
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
    """Apply the resource limits; a hard limit above what we may set becomes the highest allowed one."""
    for entry in document.tables(process, "rlimits"):
        kind = _RLIMIT_LOCKS if document.text(entry, "type") == "RLIMIT_LOCKS" else getattr(resource, document.text(entry, "type"))
        soft, hard = _limit(document.number(entry, "soft")), _limit(document.number(entry, "hard"))
        try:
            resource.setrlimit(kind, (soft, hard))
        except (PermissionError, ValueError):
            allowed = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (soft if _within(soft, allowed) else allowed, hard if _within(hard, allowed) else allowed))


def _limit(value: int) -> int:
    return resource.RLIM_INFINITY if value < 0 or value >= 2**63 else value


def _within(value: int, allowed: int) -> bool:
    return allowed == resource.RLIM_INFINITY or (value != resource.RLIM_INFINITY and value <= allowed)


def take_identity(process: Table, seccomp: bytes, *, may_set_groups: bool) -> None:
    """Become the process's user with exactly its groups, capabilities, no-new-privileges and seccomp filter."""
    user, caps = document.table(process, "user"), document.table(process, "capabilities")
    sets = {name: capabilities.mask(document.texts(caps, name)) for name in ("effective", "permitted", "inheritable", "ambient")}
    no_new_privileges = document.flag(process, "noNewPrivileges")
    _new_keyring()
    if seccomp and not no_new_privileges:
        syscalls.seccomp_set_filter(seccomp)  # needs CAP_SYS_ADMIN, which is given up below
    capabilities.limit_bounding(capabilities.mask(document.texts(caps, "bounding")))
    os.umask(document.number(user, "umask", 0o022))
    groups = document.numbers(user, "additionalGids")
    capabilities.change_ids(document.number(user, "uid"), document.number(user, "gid"), groups, may_set_groups=may_set_groups)
    capabilities.set_sets(**sets)
    if no_new_privileges:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        if seccomp:
            syscalls.seccomp_set_filter(seccomp)


def _new_keyring() -> None:
    # the container must not find the session's keys (RT-23); kernels without keyrings have nothing to find
    try:
        syscalls.syscall("keyctl", _JOIN_SESSION_KEYRING, None)
    except OSError:
        pass


def execute(process: Table) -> None:
    """Replace this process by the command; StartFailed says why not (127 not found, 126 cannot execute)."""
    args = document.texts(process, "args")
    environment = dict(entry.partition("=")[::2] for entry in document.texts(process, "env") if entry.find("=") > 0)
    if not args or not args[0]:
        raise StartFailed("no command is given", hint="the image has none: name one", exit_status=127)
    path = find(args[0], environment.get("PATH", _DEFAULT_PATH))
    processes.reset_signals()
    syscalls.close_range(3, flags=syscalls.CLOSE_RANGE_CLOEXEC)
    try:
        os.execve(path, args, environment)  # noqa: S606 this is the point of it all
    except OSError as err:
        raise StartFailed(f"cannot execute {args[0]}: {_reason(path, err)}", exit_status=126) from err


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


def _reason(path: str, err: OSError) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(256)
    except OSError:
        return err.strerror or ""
    if head.startswith(b"#!"):
        interpreter = (head[2:].split(b"\n")[0].split() or [b"nothing"])[0].decode(errors="replace")
        return f"its interpreter {interpreter} is missing" if err.errno == errno.ENOENT else f"interpreter {interpreter}: {err.strerror}"
    if head.startswith(b"\x7fELF"):
        return "its program loader or a library is missing" if err.errno == errno.ENOENT else "it is made for another machine"
    if err.errno == errno.ENOEXEC:
        return "it is no program (a script starts with #! and its interpreter)"
    return err.strerror or ""
