"""Who listens in a network namespace, as the kernel lists it."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress

from notebook_containers.lean import dataclass

_LISTENING = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A socket that waits for others: ``address`` it is bound to, ``program`` as "nginx (pid 12)", empty when it cannot be seen."""

    address: str
    port: int
    program: str


def listeners(pid: int, protocol: str, among: Iterable[int] = ()) -> list[Listener]:
    """Return the sockets that wait for tcp connections or udp datagrams in the network namespace of ``pid``, by port.

    Programs are looked for ``among`` these processes. Source: proc_net_tcp(5).
    """
    owners = dict(_owners(among))
    found = []
    for table in (protocol, f"{protocol}6"):
        with suppress(OSError), open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                columns = line.split()
                address, _, port = columns[1].rpartition(":")
                waits = columns[3] == _LISTENING if protocol == "tcp" else columns[2].endswith(":0000")
                if waits:
                    found.append(Listener(address=_address(address), port=int(port, 16), program=owners.get(columns[9], "")))
    return sorted(found, key=lambda listener: (listener.port, listener.address))


def _address(word: str) -> str:
    """Return an address as the kernel writes it there: 32 bits after the other, each in the machine's byte order."""
    words = [int(word[place : place + 8], 16).to_bytes(4, sys.byteorder) for place in range(0, len(word), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _owners(pids: Iterable[int]) -> Iterator[tuple[str, str]]:
    for pid in pids:
        with suppress(OSError):
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                name = "".join(c if c.isprintable() else "?" for c in file.read().strip())
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    target = os.readlink(f"/proc/{pid}/fd/{fd}")
                    if target.startswith("socket:["):
                        yield target[8:-1], f"{name} (pid {pid})"
