"""The long forms of a compose file's words, where a key takes more than plain values: ports, mounts, watch rules, limits, names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from notebook_containers.compose import short_forms as short, units, values
from notebook_containers.compose.nodes import Node, default
from notebook_containers.compose.shapes import (
    Setting,
    Shape,
    checked,
    command,
    converted,
    fields,
    flag,
    list_of,
    mapping_of,
    mode,
    names_or,
    one_of,
    pairs,
    path_text,
    scalar,
    size,
    text,
    text_or_texts,
    texts,
    wrong,
)
from notebook_containers.engine import words
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import replace


def key_name(name: str) -> None:
    """Raise InvalidArgument for a key that cannot name a service, network, volume, secret or config."""
    if not name or not all(ch.isascii() and (ch.isalnum() or ch in "._-") for ch in name):
        raise InvalidArgument(f"{name[:80]!r} is no name", hint="letters, digits, dots, dashes and underscores")


def object_name(name: str) -> None:
    """Raise InvalidArgument for a name that the engine does not take."""
    if "$" not in name:
        words.check_name(name)


def _positive_cpus(word: str) -> float:
    count = units.number(word)
    if not 0 <= count < 10_000:
        raise InvalidArgument(f"{word!r} is no number of CPUs", hint="write 0.5")
    return count


def _count(word: str) -> int:
    return -1 if word.lower() == "all" else units.integer(word)


def restart(word: str) -> None:
    """Raise InvalidArgument for a word that is no restart policy."""
    name, colon, count = word.partition(":")
    if name not in ("no", "always", "on-failure", "unless-stopped") or (colon and (name != "on-failure" or not count.isdecimal())):
        raise InvalidArgument(f"restart policy {word!r} is not understood", hint="no, always, unless-stopped, on-failure or on-failure:5")


def not_empty(check: Shape) -> Shape:
    """Let an empty text pass: it says nothing."""

    def shape(setting: Setting, node: Node, path: str) -> Node:
        return node if node.value == "" else check(setting, node, path)

    return shape


def nullable(shape: Shape) -> Shape:
    """Let nothing pass: it says nothing."""

    def passing(setting: Setting, node: Node, path: str) -> Node:
        return node.with_value("") if node.value is None else shape(setting, node, path)

    return passing


def hook(setting: Setting, node: Node, path: str) -> Node:
    """A command that runs at a turn of the container's life."""
    found = HOOK(setting, node, path)
    if "command" not in found.fields or found.fields["command"].value in (None, []):
        raise node.place.error(path, "a hook needs command:")
    return found


def context(setting: Setting, node: Node, path: str) -> Node:
    """A build context: a path, made absolute, or an address."""
    found = text(setting, node, path)
    return found if is_address(found.text()) else path_text(setting, found, path)


def inner_path(setting: Setting, node: Node, path: str) -> Node:
    """A path below another one, left as it is; in a file from elsewhere it may not lead out."""
    found = text(setting, node, path)
    if setting.within is not None and (found.text().startswith(("/", "~")) or ".." in found.text().split("/")):
        raise node.error(
            path, f"{found.text()!r} leads out of what was fetched from elsewhere", hint="write such a path in a file of your own"
        )
    return found


def build(setting: Setting, node: Node, path: str) -> Node:
    """A build's context alone, as a long form."""
    if not isinstance(node.value, str):
        raise wrong(node, path, "a directory or a mapping")
    return node.with_value({"context": context(setting, replace(node, mark=""), path)})


def is_address(word: str) -> bool:
    """Tell whether a text names something elsewhere, as a git repository or a web address, and no path."""
    return "://" in word or word.startswith(("git@", "github.com/", "service:"))


def port(setting: Setting, node: Node, path: str) -> Iterator[Node]:
    """One item of ``ports`` in either form, as long forms."""
    if not isinstance(node.value, dict):
        yield from short.port_items(setting, node, path)
        return
    found = _PORT(setting, node, path)
    if "target" not in found.fields:
        raise node.place.error(path, "a port needs a target", hint="target: 80 is the port inside")
    defaults = {"mode": default("ingress", node.place, "default"), "protocol": default("tcp", node.place, "default")}
    yield found.with_value({**defaults, **found.fields})


