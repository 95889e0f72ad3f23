"""What an ordinary user has for a network: published ports always, and a way out where pasta or slirp4netns is installed.

Containers that are to reach each other are in a network of the user's own: :mod:`.shared`.
"""

from __future__ import annotations

import os

from notebook_containers.errors import NetworkError, Unsupported
from notebook_containers.lean import dataclass
from notebook_containers.linux import syscalls
from notebook_containers.network.spawn import spawn

_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_DEVICE = "/dev/net/tun"
_HINT = f"install passt (or slirp4netns) for outgoing connections; it needs to read and write {_DEVICE}"
_PASTA_RESOLVER, _SLIRP_RESOLVER = "169.254.1.1", "10.0.2.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that carries a namespace's packets as an ordinary user: its name and path, and the name server it offers inside."""

    name: str
    path: str
    resolver: str

    def arguments(self, pid: int) -> list[str]:
        """Return the command for a container: outgoing only, and no way to the host's loopback."""
        if self.name == "pasta":
            closed = ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"]
            return [self.path, "-f", "-q", "-4", "--config-net", *closed, "--dns-forward", self.resolver, "-I", "eth0", str(pid)]
        closed = ["--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"]
        return [self.path, "--configure", "--mtu=65520", *closed, str(pid), "eth0"]


def find() -> Tool | None:
    """Return the tool that can work here (pasta before slirp4netns, which is slower), or None: each needs to open /dev/net/tun.

    PATH is not asked: only the system's places are looked at.
    """
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return None
    for name, resolver in (("pasta", _PASTA_RESOLVER), ("slirp4netns", _SLIRP_RESOLVER)):
        for directory in _DIRECTORIES:
            path = f"{directory}/{name}"
            if os.access(path, os.X_OK):
                return Tool(name=name, path=path, resolver=resolver)
    return None


def describe() -> str:
    """Say in one line what network a container of an ordinary user gets on this machine."""
    ports = "ports published on this host work (by our own forwarder)"
    tool = find()
    own = "in networks of the user's own they reach each other"
    if tool is None:
        return f"an ordinary user's containers have no way out; {own}; {ports}; {_HINT}"
    reach = "the host's loopback and the cloud's metadata address cannot be reached, its other addresses can"
    return f"an ordinary user's containers reach the outside through {tool.name}; {own}; {ports}; {reach}"


def notes() -> tuple[str, ...]:
    """Return what a container of an ordinary user cannot have for want of a tool, in words; nothing with one."""
    return () if find() else (f"no outgoing network: {_HINT}",)


def start(pid: int, *, while_pid: int = 0) -> int:
    """Give the namespaces of ``pid`` an outgoing network and return the id of the process that attends to it; returns when it works.

    The attending process and the tool end with ``while_pid`` (``pid`` when 0), and the tool with the attending process. It outlives this
    one. The container's resolv.conf should name ``find().resolver``. Raises Unsupported without a tool, NetworkError with the tool's
    words when it fails.
    """
    tool = find()
    if tool is None:
        hint = f"install passt (or slirp4netns), which need to open {_DEVICE}, or use --network none"
        raise Unsupported("no program for outgoing connections of an ordinary user", hint=hint)
    what = f"{tool.name} gave process {pid} no network"
    try:
        pidfd = syscalls.pidfd_open(pid)
        alive = syscalls.pidfd_open(while_pid or pid)
    except OSError as err:
        raise NetworkError(f"{what}: {err.strerror}") from err
    try:
        plan = {"pid": pid, "pidfd": pidfd, "alive": alive, "command": tool.arguments(pid)}
        return spawn("notebook_containers.network.attendant", plan, descriptors=[pidfd, alive], what=what)
    finally:
        os.close(pidfd)
        os.close(alive)
