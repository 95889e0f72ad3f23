"""Package installers where only one user id exists: system calls that are answered as done, and apt told not to switch users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from notebook_containers.engine.host import Host
from notebook_containers.linux import seccomp_pretend
from notebook_containers.oci.image import Digest
from notebook_containers.oci.runtime import Mount
from notebook_containers.store.snapshots import Snapshots

SAID = (
    "one user id only: chown, setuid, setgroups and their like, and mknod of devices, are answered as done, so that packages install; "
    "every file belongs to root"
)
OFF = "--security-opt seccomp=unconfined switches that off; with ids lent in /etc/subuid and /etc/subgid it is not needed (nbc doctor)"

_APT_DIRECTORY = "etc/apt/apt.conf.d"
_APT_FILE = "zz-notebook-containers"
# apt checks that it cannot go back to being root after it became _apt: it must not try
_APT_TEXT = '// one user id only: there is no other user to download as\nAPT::Sandbox::User "root";\n'
APT_PATH = f"/{_APT_DIRECTORY}/{_APT_FILE}"


def pretends(host: Host, *, userns: str = "", seccomp: str = "default") -> bool:
    """Say whether a container's installers need these answers: root inside, one id, and a filter is not forbidden."""
    return host.single and not userns and seccomp != "unconfined"


def profile(base: dict[str, object] | None, *, pretending: bool) -> dict[str, object] | None:
    """Return the seccomp profile with the answers in front of it, where they are needed."""
    return seccomp_pretend.pretend(base) if pretending else base


def apt_file(snapshots: Snapshots, layers: Sequence[Digest], directory: Path) -> tuple[Mount, ...]:
    """Write apt's setting to ``directory`` and return its mount, when the image has apt."""
    head, _, name = _APT_DIRECTORY.rpartition("/")
    if not snapshots.has_directory(layers, head, name):
        return ()
    path = directory / "apt.conf"
    path.write_text(_APT_TEXT)
    path.chmod(0o644)
    return (Mount(destination=APT_PATH, type="bind", source=str(path), options=("rbind", "rprivate", "ro", "nosuid", "nodev", "noexec")),)