def mount(setting: Setting, node: Node, path: str) -> Node:
    """A mount in its long form; a bind's source becomes absolute."""
    found = _MOUNT(setting, node, path)
    for key in ("type", *(() if "target" in found.fields else ("target",))):
        if key not in found.fields:
            raise node.place.error(path, f"a volume needs {key}:", hint="type is bind, volume, tmpfs or image; target a path inside")
    changed = dict(found.fields)
    kind_, source = changed["type"].text(), changed.get("source")
    if kind_ == "bind":
        if source is None:
            raise node.place.error(path, "a bind needs source:", hint="source is a path of this machine")
        changed["source"] = path_text(setting, source, f"{path}.source")
        changed["bind"] = _creating(changed.get("bind"), node)
    elif kind_ == "volume":
        changed.setdefault("volume", node.with_value({}))
    return found.with_value(changed)


def _creating(bind: Node | None, node: Node) -> Node:
    known = bind or node.with_value({})
    return known.with_value({"create_host_path": default(True, node.place, "default"), **known.fields})


def watch(setting: Setting, node: Node, path: str) -> Node:
    """One rule of ``develop.watch``."""
    found = _WATCH(setting, node, path)
    for key in ("path", "action"):
        if key not in found.fields:
            raise node.place.error(path, f"a rule of watch needs {key}:")
    action = found.fields["action"]
    if action.text().startswith("sync") and "target" not in found.fields:
        raise action.error(f"{path}.action", f"{action.text()} needs target:", hint="say where the files go inside")
    if action.text() == "sync+exec" and "exec" not in found.fields:
        raise action.error(f"{path}.action", "sync+exec needs exec:", hint="say what runs inside: exec: {command: ...}")
    return found


def external(setting: Setting, node: Node, path: str) -> Node:
    """True or false, or the old mapping with a name, which stays for :func:`relocated`."""
    return fields({"name": text})(setting, node, path) if isinstance(node.value, dict) else flag(setting, node, path)


def whole(shape: Shape) -> Shape:
    """A whole file; what looks like a service beside the sections is told as such (the first version of the format had them there)."""

    def checked_first(setting: Setting, node: Node, path: str) -> Node:
        for key, one in node.fields.items():
            if not key.startswith("x-") and key not in ("services", "include") and {"image", "build"} & set(one.fields):
                raise one.key_error(key, "a service stands under services:", hint=f"write 'services:' and under it '{key}:'")
        return shape(setting, node, path)

    return checked_first


def bound_device(shape: Shape) -> Shape:
    """Make the directory absolute that a volume of the driver ``local`` binds (``o: bind``)."""

    def bound(setting: Setting, node: Node, path: str) -> Node:
        found = shape(setting, node, path)
        options = found.fields.get("driver_opts")
        given = options.fields if options else {}
        if options is None or "device" not in given or "bind" not in (given["o"].text() if "o" in given else "").split(","):
            return found
        device = path_text(setting, given["device"], f"{path}.driver_opts.device")
        return found.with_value({**found.fields, "driver_opts": options.with_value({**given, "device": device})})

    return bound


def relocated(shape: Shape) -> Shape:
    """Move the old ``external: {name: x}`` to ``external: true`` and ``name: x``."""

    def moved(setting: Setting, node: Node, path: str) -> Node:
        found = shape(setting, node, path)
        given = found.fields.get("external")
        if given is None or not isinstance(given.value, dict):
            return found
        name, rest = given.fields.get("name"), {key: one for key, one in found.fields.items() if key != "external"}
        if name is not None and "name" in rest and rest["name"].value != name.value:
            raise name.error(f"{path}.external.name", "the name is given twice", hint="keep name: and write external: true")
        return found.with_value({**rest, **({"name": name} if name else {}), "external": given.with_value(True)})

    return moved


def gpus(setting: Setting, node: Node, path: str) -> Node:
    """``all``, or a list of requests."""
    if isinstance(node.value, list):
        return list_of(fields(DEVICE_REQUEST))(setting, node, path)
    if node.value != "all":
        raise wrong(node, path, "all or a list")
    return node.with_value([node.with_value({"count": Node(value=-1, place=node.place)})])


