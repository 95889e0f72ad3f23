"""``registries.toml``: what the user says about registries; beside the store, and every part of it may be missing.

[timeouts]
connect_s = 10                       # for a connection to be made
read_s = 60                          # between two pieces of an answer
deadline_s = 300                     # for a request with all its repetitions

[registry."docker.io"]
mirrors = ["mirror.lan:5000"]        # asked first, in this order; never with the registry's own password
token_hosts = ["auth.example.com"]   # other sites that its password may be sent to
search = true                        # its catalogue may be read for ``search``

[registry."reg.lan:5000"]
plain_http = true                    # http instead of https (loopback hosts need no word for it)
insecure = true                      # its certificate is not checked
ca = "/etc/lan/ca.pem"               # beside what lies in certs.d/<host>/
private_redirects = true             # may send us to private addresses
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from notebook_containers.errors import InvalidArgument, InvalidDocument
from notebook_containers.lean import dataclass, field, fields
from notebook_containers.oci.documents import JSON, Document
from notebook_containers.oci.reference import Reference

FILE = "registries.toml"
_MAX_BYTES = 1024 * 1024
D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Timeouts(Document):
    """How long is waited, and how often something is tried."""

    connect_s: float = 10.0
    read_s: float = 60.0
    deadline_s: float = 300.0
    attempts: int = 6
    pause_s: float = 0.25
    slowest_bytes_per_s: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Host(Document):
    """What is said about one registry."""

    mirrors: tuple[str, ...] = ()
    token_hosts: tuple[str, ...] = ()
    plain_http: bool = False
    insecure: bool = False
    private_redirects: bool = False
    search: bool = True
    ca: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of the file; ``folder`` is where it lies (its ``certs.d`` is looked at too)."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    hosts: Mapping[str, Host] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read ``registries.toml`` in a directory; InvalidArgument names the file and the word that is not understood."""
        path = folder / FILE
        try:
            with open(path, "rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return cls(folder=folder)
        except OSError as err:
            raise InvalidArgument(f"{path} cannot be read: {err.strerror}", hint="make it readable, or remove it") from err
        try:
            document = tomllib.loads(data[:_MAX_BYTES].decode())
            return cls._from(document, path)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
            raise InvalidArgument(f"{path} is not TOML: {err}", hint="repair or remove it") from err
        except InvalidDocument as err:
            raise InvalidArgument(f"{path} is not understood: {err.message}", hint=err.hint) from err

    @classmethod
    def _from(cls, document: dict[str, JSON], path: Path) -> Settings:
        _check_words(document, {"registry", "timeouts"}, "it")
        found = document.get("registry", {})
        if not isinstance(found, dict):
            raise InvalidDocument("registry is no table", hint='write [registry."HOST"]')
        timeouts = _table(Timeouts, document.get("timeouts", {}), "timeouts")
        if min(getattr(timeouts, field.name) for field in fields(timeouts)) <= 0:
            raise InvalidDocument("a timeout is not above zero")
        return cls(timeouts=timeouts, hosts={name: _host(name, table) for name, table in found.items()}, folder=path.parent)

    def host(self, registry: str) -> Host:
        """Return what is said about a registry, as named in references."""
        return self.hosts.get(registry) or Host()


def _host(name: str, table: JSON) -> Host:
    host = _table(Host, table, f'registry."{name}"')
    for each in (name, *host.mirrors):
        try:
            known = Reference.parse(f"{each}/x").registry == each
        except InvalidArgument:
            known = False
        if not known:
            raise InvalidDocument(f"{each[:100]!r} is no registry", hint="write a host, as docker.io or reg.lan:5000")
    return host


def _table(kind: type[D], table: JSON, where: str) -> D:
    if not isinstance(table, dict):
        raise InvalidDocument(f"{where} is no table")
    _check_words(table, {field.name for field in fields(kind)}, where)  # type: ignore[arg-type]
    return kind.from_json(table)


def _check_words(table: Mapping[str, object], known: set[str], where: str) -> None:
    for word in sorted(table.keys() - known):
        raise InvalidDocument(f"{where} has no {word[:100]!r}", hint=f"it may have {', '.join(sorted(known))}")
