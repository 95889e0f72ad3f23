"""What a service's containers may use: limits, devices, replicas. Sizes are bytes, times seconds, CPUs a number of them."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.lean import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    """A limit of ``setrlimit``; -1 is no limit."""

    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMapping:
    """A device node of the host, its path inside and what is allowed (``r``, ``w``, ``m``); a CDI name is a source with no target."""

    source: str
    target: str = ""
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """Devices asked for by what they can do (``gpus``, ``deploy.resources.reservations.devices``); count -1 is all of them."""

    capabilities: tuple[str, ...] = ()
    driver: str = ""
    count: int | None = None
    device_ids: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRate:
    """A device's path and its limit: bytes or operations a second, or a weight."""

    path: str
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockIO:
    """Limits of block devices (``blkio_config``); weight 0 is the kernel's own."""

    weight: int = 0
    weight_device: tuple[DeviceRate, ...] = ()
    device_read_bps: tuple[DeviceRate, ...] = ()
    device_read_iops: tuple[DeviceRate, ...] = ()
    device_write_bps: tuple[DeviceRate, ...] = ()
    device_write_iops: tuple[DeviceRate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a container may use at most, or has reserved; None is not said."""

    cpus: float | None = None
    memory: int | None = None
    pids: int | None = None
    devices: tuple[DeviceRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """``deploy.restart_policy``: ``condition`` is none, on-failure or any ("" is any); None for a number is not said."""

    condition: str = ""
    delay: float | None = None
    max_attempts: int | None = None
    window: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """``deploy``, as far as it means something without a swarm; ``labels`` are the service's, not its containers'."""

    mode: str = "replicated"
    replicas: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    reservations: Limits = field(default_factory=Limits)
    restart_policy: RestartPolicy | None = None
