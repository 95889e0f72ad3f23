"""Words about namespaces: whose pid, IPC, UTS, network and cgroup namespaces a container has, and which words go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from notebook_containers.engine import words
from notebook_containers.errors import InvalidArgument

if TYPE_CHECKING:
    from notebook_containers.engine.options import ContainerOptions

JOIN = "container:"
_WORDS: Mapping[str, tuple[str, ...]] = {
    "pid": ("private", "host"),
    "ipc": ("private", "shareable", "none", "host"),
    "uts": ("private", "host"),
    "cgroupns": ("private", "host"),
}


def mode(flag: str, word: str | None) -> str:
    """Return the mode for ``--pid``, ``--ipc``, ``--uts`` or ``--cgroupns``: empty (the container's own), host or ``container:NAME``."""
    if not word or word == "private":
        return ""
    known = _WORDS[flag]
    joined = word.startswith(JOIN) and flag != "cgroupns"
    if (joined and word.removeprefix(JOIN)) or word in known:
        return word
    hint = "use " + ", ".join((*known, *(["container:NAME"] if flag != "cgroupns" else [])))
    raise InvalidArgument(f"--{flag} {word!r} is not understood", hint=hint)


def joined(options: ContainerOptions) -> dict[str, str]:
    """Return, by kind, the container whose namespace is shared: name or id as it stands in the options."""
    modes = {"network": options.network, "pid": options.pid_mode, "ipc": options.ipc_mode, "uts": options.uts_mode}
    return {kind: word.removeprefix(JOIN) for kind, word in modes.items() if word.startswith(JOIN)}


def check(options: ContainerOptions) -> None:
    """Raise InvalidArgument for options that contradict each other, naming both."""
    if options.uts_mode and (options.hostname or options.domainname):
        raise InvalidArgument(f"--hostname and --domainname cannot be set with --uts {options.uts_mode}: the name would be another's")
    if options.network.startswith(JOIN):
        _check_joined_network(options)
    if options.network == "none" and words.wants_host(options.extra_hosts):
        raise InvalidArgument(
            "--add-host NAME:host-gateway cannot be used with --network none: nothing can be reached", hint="leave out one"
        )
    if options.userns == "auto":
        _check_own_ids(options)
    if options.ipc_mode and options.ipc_mode != "shareable" and options.shm_bytes:
        raise InvalidArgument(f"--shm-size cannot be set with --ipc {options.ipc_mode}: /dev/shm is not the container's own")


def _check_own_ids(options: ContainerOptions) -> None:
    """A namespace of the host or of another container belongs to other ids: nothing of it could be used, as Docker says too."""
    others = {"--network": options.network, "--pid": options.pid_mode, "--ipc": options.ipc_mode, "--uts": options.uts_mode}
    for flag, mode in others.items():
        if mode == "host" or mode.startswith(JOIN):
            raise InvalidArgument(f"{flag} {mode} cannot be used with --userns auto", hint="add --userns host, or leave one out")
    if options.privileged:
        raise InvalidArgument("--privileged cannot be used with --userns auto", hint="add --userns host, or leave one out")


def _check_joined_network(options: ContainerOptions) -> None:
    if not options.network.removeprefix(JOIN):
        raise InvalidArgument("--network container: names no container", hint="write --network container:NAME")
    set_here = {
        "--publish": options.ports,
        "--publish-all": options.publish_all,
        "--hostname": options.hostname,
        "--add-host": options.extra_hosts,
        "--dns": options.dns,
        "--dns-search": options.dns_search,
        "--dns-option": options.dns_options,
        "--expose": options.expose,
    }
    for flag, value in set_here.items():
        if value:
            raise InvalidArgument(
                f"{flag} cannot be used with --network {options.network}: it belongs to the container that has the network",
                hint="give it to that container",
            )
