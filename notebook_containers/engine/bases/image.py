"""The embedded base images: made from this machine's own programs, with no network, the same bytes every time.

Only files that everybody may read are used, found in the distribution's own directories, never by the caller's PATH, environment, user or
umask. What is copied is listed by :func:`contents`.
"""

from __future__ import annotations

import os
import platform
import time
from typing import BinaryIO

from notebook_containers.engine.bases.interpreter import add_interpreter, version
from notebook_containers.engine.bases.libraries import Libraries
from notebook_containers.engine.bases.programs import add_programs
from notebook_containers.engine.bases.skeleton import PATH, add_shared_data, add_skeleton, host_release, release_name
from notebook_containers.engine.bases.tree import MADE, Entry, Tree, write_tar
from notebook_containers.errors import ImageNotFound, Unsupported
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import ContainerConfig, ImageConfig

BASES = ("localhost/base", "localhost/python")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "ppc64le": "ppc64le", "s390x": "s390x"}
_SHELLS = ("usr/bin/bash", "usr/bin/sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """A layer that can be written any number of times; ``created_by`` is its line in the image's history."""

    created_by: str
    entries: tuple[Entry, ...]

    def write(self, out: BinaryIO) -> None:
        """Write the layer's uncompressed tar; raises StoreError when a host file has gone since the image was planned."""
        write_tar(self.entries, out)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A base image before it is stored: ``config`` has no rootfs and no history yet, ``layers`` are bottom first."""

    name: str
    config: ImageConfig
    layers: tuple[LayerSource, ...]


def make(name: str) -> BaseImage:
    """Plan an embedded base image from this machine's files; cheap enough to do when first named, the copying is in ``layers``.

    ``localhost/python`` is ``localhost/base`` with one more layer, so the two share the lower one on disk. Raises ImageNotFound for
    another name, Unsupported when this machine has no shell or the interpreter cannot be copied.
    """
    if name not in BASES:
        raise ImageNotFound(f"no embedded base image is named {name!r}", hint=f"there are {' and '.join(BASES)}")
    libraries, release = Libraries(), host_release()
    base = _base(libraries, release)
    if name == "localhost/base":
        return BaseImage(name=name, config=_config(name, release, (base,), command=_shell(base)), layers=(base,))
    tree = Tree(below=base.entries)
    add_interpreter(tree, libraries)
    python = LayerSource(created_by=f"ADD {version()} and its standard library, from this machine", entries=tree.entries())
    return BaseImage(name=name, config=_config(name, release, (base, python), command="python3"), layers=(base, python))


def contents(name: str) -> tuple[tuple[str, str], ...]:
    """Return (path in the image, source) of every member: the source is a host file, or ``made``; raises as :func:`make` does."""
    return tuple((f"/{entry.path}", entry.source) for layer in make(name).layers for entry in layer.entries)


def _base(libraries: Libraries, release: dict[str, str]) -> LayerSource:
    tree = Tree()
    add_skeleton(tree, release)
    add_programs(tree, libraries)
    add_shared_data(tree)
    if "usr/bin/sh" not in tree:
        raise Unsupported("this machine has no readable /bin/sh to make a base image of", hint="install dash, bash or busybox")
    return LayerSource(created_by=f"ADD the programs of {release_name(release)}, from this machine", entries=tree.entries())


def _shell(layer: LayerSource) -> str:
    paths = {entry.path for entry in layer.entries}
    return os.path.basename(next(path for path in _SHELLS if path in paths))


def _config(name: str, release: dict[str, str], layers: tuple[LayerSource, ...], *, command: str) -> ImageConfig:
    what = "a shell and the usual programs" if len(layers) == 1 else f"{version()} over a shell and the usual programs"
    return ImageConfig(
        created=_newest(layers),
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        os="linux",
        config=ContainerConfig(
            env=(f"PATH={PATH}", "LANG=C.UTF-8"),
            cmd=(command,),
            labels={
                "org.opencontainers.image.title": name,
                "org.opencontainers.image.description": f"{what}, copied from this machine ({release_name(release)})",
                "org.opencontainers.image.version": f"{release.get('ID', 'linux')}-{release.get('VERSION_ID', 'unknown')}",
            },
        ),
    )


def _newest(layers: tuple[LayerSource, ...]) -> str:
    """Return when the newest copied file was changed (RFC 3339): a date that means something, and is the same each time."""
    sources = {entry.source for layer in layers for entry in layer.entries if entry.source != MADE}
    newest = max((int(os.stat(source).st_mtime) for source in sources if os.path.exists(source)), default=0)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest))
