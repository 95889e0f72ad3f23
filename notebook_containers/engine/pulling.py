"""Which image a container is made from: ``--pull`` and ``--platform``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_containers.build.platforms import platform_text, same_platform
from notebook_containers.errors import ImageNotFound, InvalidArgument
from notebook_containers.oci.image import Platform

if TYPE_CHECKING:
    from notebook_containers.engine.images import Images
    from notebook_containers.store.images import ImageRecord


def choose(images: Images, name: str, *, policy: str = "", platform: str = "") -> ImageRecord:
    """Return the image a container is made from: ``policy`` is always, missing, never or empty (what is here); ``platform`` must fit.

    Raises ImageNotFound, RegistryError when it cannot be fetched, InvalidArgument when what is here is for another platform.
    """
    if policy == "always":
        return images.pull(name, platform=platform).record
    try:
        record = images.obtain(name)
    except ImageNotFound:
        if policy != "missing":
            raise
        return images.pull(name, platform=platform).record
    own = Platform(architecture=record.config.architecture, os=record.config.os, variant=record.config.variant)
    if platform and not same_platform(platform, own):
        if policy == "missing":
            return images.pull(name, platform=platform).record
        raise InvalidArgument(
            f"image {name} is for {platform_text(own)}, not for {platform}",
            hint="fetch the other with --pull missing, or leave out --platform",
        )
    return record
