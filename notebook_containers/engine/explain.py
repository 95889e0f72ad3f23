"""What is really active on this machine, and why something is weaker here: the words of ``info()``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from notebook_containers.engine import installers
from notebook_containers.engine.host import Host
from notebook_containers.engine.posture import DEFAULT_CAPABILITIES
from notebook_containers.errors import Unsupported
from notebook_containers.network import userland
from notebook_containers.oci.documents import JSON
from notebook_containers.store import streams


def limits(reasons: Mapping[str, str]) -> dict[str, JSON]:
    """Return, for each kind of limit, ``enforced`` or why it is not."""
    return {name: reason or "enforced" for name, reason in reasons.items()}


def security(host: Host) -> dict[str, JSON]:
    """Return each isolation layer and its state."""
    lsm = _read("/sys/kernel/security/lsm")
    return {
        "namespaces": "mount pid network ipc uts cgroup" + (" user" if host.rootless else ""),
        "user namespace": _user_namespace(host),
        "capabilities": f"{len(DEFAULT_CAPABILITIES)} of {len(host.capabilities)}",
        "no new privileges": "on",
        "seccomp": _seccomp(host),
        "masked paths": "on",
        "security module": lsm or "none is loaded by the kernel",
    }


def _user_namespace(host: Host) -> str:
    if host.maps is None:
        return "not used: root inside is root outside, with few capabilities"
    if host.single:
        return "active: root inside is you outside, nobody else exists"
    return f"active: root inside is you outside, 1 to {host.maps.highest} are ids lent to you ({host.maps.describe()})"


def _seccomp(host: Host) -> str:
    if not _read("/proc/sys/kernel/seccomp/actions_avail"):
        return "not available in this kernel"
    return "default profile" + ("; owners, identities and device nodes are answered as done" if installers.pretends(host) else "")


def network(host: Host) -> dict[str, JSON]:
    """Return what a container can reach by default."""
    if host.rootless:
        return {"default": userland.describe()}
    return {"default": "a bridge with address translation outward; this machine's own services are not reachable from containers"}


def compression() -> dict[str, JSON]:
    """Return how layers are compressed and decompressed, and why it is slower than it could be."""
    return {"gzip": streams.gzip().why_slow or "by isal", "zstd": _zstd(), "bzip2, xz": "read, by the standard library"}


def _zstd() -> str:
    try:
        return streams.zstd().why_slow or "by backports.zstd"
    except Unsupported as err:
        return f"{err}: {err.hint}"


def warnings(host: Host, reasons: Mapping[str, str], why_single: str) -> list[JSON]:
    """Return one sentence for everything that is weaker here than it could be; ``why_single`` says why there is one user id only."""
    found: list[JSON] = [f"{name} limits are not enforced: {reason}" for name, reason in reasons.items() if reason]
    found.extend([slow] if (slow := streams.gzip().why_slow) else [])
    if host.rootless:
        if host.single:
            found.append("one user id only: files of other owners in images become yours, and USER other than root does not work")
            found.extend([f"one user id only, because {why_single}"] if why_single else [])
            found.append(f"{installers.SAID}; {installers.OFF}")
        found.append(f"network: {userland.describe()}")
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
