"""Rows to text: Docker's tables, ``--format json`` and the part of Go's templates that people use (:mod:`.filling`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from notebook_containers.commands import filling
from notebook_containers.commands.figures import docker_size
from notebook_containers.commands.results import Row
from notebook_containers.engine.quantities import ago
from notebook_containers.lean import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: Docker's heading, the name in templates, and how a row gives its text."""

    heading: str
    name: str
    text: Callable[[Row], str]
    shown: bool = True
    short: Callable[[Row], str] | None = None
    """The text where nobody asked for the whole."""

    def cell(self, row: Row, *, whole: bool) -> str:
        """Return a row's text, short unless the ``whole`` is asked for."""
        return self.text(row) if whole or self.short is None else self.short(row)


def _plain(key: str) -> Callable[[Row], str]:
    return lambda row: str(row[key])


def _lower(key: str) -> Callable[[Row], str]:
    return lambda row: str(row[key]).lower()


def _time(key: str) -> Callable[[Row], str]:
    return lambda row: ago(float(str(row[key])))


def _size(key: str) -> Callable[[Row], str]:
    return lambda row: docker_size(int(str(row[key])))


def bracketed(address: str) -> str:
    """Return an address as it stands before a port: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def ports_text(row: Row) -> str:
    """Return the ports of a row as ``127.0.0.1:8080->80/tcp``, ``[::1]:8080->80/tcp`` and ``80/tcp`` for one that is not published."""
    ports = row["ports"]
    items = ports if isinstance(ports, (list, tuple)) else ()
    words = [
        f"{bracketed(str(p['host_ip']))}:{p['host_port']}->{p['container_port']}/{p['protocol']}"
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


def _count(key: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row[key]
        return str(len(value)) if isinstance(value, (list, tuple)) else "0"

    return text


def _command(row: Row) -> str:
    return f'"{row["command"]}"'


def _short_command(row: Row) -> str:
    return f'"{_cut(str(row["command"]), 20)}"'


def _local_volumes(row: Row) -> str:
    mounts = row["mounts"]
    return str(sum(not str(source).startswith("/") for source in mounts)) if isinstance(mounts, (list, tuple)) else "0"


def _labels(row: Row) -> str:
    labels = row.get("labels")
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels)) if isinstance(labels, Mapping) else ""


def _both_sizes(row: Row) -> str:
    own, image = int(str(row["size_rw"])), int(str(row["size_root_fs"]))
    return f"{docker_size(own)} (virtual {docker_size(image)})"


def _go_time(key: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = row[key]
        return "" if value is None else datetime.fromtimestamp(float(str(value)), UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")

    return text


_COLUMNS: Mapping[str, Sequence[Column]] = {
    "ps": (
        Column(heading="CONTAINER ID", name="ID", text=_plain("container_id")),
        Column(heading="IMAGE", name="Image", text=_plain("image")),
        Column(heading="COMMAND", name="Command", text=_command, short=_short_command),
        Column(heading="CREATED", name="RunningFor", text=_time("created")),
        Column(heading="CREATED AT", name="CreatedAt", text=_go_time("created"), shown=False),
        Column(heading="STATUS", name="Status", text=_plain("status")),
        Column(heading="STATE", name="State", text=_plain("state"), shown=False),
        Column(heading="EXIT CODE", name="ExitCode", text=_plain("exit_code"), shown=False),
        Column(heading="HEALTH", name="Health", text=_plain("health"), shown=False),
        Column(heading="VERDICT", name="Verdict", text=_plain("verdict"), shown=False),
        Column(heading="PORTS", name="Ports", text=ports_text),
        Column(heading="NAMES", name="Names", text=_plain("names")),
        Column(heading="NETWORKS", name="Networks", text=_list("networks"), shown=False),
        Column(heading="MOUNTS", name="Mounts", text=_list("mounts"), shown=False),
        Column(heading="LABELS", name="Labels", text=_labels, shown=False),
        Column(heading="LOCAL VOLUMES", name="LocalVolumes", text=_local_volumes, shown=False),
        Column(heading="SIZE", name="Size", text=_both_sizes, shown=False),
    ),
    "images": (
        Column(heading="REPOSITORY", name="Repository", text=_plain("repository")),
        Column(heading="TAG", name="Tag", text=_plain("tag")),
        Column(heading="DIGEST", name="Digest", text=_plain("digest"), shown=False),
        Column(heading="IMAGE ID", name="ID", text=_plain("image_id")),
        Column(heading="CREATED", name="CreatedSince", text=_time("created")),
        Column(heading="CREATED AT", name="CreatedAt", text=_go_time("created"), shown=False),
        Column(heading="PLATFORM", name="Platform", text=_plain("platform"), shown=False),
        Column(heading="SIZE", name="Size", text=_size("size")),
        Column(heading="UNIQUE SIZE", name="UniqueSize", text=_size("unique_size"), shown=False),
        Column(heading="SHARED SIZE", name="SharedSize", text=_size("shared_size"), shown=False),
    ),
    "history": (
        Column(heading="LAYER", name="ID", text=_plain("layer")),
        Column(heading="CREATED", name="CreatedSince", text=_time("created")),
        Column(heading="CREATED BY", name="CreatedBy", text=_plain("created_by"), short=lambda row: _cut(str(row["created_by"]), 60)),
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
        Column(heading="SHARED SIZE", name="SharedSize", text=_size("shared"), shown=False),
    ),
    "check": (
        Column(heading="STATE", name="State", text=_plain("state")),
        Column(heading="KIND", name="Kind", text=_plain("kind")),
        Column(heading="SUBJECT", name="Subject", text=lambda row: _shortened(str(row["subject"]))),
        Column(heading="SUBJECT", name="FullSubject", text=_plain("subject"), shown=False),
        Column(heading="DETAIL", name="Detail", text=_plain("detail")),
    ),
    "builder": (
        Column(heading="ID", name="ID", text=lambda row: str(row["id"])[:25]),
        Column(heading="RECLAIMABLE", name="Reclaimable", text=lambda row: str(row["reclaimable"]).lower()),
        Column(heading="SIZE", name="Size", text=_size("size")),
        Column(heading="LAST ACCESSED", name="LastUsedAt", text=_time("last_used")),
        Column(heading="TYPE", name="CacheType", text=_plain("type")),
        Column(heading="DESCRIPTION", name="Description", text=lambda row: _cut(str(row["description"]), 60)),
    ),
    "targets": (
        Column(heading="TARGET", name="Target", text=lambda row: str(row["target"]) + (" (default)" if row["default"] else "")),
        Column(heading="FROM", name="Base", text=_plain("base")),
        Column(heading="DESCRIPTION", name="Description", text=_plain("description")),
    ),
    "outline": (
        Column(heading="KIND", name="Kind", text=_plain("kind")),
        Column(heading="NAME", name="Name", text=_plain("name")),
        Column(heading="VALUE", name="Value", text=_plain("value")),
        Column(heading="DESCRIPTION", name="Description", text=_plain("description")),
    ),
    "compose ps": (
        Column(heading="NAME", name="Name", text=_plain("names")),
        Column(heading="IMAGE", name="Image", text=_plain("image")),
        Column(heading="COMMAND", name="Command", text=_command, short=_short_command),
        Column(heading="SERVICE", name="Service", text=_plain("service")),
        Column(heading="CREATED", name="RunningFor", text=_time("created")),
        Column(heading="STATUS", name="Status", text=_plain("status")),
        Column(heading="PORTS", name="Ports", text=ports_text),
        Column(heading="CONTAINER ID", name="ID", text=_plain("container_id"), shown=False),
        Column(heading="STATE", name="State", text=_plain("state"), shown=False),
        Column(heading="EXIT CODE", name="ExitCode", text=_plain("exit_code"), shown=False),
        Column(heading="HEALTH", name="Health", text=_plain("health"), shown=False),
        Column(heading="LABELS", name="Labels", text=_labels, shown=False),
    ),
    "compose images": (
        Column(heading="CONTAINER", name="ContainerName", text=_plain("container")),
        Column(heading="REPOSITORY", name="Repository", text=_plain("repository")),
        Column(heading="TAG", name="Tag", text=_plain("tag")),
        Column(heading="IMAGE ID", name="ID", text=_plain("image_id")),
        Column(heading="SIZE", name="Size", text=_size("size")),
        Column(heading="CREATED", name="CreatedSince", text=_time("created")),
    ),
    "compose top": (
        Column(heading="SERVICE", name="Service", text=_plain("service")),
        Column(heading="#", name="Number", text=_plain("#")),
        Column(heading="UID", name="UID", text=_plain("UID")),
        Column(heading="PID", name="PID", text=_plain("PID")),
        Column(heading="PPID", name="PPID", text=_plain("PPID")),
        Column(heading="SECONDS", name="SECONDS", text=_plain("SECONDS")),
        Column(heading="CMD", name="CMD", text=_plain("CMD")),
    ),
    "compose ls": (
        Column(heading="NAME", name="Name", text=_plain("name")),
        Column(heading="STATUS", name="Status", text=_plain("status")),
        Column(heading="CONFIG FILES", name="ConfigFiles", text=_plain("config_files")),
    ),
    "trace": (
        Column(heading="STEP", name="Step", text=_plain("step")),
        Column(heading="HOP", name="Hop", text=_plain("hop")),
        Column(heading="WHERE", name="Where", text=_plain("where")),
        Column(heading="PASSES", name="Passes", text=lambda row: "yes" if row["passes"] else "stops here"),
        Column(heading="DETAIL", name="Detail", text=_plain("detail")),
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
        Column(heading="SCOPE", name="Scope", text=_plain("scope")),
        Column(heading="SUBNET", name="Subnet", text=_plain("subnet")),
        Column(heading="IPV6", name="IPv6", text=_lower("ipv6"), shown=False),
        Column(heading="INTERNAL", name="Internal", text=_lower("internal"), shown=False),
        Column(heading="LABELS", name="Labels", text=_labels, shown=False),
        Column(heading="CREATED AT", name="CreatedAt", text=_go_time("created"), shown=False),
    ),
    "volumes": (
        Column(heading="DRIVER", name="Driver", text=_plain("driver")),
        Column(heading="VOLUME NAME", name="Name", text=_plain("name")),
        Column(heading="SIZE", name="Size", text=_size("size")),
        Column(heading="MOUNTPOINT", name="Mountpoint", text=_plain("mountpoint"), shown=False),
        Column(heading="SCOPE", name="Scope", text=lambda _row: "local", shown=False),
        Column(heading="LABELS", name="Labels", text=_labels, shown=False),
        Column(heading="LINKS", name="Links", text=_count("containers"), shown=False),
        Column(heading="CREATED AT", name="CreatedAt", text=_go_time("created"), shown=False),
    ),
}


def _images_with(name: str) -> Sequence[Column]:
    return tuple(replace(column, shown=column.shown or column.name == name) for column in _COLUMNS["images"])


COLUMNS: Mapping[str, Sequence[Column]] = {**_COLUMNS, "digests": _images_with("Digest"), "platforms": _images_with("Platform")}


def _shortened(subject: str) -> str:
    """Return a digest or id as its first twelve digits, anything else as it is."""
    digits = subject.removeprefix("sha256:")
    return digits[:12] if len(digits) == 64 and all(c in "0123456789abcdef" for c in digits) else subject


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def table(kind: str, rows: Sequence[Row], *, also: Sequence[str] = (), whole: bool = False) -> str:
    """Return rows as Docker's aligned table, with columns ``also`` that it does not show unasked; ``whole`` cuts nothing."""
    columns = [c for c in COLUMNS[kind] if c.shown or c.name in also]
    lines = [[c.heading for c in columns], *([_one_line(c.cell(row, whole=whole)) for c in columns] for row in rows)]
    return _aligned(lines)


