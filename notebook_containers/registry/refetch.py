"""Fetching again what a registry gave once and the store has lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from notebook_containers.errors import Error, RegistryError
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.image import Descriptor
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.client import Client
from notebook_containers.registry.settings import Settings
from notebook_containers.store.images import ImageRecord
from notebook_containers.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """Where a store's images came from, as :class:`~notebook_containers.store.repair.Source`: the registries in their digest names."""

    store: Store

    def blob(self, image: ImageRecord, blob: Descriptor) -> None:
        """Fetch a blob again, over what stands in its place; raises RegistryError when none of the registries has it."""

        def fetch(client: Client, reference: Reference) -> None:
            with self.store.content.writer(expected=blob.digest, size=blob.size, replace=True) as writer:
                for piece in client.blob(reference.repository, blob):
                    writer.write(piece)

        _first(self.store, image, fetch)

    def manifest(self, image: ImageRecord) -> None:
        """Fetch the manifest again, over what stands in its place; raises RegistryError when none of the registries has it."""

        def fetch(client: Client, reference: Reference) -> None:
            found = client.manifest(reference.repository, str(image.manifest_digest))
            with self.store.content.writer(expected=image.manifest_digest, size=len(found.data), replace=True) as writer:
                writer.write(found.data)

        _first(self.store, image, fetch)


def _first(store: Store, image: ImageRecord, fetch: Callable[[Client, Reference], None]) -> None:
    if not image.digests:
        raise RegistryError("it came from no registry", hint="build or load the image again")
    failures: list[str] = []
    for reference in _names(image):
        try:
            with Client(reference.registry, settings=Settings.read(store.root)) as client:
                fetch(client, reference)
        except Error as err:
            failures.append(err.message)
        else:
            return
    raise RegistryError("; ".join(failures))


def _names(image: ImageRecord) -> Iterator[Reference]:
    for name in image.digests:
        yield replace(Reference.parse(name), tag="")
