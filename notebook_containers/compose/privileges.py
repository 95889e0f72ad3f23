"""What a project asks for beyond an ordinary container: told before ``up`` when the files are somebody else's, refused by one policy.

Nothing here is forbidden by itself: who writes ``privileged: true`` in a file of their own wants it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from notebook_containers.compose.model import Project, Service
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass

POLICIES = ("", "restricted")
_SOCKETS = ("docker.sock", "podman.sock", "containerd.sock")
_HOST_MODES = ("network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup")
_ORDINARY_OPTIONS = ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One thing that a service asks for: the key's path in the file, and what it is."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def asked(project: Project) -> tuple[Asked, ...]:
    """Return what the active services ask for beyond an ordinary container, in the order of the services."""
    return tuple(
        Asked(path=f"services.{service.name}.{key}", what=what)
        for service in project.services
        for key, what in (*_rights(service), *_host(service), *_mounts(service, project.directory))
    )


def foreign(files: Iterable[str]) -> list[str]:
    """Return those of the files that are neither the user's own nor root's."""
    found = []
    for name in files:
        try:
            owner = os.stat(name).st_uid
        except OSError:
            continue
        if owner not in (os.geteuid(), 0):
            found.append(name)
    return found


def told(project: Project) -> list[str]:
    """Return what is to be said before the project is brought up: nothing for files of one's own, else all that they ask for."""
    theirs, wanted = foreign(project.files), asked(project)
    if not theirs or not wanted:
        return []
    names = ", ".join(Path(name).name for name in theirs)
    return [f"{names} is not yours, and asks for more than an ordinary container: " + "; ".join(map(str, wanted))]


def checked(policy: str) -> str:
    """Return a policy's name; raises InvalidArgument for one that there is not."""
    if policy not in POLICIES:
        raise InvalidArgument(f"{policy!r} is no policy", hint="restricted, or none")
    return policy


def check(project: Project) -> None:
    """Raise InvalidArgument when the project's policy is ``restricted`` and its active services ask for anything."""
    wanted = asked(project) if project.policy else ()
    if wanted:
        more = f" (and {len(wanted) - 1} more)" if len(wanted) > 1 else ""
        message = f"the policy restricted refuses {wanted[0]}{more}"
        raise InvalidArgument(message, hint="take it out of the file, or leave the policy off: " + "; ".join(map(str, wanted)))


def _rights(service: Service) -> Iterator[tuple[str, str]]:
    if service.privileged:
        yield "privileged", "every right that there is"
    for capability in service.cap_add:
        yield "cap_add", f"the capability {capability}"
    for option in service.security_opt:
        if option not in _ORDINARY_OPTIONS:
            yield "security_opt", option
    for device in service.devices:
        yield "devices", f"the device {device.source}"
    for rule in service.device_cgroup_rules:
        yield "device_cgroup_rules", f"devices: {rule}"
    if service.gpus or (service.deploy and service.deploy.reservations.devices):
        yield "gpus", "graphics cards"
    for key, hooks in (("post_start", service.post_start), ("pre_stop", service.pre_stop)):
        if any(hook.privileged for hook in hooks):
            yield key, "a command with every right that there is"
    if service.build and (service.build.privileged or service.build.entitlements or service.build.network == "host"):
        yield "build", "a build with more rights"


def _host(service: Service) -> Iterator[tuple[str, str]]:
    for key in _HOST_MODES:
        if getattr(service, key) == "host":
            yield key, "this machine's own"
        elif str(getattr(service, key)).startswith("container:"):
            yield key, "that of a container of somebody else"
    if service.use_api_socket:
        yield "use_api_socket", "control of every container"
    if service.cgroup_parent:
        yield "cgroup_parent", service.cgroup_parent
    if service.oom_kill_disable:
        yield "oom_kill_disable", "never to be killed for memory"
    for name in service.sysctls:
        yield "sysctls", name


def _mounts(service: Service, directory: str) -> Iterator[tuple[str, str]]:
    """Yield the paths of this machine outside the project's directory; sockets that control containers are named as such."""
    for mount in service.volumes:
        if mount.type != "bind":
            continue
        if mount.source.endswith(_SOCKETS):
            yield "volumes", f"control of every container, by {mount.source}"
        elif mount.source != directory and not mount.source.startswith(f"{directory.rstrip('/')}/"):
            yield "volumes", mount.source + ("" if mount.read_only else ", to write in")
