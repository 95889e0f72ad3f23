"""Rows to text: Docker's tables, ``--format json`` and the part of Go's templates that people use (``{{.ID}}``, ``{{json .}}``)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from notebook_containers.commands.figures import docker_size
from notebook_containers.commands.results import Row
from notebook_containers.engine.quantities import ago, rfc3339
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: Docker's heading, the name in templates, and how a row gives its text."""

    heading: str
    name: str
    text: Callable[[Row], str]
    shown: bool = True


def _plain(key: str) -> Callable[[Row], str]:
    return lambda row: str(row[key])


def _time(key: str) -> Callable[[Row], str]:
    return lambda row: ago(float(str(row[key])))


def _size(key: str) -> Callable[[Row], str]:
    return lambda row: docker_size(int(str(row[key])))


def ports_text(row: Row) -> str:
    """Return the ports of a row as ``127.0.0.1:8080->80/tcp``."""
    ports = row["ports"]
    items = ports if isinstance(ports, (list, tuple)) else ()
    words = [
        f"{p['host_ip']}:{p['host_port']}->{p['container_port']}/{p['protocol']}"
        if p.get("host_port")
        else f"{p['container_port']}/{p['protocol']}"
        for p in items
        if isinstance(p, Mapping)
    ]
    return ", ".join(words)


def _percent(key: str) -> Callable[[Row], str]:
    return lambda row: f"{float(str(row[key])):.2f}%"


def _pair(first: str, second: str, *, binary: bool = False) -> Callable[[Row], str]:
    shown = binary_size if binary else docker_size
    return lambda row: f"{shown(int(str(row[first])))} / {shown(int(str(row[second])))}"


