"""The runtime specification's documents: Spec, its parts, and State (OCI runtime-spec 1.2, config.md, config-linux.md, runtime.md).

Only members this project reads or writes are here; names in JSON are the specification's.
"""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import Document, always, named

SPEC_VERSION = "1.2.0"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class User(Document):
    """Ids inside the container."""

    uid: int = field(default=0, metadata=always())
    gid: int = field(default=0, metadata=always())
    umask: int | None = None
    additional_gids: tuple[int, ...] = field(default=(), metadata=named("additionalGids"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Rlimit(Document):
    """One resource limit, ``type`` as ``RLIMIT_NOFILE``."""

    type: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Capabilities(Document):
    """Five sets of ``CAP_…`` names."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ConsoleSize(Document):
    """Rows and columns of a terminal."""

    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Process(Document):
    """What runs, as whom and with which rights."""

    terminal: bool = False
    console_size: ConsoleSize | None = field(default=None, metadata=named("consoleSize"))
    user: User = field(default_factory=User)
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = field(default=False, metadata=named("noNewPrivileges"))
    oom_score_adj: int | None = field(default=None, metadata=named("oomScoreAdj"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Root(Document):
    """The root filesystem; ``path`` is relative to the bundle."""

    path: str
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Mount(Document):
    """One mount, in the form of mount(8) option words."""

    destination: str = ""
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class IDMapping(Document):
    """``size`` ids from ``container_id`` inside are those from ``host_id`` outside."""

    container_id: int = field(metadata=named("containerID"))
    host_id: int = field(metadata=named("hostID"))
    size: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Namespace(Document):
    """A namespace to make (no path) or to join; ``type`` is pid, network, mount, ipc, uts, user, cgroup or time."""

    type: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Device(Document):
    """A device node to make."""

    type: str
    path: str
    major: int = 0
    minor: int = 0
    file_mode: int | None = field(default=None, metadata=named("fileMode"))
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class DeviceRule(Document):
    """One line of the device list: allow or deny ``access`` (some of rwm); -1 is any number."""

    allow: bool = field(default=False, metadata=always())
    type: str = ""
    major: int = -1
    minor: int = -1
    access: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Memory(Document):
    """Memory limits in bytes; 0 sets nothing, ``swap`` is memory plus swap, -1 is without limit."""

    limit: int = 0
    reservation: int = 0
    swap: int = 0
    swappiness: int | None = None
    disable_oom_killer: bool = field(default=False, metadata=named("disableOOMKiller"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Cpu(Document):
    """CPU shares, quota and period (microseconds), the same for real-time scheduling, and the cpuset lists."""

    shares: int = 0
    quota: int = 0
    period: int = 0
    realtime_runtime: int = field(default=0, metadata=named("realtimeRuntime"))
    realtime_period: int = field(default=0, metadata=named("realtimePeriod"))
    cpus: str = ""
    mems: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Pids(Document):
    """The most processes and threads; 0 or less is without limit."""

    limit: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class WeightDevice(Document):
    """The weight (10 to 1000) of one block device."""

    major: int = field(metadata=always())
    minor: int = field(metadata=always())
    weight: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class ThrottleDevice(Document):
    """A rate for one block device, in bytes or in operations a second."""

    major: int = field(metadata=always())
    minor: int = field(metadata=always())
    rate: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class BlockIO(Document):
    """Weights and throttles of block devices; a weight of 0 sets nothing."""

    weight: int = 0
    weight_devices: tuple[WeightDevice, ...] = field(default=(), metadata=named("weightDevice"))
    read_bps: tuple[ThrottleDevice, ...] = field(default=(), metadata=named("throttleReadBpsDevice"))
    write_bps: tuple[ThrottleDevice, ...] = field(default=(), metadata=named("throttleWriteBpsDevice"))
    read_iops: tuple[ThrottleDevice, ...] = field(default=(), metadata=named("throttleReadIOPSDevice"))
    write_iops: tuple[ThrottleDevice, ...] = field(default=(), metadata=named("throttleWriteIOPSDevice"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Resources(Document):
    """What the cgroup limits."""

    devices: tuple[DeviceRule, ...] = ()
    memory: Memory | None = None
    cpu: Cpu | None = None
    pids: Pids | None = None
    block_io: BlockIO | None = field(default=None, metadata=named("blockIO"))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Linux(Document):
    """The Linux part of a Spec."""

    namespaces: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IDMapping, ...] = field(default=(), metadata=named("uidMappings"))
    gid_mappings: tuple[IDMapping, ...] = field(default=(), metadata=named("gidMappings"))
    devices: tuple[Device, ...] = ()
    cgroups_path: str = field(default="", metadata=named("cgroupsPath"))
    resources: Resources | None = None
    rootfs_propagation: str = field(default="", metadata=named("rootfsPropagation"))
    masked_paths: tuple[str, ...] = field(default=(), metadata=named("maskedPaths"))
    readonly_paths: tuple[str, ...] = field(default=(), metadata=named("readonlyPaths"))
    sysctl: Mapping[str, str] = field(default_factory=dict)
    seccomp: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Spec(Document):
    """A bundle's ``config.json``."""

    oci_version: str = field(metadata=named("ociVersion"))
    process: Process | None = None
    root: Root | None = None
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    linux: Linux | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class State(Document):
    """What a runtime tells of a container: ``status`` is creating, created, running or stopped (runtime.md, "State")."""

    oci_version: str = field(metadata=named("ociVersion"))
    id: str
    status: str
    pid: int = 0
    bundle: str
    annotations: Mapping[str, str] = field(default_factory=dict)
