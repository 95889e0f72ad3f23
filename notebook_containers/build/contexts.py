"""The contexts of a build: the main one and the named ones (``--build-context``), each opened when something first asks for it.

A directory is used where it is. An archive on the web or a repository is fetched into a layer that is kept, and read there; an archive
that is piped in is unpacked for the one build.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from notebook_containers.build.context import Context
from notebook_containers.build.fetching import Fetched, Fetching
from notebook_containers.build.layering import INSIDE, keep, kept, key_of
from notebook_containers.build.locations import Location, Repository
from notebook_containers.build.stages import Origin
from notebook_containers.errors import InvalidArgument, InvalidDocument
from notebook_containers.lean import dataclass
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.image import Digest
from notebook_containers.store.compression import uncompressed
from notebook_containers.store.operations import ExtractTar, LayersView
from notebook_containers.store.store import Store
from notebook_containers.store.tar_reader import TarReader
from notebook_containers.store.unpack import Rules, unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedImage:
    """A named context that is an image: a reference, or the id of one in the store."""

    reference: str


Named: TypeAlias = "NamedImage | Path | Location"


def origins(named: Mapping[str, Named]) -> dict[str, Origin]:
    """Return what each name means where a Dockerfile says it."""
    return {name: Origin(image=place.reference) if isinstance(place, NamedImage) else Origin(context=name) for name, place in named.items()}


class Contexts:
    """The open contexts of one build by name; close them."""

    def __init__(self, store: Store, named: Mapping[str, Named], fetching: Fetching) -> None:
        self._store, self._named, self._fetching = store, named, fetching
        self._open: dict[str, Context] = {}
        self._stack = ExitStack()

    def named(self, name: str) -> Context:
        """Return a named context that is a tree of files; raises InvalidArgument or BuildError when it cannot be had."""
        found = self._open.get(name)
        if found is None:
            place = self._named[name]
            assert not isinstance(place, NamedImage)
            path = place if isinstance(place, Path) else fetched_tree(self._store, place, self._fetching)
            found = self._open[name] = self._stack.enter_context(Context.open(path, memory=self._store.known_digests))
        return found

    def close(self) -> None:
        """Close those that were opened."""
        self._stack.close()


def fetched_tree(store: Store, location: Location, fetching: Fetching) -> Path:
    """Return the directory of a repository or of an archive on the web; hold a lease as long as it is used.

    Raises BuildError for what cannot be had, InvalidArgument for a file that is no archive.
    """
    if isinstance(location, Repository):
        return _place(store, fetching.repository(location))
    found = fetching.file(location)
    if not found.archive:
        raise InvalidArgument(f"{location.url} is no tar archive", hint="a context is a directory, an archive or a git repository")
    return store.layers.directory(_unpacked(store, found)) / "diff" / INSIDE


def _place(store: Store, found: Fetched) -> Path:
    return store.layers.directory(found.layer) / "diff" / found.path


def _unpacked(store: Store, found: Fetched) -> Digest:
    key = key_of("unpacked", found.digest)
    known = kept(store, key)
    if known is not None:
        return known[0]
    extract = ExtractTar(source=LayersView(layers=(found.layer,)), path=found.path, destination=f"/{INSIDE}", uid=0, gid=0)
    return keep(store, key, [extract], {"text": "an archive that is a build context"})


@contextmanager
def piped(store: Store, stream: BinaryIO) -> Iterator[Path]:
    """Unpack an archive (tar, perhaps compressed) into a directory that is there for the block; raises InvalidDocument."""
    with store.layers.staged() as directory:
        place = directory / "context"
        place.mkdir(0o755)
        try:
            with uncompressed(stream) as plain, SafeRoot.at(place) as root:
                unpack(TarReader(plain), root, Rules(layer=False, single_id=True, owner=(os.geteuid(), os.getegid())))
        except InvalidDocument as err:
            raise InvalidDocument(f"the build context that is piped in cannot be unpacked: {err.message}", hint=err.hint) from err
        yield place
