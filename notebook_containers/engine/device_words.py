"""Words about devices: which of the host's a container gets, device rules, weights and rates of disks, GPUs.

Words become values here, without a look at the machine; :func:`nodes` and :func:`block_io` then look, when the container is made.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence

from notebook_containers.engine.quantities import parse_bytes
from notebook_containers.errors import InvalidArgument, Unsupported
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import Document
from notebook_containers.oci.runtime import BlockIO, Device, DeviceRule, ThrottleDevice, WeightDevice

_RULE = re.compile(r"([acb]) ([0-9]{1,7}|\*):([0-9]{1,7}|\*) ([rwm]{1,3})\Z", re.ASCII)
_ACCESS = re.compile(r"[rwm]{1,3}\Z")
_SKIPPED = frozenset({"pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"})
_NVIDIA = re.compile(r"nvidia([0-9]+)\Z", re.ASCII)
_NVIDIA_SHARED = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class DeviceWord(Document):
    """One ``--device``: a node (or a directory of nodes) of the host, where it appears inside, and the access (some of rwm)."""

    source: str
    target: str
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class DeviceValue(Document):
    """A block device of the host and its weight or rate."""

    path: str
    value: int


def devices(given: Sequence[str] | None) -> tuple[DeviceWord, ...]:
    """Return docker-py's ``devices``: ``/dev/a``, ``/dev/a:/dev/b``, ``/dev/a:rw`` or ``/dev/a:/dev/b:rw``."""
    return tuple(_device(str(word)) for word in given or ())


def _device(word: str) -> DeviceWord:
    parts = word.split(":")
    access = parts.pop() if len(parts) > 1 and not parts[-1].startswith("/") else "rwm"
    source, target = parts[0], parts[-1]
    if len(parts) > 2 or not _ACCESS.match(access) or len(set(access)) != len(access):
        raise InvalidArgument(f"--device {word!r} is not understood", hint="write /dev/fuse, /dev/a:/dev/b or /dev/a:/dev/b:rwm")
    for path in (source, target):
        if not path.startswith("/") or "\0" in path or ".." in path.split("/") or not path.strip("/."):
            raise InvalidArgument(f"--device {word!r}: {path!r} is no absolute path", hint="write /dev/fuse or /dev/a:/dev/b:rwm")
    if target.rstrip("/") == "/dev" and len(parts) > 1:
        raise InvalidArgument(f"--device {word!r}: /dev itself cannot be replaced", hint="name the place below /dev")
    return DeviceWord(source=source, target=target, access=access)


def rules(given: Sequence[str] | None) -> tuple[DeviceRule, ...]:
    """Return the rules of docker-py's ``device_cgroup_rules``: ``c 42:* rwm``."""
    found = []
    for word in given or ():
        match = _RULE.match(str(word))
        if match is None:
            raise InvalidArgument(f"--device-cgroup-rule {word!r} is not understood", hint="write TYPE MAJOR:MINOR ACCESS, as 'c 42:* rwm'")
        kind, major, minor, access = match.groups()
        number = [-1 if text == "*" else int(text) for text in (major, minor)]
        found.append(DeviceRule(allow=True, type=kind, major=number[0], minor=number[1], access=access))
    return tuple(found)


def weight(value: int | None) -> int:
    """Return the block io weight: 0 (none given), or 10 to 1000."""
    if value and not 10 <= value <= 1000:
        raise InvalidArgument(f"--blkio-weight {value} is out of range", hint="10 to 1000 are possible")
    return value or 0


def values(flag: str, given: Sequence[str | Mapping[str, object]] | None) -> tuple[DeviceValue, ...]:
    """Return pairs of docker-py's ``{"Path": …, "Rate" or "Weight": …}`` or of Docker's ``PATH:VALUE``; ``flag`` names them in errors."""
    return tuple(_value(flag, entry) for entry in given or ())


def _value(flag: str, entry: str | Mapping[str, object]) -> DeviceValue:
    if isinstance(entry, Mapping):
        path, text = str(entry.get("Path", "")), str(entry.get("Rate", entry.get("Weight", "")))
    else:
        path, _, text = entry.rpartition(":")
    if not path.startswith("/") or not text:
        raise InvalidArgument(f"{flag} {entry!r} is not understood", hint="write PATH:VALUE, as /dev/sda:1mb")
    if flag.endswith("-bps"):
        return DeviceValue(path=path, value=parse_bytes(text, what=flag))
    if not text.isascii() or not text.isdigit():
        raise InvalidArgument(f"{flag} {path}:{text} is no number")
    return DeviceValue(path=path, value=weight(int(text)) if "weight" in flag else int(text))


def gpus(given: str | Sequence[Mapping[str, object]] | None) -> str:
    """Return ``all`` or the wanted numbers ``0,2`` of Docker's ``--gpus`` text or docker-py's ``device_requests``; empty for none.

    Unsupported for another driver and for capabilities that only NVIDIA's own container tools provide.
    """
    if isinstance(given, str) or given is None:
        return _gpu_text(given or "")
    words = {_gpu_request(request) for request in given}
    if len(words) > 1:
        raise Unsupported("more than one device request is not supported", hint="ask for all GPUs, or for a list of them, in one")
    return words.pop() if words else ""


