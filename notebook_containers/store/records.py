"""Rows of containers, networks, addresses, layers and the build cache: a few columns to find them by, and a document.

The document is JSON text that belongs to whoever writes it (the engine, the layer store, the builder).
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable

from notebook_containers.errors import Conflict, ContainerNotFound, NetworkNotFound
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Digest
from notebook_containers.store.database import Database, Value

_COLUMNS = "id, name, created, image, document"
_CONTAINERS = f"(SELECT {_COLUMNS} FROM main.containers UNION ALL SELECT {_COLUMNS} FROM volatile.containers)"  # noqa: S608
_ADDRESSES = "(SELECT network, address, container FROM main.addresses UNION ALL SELECT network, address, container FROM volatile.addresses)"
_SCHEMAS = ("main", "volatile")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRow:
    """A container as recorded; ``created`` in seconds since 1970 UTC, ``document`` JSON text."""

    id: str
    name: str
    created: float
    image: str
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    """A network as recorded."""

    id: str
    name: str
    created: float
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """What a build step made: ``diff_id`` is None when it changed no file."""

    key: str
    diff_id: Digest | None
    created: float
    document: str


class Records(Database):
    """The typed rows over :class:`Database`; every writing method is one transaction, durable for all but volatile rows."""

    def add_container(self, *, id: str, name: str, image: str, document: str, volatile: bool = False) -> None:
        """Add a container; raises Conflict naming the holder when the name is taken. A ``volatile`` one is gone after a restart."""
        row = (id, name, time.time(), image, document)
        schema = "volatile" if volatile else "main"
        try:
            with self.transaction() as connection:
                _refuse_taken(connection, name, id)
                connection.execute(f"INSERT INTO {schema}.containers ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", row)  # noqa: S608
        except sqlite3.IntegrityError as err:
            raise self._taken("container", _CONTAINERS, name) from err

    def container(self, id: str) -> ContainerRow:
        """Return the container of this full id; raises ContainerNotFound."""
        rows = self.query(f"SELECT {_COLUMNS} FROM {_CONTAINERS} WHERE id = ?", (id,))  # noqa: S608
        if not rows:
            raise ContainerNotFound(f"no container {id!r}", hint="'nbc ps -a' lists the containers")
        return _container(rows[0])

    def find_container(self, text: str) -> ContainerRow:
        """Return the container of this id, name or unambiguous id prefix (in that order); raises ContainerNotFound or Conflict."""
        text = text.removeprefix("/")
        rows = self.query(
            f"SELECT {_COLUMNS} FROM {_CONTAINERS} WHERE id = ?1 OR name = ?1 OR (length(?1) > 0 AND"  # noqa: S608
            " substr(id, 1, length(?1)) = ?1) ORDER BY (id = ?1) DESC, (name = ?1) DESC LIMIT 2",
            (text,),
        )
        if not rows:
            raise ContainerNotFound(f"no container {text!r}", hint="'nbc ps -a' lists the containers")
        first = _container(rows[0])
        if len(rows) > 1 and text not in (first.id, first.name):
            raise Conflict(f"more than one container id starts with {text!r}", hint="give more digits, or the name")
        return first

    def containers(self) -> list[ContainerRow]:
        """Return all containers, newest first."""
        return [_container(r) for r in self.query(f"SELECT {_COLUMNS} FROM {_CONTAINERS} ORDER BY created DESC, id")]  # noqa: S608

    def update_container(self, id: str, *, document: str | None = None, name: str | None = None) -> None:
        """Change document or name; raises ContainerNotFound, or Conflict naming the holder when the name is taken."""
        sql = "SET document = coalesce(?, document), name = coalesce(?, name) WHERE id = ?"
        try:
            with self.transaction() as connection:
                if name is not None:
                    _refuse_taken(connection, name, id)
                changed = sum(connection.execute(f"UPDATE {s}.containers {sql}", (document, name, id)).rowcount for s in _SCHEMAS)
        except sqlite3.IntegrityError as err:
            raise self._taken("container", _CONTAINERS, name or "") from err
        if not changed:
            raise ContainerNotFound(f"no container {id!r}", hint="'nbc ps -a' lists the containers")

    def remove_container(self, id: str) -> None:
        """Remove a container and release its addresses; nothing happens when there is none."""
        with self.transaction() as connection:
            for schema in _SCHEMAS:
                connection.execute(f"DELETE FROM {schema}.addresses WHERE container = ?", (id,))  # noqa: S608
                connection.execute(f"DELETE FROM {schema}.containers WHERE id = ?", (id,))  # noqa: S608

    def add_network(self, *, id: str, name: str, document: str) -> None:
        """Add a network; raises Conflict naming the holder when the name is taken."""
        try:
            with self.transaction() as connection:
                sql = "INSERT INTO networks (id, name, created, document) VALUES (?, ?, ?, ?)"
                connection.execute(sql, (id, name, time.time(), document))
        except sqlite3.IntegrityError as err:
            raise self._taken("network", "networks", name) from err

    def network(self, text: str) -> NetworkRow:
        """Return the network of this id or name; raises NetworkNotFound."""
        sql = "SELECT id, name, created, document FROM networks WHERE id = ?1 OR name = ?1 ORDER BY (id = ?1) DESC LIMIT 1"
        rows = self.query(sql, (text,))
        if not rows:
            raise NetworkNotFound(f"no network {text!r}", hint="'nbc network ls' lists the networks")
        return _network(rows[0])

    def networks(self) -> list[NetworkRow]:
        """Return all networks, oldest first."""
        return [_network(r) for r in self.query("SELECT id, name, created, document FROM networks ORDER BY created, id")]

    def update_network(self, id: str, *, document: str) -> None:
        """Change the document; raises NetworkNotFound."""
        with self.transaction() as connection:
            changed = connection.execute("UPDATE networks SET document = ? WHERE id = ?", (document, id)).rowcount
        if not changed:
            raise NetworkNotFound(f"no network {id!r}")

    def remove_network(self, id: str) -> None:
        """Remove a network; raises Conflict when containers still hold addresses in it; nothing happens when there is none."""
        try:
            with self.transaction() as connection:
                if connection.execute("SELECT 1 FROM volatile.addresses WHERE network = ?", (id,)).fetchone():
                    raise sqlite3.IntegrityError("addresses are leased")  # as the other file's foreign key says
                connection.execute("DELETE FROM networks WHERE id = ?", (id,))
        except sqlite3.IntegrityError as err:
            count = len(self.addresses(id))
            raise Conflict(f"network {id!r} is in use by {count} containers", hint="remove or disconnect them first") from err

    def lease_address(self, network: str, container: str, choose: Callable[[set[str]], str]) -> str:
        """Return the container's address in the network, chosen from the taken ones and recorded in one transaction; idempotent.

        ``choose`` gets the set of taken addresses and runs inside the transaction: it must be pure and quick. The lease lasts as long as
        the container's row can: that of a volatile one, or of what has no row at all (a build's step), is gone after a restart.
        """
        with self.transaction() as connection:
            if not connection.execute("SELECT 1 FROM networks WHERE id = ?", (network,)).fetchone():
                raise NetworkNotFound(f"no network {network!r}")
            sql = f"SELECT container, address FROM {_ADDRESSES} WHERE network = ?"  # noqa: S608
            taken = dict(connection.execute(sql, (network,)).fetchall())
            if container in taken:
                return str(taken[container])
            address = choose(set(taken.values()))
            if address in taken.values():
                raise Conflict(f"address {address} is taken in network {network!r}")
            durable = connection.execute("SELECT 1 FROM main.containers WHERE id = ?", (container,)).fetchone()
            schema = "main" if durable else "volatile"
            row = (network, address, container)
            connection.execute(f"INSERT INTO {schema}.addresses (network, address, container) VALUES (?, ?, ?)", row)  # noqa: S608
        return address

    def addresses(self, network: str) -> dict[str, str]:
        """Return container id → address of one network."""
        sql = f"SELECT container, address FROM {_ADDRESSES} WHERE network = ?"  # noqa: S608
        return {str(c): str(a) for c, a in self.query(sql, (network,))}

    def release_addresses(self, container: str, *, network: str | None = None) -> None:
        """Release the container's addresses, in one network or in all."""
        with self.transaction() as connection:
            for schema in _SCHEMAS:
                sql = f"DELETE FROM {schema}.addresses WHERE container = ?1 AND (?2 IS NULL OR network = ?2)"  # noqa: S608
                connection.execute(sql, (container, network))

    def add_layer(self, diff_id: Digest, document: str) -> None:
        """Record a layer whose tree is complete; a row of the same diff_id is replaced."""
        with self.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO layers (diff_id, document) VALUES (?, ?)", (diff_id, document))

    def layer(self, diff_id: Digest) -> str | None:
        """Return the layer's document, or None."""
        rows = self.query("SELECT document FROM layers WHERE diff_id = ?", (diff_id,))
        return str(rows[0][0]) if rows else None

    def layers(self) -> list[tuple[Digest, str]]:
        """Return diff_id and document of every layer."""
        return [(Digest(str(d)), str(t)) for d, t in self.query("SELECT diff_id, document FROM layers ORDER BY diff_id")]

    def layers_of(self, diff_ids: Iterable[Digest]) -> dict[Digest, str]:
        """Return the documents of those of these layers that are recorded."""
        wanted = {str(diff_id): diff_id for diff_id in diff_ids}
        sql = "SELECT diff_id, document FROM layers WHERE diff_id IN (SELECT value FROM json_each(?))"
        return {wanted[str(d)]: str(t) for d, t in self.query(sql, (json.dumps([*wanted]),))}

    def remove_layer(self, diff_id: Digest) -> None:
        """Forget a layer; nothing happens when there is none."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM layers WHERE diff_id = ?", (diff_id,))

    def cache_get(self, key: str) -> CacheRow | None:
        """Return the build step's row, or None."""
        rows = self.query("SELECT key, diff_id, created, document FROM cache WHERE key = ?", (key,))
        return _cache(rows[0]) if rows else None

    def cache_put(self, key: str, diff_id: Digest | None, document: str = "{}") -> None:
        """Record what a build step made; a row of the same key is replaced."""
        with self.transaction() as connection:
            sql = "INSERT OR REPLACE INTO cache (key, diff_id, created, document) VALUES (?, ?, ?, ?)"
            connection.execute(sql, (key, diff_id, time.time(), document))

    def cache_list(self) -> list[CacheRow]:
        """Return all rows of the build cache, newest first."""
        return [_cache(row) for row in self.query("SELECT key, diff_id, created, document FROM cache ORDER BY created DESC, key")]

    def cache_remove(self, keys: Iterable[str]) -> None:
        """Forget these rows; nothing happens for keys that are not there."""
        with self.transaction() as connection:
            connection.executemany("DELETE FROM cache WHERE key = ?", [(key,) for key in keys])

    def cache_prune(self, *, before: float | None = None) -> int:
        """Forget the rows made before a time (seconds since 1970; None: all) and return how many; collection then frees layers."""
        with self.transaction() as connection:
            return connection.execute("DELETE FROM cache WHERE ?1 IS NULL OR created < ?1", (before,)).rowcount

    def _taken(self, noun: str, table: str, name: str) -> Conflict:
        rows = self.query(f"SELECT id FROM {table} WHERE name = ?", (name,))  # noqa: S608  (a constant of this module)
        holder = f" by {noun} {str(rows[0][0])[:12]}" if rows else ""
        return Conflict(f"the name {name!r} is taken{holder}", hint=f"remove or rename that {noun}, or use another name")


def _refuse_taken(connection: sqlite3.Connection, name: str, own: str) -> None:
    """Raise IntegrityError when another container has the name: each file's UNIQUE sees its own rows only."""
    if connection.execute(f"SELECT 1 FROM {_CONTAINERS} WHERE name = ? AND id != ?", (name, own)).fetchone():  # noqa: S608
        raise sqlite3.IntegrityError("the name is taken")


def _container(row: tuple[Value, ...]) -> ContainerRow:
    return ContainerRow(id=str(row[0]), name=str(row[1]), created=_number(row[2]), image=str(row[3]), document=str(row[4]))


def _network(row: tuple[Value, ...]) -> NetworkRow:
    return NetworkRow(id=str(row[0]), name=str(row[1]), created=_number(row[2]), document=str(row[3]))


def _cache(row: tuple[Value, ...]) -> CacheRow:
    diff_id = None if row[1] is None else Digest(str(row[1]))
    return CacheRow(key=str(row[0]), diff_id=diff_id, created=_number(row[2]), document=str(row[3]))


def _number(value: Value) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