def binary_size(count: int) -> str:
    """Return bytes as Docker shows memory: four digits and a binary unit (``1.944GiB``)."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.4g}{units[0]}"


def _reclaimable(row: Row) -> str:
    size, free = int(str(row["size"])), int(str(row["reclaimable"]))
    return docker_size(free) + (f" ({100 * free // size}%)" if size else "")


def _list(key: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row[key]
        return ",".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value)

    return text


def _command(row: Row) -> str:
    text = str(row["command"])
    return f'"{text if len(text) <= 20 else text[:19] + "…"}"'


COLUMNS: Mapping[str, Sequence[Column]] = {
    "ps": (
        Column(heading="CONTAINER ID", name="ID", text=_plain("container_id")),
        Column(heading="IMAGE", name="Image", text=_plain("image")),
        Column(heading="COMMAND", name="Command", text=_command),
        Column(heading="CREATED", name="RunningFor", text=_time("created")),
        Column(heading="CREATED AT", name="CreatedAt", text=lambda row: rfc3339(float(str(row["created"]))), shown=False),
        Column(heading="STATUS", name="Status", text=_plain("status")),
        Column(heading="STATE", name="State", text=_plain("state"), shown=False),
        Column(heading="EXIT CODE", name="ExitCode", text=_plain("exit_code"), shown=False),
        Column(heading="HEALTH", name="Health", text=_plain("health"), shown=False),
        Column(heading="VERDICT", name="Verdict", text=_plain("verdict"), shown=False),
        Column(heading="PORTS", name="Ports", text=ports_text),
        Column(heading="NAMES", name="Names", text=_plain("names")),
        Column(heading="NETWORKS", name="Networks", text=_list("networks"), shown=False),
        Column(heading="MOUNTS", name="Mounts", text=_list("mounts"), shown=False),
        Column(heading="SIZE", name="Size", text=_size("size_rw"), shown=False),
    ),
    "images": (
        Column(heading="REPOSITORY", name="Repository", text=_plain("repository")),
        Column(heading="TAG", name="Tag", text=_plain("tag")),
        Column(heading="IMAGE ID", name="ID", text=_plain("image_id")),
        Column(heading="CREATED", name="CreatedSince", text=_time("created")),
        Column(heading="CREATED AT", name="CreatedAt", text=lambda row: rfc3339(float(str(row["created"]))), shown=False),
        Column(heading="SIZE", name="Size", text=_size("size")),
        Column(heading="UNIQUE SIZE", name="UniqueSize", text=_size("unique_size"), shown=False),
        Column(heading="SHARED SIZE", name="SharedSize", text=_size("shared_size"), shown=False),
    ),
    "history": (
        Column(heading="LAYER", name="ID", text=_plain("layer")),
        Column(heading="CREATED", name="CreatedSince", text=_time("created")),
        Column(heading="CREATED BY", name="CreatedBy", text=lambda row: _cut(str(row["created_by"]), 60)),
        Column(heading="SIZE", name="Size", text=_size("size")),
        Column(heading="COMMENT", name="Comment", text=_plain("comment")),
    ),
    "search": (
        Column(heading="NAME", name="Name", text=_plain("name")),
        Column(heading="DESCRIPTION", name="Description", text=_plain("description")),
        Column(heading="STARS", name="StarCount", text=_plain("stars")),
        Column(heading="OFFICIAL", name="IsOfficial", text=lambda row: "[OK]" if row["official"] else ""),
    ),
    "diff": (
        Column(heading="KIND", name="Kind", text=_plain("kind")),
        Column(heading="PATH", name="Path", text=_plain("path")),
    ),
    "top": (
        Column(heading="UID", name="UID", text=_plain("UID")),
        Column(heading="PID", name="PID", text=_plain("PID")),
        Column(heading="PPID", name="PPID", text=_plain("PPID")),
        Column(heading="SECONDS", name="SECONDS", text=_plain("SECONDS")),
        Column(heading="CMD", name="CMD", text=_plain("CMD")),
    ),
    "stats": (
        Column(heading="CONTAINER ID", name="ID", text=_plain("container_id")),
        Column(heading="NAME", name="Name", text=_plain("name")),
        Column(heading="NAME", name="Container", text=_plain("name"), shown=False),
        Column(heading="CPU %", name="CPUPerc", text=_percent("cpu_percent")),
        Column(heading="MEM USAGE / LIMIT", name="MemUsage", text=_pair("mem_usage", "mem_limit", binary=True)),
        Column(heading="MEM %", name="MemPerc", text=_percent("mem_percent")),
        Column(heading="NET I/O", name="NetIO", text=_pair("net_rx", "net_tx")),
        Column(heading="BLOCK I/O", name="BlockIO", text=_pair("block_read", "block_write")),
        Column(heading="PIDS", name="PIDs", text=_plain("pids")),
    ),
    "df": (
        Column(heading="TYPE", name="Type", text=_plain("type")),
        Column(heading="TOTAL", name="TotalCount", text=_plain("total")),
        Column(heading="ACTIVE", name="Active", text=_plain("active")),
        Column(heading="SIZE", name="Size", text=_size("size")),
        Column(heading="RECLAIMABLE", name="Reclaimable", text=_reclaimable),
    ),
    "builder": (
        Column(heading="ID", name="ID", text=lambda row: str(row["id"])[:25]),
        Column(heading="RECLAIMABLE", name="Reclaimable", text=lambda row: str(row["reclaimable"]).lower()),
        Column(heading="SIZE", name="Size", text=_size("size")),
        Column(heading="LAST ACCESSED", name="LastUsedAt", text=_time("last_used")),
        Column(heading="TYPE", name="CacheType", text=_plain("type")),
        Column(heading="DESCRIPTION", name="Description", text=lambda row: _cut(str(row["description"]), 60)),
    ),
    "port": (
        Column(heading="CONTAINER", name="Container", text=_plain("container")),
        Column(heading="HOST", name="Host", text=_plain("host")),
    ),
    "doctor": (
        Column(heading="FEATURE", name="Feature", text=_plain("feature")),
        Column(heading="AVAILABLE", name="Available", text=_plain("available")),
        Column(heading="HOW IT IS KNOWN", name="How", text=_plain("how")),
        Column(heading="WHAT IS LOST", name="Lost", text=_plain("lost")),
        Column(heading="WHAT TO DO", name="Todo", text=_plain("todo")),
    ),
    "networks": (
        Column(heading="NETWORK ID", name="ID", text=_plain("network_id")),
        Column(heading="NAME", name="Name", text=_plain("name")),
        Column(heading="DRIVER", name="Driver", text=_plain("driver")),
        Column(heading="SUBNET", name="Subnet", text=_plain("subnet")),
    ),
    "volumes": (
        Column(heading="DRIVER", name="Driver", text=_plain("driver")),
        Column(heading="VOLUME NAME", name="Name", text=_plain("name")),
        Column(heading="MOUNTPOINT", name="Mountpoint", text=_plain("mountpoint"), shown=False),
    ),
}


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def table(kind: str, rows: Sequence[Row], *, headings: bool = True) -> str:
    """Return rows as Docker's aligned table."""
    columns = [c for c in COLUMNS[kind] if c.shown]
    lines = [[c.heading for c in columns]] if headings else []
    lines += [[_one_line(c.text(row)) for c in columns] for row in rows]
    return _aligned(lines)


