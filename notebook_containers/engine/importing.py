"""``import``: a tar of a file system becomes an image of one layer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from notebook_containers.build.build import source_date_epoch
from notebook_containers.engine.commit import apply_changes
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import rfc3339
from notebook_containers.errors import BuildError, InvalidDocument, NotFound
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
        try:
            layer = parts.store.layers.apply(stream)
        except InvalidDocument as err:
            err.hint = err.hint or "give a tar archive of a file system, whole"
            raise
        image = ImageConfig(
            created=created,
            architecture=target.architecture,
            variant=target.variant,
            os=target.os,
            config=config,
            history=(History(created=created, comment=message),),
        )
        return parts.store.images.put(image, [layer], tags=tags)


def check(changes: Sequence[str], platform: str) -> None:
    """Raise what :func:`import_tar` would for these before it reads anything."""
    apply_changes(ContainerConfig(), changes)
    if platform:
        parse_platform(platform)


@contextmanager
def fetched(parts: Parts, url: str) -> Iterator[BinaryIO]:
    """Yield what is at an http or https address, as a file of the store that goes at the end; NotFound when it cannot be had."""
    from notebook_containers.build.fetching import Fetching

    fetching = Fetching(parts.store, trusted=True, variables={}, check=lambda: None)
    try:
        with parts.store.lease(), fetching.download(url) as (path, _said), open(path, "rb") as file:
            yield file
    except BuildError as err:
        raise NotFound(err.message, hint=err.hint) from err
