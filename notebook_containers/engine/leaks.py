"""What containers that are gone left on the machine: processes, with the network namespaces they keep, links, rules, ports, cgroups.

Several stores share a machine, so only what is certain to be of this store, or of nobody, is told. The kernel takes some things away a
moment after the container has ended: what is gone when it is looked at again was no leak.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from notebook_containers.engine.parts import Parts
from notebook_containers.engine.specgen import CGROUP_PARENT
from notebook_containers.errors import Conflict
from notebook_containers.linux import process as processes
from notebook_containers.store.check import Finding

_CGROUPS = Path("/sys/fs/cgroup")
_ID = re.compile(r"[0-9a-f]{64}\Z")
_GRACE_S = 60.0
_SETTLE_S = 1.0
_GONE_S = 10.0


def leaks(parts: Parts) -> list[Finding]:
    """Return what is left of containers that are gone; of what cannot be seen (an ordinary user's view) nothing."""
    found = _look(parts)
    deadline = time.monotonic() + _SETTLE_S
    while found and time.monotonic() < deadline:
        time.sleep(0.1)
        again = {(each.kind, each.subject) for each in _look(parts)}
        found = [each for each in found if (each.kind, each.subject) in again]
        if all(each.kind == "cgroup-leaked" for each in found):
            break
    return found


def mend_leak(parts: Parts, finding: Finding) -> str:
    """Take one away and say what was done; raises an Error, or OSError. KeyError for a finding of another kind."""
    return _MENDERS[finding.kind](parts, finding.subject)


def _look(parts: Parts) -> list[Finding]:
    if parts.store.disk.lease_holders():
        return []  # a build's steps have no record: what they use is not told from leaks while one runs
    known = {row.id for row in parts.store.records.containers()}
    found = [*_processes(parts, known), *_addresses(parts, known), *_groups(known), *_ports()]
    return found if parts.host.rootless else [*found, *_links(parts), *_rules()]


def _processes(parts: Parts, known: set[str]) -> Iterator[Finding]:
    place = f"upperdir={parts.store.root}/snapshots/".replace(" ", "\\040")  # as the kernel writes it
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            head = Path(f"/proc/{name}/mountinfo").read_text(encoding="utf-8", errors="replace").partition("\n")[0]
            key = head.partition(place)[2].partition("/")[0]
            if key and key not in known:
                namespace = os.readlink(f"/proc/{name}/ns/net")
                detail = f"{processes.name_of(int(name))}, of container {key[:12]}, which is gone; it keeps {namespace}"
                yield Finding(kind="process-leaked", subject=name, detail=detail)


def _addresses(parts: Parts, known: set[str]) -> Iterator[Finding]:
    for network in parts.store.records.networks():
        for container, address in parts.store.records.addresses(network.id).items():
            if container not in known:
                detail = f"{address} of network {network.name} is kept for container {container[:12]}, which is gone"
                yield Finding(kind="address-leaked", subject=container, detail=detail)


def _groups(known: set[str]) -> Iterator[Finding]:
    """Cgroups that nobody is in, whosever they were, and not quite new: another store's container may be about to begin there."""
    tops = (_CGROUPS, *sorted(_CGROUPS.iterdir())) if _CGROUPS.is_dir() else ()
    seen: set[str] = set()
    for place in (top / CGROUP_PARENT for top in tops):
        with suppress(OSError):
            for path in sorted(place.iterdir()):
                if _ID.match(path.name) and path.name not in known | seen and _is_empty(path):
                    seen.add(path.name)
                    yield Finding(
                        kind="cgroup-leaked", subject=path.name, detail=f"{path} is empty, and its container is gone", garbage=True
                    )


def _is_empty(group: Path) -> bool:
    if time.time() - group.stat().st_ctime < _GRACE_S:
        return False
    return not any((Path(place) / "cgroup.procs").read_bytes() for place, _names, _files in os.walk(group))


def _ports() -> Iterator[Finding]:
    from notebook_containers.network.leftovers import carriers

    for carrier in carriers():
        if carrier.ended:
            yield Finding(kind="port-leaked", subject=str(carrier.pid), detail=f"{', '.join(carrier.ports)} of a container that has ended")


def _links(parts: Parts) -> Iterator[Finding]:
    from notebook_containers.engine.network_document import config_of, parse
    from notebook_containers.network.bridge import port_name
    from notebook_containers.network.leftovers import strange_links

    expected = {}
    for row in parts.store.records.networks():
        config = config_of(parse(row.document))
        expected[row.id] = {port_name(config, container) for container in parts.store.records.addresses(row.id)}
    for name in strange_links(expected) if expected else ():
        yield Finding(kind="link-leaked", subject=name, detail="no container of its network has it")


def _rules() -> Iterator[Finding]:
    from notebook_containers.network.leftovers import strange_rules

    with suppress(OSError):  # a kernel without nf_tables has none
        if words := strange_rules():
            yield Finding(kind="firewall-damaged", subject="table inet notebook_containers", detail=f"its rules: {words}")


def _end_process(parts: Parts, subject: str) -> str:
    del parts
    pid = int(subject)
    started = processes.start_time(pid)
    with suppress(ProcessLookupError):
        processes.send_signal(pid, started, signal.SIGKILL)
    if not processes.wait_gone(pid, started, _GONE_S):
        raise Conflict(f"process {pid} does not end", hint="the kernel holds it: check again later")
    return "ended"


def _release(parts: Parts, subject: str) -> str:
    parts.store.records.release_addresses(subject)
    return "released"


def _remove_groups(parts: Parts, subject: str) -> str:
    del parts
    for top in (_CGROUPS, *sorted(_CGROUPS.iterdir())):
        for place, _names, _files in os.walk(top / CGROUP_PARENT / subject, topdown=False):
            os.rmdir(place)  # only an empty one can be removed
    return "removed"


def _delete_link(parts: Parts, subject: str) -> str:
    from notebook_containers.network.leftovers import delete_link, mend_rules

    del parts
    delete_link(subject)
    mend_rules()
    return "removed"


def _mend_rules(parts: Parts, subject: str) -> str:
    from notebook_containers.network.leftovers import mend_rules

    del parts, subject
    mend_rules()
    return "written anew"


MENDED = frozenset({"cgroup-leaked"})
"""Garbage that no collection frees."""

_MENDERS: Mapping[str, Callable[[Parts, str], str]] = {
    "process-leaked": _end_process,
    "port-leaked": _end_process,
    "address-leaked": _release,
    "cgroup-leaked": _remove_groups,
    "link-leaked": _delete_link,
    "firewall-damaged": _mend_rules,
}
