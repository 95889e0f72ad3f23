"""Cgroup delegation for ordinary users on version 2: a scope of the user's own systemd manager, asked for over D-Bus.

The spawner of an engine is put into a transient scope with ``Delegate=yes``; what it forks stays below it, where the user may make groups
and set limits. No program is started for it (``systemd-run`` does the same). jeepney speaks the wire protocol and is imported on use.
Source: org.freedesktop.systemd1(5), systemd's CGROUP_DELEGATION.md ("only the delegated cgroup's own subtree may be touched").
"""

from __future__ import annotations

import errno
import os
import secrets
from typing import TYPE_CHECKING

from notebook_containers.lean import dataclass
from notebook_containers.linux.cgroups import files

if TYPE_CHECKING:
    from jeepney import Message
    from jeepney.io.blocking import DBusConnection

UNIFIED = "/sys/fs/cgroup/cgroup.controllers"
"""This file is there when version 2 is the one in use."""

LEAF = "attendants"
"""The group below the scope that holds our own processes: a group with processes cannot give controllers to others."""

DELEGATE_LINE = (
    "mkdir -p /etc/systemd/system/user@.service.d; printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' "
    "> /etc/systemd/system/user@.service.d/delegate.conf; systemctl daemon-reload"
)
_MANAGER = {"object_path": "/org/freedesktop/systemd1", "bus_name": "org.freedesktop.systemd1"}
_INTERFACE = "org.freedesktop.systemd1.Manager"
_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Whether limits can be had by delegation; ``how`` says by what that is known, ``todo`` what an administrator can do."""

    available: bool
    how: str
    todo: str = ""


def look() -> State:
    """Return whether this process may have a delegated scope, or is in one; asks the bus for nothing but its greeting."""
    if not os.path.exists(UNIFIED):
        return State(
            available=False,
            how=f"stat({UNIFIED}): cgroup version 2 is not the one in use",
            todo="boot with systemd.unified_cgroup_hierarchy=1",
        )
    if directory := delegated_above(own_group()):
        return State(available=True, how=f"getxattr({directory}, user.delegate): this process is in a delegated group")
    address = bus_address()
    if not address:
        return State(
            available=False,
            how="neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR/bus leads to the user's manager",
            todo=f"loginctl enable-linger {os.geteuid()}, and log in again",
        )
    try:
        connect(address).close()
    except (OSError, ImportError, ValueError) as err:
        return State(available=False, how=f"connect({address}): {err}", todo=f"systemctl start user@{os.geteuid()}.service")
    return State(available=True, how=f"connect({address}): the user's manager can be asked")


def bus_address() -> str:
    """Return the D-Bus address of the user's bus, or an empty text when there is none."""
    if given := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return given
    path = f"{os.environ.get('XDG_RUNTIME_DIR') or f'/run/user/{os.geteuid()}'}/bus"
    return f"unix:path={path}" if os.path.exists(path) else ""


def own_group(pid: int | str = "self", *, root: str = "/sys/fs/cgroup") -> str:
    """Return the directory of a process's version 2 group."""
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        path = next((line.rstrip("\n")[3:] for line in file if line.startswith("0::")), "")
    return root + path.rstrip("/")


def delegated_above(directory: str) -> str:
    """Return the nearest directory from ``directory`` upwards that a manager delegated to this user (it marks them), or an empty text."""
    while directory.startswith("/sys/fs/cgroup/"):
        if files.is_delegated(directory):
            return directory if os.access(directory, os.W_OK, effective_ids=True) else ""
        directory = os.path.dirname(directory)
    return ""


def adopt(pid: int) -> str:
    """Put a process of ours (which holds no container yet) into a delegated scope of its own and return the scope's directory.

    It is in the leaf :data:`LEAF` below afterwards. OSError says why there is none: no bus, a refusal of the manager, no rights.
    """
    if bus_address():
        _mark(start_scope(pid), pid)
    scope = delegated_above(own_group(pid))
    if not scope:
        raise OSError(errno.EPERM, "no group is delegated to this user", own_group(pid))
    leaf = f"{scope}/{LEAF}"
    os.makedirs(leaf, exist_ok=True)
    with open(f"{leaf}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(pid))
    return scope


def _mark(name: str, pid: int) -> None:
    """Mark a scope that was delegated to us as the first systemd marks its own: the user's manager (of Debian 12) leaves it unmarked."""
    scope = own_group(pid)
    if os.path.basename(scope) == name and not files.is_delegated(scope):
        os.setxattr(scope, "user.delegate", b"1")


def start_scope(pid: int, *, address: str = "") -> str:
    """Ask the user's manager for a scope that holds ``pid``, wait until it is there, and return its name; OSError when it is refused."""
    name = f"notebook-containers-{pid}-{secrets.token_hex(4)}.scope"
    address = address or bus_address()
    if not address:
        raise OSError(errno.ENOENT, "there is no user bus (DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR)")
    with connect(address) as connection:
        _start(connection, name, pid)
    return name


def connect(address: str) -> DBusConnection:
    """Connect and greet; OSError when nobody answers, ImportError without jeepney."""
    from jeepney.auth import AuthenticationError
    from jeepney.io.blocking import open_dbus_connection

    try:
        return open_dbus_connection(address)
    except AuthenticationError as err:
        raise OSError(errno.EACCES, f"the bus refuses this user: {err}", address) from err
    except OSError as err:
        raise OSError(err.errno or errno.ECONNREFUSED, f"the user's bus cannot be reached: {err.strerror or err}", address) from err


def _start(connection: DBusConnection, name: str, pid: int) -> None:
    from jeepney import DBusAddress, MatchRule, message_bus, new_method_call

    manager = DBusAddress(interface=_INTERFACE, **_MANAGER)
    removed = MatchRule(type="signal", interface=_INTERFACE, member="JobRemoved", path=_MANAGER["object_path"])
    properties = [
        ("Description", ("s", "containers of a notebook")),
        ("PIDs", ("au", [pid])),
        ("Delegate", ("b", True)),
        ("CollectMode", ("s", "inactive-or-failed")),
    ]
    with connection.filter(removed, bufsize=64) as jobs:
        _ask(connection, message_bus.AddMatch(removed))
        _ask(connection, new_method_call(manager, "Subscribe"))
        job = _ask(connection, new_method_call(manager, "StartTransientUnit", "ssa(sv)a(sa(sv))", (name, "fail", properties, [])))[0]
        try:
            while True:
                _number, path, unit, result = connection.recv_until_filtered(jobs, timeout=_TIMEOUT_S).body
                if path == job or unit == name:
                    break
        except TimeoutError as err:
            raise OSError(errno.ETIMEDOUT, f"the user's manager did not make {name} in {_TIMEOUT_S:.0f} s") from err
    if result != "done":
        raise OSError(errno.EPERM, f"the user's manager could not make {name}: {result}")


def _ask(connection: DBusConnection, message: Message) -> tuple[object, ...]:
    from jeepney import MessageType

    try:
        reply = connection.send_and_get_reply(message, timeout=_TIMEOUT_S)
    except TimeoutError as err:
        raise OSError(errno.ETIMEDOUT, f"the user's manager did not answer in {_TIMEOUT_S:.0f} s") from err
    if reply.header.message_type == MessageType.error:
        words = reply.body[0] if reply.body else "no reason given"
        raise OSError(errno.EPERM, f"the user's manager refuses: {words}")
    body: tuple[object, ...] = reply.body
    return body
