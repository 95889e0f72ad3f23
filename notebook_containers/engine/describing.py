"""What a container's document becomes for the runtime: the generated files, the Spec and the bundle over its snapshot."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from notebook_containers.engine import device_words, generated, health, installers, namespace_words, specgen, users
from notebook_containers.engine.device_words import DeviceWord
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.host import Host
from notebook_containers.engine.mount_points import mounted
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import replace
from notebook_containers.linux import seccomp
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.runtime import BlockIO, Device, Spec
from notebook_containers.runtime import outside
from notebook_containers.runtime.bundle import Bundle, MonitorOptions
from notebook_containers.runtime.expected import Expected


def describe(parts: Parts, document: ContainerDocument, *, joined: Mapping[str, str] | None = None) -> Spec:
    """Write the generated files of a container and return its Spec; ``joined`` are the files of others' namespaces, by kind.

    Without them those of a container that needs some are written so that it cannot start: they are known when it starts.
    """
    directory = parts.bundle_path(document.id)
    (directory / "lock").touch(mode=0o600)
    unknown = {kind: f"{namespace_words.JOIN}{other}" for kind, other in namespace_words.joined(document.options).items()}
    return _spec(parts, document, directory, unknown if joined is None else joined)


def write_bundle(parts: Parts, document: ContainerDocument, spec: Spec, *, expected: Expected | None = None) -> Bundle:
    """Write the bundle of a container over its snapshot."""
    options = document.options
    monitor = MonitorOptions(
        log_path="" if options.log.driver == "none" else "container.log",
        log_max_bytes=options.log.max_bytes,
        log_max_files=options.log.max_files,
        init=options.init,
        runtime=options.runtime,
        stdin_open=options.stdin_open,
        volatile=options.auto_remove,
        restart=options.restart,
        restart_max=options.restart_max,
        stop_signal=options.stop_signal or document.config.stop_signal or "SIGTERM",
        health=health.check(options, document.config),
    )
    root = parts.store.snapshots.mounts(document.id, volatile=options.auto_remove)
    return Bundle.create(parts.bundle_path(document.id), spec, root, monitor, expected=expected)


def _spec(parts: Parts, document: ContainerDocument, directory: Path, joined: Mapping[str, str]) -> Spec:
    options, config = document.options, document.config
    host, maps = parts.host, parts.host.container_maps(options.userns, first_id=document.first_id)
    shown = (outside.IDMAP,) if document.first_id else ()
    kept = host.kept_ids(options.userns)

    def read(path: str) -> bytes | None:
        return parts.store.snapshots.read_file(document.layers, path)

    identity = users.of_container(parts, document)
    home = options.working_dir or config.working_dir or "/"
    passwd = users.passwd_with_caller(read, *kept, home=home) if kept else None
    extra = users.groups(options.group_add, read, maps)
    files = generated.write(parts, document, directory, passwd)
    pretending = installers.pretends(host, userns=options.userns, seccomp=options.seccomp)
    if pretending:
        files += installers.apt_file(parts.store.snapshots, document.layers, directory)
    files = [replace(mount, options=(*mount.options, *shown)) for mount in files]
    binds = [mounted(parts, point, shown if point.kind == "volume" else ()) for point in document.mounts]
    capabilities = frozenset(specgen.capability_set(options, parts.host))
    resolved = specgen.Resolved(
        id=document.id,
        uid=identity.uid,
        gid=identity.gid,
        groups=tuple(dict.fromkeys((*identity.groups, *extra))),
        home=identity.home,
        mounts=tuple(sorted((*files, *binds), key=lambda mount: mount.destination.rstrip("/").count("/"))),  # a volume on /etc goes first
        network=options.network,
        hostname=document.hostname,
        seccomp=installers.profile(seccomp_profile(options.seccomp, capabilities), pretending=pretending),
        devices=devices(options, parts.host),
        block_io=block_io(options),
        joined=joined,
        maps=maps if document.first_id else None,
    )
    return specgen.generate(options, config, resolved, parts.host)


def devices(options: ContainerOptions, host: Host) -> list[tuple[Device, DeviceWord]]:
    """Return the nodes that were asked for; with ``--privileged`` as root every one of the machine's."""
    every = [DeviceWord(source="/dev", target="/dev")] if options.privileged and not host.rootless else []
    found = device_words.nodes([*every, *options.devices, *device_words.gpu_words(options.gpus)])
    if host.rootless:
        device_words.check_access(found)
    return found


def block_io(options: ContainerOptions) -> BlockIO | None:
    """Return the weights and rates of block devices that were asked for, or None."""
    rates = {
        "read_bps": options.device_read_bps,
        "write_bps": options.device_write_bps,
        "read_iops": options.device_read_iops,
        "write_iops": options.device_write_iops,
    }
    return device_words.block_io(options.blkio_weight, options.blkio_weight_devices, rates)


def seccomp_profile(word: str, capabilities: frozenset[str]) -> dict[str, object] | None:
    """Return the profile for ``default``, ``unconfined`` or the path of a JSON file; raises InvalidArgument for an unreadable one."""
    if word == "unconfined":
        return None
    if word in ("default", "builtin", ""):
        return dict(seccomp.default_profile(capabilities))
    try:
        profile: JSON = json.loads(Path(word).read_text())
    except (OSError, ValueError) as err:
        raise InvalidArgument(
            f"seccomp profile {word!r} cannot be read: {(err.strerror or '').lower() if isinstance(err, OSError) else err}",
            hint="give the path of a JSON profile, or unconfined",
        ) from err
    if not isinstance(profile, dict):
        raise InvalidArgument(f"seccomp profile {word!r} is no JSON object")
    try:
        return dict(seccomp.resolve_profile(profile, capabilities))
    except ValueError as err:
        raise InvalidArgument(f"seccomp profile {word!r} cannot be used: {err}") from err
