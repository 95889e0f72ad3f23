"""A name gets one more platform: the images that it is here for and a new one become those of one index."""

from __future__ import annotations

from contextlib import suppress

from notebook_containers.errors import ImageNotFound
from notebook_containers.oci.image import INDEX, MANIFEST, Descriptor, Digest, Index, Platform
from notebook_containers.oci.platforms import host_platform, normal, parse_platform, platform_text
from notebook_containers.oci.reference import Reference
from notebook_containers.store.images import ImageRecord, platform_of
from notebook_containers.store.store import Store


def widened(store: Store, name: Reference, added: Descriptor, index: bytes) -> bytes:
    """Give the images that ``name`` is here for, for other platforms than ``added``'s, one index with it, and return that.

    Nothing is done, and nothing returned, where there are none and where all of them came with ``index``. The image itself is given the
    name afterwards (``add_variant``): whoever is killed in between leaves the name as it was. Hold a lease.
    """
    wanted = platform_text(normal(added.platform or host_platform()))
    known = store.images.variants(name.familiar())
    if index and known and {each.top for each in known} == {Digest.of(index)}:
        return b""
    here = {each.platform: store.images.get(each.image) for each in known}
    if not here:
        with suppress(ImageNotFound):
            image = store.images.resolve(name.familiar())
            here[platform_text(normal(platform_of(image.config)))] = image
    here.pop(wanted, None)
    if not here:
        return b""
    entries = [_described(store, image, parse_platform(platform)) for platform, image in here.items()]
    made = Index(schema_version=2, media_type=INDEX, manifests=(*entries, added)).to_bytes()
    for image in here.values():
        store.images.add_variant(image.id, name, made)
    return made


def _described(store: Store, image: ImageRecord, platform: Platform) -> Descriptor:
    size = store.content.size(image.manifest_digest)
    return Descriptor(media_type=image.manifest.media_type or MANIFEST, digest=image.manifest_digest, size=size, platform=platform)
