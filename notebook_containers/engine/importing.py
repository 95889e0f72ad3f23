"""``import``: a tar of a file system becomes an image of one layer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import BinaryIO

from notebook_containers.build.build import source_date_epoch
from notebook_containers.engine.commit import apply_changes
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.oci.image import ContainerConfig, History, ImageConfig
from notebook_containers.oci.platforms import host_platform, parse_platform
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord


def import_tar(
    parts: Parts, stream: BinaryIO, *, tags: Sequence[Reference], message: str, changes: Sequence[str], platform: str = ""
) -> ImageRecord:
    """Make the image from an uncompressed tar; ``changes`` are lines of a Dockerfile for its settings, ``platform`` what it is for.
    SOURCE_DATE_EPOCH in the environment is when it was made.

    InvalidDocument for what is no tar; nothing remains then.
    """
    config = apply_changes(ContainerConfig(), changes)
    target, epoch = parse_platform(platform) if platform else host_platform(), source_date_epoch()
    created = rfc3339(time.time() if epoch is None else epoch)
    with parts.store.lease():
        layer = parts.store.layers.apply(stream)
        image = ImageConfig(
            created=created,
            architecture=target.architecture,
            variant=target.variant,
            os=target.os,
            config=config,
            history=(History(created=created, comment=message),),
        )
        return parts.store.images.put(image, [layer], tags=tags)