def health_test(setting: Setting, node: Node, path: str) -> Node:
    """A health test: a text is for the shell; a list says NONE, CMD or CMD-SHELL first."""
    if not isinstance(node.value, list):
        word = text(setting, node, path)
        return node.with_value([default("CMD-SHELL", node.place, "a text is for the shell"), Node(value=word.value, place=node.place)])
    found = list_of(text)(setting, node, path)
    first = found.items[0].text() if found.items else ""
    if first not in ("NONE", "CMD", "CMD-SHELL") and not (found.items and setting.passes(found.items[0])):
        raise node.error(path, f"a health test begins with NONE, CMD or CMD-SHELL, not {first!r}", hint='["CMD", "curl", "localhost"]')
    return found


def needed(node: Node) -> Node:
    """A name of ``depends_on`` as a long form."""
    reason = "default of the short form"
    return Node(value={"condition": default("service_started", node.place, reason)}, place=node.place, key=node.place)


def provider_option(setting: Setting, node: Node, path: str) -> Node:
    """One value or several."""
    return list_of(scalar)(setting, node, path) if isinstance(node.value, list) else scalar(setting, node, path)


def _cpu_time(word: str) -> int:
    """Microseconds, or a duration."""
    return units.integer(word) if word.strip().lstrip("-").isdecimal() else units.nanoseconds(word) // 1000


def extends(setting: Setting, node: Node, path: str) -> Node:
    """A service's name, or its name and file; the file stays as written, for it may be elsewhere."""
    if not isinstance(node.value, dict):
        return node.with_value({"service": text(setting, node, path)})
    found = fields({"service": text, "file": text}, extensions=False)(setting, node, path)
    if "service" not in found.fields:
        raise node.error(path, "extends needs service:", hint="service: is the name of the one to take over")
    return found


def env_file(setting: Setting, node: Node, path: str) -> Node:
    """A path as a long form."""
    return node.with_value({"path": path_text(setting, Node(value=text(setting, node, path).value, place=node.place), path)})


def env_file_long(setting: Setting, node: Node, path: str) -> Node:
    """A path with ``required`` and ``format``."""
    found = fields({"path": path_text, "required": flag, "format": one_of("", "raw")}, extensions=False)(setting, node, path)
    if "path" not in found.fields:
        raise node.place.error(path, "an env_file needs path:")
    return found


def models(setting: Setting, node: Node, path: str) -> Node:
    """Names of models, or names with the variables that tell of them."""
    return names_or(
        mapping_of(fields({"endpoint_var": text, "model_var": text}, nullable=True), name=key_name), lambda one: one.with_value({})
    )(setting, node, path)


named = not_empty(checked(object_name, "a name"))
cpus, device_count = converted(_positive_cpus, "a number of CPUs"), converted(_count, "a number or all")
rate = converted(units.size, "a size such as 1mb")
microseconds = converted(_cpu_time, "microseconds or a duration")
HOOK = fields(
    {"command": command, "user": text, "privileged": flag, "working_dir": text, "environment": pairs()},
)
DEVICE_REQUEST: Mapping[str, Shape] = {
    "capabilities": texts,
    "count": device_count,
    "device_ids": texts,
    "driver": text,
    "options": pairs(empty=""),
}
_PORT = fields(
    {
        "name": text,
        "mode": one_of("ingress", "host"),
        "host_ip": not_empty(checked(values.address, "an address")),
        "target": converted(values.integer(values.port), "a port"),
        "published": not_empty(checked(values.port_range, "a port")),
        "protocol": one_of("tcp", "udp", "sctp"),
        "app_protocol": text,
    }
)
_MOUNT = fields(
    {
        "type": one_of("bind", "volume", "tmpfs", "image", "cluster", "npipe"),
        "source": text,
        "target": checked(values.inside, "a path"),
        "read_only": flag,
        "consistency": text,
        "bind": fields(
            {
                "propagation": one_of("shared", "slave", "private", "rshared", "rslave", "rprivate"),
                "create_host_path": flag,
                "recursive": one_of("enabled", "disabled", "writable", "readonly"),
                "selinux": one_of("z", "Z"),
            }
        ),
        "volume": fields({"labels": pairs(empty=""), "nocopy": flag, "subpath": text}),
        "tmpfs": fields({"size": size, "mode": mode}),
        "image": fields({"subpath": text}),
    }
)
_WATCH = fields(
    {
        "path": path_text,
        "action": one_of("rebuild", "restart", "sync", "sync+restart", "sync+exec"),
        "target": text,
        "ignore": text_or_texts,
        "include": text_or_texts,
        "initial_sync": flag,
        "exec": hook,
    }
)
