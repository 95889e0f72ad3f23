"""What a container's own namespaces answer: a name looked up, the kernel's route to an address, a connection tried.

:func:`ask` starts a process that joins them (only a process of one thread can join a user namespace) and tells what it met.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from notebook_containers.errors import NetworkError
from notebook_containers.lean import dataclass
from notebook_containers.linux import syscalls
from notebook_containers.network.spawn import ask as ask_process

_TIMEOUT_S, _PATIENCE_S = 60, 3.0
_LOCAL = 2  # RTN_LOCAL of rtnetlink(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was met inside: ``server`` says who answered the name, ``problem`` why there is no address, route or connection.

    ``stage`` is where it ended: name, route, connection, or empty when the connection came about (or none was asked for).
    """

    address: str = ""
    server: str = ""
    interface: str = ""
    gateway: str = ""
    local: bool = False
    took_s: float = 0.0
    stage: str = ""
    problem: str = ""


def ask(pid: int, name: str, port: int, protocol: str, *, servers: Sequence[str] = (), search: Sequence[str] = ()) -> Answer:
    """Go as far as possible from inside the namespaces of ``pid`` to ``name`` (or an address); with ``port`` 0 nothing is connected to.

    The name is asked for at ``servers``, with the ``search`` domains too. Raises NetworkError when the namespaces cannot be joined.
    """
    found = [spec for spec in map(importlib.util.find_spec, ("dns", "pyroute2")) if spec is not None]
    places = sorted({os.path.dirname(place) for spec in found for place in spec.submodule_search_locations or ()})
    try:
        pidfd = syscalls.pidfd_open(pid)
    except OSError as err:
        raise NetworkError(f"process {pid} has ended", hint="start the container, then try again") from err
    plan = {
        "pid": pid, "pidfd": pidfd, "paths": places, "name": name, "port": port, "protocol": protocol,
        "servers": list(servers), "search": list(search),
    }  # fmt: skip
    what = f"the namespaces of process {pid} cannot be asked"
    try:
        return Answer(
            **json.loads(ask_process("notebook_containers.network.probe", plan, descriptors=[pidfd], what=what, timeout_s=_TIMEOUT_S))
        )
    except (ValueError, TypeError) as err:
        raise NetworkError(f"{what}: {err}") from err
    finally:
        os.close(pidfd)


def main(text: str) -> None:
    """Join, go step by step, and write the answer as JSON."""
    plan = json.loads(text)
    sys.path += plan["paths"]
    answer: dict[str, object] = {}
    _resolving()
    try:
        own_user = os.path.samestat(os.stat(f"/proc/{plan['pid']}/ns/user"), os.stat("/proc/self/ns/user"))
        syscalls.setns(plan["pidfd"], syscalls.CLONE_NEWNET | (0 if own_user else syscalls.CLONE_NEWUSER))
        answer["stage"] = "name"
        answer |= _lookup(plan["name"], plan["servers"], plan["search"])
        answer["stage"] = "route"
        way = route(str(answer["address"]))
        answer |= {"interface": way.interface, "gateway": way.gateway, "local": way.local}
        answer["stage"] = "connection"
        if plan["port"] and plan["protocol"] == "tcp":
            answer["took_s"] = _connect(str(answer["address"]), plan["port"])
        answer["stage"] = ""
    except OSError as err:
        answer["problem"] = err.strerror or str(err)
    sys.stdout.write(json.dumps(answer))


def _resolving() -> None:
    """Load what is needed while the machine's files can be read."""
    with suppress(ImportError):
        import dns.message
        import dns.query  # noqa: F401
        from pyroute2 import IPRoute  # noqa: F401


def _lookup(name: str, servers: Sequence[str], search: Sequence[str]) -> dict[str, object]:
    with suppress(ValueError):
        return {"address": str(ipaddress.ip_address(name)), "server": ""}
    import dns.exception
    import dns.message
    import dns.query
    import dns.rdatatype

    problems = []
    for server in servers:
        for full in (name, *(f"{name}.{domain}" for domain in search if domain != ".")):
            try:
                said = dns.query.udp(dns.message.make_query(full, "A"), server, timeout=_PATIENCE_S)
            except (OSError, dns.exception.DNSException) as err:
                problems.append(f"{server} does not answer ({str(err) or type(err).__name__})")
                break
            found = [item.address for line in said.answer if line.rdtype == dns.rdatatype.A for item in line]
            if found:
                return {"address": found[0], "server": server}
            problems.append(f"{server} knows no {full}")
    raise OSError(0, "; ".join(problems) or "no name server is set")


def route(address: str) -> Answer:
    """Ask the kernel which way a packet to the address takes from the network namespace of the calling thread; raises OSError.

    In a thread, which begins in the caller's namespaces: pyroute2 runs an event loop, and a notebook cell's thread has one already.
    """
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(_route, address).result()


def _route(address: str) -> Answer:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as kernel:
            said = next(iter(kernel.route("get", dst=address)))
    except NetlinkError as err:
        raise OSError(err.code, os.strerror(err.code)) from err
    link = said.get_attr("RTA_OIF") or 0
    gateway = str(said.get_attr("RTA_GATEWAY") or "")
    return Answer(address=address, interface=socket.if_indextoname(link) if link else "", gateway=gateway, local=said["type"] == _LOCAL)


def _connect(address: str, port: int) -> float:
    began = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout=_PATIENCE_S):
            return time.monotonic() - began
    except TimeoutError as err:
        raise OSError(0, f"no answer within {_PATIENCE_S:g} s") from err