def _one_line(text: str) -> str:
    return "".join(ch if ch.isprintable() else " " for ch in text)


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts under headings."""
    return _aligned([[*headings], *([_one_line(cell) for cell in row] for row in rows)])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    if not lines:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("   ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def formatted(kind: str, rows: Sequence[Row], template: str) -> str:
    """Return rows as ``json`` (one object a line), ``table`` (with or without a template of columns) or by a template."""
    if template == "json":
        template = "{{json .}}"
    if template == "table":
        return table(kind, rows)
    known = {c.name: c for c in COLUMNS[kind]}
    if template.startswith("table "):
        parts = template[6:].replace("\\t", "\t").split("\t")
        heads = [_ACTION.sub(lambda m: known[m[1].lstrip(".")].heading if m[1].lstrip(".") in known else m[1], p) for p in parts]
        return _aligned([heads, *[[render(p, known, row) for p in parts] for row in rows]])
    return "\n".join(render(template.replace("\\t", "\t").replace("\\n", "\n"), known, row) for row in rows)


def render(template: str, known: Mapping[str, Column], row: Row) -> str:
    """Fill one template with one row; raises InvalidArgument for a field or function that does not exist."""

    def value(match: re.Match[str]) -> str:
        words = match[1].split()
        if words == ["json", "."]:
            return json.dumps({name: column.text(row) for name, column in known.items()}, ensure_ascii=False)
        as_json = len(words) == 2 and words[0] == "json"
        field = words[-1] if words else ""
        if len(words) not in (1, 2) or (len(words) == 2 and not as_json) or not field.startswith(".") or field[1:] not in known:
            raise InvalidArgument(f"template {match[0]!r} is not understood", hint="fields: " + " ".join(f".{n}" for n in known))
        text = known[field[1:]].text(row)
        return json.dumps(text) if as_json else text

    return _ACTION.sub(value, template)


def document_template(template: str, document: Mapping[str, object]) -> str:
    """Fill inspect's ``{{.State.Status}}`` and ``{{json .Path}}`` with a document; raises InvalidArgument for a field that is not there."""
    if template == "json":
        return json.dumps(document, ensure_ascii=False)

    def value(match: re.Match[str]) -> str:
        words = match[1].split()
        found = _walk(document, words[-1] if words else "", match[0])
        if len(words) == 2 and words[0] == "json":
            return json.dumps(found, ensure_ascii=False)
        if len(words) != 1:
            raise InvalidArgument(f"template {match[0]!r} is not understood", hint="write {{.Field.Field}} or {{json .Field}}")
        if isinstance(found, bool):
            return str(found).lower()
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False) if isinstance(found, (dict, list)) else str(found)

    return _ACTION.sub(value, template.replace("\\t", "\t").replace("\\n", "\n"))


def _walk(document: Mapping[str, object], path: str, action: str) -> object:
    found: object = document
    for part in path.split("."):
        if not part:
            continue
        if not isinstance(found, Mapping) or part not in found:
            names = ", ".join(found) if isinstance(found, Mapping) else "nothing below it"
            raise InvalidArgument(f"template {action!r}: no field {part!r}", hint=f"there is {names}")
        found = found[part]
    return found
