"""Which image a container is made from: ``--pull`` and ``--platform``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_containers.build.platforms import platform_text, same_platform
from notebook_containers.errors import Error, ImageNotFound, InvalidArgument, NotFound, RegistryError
from notebook_containers.oci.image import Platform
from notebook_containers.oci.reference import Reference

if TYPE_CHECKING:
    from notebook_containers.engine.images import Images
    from notebook_containers.engine.registries import Progress
    from notebook_containers.store.images import ImageRecord


def choose(images: Images, name: str, *, policy: str = "", platform: str = "", progress: Progress = None) -> ImageRecord:
    """Return the image a container is made from: ``policy`` is always, missing (as empty), never; ``platform`` must fit.

    Raises ImageNotFound, also when it cannot be fetched, RegistryError with ``always``, InvalidArgument when what is here is for another
    platform and ``policy`` is never.
    """
    if policy == "always":
        return images.pull(name, platform=platform, progress=progress).record
    try:
        record = images.obtain(name)
    except ImageNotFound as missing:
        if policy == "never" or Reference.parse(name).registry == "localhost":
            raise
        return _fetch(images, name, platform, missing, progress)
    own = Platform(architecture=record.config.architecture, os=record.config.os, variant=record.config.variant)
    if platform and not same_platform(platform, own):
        other = InvalidArgument(
            f"image {name} is for {platform_text(own)}, not for {platform}",
            hint="fetch the other with --pull always, or leave out --platform",
        )
        if policy == "never" or Reference.parse(name).registry == "localhost":
            raise other
        return _fetch(images, name, platform, other, progress)
    return record


def _fetch(images: Images, name: str, platform: str, missing: Error, progress: Progress) -> ImageRecord:
    try:
        return images.pull(name, platform=platform, progress=progress).record
    except RegistryError as err:
        raise type(missing)(f"{missing.message}, and it cannot be fetched: {err.message}", hint=missing.hint or err.hint) from err


def check_platform(record: ImageRecord, name: str, platform: str) -> None:
    """Raise NotFound when an image is not for the platform that is asked for (an empty text asks for none)."""
    own = Platform(architecture=record.config.architecture, os=record.config.os, variant=record.config.variant)
    if platform and not same_platform(platform, own):
        raise NotFound(f"image {name} is not here for {platform}", hint=f"it is here for {platform_text(own)}; others can be pulled")
