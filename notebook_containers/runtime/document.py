"""Typed reading of parsed JSON without dataclasses: the monitor and init read bundles with it, where each import costs start-up time.

The documents were written by :class:`notebook_containers.runtime.bundle.Bundle`; a member of a wrong type is a ValueError that names it.
"""

from __future__ import annotations

import binascii
import json
import os
from collections.abc import Iterator

Table = dict[str, object]


def read(path: str) -> Table:
    """Read a JSON object; OSError when it is not there, ValueError when it is none."""
    with open(path, "rb") as file:
        value = json.loads(file.read())
    if not isinstance(value, dict):
        raise ValueError(f"{path} is no JSON object")
    return value


def write(path: str, value: object, *, durable: bool = False, mode: int = 0o600) -> None:
    """Write JSON so that a reader sees the old document or the new one, and with ``durable`` so that a power cut keeps the new one."""
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        os.write(fd, json.dumps(value, separators=(",", ":")).encode())
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    if durable:
        sync_directory(os.path.dirname(path))


def dump(value: Table) -> bytes:
    """Return JSON."""
    return json.dumps(value).encode()


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def table(data: Table, key: str) -> Table:
    """Return the object at ``key``, empty when absent."""
    value = data.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} is no object")
    return value


def tables(data: Table, key: str) -> Iterator[Table]:
    """Yield the objects of the list at ``key``."""
    for item in _list(data, key):
        if not isinstance(item, dict):
            raise ValueError(f"{key} holds what is no object")
        yield item


def texts(data: Table, key: str) -> list[str]:
    """Return the list of texts at ``key``, empty when absent."""
    return [str(item) for item in _list(data, key)]


def numbers(data: Table, key: str) -> list[int]:
    """Return the list of whole numbers at ``key``, empty when absent."""
    return [item for item in _list(data, key) if isinstance(item, int)]


def id_map(data: Table, key: str) -> list[tuple[int, int, int]]:
    """Return the lines of ``uidMappings`` or ``gidMappings``: inside id, outside id, count."""
    return [(number(entry, "containerID"), number(entry, "hostID"), number(entry, "size")) for entry in tables(data, key)]


def text(data: Table, key: str, default: str = "") -> str:
    """Return the text at ``key``."""
    value = data.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text")
    return value


def number(data: Table, key: str, default: int = 0) -> int:
    """Return the whole number at ``key``."""
    value = data.get(key, default)
    if not isinstance(value, int):
        raise ValueError(f"{key} is no whole number")
    return value


def real(data: Table, key: str) -> float:
    """Return the number at ``key``, 0.0 when absent."""
    value = data.get(key) or 0.0
    if not isinstance(value, (int, float)):
        raise ValueError(f"{key} is no number")
    return float(value)


def flag(data: Table, key: str) -> bool:
    """Return the truth value at ``key``, False when absent."""
    return data.get(key) is True


class PlainBundle:
    """A bundle as read from its directory; plain tables, no dataclasses."""

    __slots__ = ("config", "options", "path", "root_mounts", "seccomp")

    def __init__(self, path: str) -> None:
        self.path = path
        self.config = read(os.path.join(path, "config.json"))
        self.root_mounts = list(tables(read(os.path.join(path, "rootfs.json")), "mounts"))
        self.options = read(os.path.join(path, "monitor.json"))
        self.seccomp = b""
        if table(table(self.config, "linux"), "seccomp"):
            with open(os.path.join(path, "seccomp.bpf"), "rb") as file:
                self.seccomp = file.read()

    @classmethod
    def told(cls, path: str, value: Table) -> PlainBundle:
        """Return a bundle that is not read but was told whole (:meth:`.expected.Expected.bundle`)."""
        bundle = cls.__new__(cls)
        bundle.path, bundle.config, bundle.options = path, table(value, "config"), table(value, "options")
        bundle.root_mounts, bundle.seccomp = list(tables(value, "mounts")), binascii.a2b_base64(text(value, "seccomp"))
        return bundle

    @classmethod
    def kept(cls, path: str, kept: str) -> PlainBundle:
        """Return a bundle of which only ``config.json`` is needed (the specification's), from the copy kept in the directory ``kept``.

        Mounts of the root are taken from the bundle's ``rootfs.json`` where there is one, as in the bundles of this project.
        """
        bundle = cls.__new__(cls)
        bundle.path, bundle.options, bundle.root_mounts, bundle.seccomp = path, {}, [], b""
        bundle.config = read(os.path.join(kept, "config.json"))
        if os.path.exists(os.path.join(path, "rootfs.json")):
            bundle.root_mounts = list(tables(read(os.path.join(path, "rootfs.json")), "mounts"))
        if table(table(bundle.config, "linux"), "seccomp"):
            with open(os.path.join(kept, "seccomp.bpf"), "rb") as file:
                bundle.seccomp = file.read()
        return bundle

    def process(self) -> Table:
        """Return the Spec's process object."""
        return table(self.config, "process")

    def linux(self) -> Table:
        """Return the Spec's linux object."""
        return table(self.config, "linux")


def _list(data: Table, key: str) -> list[object]:
    value = data.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"{key} is no list")
    return value
