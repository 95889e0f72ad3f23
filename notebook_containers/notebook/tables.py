"""Rows as pandas DataFrames: real values (UTC times, bytes as integers, lists and mappings), made readable only when shown.

pandas is imported when the first table is made, so that loading the extension stays quick. An empty table has the same columns and types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, object]
Kind = Literal["text", "bytes", "count", "real", "exit", "flag", "time", "structure"]

_TYPES: dict[Kind, str] = {
    "text": "str",
    "bytes": "int64",
    "count": "int64",
    "real": "float64",
    "exit": "Int64",
    "flag": "bool",
    "time": "datetime64[us, UTC]",
    "structure": "object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table's columns with their kinds, in order; the first is the index."""

    name: str
    columns: Mapping[str, Kind]

    def frame(self, rows: Iterable[Row]) -> pd.DataFrame:
        """Return the rows as a frame; what a row does not say is empty, zero, ``NaT`` or ``<NA>``, and an unknown key is a ValueError."""
        import pandas as pd

        from notebook_containers.notebook.frames import Frame

        kept = [self._known(row) for row in rows]
        index, *rest = self.columns
        series: dict[str, pd.Series[Any]] = {
            name: pd.Series([_value(row.get(name), kind) for row in kept], dtype=_TYPES[kind]) for name, kind in self.columns.items()
        }
        return Frame({name: series[name] for name in rest}).set_index(pd.Index(series[index], name=index))

    def _known(self, row: Row) -> Row:
        for key in row:
            if key not in self.columns:
                raise ValueError(f"{self.name} has no column {key!r}")
        return row


PS = Table(
    name="ps",
    columns={
        "container_id": "text",
        "image": "text",
        "command": "text",
        "created": "time",
        "status": "text",
        "state": "text",
        "exit_code": "exit",
        "ports": "structure",
        "names": "text",
        "networks": "structure",
        "mounts": "structure",
        "size_rw": "bytes",
        "health": "text",
        "verdict": "text",
        "labels": "structure",
        "size_root_fs": "bytes",
        "restart_count": "count",
    },
)
IMAGES = Table(
    name="images",
    columns={
        "image_id": "text",
        "repository": "text",
        "tag": "text",
        "created": "time",
        "size": "bytes",
        "unique_size": "bytes",
        "shared_size": "bytes",
        "layers": "count",
        "labels": "structure",
    },
)
DIGESTS = Table(name="digests", columns={"repository": "text", "tag": "text", "digest": "text", **IMAGES.columns})
PLATFORMS = Table(name="platforms", columns={**IMAGES.columns, "platform": "text"})
HISTORY = Table(
    name="history",
    columns={
        "step": "count",
        "created": "time",
        "created_by": "text",
        "size": "bytes",
        "layer": "text",
        "empty": "flag",
        "comment": "text",
    },
)
SEARCH = Table(name="search", columns={"name": "text", "description": "text", "stars": "count", "official": "flag"})
DIFF = Table(name="diff", columns={"path": "text", "kind": "text"})
NETWORKS = Table(
    name="networks",
    columns={
        "network_id": "text",
        "name": "text",
        "driver": "text",
        "scope": "text",
        "subnet": "text",
        "gateway": "text",
        "internal": "flag",
        "ipv6": "flag",
        "containers": "structure",
        "created": "time",
        "labels": "structure",
    },
)
VOLUMES = Table(
    name="volumes",
    columns={
        "name": "text",
        "driver": "text",
        "mountpoint": "text",
        "created": "time",
        "size": "bytes",
        "containers": "structure",
        "labels": "structure",
    },
)
TOP = Table(name="top", columns={"PID": "count", "PPID": "count", "UID": "count", "SECONDS": "count", "CMD": "text"})
STATS = Table(
    name="stats",
    columns={
        "container_id": "text",
        "name": "text",
        "cpu_percent": "real",
        "mem_usage": "bytes",
        "mem_limit": "bytes",
        "mem_percent": "real",
        "net_rx": "bytes",
        "net_tx": "bytes",
        "block_read": "bytes",
        "block_write": "bytes",
        "pids": "count",
    },
)
DF = Table(
    name="df",
    columns={"type": "text", "total": "count", "active": "count", "size": "bytes", "reclaimable": "bytes", "shared": "bytes"},
)
CHECK = Table(name="check", columns={"state": "text", "kind": "text", "subject": "text", "detail": "text"})
REMOVED = Table(name="removed", columns={"name": "text", "kind": "text", "action": "text"})
BUILDER = Table(
    name="builder",
    columns={
        "id": "text",
        "type": "text",
        "description": "text",
        "size": "bytes",
        "created": "time",
        "last_used": "time",
        "in_use": "flag",
        "shared": "flag",
        "reclaimable": "flag",
    },
)
TARGETS = Table(name="targets", columns={"target": "text", "base": "text", "description": "text", "default": "flag"})
OUTLINE = Table(name="outline", columns={"kind": "text", "name": "text", "value": "text", "description": "text"})
STEPS = Table(
    name="steps",
    columns={
        "step": "count",
        "line": "count",
        "instruction": "text",
        "status": "text",
        "reason": "text",
        "seconds": "real",
        "bytes_added": "bytes",
        "layer": "text",
    },
)
COMPOSE_PS = Table(name="compose ps", columns={"service": "text", **PS.columns})
COMPOSE_IMAGES = Table(
    name="compose images",
    columns={"container": "text", "repository": "text", "tag": "text", "image_id": "text", "size": "bytes", "created": "time"},
)
COMPOSE_TOP = Table(name="compose top", columns={"service": "text", "#": "count", **TOP.columns})
COMPOSE_LS = Table(name="compose ls", columns={"name": "text", "status": "text", "config_files": "text"})
TRACE = Table(name="trace", columns={"step": "count", "hop": "text", "where": "text", "passes": "flag", "detail": "text"})
PORT = Table(name="port", columns={"container": "text", "host": "text"})
EVENTS = Table(
    name="events", columns={"time": "time", "type": "text", "action": "text", "id": "text", "name": "text", "attributes": "structure"}
)
DOCTOR = Table(
    name="doctor",
    columns={"feature": "text", "available": "text", "how": "text", "lost": "text", "todo": "text", "needed": "flag"},
)

