"""Options to the Spec's resources: what the cgroup limits, and which devices it lets through; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from notebook_containers.oci.runtime import BlockIO, Cpu, DeviceRule, Memory, Pids, Resources

if TYPE_CHECKING:
    from notebook_containers.engine.host import Host
    from notebook_containers.engine.options import ContainerOptions

# null, zero, full, random, urandom, tty, console, ptmx, and every pseudo terminal
_HARMLESS = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1))


def resources(options: ContainerOptions, host: Host, *, devices: Sequence[DeviceRule] = (), block_io: BlockIO | None = None) -> Resources:
    """Return the limits that were asked for, and (as root) devices denied but for the harmless ones and ``devices``.

    In an ordinary user's namespace the kernel lets nobody make device nodes, so there is nothing to deny.
    """
    quota, period = options.cpu_quota, options.cpu_period
    if options.nano_cpus:
        period = 100_000
        quota = max(options.nano_cpus * period // 1_000_000_000, 1000)
    cpu = Cpu(
        shares=options.cpu_shares,
        quota=quota,
        period=period,
        realtime_runtime=options.cpu_rt_runtime,
        realtime_period=options.cpu_rt_period,
        cpus=options.cpuset_cpus,
        mems=options.cpuset_mems,
    )
    memory = Memory(
        limit=options.memory_bytes,
        reservation=options.memory_reservation_bytes,
        swap=options.memory_swap_bytes or options.memory_bytes,
        swappiness=options.memory_swappiness,
        disable_oom_killer=options.oom_kill_disable,
    )
    return Resources(
        devices=() if host.rootless else _device_rules(options, devices),
        memory=memory if memory != Memory() else None,
        cpu=cpu if cpu != Cpu() else None,
        pids=Pids(limit=options.pids_limit),
        block_io=block_io,
    )


def _device_rules(options: ContainerOptions, devices: Sequence[DeviceRule]) -> tuple[DeviceRule, ...]:
    if options.privileged:
        return (DeviceRule(allow=True, access="rwm"),)
    allowed = [DeviceRule(allow=True, type="c", major=major, minor=minor, access="rwm") for major, minor in _HARMLESS]
    return (DeviceRule(allow=False, access="rwm"), *allowed, *devices, *options.device_rules)
