"""From what the files say to what is meant: defaults, names, variables from files, and the dependencies that other keys imply.

Every value added here says why it is there, so that ``config --explain`` can.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from notebook_containers.compose import finding
from notebook_containers.compose.documents import Reading
from notebook_containers.compose.nodes import Fields, Node, Place, Text, default, joined, member, with_fields
from notebook_containers.compose.variables import Layer, Variables
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import replace

BECAUSE = "because of "
"""With the key that names a service, the reason of a dependency that nobody wrote."""
_NAMESPACES = ("network_mode", "ipc", "pid", "uts", "cgroup")


class Resolver:
    """Works a project's tree out; ``name`` is the project's. Not ``environments``: files of variables are not read."""

    def __init__(self, reading: Reading, variables: Variables, name: str, *, environments: bool = True) -> None:
        self._reading, self._variables, self._name = reading, variables, name
        self._environments = environments and reading.filled

    def whole(self, root: Node) -> Node:
        """Return the tree with everything said."""
        services = member(root, "services")
        found: Fields = {
            "name": member(root, "name") or default(self._name, root.place, "the project's directory"),
            "services": with_fields(services, {name: self._service(name, one) for name, one in services.fields.items()})
            if services
            else root.with_value({}),
        }
        found["name"] = found["name"].with_value(self._name)
        for section in ("networks", "volumes", "secrets", "configs"):
            known = member(root, section)
            entries = {key: self._shared(key, one) for key, one in (known.fields if known else {}).items()}
            if section == "networks" and self._default_is_used(found["services"]) and "default" not in entries:
                made = default({}, root.place, "the project's default network")
                entries["default"] = self._shared("default", made)
            found[section] = (known or root).with_value(entries)
        rest = {key: one for key, one in root.fields.items() if key not in found and key not in ("version", "include")}
        return root.with_value({**found, **rest})

    def as_written(self, root: Node) -> Node:
        """Return the tree with the project's name and its services' variables and labels, and nothing else that the files do not say."""
        services = member(root, "services") or root.with_value({})
        found: Fields = {}
        for key, one in services.fields.items():
            said = {"environment": self._environment(one, joined("services", key)), "labels": self._labels(one)}
            found[key] = with_fields(one, {name: node for name, node in said.items() if node is not None})
        kept = {key: one for key, one in root.fields.items() if key not in ("version", "include")}
        name = (member(root, "name") or default(self._name, root.place, "the project's directory")).with_value(self._name)
        return root.with_value({**kept, "name": name, "services": services.with_value(found)})

    @staticmethod
    def _default_is_used(services: Node) -> bool:
        return any(member(one, "networks", "default") is not None for one in services.fields.values())

    def _shared(self, key: str, node: Node) -> Node:
        """Give a network, volume, secret or config its name on the engine."""
        given = member(node, "name")
        if given is not None and given.text():
            return node
        external = member(node, "external")
        own = external is not None and external.value is True
        name = default(key, node.place, "its key") if own else default(f"{self._name}_{key}", node.place, "the project's name and its key")
        return node.with_value({"name": name, **{k: v for k, v in node.fields.items() if k != "name"}})

    def _service(self, name: str, node: Node) -> Node:
        path = joined("services", name)
        changed = dict(node.fields)
        for key, made in (
            ("environment", self._environment(node, path)),
            ("labels", self._labels(node)),
            ("build", self._build(node)),
            ("networks", self._networks(node)),
            ("depends_on", self._depends_on(node)),
            ("secrets", self._secrets(node)),
        ):
            if made is not None:
                changed[key] = made
        policy = changed.get("pull_policy")
        if policy is not None and policy.value == "if_not_present":
            changed["pull_policy"] = policy.with_value("missing")
        self._device_counts(changed)
        return node.with_value(changed)

    @staticmethod
    def _device_counts(changed: Fields) -> None:
        """Ask for every device where a request names neither a number nor devices."""
        gpus = changed.get("gpus")
        if gpus is not None and gpus.items:
            changed["gpus"] = gpus.with_value(
                [
                    one
                    if member(one, "count") or member(one, "device_ids")
                    else with_fields(one, {"count": default(-1, one.place, "default: all of them")})
                    for one in gpus.items
                ]
            )

    def _environment(self, node: Node, path: str) -> Node | None:
        """Return the variables of env_file and, over them, those of environment, each with its value."""
        own, files = member(node, "environment"), member(node, "env_file")
        if (own is None and files is None) or not self._environments:
            return own
        found: Fields = {}
        for index, file in enumerate(files.items if files else []):
            found.update(self._file_variables(file, f"{path}.env_file[{index}]"))
        for key, one in (own.fields if own else {}).items():
            found[key] = self._bare(key, one)
        return (own or files or node).with_value(found)

    def _bare(self, key: str, node: Node) -> Node:
        """Return a name's value from outside where it stands alone; None where nobody sets it."""
        if node.value is not None or not self._reading.filled:
            return node
        use = self._variables.find(key)
        return replace(node, value=use.value, place=replace(node.place, uses=(use,)))

    def _file_variables(self, file: Node, path: str) -> Fields:
        place = Path(file.fields["path"].text())
        required, form = member(file, "required"), member(file, "format")
        if required is not None and required.value is False and not place.is_file():
            return {}
        try:
            layer = self._layer(place, raw=form is not None and form.text() == "raw")
        except InvalidArgument as err:
            raise err if getattr(err, "line", 0) else file.place.error(path, err.message, hint=err.hint) from err
        text = Text(name=finding.shown(place, self._reading.directory), path=str(place))
        return {
            name: Node(value=value, place=Place(text=text, line=layer.lines.get(name, 1), column=1)) for name, value in layer.values.items()
        }

    def _layer(self, file: Path, *, raw: bool = False) -> Layer:
        return finding.env_layer(file, name=finding.shown(file, self._reading.directory), variables=self._variables, raw=raw)

    def _labels(self, node: Node) -> Node | None:
        own, files = member(node, "labels"), member(node, "label_file")
        if files is None or not self._environments:
            return own
        found: Fields = {}
        for file in files.items:
            found.update(self._file_variables(file.with_value({"path": file}), "label_file"))
        return (own or files).with_value({**found, **(own.fields if own else {})})

    def _build(self, node: Node) -> Node | None:
        build = member(node, "build")
        if build is None:
            return None
        changed = dict(build.fields)
        if "context" not in changed:
            directory = str(self._reading.directory) if self._reading.absolute else "."
            changed["context"] = default(directory, build.place, "default: the project's directory")
        if "dockerfile" not in changed and "dockerfile_inline" not in changed:
            changed["dockerfile"] = default("Dockerfile", build.place, "default")
        args = changed.get("args")
        if args is not None:
            changed["args"] = args.with_value({key: self._bare(key, one) for key, one in args.fields.items()})
        return build.with_value(changed)

    @staticmethod
    def _networks(node: Node) -> Node | None:
        own = member(node, "networks")
        if (own is not None and own.fields) or (member(node, "network_mode") or node.with_value("")).text() or member(node, "provider"):
            return own
        return default({"default": default({}, node.place, "default network")}, node.place, "default network")

    @staticmethod
    def _secrets(node: Node) -> Node | None:
        own = member(node, "secrets")
        if own is None:
            return None
        return own.with_value(
            [
                one
                if member(one, "target") or member(one, "source") is None
                else with_fields(one, {"target": default(f"/run/secrets/{one.fields['source'].text()}", one.place, "default")})
                for one in own.items
            ]
        )

    def _depends_on(self, node: Node) -> Node | None:
        own = member(node, "depends_on")
        found: Fields = {}
        for name, one in (own.fields if own else {}).items():
            condition = default("service_started", one.place, "default")
            found[name] = one.with_value({"condition": condition, "required": default(True, one.place, "default"), **one.fields})
        for name, key, one, restart in _implied(node):
            if name not in found:
                found[name] = default(_dependency(one.place, f"{BECAUSE}{key}", restart=restart), one.place, f"{BECAUSE}{key}")
        return (own or node).with_value(found) if found else own


def _dependency(place: Place, reason: str, *, restart: bool) -> Fields:
    made: Fields = {"condition": default("service_started", place, reason), "required": default(True, place, reason)}
    return {**made, "restart": default(True, place, reason)} if restart else made


def _implied(node: Node) -> Iterator[tuple[str, str, Node, bool]]:
    """Yield the services that a service needs without saying ``depends_on``: name, key, who names it, and whether a restart is shared."""
    links = member(node, "links")
    for one in links.items if links else []:
        yield one.text().partition(":")[0], "links", one, True
    for key in _NAMESPACES:
        one_mode = member(node, key)
        if one_mode is not None and one_mode.text().startswith("service:"):
            yield one_mode.text().partition(":")[2], key, one_mode, True
    volumes = member(node, "volumes_from")
    for one in volumes.items if volumes else []:
        if not one.text().startswith("container:"):
            yield one.text().partition(":")[0], "volumes_from", one, False