TABLES: Mapping[str, Table] = {
    t.name: t
    for t in (
        *(PS, IMAGES, DIGESTS, PLATFORMS, HISTORY, DIFF, NETWORKS, VOLUMES, TOP, STATS),
        *(COMPOSE_PS, COMPOSE_IMAGES, COMPOSE_TOP, COMPOSE_LS),
        *(DF, CHECK, REMOVED, BUILDER, TARGETS, OUTLINE, STEPS, PORT, TRACE, EVENTS, DOCTOR, SEARCH),
    )
}


def steps_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return a build's steps, indexed by their numbers; ``bytes_added`` in bytes, ``layer`` a diff id or empty."""
    return STEPS.frame(rows)


def ps_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return containers, indexed by ``container_id``; ``ports`` and ``mounts`` are lists, ``created`` is UTC, ``size_rw`` bytes."""
    return PS.frame(rows)


def images_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return images, indexed by ``image_id``; sizes in bytes, ``layers`` how many, ``labels`` a mapping."""
    return IMAGES.frame(rows)


def history_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return an image's history, newest first as given, indexed by ``step``."""
    return HISTORY.frame(rows)


def diff_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return what a container changed, indexed by ``path``; ``kind`` is A (added), C (changed) or D (deleted)."""
    return DIFF.frame(rows)


def networks_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return networks, indexed by ``network_id``."""
    return NETWORKS.frame(rows)


def volumes_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return volumes, indexed by ``name``."""
    return VOLUMES.frame(rows)


def events_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return events, indexed by ``time`` (UTC)."""
    return EVENTS.frame(rows)


def _value(value: object, kind: Kind) -> object:
    if kind == "time":
        return _time(value)
    if kind == "text":
        return "" if value is None else str(value)
    if kind in ("bytes", "count", "real"):
        return 0 if value is None else value
    return bool(value) if kind == "flag" else value


def _time(value: object) -> datetime | None:
    """Take seconds since 1970, RFC 3339 text or a datetime (UTC unless it says otherwise)."""
    if isinstance(value, (int, float)):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str) and value:
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return None
