"""``docker update``: other limits and another restart policy, at once for a running container and kept for its next starts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from notebook_containers.engine import device_words, launch, limit_words, words
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.resources import resources
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import replace
from notebook_containers.oci.runtime import BlockIO, Resources
from notebook_containers.runtime.bundle import Bundle

Given = Mapping[str, object]


def update(parts: Parts, document: ContainerDocument, options: ContainerOptions) -> tuple[ContainerDocument, list[str]]:
    """Give the container ``options``' limits and restart policy; the caller holds its lock.

    Returns its new document and in words what cannot be enforced. A value that the kernel refuses changes nothing.
    """
    bundle = Bundle(path=parts.bundle_path(document.id))
    old = _resources(document.options, parts, bundle)
    new = _resources(options, parts, bundle)
    warnings: list[str] = []
    alive = launch.state(parts, document.id).status in ("running", "paused", "restarting")
    if alive and new != old:
        warnings = _change_limits(parts, document.id, old, new)
    bundle.change(resources=new, restart=options.restart, restart_max=options.restart_max)
    if alive and (options.restart, options.restart_max) != (document.options.restart, document.options.restart_max):
        parts.runtime.set_restart(document.id, options.restart, options.restart_max)
    changed = replace(document, options=options)
    parts.store.records.update_container(document.id, document=launch.text_of(changed))
    return changed, warnings


def _resources(options: ContainerOptions, parts: Parts, bundle: Bundle) -> Resources:
    """Return the limits of options; what was said of devices when the container was made stays, but for the weight of its disk use."""
    linux = bundle.spec().linux
    made = linux.resources if linux and linux.resources else Resources()
    block_io = replace(made.block_io or BlockIO(), weight=options.blkio_weight)
    return replace(resources(options, parts.host), devices=made.devices, block_io=None if block_io == BlockIO() else block_io)


def _change_limits(parts: Parts, container_id: str, old: Resources, new: Resources) -> list[str]:
    try:
        return parts.runtime.update(container_id, new)
    except InvalidArgument:
        with suppress(InvalidArgument):
            parts.runtime.update(container_id, old)
        raise


def changed_options(
    options: ContainerOptions,
    *,
    blkio_weight: int | None = None,
    cpu_period: int | None = None,
    cpu_quota: int | None = None,
    cpu_rt_period: int | None = None,
    cpu_rt_runtime: int | None = None,
    cpu_shares: int | None = None,
    cpuset_cpus: str | None = None,
    cpuset_mems: str | None = None,
    mem_limit: str | int | None = None,
    mem_reservation: str | int | None = None,
    memswap_limit: str | int | None = None,
    nano_cpus: int | None = None,
    pids_limit: int | None = None,
    restart_policy: Mapping[str, object] | None = None,
) -> ContainerOptions:
    """Return the options with what is given changed; InvalidArgument for a value that cannot be, or for values that contradict."""
    if nano_cpus and (cpu_period or cpu_quota):
        raise InvalidArgument("--cpus contradicts --cpu-period and --cpu-quota", hint="give one or the others")
    if nano_cpus == 0:
        options = replace(options, nano_cpus=0, cpu_period=0, cpu_quota=-1)
    elif nano_cpus is not None:
        options = replace(options, nano_cpus=words.at_least("nano_cpus", nano_cpus), cpu_period=0, cpu_quota=0)
    if cpu_period is not None or cpu_quota is not None:
        options = replace(
            options,
            nano_cpus=0,
            cpu_period=options.cpu_period if cpu_period is None else words.at_least("cpu_period", cpu_period),
            cpu_quota=options.cpu_quota if cpu_quota is None else words.at_least("cpu_quota", cpu_quota, -1),
        )
    limit_words.check_cpu(options.cpu_period, options.cpu_quota)
    if cpu_shares is not None:
        options = replace(options, cpu_shares=words.at_least("cpu_shares", cpu_shares))
    if cpuset_cpus is not None:
        options = replace(options, cpuset_cpus=words.cpuset(cpuset_cpus))
    if cpuset_mems is not None:
        options = replace(options, cpuset_mems=words.cpuset(cpuset_mems, what="memory nodes"))
    if cpu_rt_period is not None:
        options = replace(options, cpu_rt_period=words.at_least("cpu_rt_period", cpu_rt_period))
    if cpu_rt_runtime is not None:
        options = replace(options, cpu_rt_runtime=words.at_least("cpu_rt_runtime", cpu_rt_runtime))
    if blkio_weight is not None:
        options = replace(options, blkio_weight=device_words.weight(blkio_weight))
    if pids_limit is not None:
        options = replace(options, pids_limit=words.pids(pids_limit))
    options = _memory(options, mem_limit, mem_reservation, memswap_limit)
    if restart_policy is not None:
        name, most = words.restart(restart_policy, auto_remove=options.auto_remove)
        options = replace(options, restart=name, restart_max=most)
    return options


def _memory(options: ContainerOptions, limit: str | int | None, reservation: str | int | None, swap: str | int | None) -> ContainerOptions:
    if limit is not None:
        options = replace(options, memory_bytes=-1 if limit in (-1, "-1") else words.memory(limit))
    if reservation is not None:
        options = replace(options, memory_reservation_bytes=words.size(reservation, what="memory reservation"))
    if swap is not None:
        options = replace(options, memory_swap_bytes=-1 if swap in (-1, "-1") else words.size(swap, what="swap limit"))
    limit_words.check_memory(options.memory_bytes, options.memory_reservation_bytes, options.memory_swap_bytes)
    return options
