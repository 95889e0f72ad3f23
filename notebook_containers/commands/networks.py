"""Verbs on networks: graph, ls, inspect, create, connect, disconnect, rm, prune."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.given import many, number, text
from notebook_containers.commands.looking import FORMAT, NO_TRUNC, QUIET
from notebook_containers.commands.results import Documents, Names, Networked, Removed, Result, Row, Table, Text
from notebook_containers.commands.tree import Verbs
from notebook_containers.engine.filters import from_words
from notebook_containers.engine.words import label_map
from notebook_containers.errors import Error, NetworkNotFound, NotFound, Unsupported

if TYPE_CHECKING:
    from notebook_containers.engine.network import Network

_REFUSED: Mapping[str, str] = {
    "ipam_opt": "addresses come from the store, which has no options",
    "ingress": "there is no swarm",
    "config_only": "name the options at each network",
    "config_from": "name the options at each network",
}


def _ls(*, quiet: bool, filter: tuple[str, ...], format: str | None, no_trunc: bool) -> Result:
    """List networks."""
    rows = [_row(network, whole=no_trunc) for network in face().engine.networks.list(filters=from_words(filter))]
    if quiet:
        return Text(text="\n".join(str(row["network_id"] or row["name"]) for row in rows))
    return Text(text=formatting.formatted("networks", rows, format)) if format else Table(kind="networks", rows=rows)


def _row(network: Network, *, whole: bool) -> Row:
    return {
        "network_id": network.id if whole else network.short_id,
        "name": network.name,
        "driver": network.driver,
        "scope": "local",
        "subnet": network.subnet,
        "gateway": network.gateway,
        "internal": network.internal,
        "ipv6": network.ipv6,
        "containers": list(network.containers),
        "created": network.created or None,  # host and none always were
        "labels": dict(network.labels),
    }


def _inspect(networks: tuple[str, ...], *, format: str | None, verbose: bool) -> Result:  # noqa: ARG001
    """Show everything known of networks."""
    documents, failures = [], list[Exception]()
    for name in networks:
        try:
            documents.append(face().engine.networks.get(name).attrs)
        except NotFound as err:
            failures.append(err)
    if format:
        return Names(names=[formatting.document_template(format, d) for d in documents], failures=failures)
    return Documents(documents=documents, failures=failures)


def _graph(networks: tuple[str, ...], *, all: bool, format: str | None) -> Result:
    """Show who is connected to whom: networks, containers with their addresses, published ports, the host; in a notebook as a picture."""
    from notebook_containers.commands.topology import topology

    found = topology(face().engine, networks, all=all)
    if format:
        return Names(names=[formatting.document_template(format, found.to_json())])
    return Networked(topology=found)


def _create(name: str, **given: object) -> Result:
    """Make a network."""
    for flag, hint in _REFUSED.items():
        if given[flag]:
            raise Unsupported(f"--{flag.replace('_', '-')} is not supported", hint=hint)
    if not given["ipv4"]:
        raise Unsupported("--ipv4=false is not supported", hint="a network may have IPv6 too: --ipv6")
    if text(given, "scope") not in ("", "local"):
        raise Unsupported(f"--scope {given['scope']} is not supported", hint="networks are this machine's: local")
    made = face().engine.networks.create(
        name,
        text(given, "driver"),
        options=label_map(many(given, "opt")),
        ipam={"Driver": text(given, "ipam_driver")},
        subnet=many(given, "subnet"),
        gateway=many(given, "gateway"),
        ip_range=many(given, "ip_range"),
        aux_addresses=label_map(many(given, "aux_address")),
        internal=bool(given["internal"]),
        labels=label_map(many(given, "label")),
        enable_ipv6=bool(given["ipv6"]),
        attachable=bool(given["attachable"]),
    )
    return Names(names=[made.id])


def _connect(network: str, container: str, **given: object) -> Result:
    """Put a container into a network, running or not."""
    face().engine.networks.connect(
        network,
        container,
        aliases=many(given, "alias"),
        links=many(given, "link"),
        ipv4_address=text(given, "ip") or None,
        ipv6_address=text(given, "ip6") or None,
        link_local_ips=many(given, "link_local_ip"),
        driver_opt=label_map(many(given, "driver_opt")),
        mac_address=text(given, "mac_address") or None,
        gw_priority=number(given, "gw_priority") or 0,
    )
    return None


def _disconnect(network: str, container: str, *, force: bool) -> Result:
    """Take a container out of a network, running or not."""
    face().engine.networks.disconnect(network, container, force=force)
    return None


def _rm(networks: tuple[str, ...], *, force: bool) -> Result:
    """Remove one or more networks."""
    done, failures = [], list[Exception]()
    for name in networks:
        try:
            face().engine.networks.remove(name)
        except NetworkNotFound as err:
            if not force:
                failures.append(err)
        except Error as err:
            failures.append(err)
        else:
            done.append(name)
    return Names(names=done, failures=failures)


def _prune(*, force: bool, filter: tuple[str, ...]) -> Result:  # noqa: ARG001
    """Remove all networks that no container is in."""
    deleted = face().engine.networks.prune(from_words(filter))["NetworksDeleted"]
    names = [str(name) for name in deleted] if isinstance(deleted, list) else []
    rows = [{"kind": "network", "name": name, "action": "deleted"} for name in names]
    return Removed(rows=rows, lines=["Deleted Networks:", *names] if names else [])


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


def _trace(container: str, target: str, *, format: str | None) -> Result:
    """Show hop by hop how a packet goes from a container to NAME:PORT, and where it stops."""
    hops = face().engine.networks.trace(container, target)
    rows: list[Row] = [
        {"step": number, "hop": hop.hop, "where": hop.where, "passes": hop.passes, "detail": hop.detail}
        for number, hop in enumerate(hops, 1)
    ]
    return Text(text=formatting.formatted("trace", rows, format)) if format else Table(kind="trace", rows=rows)


def _many(name: str, metavar: str, words: str) -> click.Option:
    return click.Option([*name.split()], multiple=True, metavar=metavar, help=words)


def _flag(name: str, words: str) -> click.Option:
    return click.Option([*name.split()], is_flag=True, help=words)


_NETWORK, _CONTAINER = click.Argument(["network"]), click.Argument(["container"])
_NETWORKS = click.Argument(["networks"], nargs=-1, required=True)
_FILTER = click.Option(["-f", "--filter"], multiple=True, metavar="KEY=VALUE", help="Only those that match, as driver=bridge or label=a.")
_VERBS = ("graph", "ls", "inspect", "create", "connect", "disconnect", "trace", "rm", "prune")

COMMANDS: Mapping[str, click.Command] = {
    "network": Verbs(
        "network",
        {**dict.fromkeys(_VERBS, "networks"), "list": "networks:ls", "remove": "networks:rm"},
        help="Manage networks.",
    ),
    "graph": _command(
        "graph",
        _graph,
        click.Option(["-a", "--all"], is_flag=True, help="Also containers that do not run."),
        click.Option(["--format"], help="json, or a template such as '{{json .Networks}}'."),
        click.Argument(["networks"], nargs=-1),
    ),
    "ls": _command("ls", _ls, QUIET, _FILTER, FORMAT, NO_TRUNC),
    "inspect": _command(
        "inspect",
        _inspect,
        click.Option(["-f", "--format"], help="json, or a template such as '{{.Driver}}'."),
        click.Option(["-v", "--verbose"], is_flag=True, hidden=True, help="As it is anyway."),
        _NETWORKS,
    ),
    "create": _command(
        "create",
        _create,
        click.Option(["-d", "--driver"], default="bridge", show_default=True, help="bridge, macvlan or ipvlan."),
        _many("-o --opt", "NAME=VALUE", "Option of the driver, as icc=false, mtu=1400 or parent=eth0."),
        _many("--subnet", "SUBNET", "Its addresses, as 10.1.2.0/24; chosen when left out."),
        _many("--gateway", "ADDRESS", "The host's address in it; the first one of the subnet when left out."),
        _many("--ip-range", "RANGE", "Hand out addresses of this part of the subnet only."),
        _many("--aux-address", "NAME=ADDRESS", "An address that is somebody else's and is never handed out."),
        _flag("--internal", "No way out and no way in."),
        click.Option(["--ipv4"], type=bool, is_flag=False, flag_value=True, default=True, hidden=True, help="As it is anyway."),
        _flag("--ipv6", "IPv6 too: a subnet of its own is chosen when none is named."),
        _flag("--attachable", "Kept and shown; every network can be joined by hand here."),
        _many("--label", "NAME[=VALUE]", "Set a label."),
        click.Option(["--ipam-driver"], default="default", hidden=True, help="default is all there is."),
        click.Option(["--ipam-opt"], multiple=True, hidden=True, help="Nothing has options."),
        click.Option(["--scope"], default="", hidden=True, help="local is all there is."),
        click.Option(["--ingress"], is_flag=True, hidden=True, help="Not supported."),
        click.Option(["--config-only"], is_flag=True, hidden=True, help="Not supported."),
        click.Option(["--config-from"], hidden=True, help="Not supported."),
        click.Argument(["name"]),
    ),
    "connect": _command(
        "connect",
        _connect,
        _many("--alias", "NAME", "One more name that the others of the network find it by."),
        click.Option(["--ip"], metavar="ADDRESS", help="Its IPv4 address there."),
        click.Option(["--ip6"], metavar="ADDRESS", help="Its IPv6 address there."),
        _many("--link-local-ip", "ADDRESS", "One more address of its interface, link-local."),
        _many("--driver-opt", "NAME=VALUE", "Option of its place there."),
        click.Option(["--mac-address"], metavar="ADDRESS", help="MAC address of its interface."),
        click.Option(["--gw-priority"], type=int, default=0, help="Rank of this gateway: the highest of its networks is its way out."),
        _many("--link", "CONTAINER:NAME", "A name of another container there, for this one alone."),
        _NETWORK,
        _CONTAINER,
    ),
    "trace": _command("trace", _trace, FORMAT, _CONTAINER, click.Argument(["target"])),
    "disconnect": _command("disconnect", _disconnect, _flag("-f --force", "That it is not in it is no error."), _NETWORK, _CONTAINER),
    "rm": _command("rm", _rm, _flag("-f --force", "That there is none is no error."), _NETWORKS),
    "prune": _command(
        "prune",
        _prune,
        _flag("-f --force", "Do not ask (never asked here)."),
        click.Option(["--filter"], multiple=True, metavar="KEY=VALUE", help="Only those that match: until=24h, label=…, label!=…"),
    ),
}
