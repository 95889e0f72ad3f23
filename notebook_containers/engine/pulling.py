"""Which image a container is made from: ``--pull`` and ``--platform``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_containers.errors import Error, ImageNotFound, RegistryError
from notebook_containers.oci.reference import Reference

if TYPE_CHECKING:
    from notebook_containers.engine.images import Images
    from notebook_containers.engine.registries import Progress
    from notebook_containers.store.images import ImageRecord


def choose(images: Images, name: str, *, policy: str = "", platform: str = "", progress: Progress = None) -> ImageRecord:
    """Return the image a container is made from: ``policy`` is always, missing (as empty), never; ``platform`` must fit.

    Raises ImageNotFound, also when it cannot be fetched or what is here is for another platform, RegistryError with ``always``.
    """
    if policy == "always":
        return images.pull(name, platform=platform, progress=progress).record
    try:
        return images.obtain(name, platform)
    except ImageNotFound as missing:
        if policy == "never" or Reference.parse(name).registry == "localhost":
            raise
        return _fetch(images, name, platform, missing, progress)


def _fetch(images: Images, name: str, platform: str, missing: Error, progress: Progress) -> ImageRecord:
    try:
        return images.pull(name, platform=platform, progress=progress).record
    except RegistryError as err:
        raise type(missing)(f"{missing.message}, and it cannot be fetched: {err.message}", hint=missing.hint or err.hint) from err
