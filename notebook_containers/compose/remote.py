"""Compose files from elsewhere, for those who allow it: git repositories and OCI artifacts, each fetched into a directory of its own.

Nothing in them leads out: a tree with a link to somewhere else is refused, an artifact's own file names are never used (CVE-2025-62725 was
a name that chose where the file was written), and the paths that such a file names must stay below its directory.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from notebook_containers.build.git import Git
from notebook_containers.build.locations import Repository, WrongLocation, remote
from notebook_containers.compose.finding import FILES, Artifact
from notebook_containers.errors import BuildError, InvalidArgument
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.oci.image import Manifest
from notebook_containers.oci.reference import Reference
from notebook_containers.registry.client import Client
from notebook_containers.registry.settings import Settings

OCI = "oci://"
LAYER = "application/vnd.docker.compose.file+yaml"
_MOST_LAYER_BYTES = 8 * 1024 * 1024
_MOST_ENTRIES = 100_000


class Remotes:
    """Fetches into directories below ``root``; one commit or one digest is fetched once. Who makes one allows files from elsewhere."""

    def __init__(self, root: Path, *, settings: Settings | None = None) -> None:
        self._root, self._settings = root / "compose", settings

    def fetch(self, word: str) -> Artifact:
        """Return what ``oci://NAME``, or a git address with ``#ref:directory``, names.

        Raises InvalidArgument for what is no compose project, BuildError and RegistryError for what cannot be had.
        """
        if word.startswith(OCI):
            return self._artifact(Reference.parse(word.removeprefix(OCI)).tagged())
        return self._repository(_git_location(word))

    def _repository(self, location: Repository) -> Artifact:
        git = Git(trusted=True, variables={}, check=lambda: None)
        commit = git.commit(location)
        place = self._root / _name("git", location.url, commit)
        if not place.is_dir():
            self._keep(place, lambda new: git.checkout(location, commit, new, keep_git=False))
        return Artifact(directory=place, files=(_compose_file(place, location),))

    def _artifact(self, reference: Reference) -> Artifact:
        with Client(reference.registry, settings=self._settings) as client:
            fetched = client.manifest(reference.repository, reference.digest or reference.tag)
            place = self._root / _name("oci", str(reference), str(fetched.digest))
            manifest = Manifest.from_json(untrusted_json(fetched.data, what="compose artifact"))
            layers = [layer for layer in manifest.layers if layer.media_type == LAYER]
            if not layers:
                raise InvalidArgument(f"{reference} is no compose project: it has no layer of the type {LAYER}")
            files = tuple(place / f"compose-{index}.yaml" for index in range(len(layers)))
            if place.is_dir():
                return Artifact(directory=place, files=files)
            texts = []
            for layer in layers:
                if layer.size > _MOST_LAYER_BYTES:
                    raise InvalidArgument(f"a compose file of {reference} has {layer.size} bytes, more than {_MOST_LAYER_BYTES}")
                data = b"".join(client.blob(reference.repository, layer))
                if f"sha256:{hashlib.sha256(data).hexdigest()}" != str(layer.digest):
                    raise InvalidArgument(f"a compose file of {reference} is not what its digest says", hint="fetch it again")
                texts.append(data)
        self._keep(place, lambda new: [(new / file.name).write_bytes(data) for file, data in zip(files, texts, strict=True)])
        return Artifact(directory=place, files=files)

    def _keep(self, place: Path, fill: Callable[[Path], object]) -> None:
        """Fill a new directory, look whether it leads out, and give it its name: all of it is there or nothing."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        try:
            fill(new)
            check_inside(new)
            if not place.is_dir():
                os.rename(new, place)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _name(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


def _git_location(word: str) -> Repository:
    address, _, fragment = word.partition("#")
    if address.startswith("github.com/"):
        address = f"https://{address}"
    if address.startswith(("https://github.com/", "https://gitlab.com/")) and not address.endswith(".git"):
        address += ".git"
    try:
        found = remote(f"{address}#{fragment}" if fragment else address)
    except WrongLocation as err:
        raise InvalidArgument(f"{word!r}: {err.message}", hint=err.hint) from err
    if not isinstance(found, Repository):
        raise InvalidArgument(
            f"{word!r} is neither a git repository nor an OCI artifact", hint="an address ends with .git, or begins with oci://"
        )
    return found


def _compose_file(top: Path, location: Repository) -> Path:
    """Return the compose file that ``subdir`` names, or that lies in it."""
    inside = posixpath.normpath("/" + location.subdir).lstrip("/")
    place = top / inside
    if place.is_file():
        return place
    for name in FILES:
        if (place / name).is_file():
            return place / name
    raise BuildError(f"{location.text} has no compose file", hint="name it: #REF:directory/compose.yaml")


def check_inside(top: Path) -> None:
    """Raise InvalidArgument for a tree with a link that leads out of it."""
    count, waiting = 0, [("", top)]
    while waiting:
        below, directory = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                count += 1
                if count > _MOST_ENTRIES:
                    raise InvalidArgument(f"what was fetched has more than {_MOST_ENTRIES} files")
                name = posixpath.join(below, entry.name)
                if entry.is_symlink() and not _stays_inside(os.readlink(entry.path), name.count("/")):
                    raise InvalidArgument(f"what was fetched has a link that leads out of it: {name}", hint="nothing of it is used")
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((name, Path(entry.path)))


def _stays_inside(target: str, depth: int) -> bool:
    """Tell whether a link ``depth`` directories below the top stays below it: up first, as far as the top, and then down only.

    Behind the first name another link may stand, from which ``..`` would go anywhere.
    """
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((index for index, part in enumerate(parts) if part != ".."), len(parts))
    return not target.startswith("/") and up <= depth and ".." not in parts[up:]