def _one_line(text: str) -> str:
    return "".join(ch if ch.isprintable() else " " for ch in text)


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts under headings, with ``docker top``'s wide columns."""
    return _aligned([[*headings], *([_one_line(cell) for cell in row] for row in rows)], narrowest=20)


def _aligned(lines: Sequence[Sequence[str]], *, narrowest: int = 10) -> str:
    """Pad every cell but the last of its line to its column, which is ``narrowest`` wide or three more than its longest text."""
    if not lines:
        return ""
    widths = [max(narrowest, *(len(line[i]) + 3 for line in lines if i < len(line))) for i in range(max(map(len, lines)))]
    return "\n".join("".join(cell.ljust(w) for cell, w in zip(line[:-1], widths, strict=False)) + line[-1] for line in lines)


def formatted(kind: str, rows: Sequence[Row], template: str, *, whole: bool = False, also: Sequence[str] = ()) -> str:
    """Return rows as ``json`` (one object a line), ``table`` (with or without a template of columns) or by a template.

    InvalidArgument for a field or function that does not exist.
    """
    if template == "table":
        return table(kind, rows, also=also, whole=whole)
    columns = COLUMNS[kind]
    word = template.removeprefix("table ") if template.startswith("table ") else ""
    filled = filling.Template(_escapes(word or ("{{json .}}" if template == "json" else template)))
    lines = [filled.fill(_fields(columns, row, whole=whole)) for row in rows]
    if not word:
        return "\n".join(lines)
    headings = filling.Fields({c.name: _constant(c.heading) for c in columns}, {"Label": _last_part})
    return _aligned([line.split("\t") for line in [filled.fill(headings), *lines]])


def _escapes(template: str) -> str:
    return template.replace("\\t", "\t").replace("\\n", "\n")


def _constant(text: str) -> Callable[[], str]:
    return lambda: text


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]


def _fields(columns: Sequence[Column], row: Row, *, whole: bool) -> filling.Fields:
    labels = row.get("labels")

    def label(name: str) -> str:
        return str(labels.get(name, "")) if isinstance(labels, Mapping) else ""

    def maker(column: Column) -> Callable[[], str]:
        return lambda: column.cell(row, whole=whole)

    return filling.Fields({c.name: maker(c) for c in sorted(columns, key=lambda c: c.name)}, {"Label": label})


def document_template(template: str, document: Mapping[str, object]) -> str:
    """Fill inspect's ``{{.State.Status}}`` and ``{{json .Path}}`` with a document; raises InvalidArgument for a field that is not there."""
    return filling.fill("{{json .}}" if template == "json" else _escapes(template), document)