def _gpu_text(text: str) -> str:
    word = text.strip('"').removeprefix("device=").strip('"')
    if not word or word == "all" or all(part.isascii() and part.isdigit() for part in word.split(",")):
        is_count = word.isdigit() and "device=" not in text
        return ",".join(map(str, range(int(word)))) if is_count else word
    raise Unsupported(f"--gpus {text!r} is not supported", hint="write all, a count, or device=0,1")


def _gpu_request(request: Mapping[str, object]) -> str:
    driver = str(request.get("Driver") or "nvidia")
    if driver != "nvidia":
        raise Unsupported(f"device driver {driver!r} is not supported", hint="nvidia is; give other devices with --device")
    ids, count = request.get("DeviceIDs"), request.get("Count")
    if isinstance(ids, Sequence) and ids:
        return _gpu_text("device=" + ",".join(map(str, ids)))
    return "all" if not isinstance(count, int) or count < 0 else _gpu_text(str(count))


def gpu_words(wanted: str, directory: str = "/dev") -> tuple[DeviceWord, ...]:
    """Return the NVIDIA nodes of this machine for ``all`` or a list of numbers; InvalidArgument when there are none or not those."""
    if not wanted:
        return ()
    present = sorted(int(match[1]) for name in os.listdir(directory) if (match := _NVIDIA.match(name)))
    if not present:
        raise InvalidArgument(
            "--gpus: this machine has no NVIDIA device (there is no /dev/nvidia0)",
            hint="install NVIDIA's kernel driver, or give another vendor's nodes with --device, as /dev/dri",
        )
    chosen = present if wanted == "all" else [int(part) for part in wanted.split(",")]
    for number in chosen:
        if number not in present:
            raise InvalidArgument(f"--gpus: there is no GPU {number} here", hint="present: " + ", ".join(map(str, present)))
    names = [*(f"nvidia{number}" for number in chosen), *(n for n in _NVIDIA_SHARED if os.path.exists(f"{directory}/{n}"))]
    return tuple(DeviceWord(source=f"{directory}/{name}", target=f"/dev/{name}") for name in names)


def nodes(words: Sequence[DeviceWord]) -> list[tuple[Device, DeviceWord]]:
    """Return the host's nodes that the words mean, a directory's one by one; InvalidArgument for what is no device."""
    found = []
    for word in words:
        here = list(_look(word))
        if not here:
            raise InvalidArgument(f"--device {word.source}: there is no device", hint="see ls -l /dev on this machine")
        found += here
    return found


def _look(word: DeviceWord) -> Iterator[tuple[Device, DeviceWord]]:
    try:
        status = os.stat(word.source)
    except OSError as err:
        raise InvalidArgument(f"--device {word.source}: {(err.strerror or '').lower()}", hint="see ls -l /dev on this machine") from err
    if stat.S_ISDIR(status.st_mode):
        for name in sorted(os.listdir(word.source)):
            inner = DeviceWord(source=f"{word.source}/{name}", target=f"{word.target}/{name}", access=word.access)
            if name not in _SKIPPED and _is_device_or_directory(inner.source):
                yield from _look(inner)
        return
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        raise InvalidArgument(f"--device {word.source} is no device", hint="a file or directory is given with -v")
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    node = Device(
        type=kind,
        path=word.target,
        major=major,
        minor=minor,
        file_mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
    )
    yield node, word


def check_access(found: Sequence[tuple[Device, DeviceWord]]) -> None:
    """Raise InvalidArgument for a node that this user may not open: inside a user namespace nobody has more rights on it."""
    for node, word in found:
        wanted = (os.R_OK if "r" in word.access else 0) | (os.W_OK if "w" in word.access else 0)
        if not os.access(word.source, wanted):
            raise InvalidArgument(
                f"--device {word.source}: this user may not open it (mode {node.file_mode or 0:o}, owner {node.uid}, group {node.gid})",
                hint="an administrator can add this user to the node's group, or change its mode",
            )


def _is_device_or_directory(path: str) -> bool:
    mode = os.lstat(path).st_mode  # a link's target is met under its own name
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)


def block_io(
    weight_all: int,
    weights: Sequence[DeviceValue],
    rates: Mapping[str, Sequence[DeviceValue]],
) -> BlockIO | None:
    """Return the block io limits with the devices' numbers; ``rates`` has the keys read_bps, write_bps, read_iops and write_iops."""
    throttles = {key: tuple(_throttle(value) for value in wanted) for key, wanted in rates.items()}
    found = BlockIO(
        weight=weight_all,
        weight_devices=tuple(_weight_device(value) for value in weights),
        read_bps=throttles["read_bps"],
        write_bps=throttles["write_bps"],
        read_iops=throttles["read_iops"],
        write_iops=throttles["write_iops"],
    )
    return found if found != BlockIO() else None


def _throttle(value: DeviceValue) -> ThrottleDevice:
    major, minor = _numbers(value.path)
    return ThrottleDevice(major=major, minor=minor, rate=value.value)


def _weight_device(value: DeviceValue) -> WeightDevice:
    major, minor = _numbers(value.path)
    return WeightDevice(major=major, minor=minor, weight=value.value)


def _numbers(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as err:
        raise InvalidArgument(f"block device {path}: {(err.strerror or '').lower()}", hint="see lsblk on this machine") from err
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidArgument(f"{path} is no block device", hint="weights and rates are set for whole disks, as /dev/sda")
    return os.major(status.st_rdev), os.minor(status.st_rdev)
