"""What is fetched for a build: kept as a layer with a row that remembers where it came from, and asked for again only if it changed.

The layer holds the file (or the tree) below ``/source``, owned by root; the row's document has what the server said about it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.build import keys
from notebook_containers.build.archives import is_archive
from notebook_containers.build.layering import INSIDE, keep, kept, key_of
from notebook_containers.build.lent import Lent
from notebook_containers.build.locations import Repository, WebFile, disposition_name
from notebook_containers.build.progress import Event, FetchProgress
from notebook_containers.errors import BuildError
from notebook_containers.lean import dataclass
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import Digest
from notebook_containers.store.fullness import FULL, disk_full
from notebook_containers.store.operations import CopyTree, HostDirectory
from notebook_containers.store.store import Store

if TYPE_CHECKING:
    from notebook_containers.build.git import Git
    from notebook_containers.registry.download import Downloaded, Known

UNNAMED = "__unnamed__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Something fetched: the layer that holds it, its path there, a digest of its content; ``archive``: it is a tar archive."""

    layer: Digest
    path: str
    digest: str
    is_directory: bool = False
    archive: bool = False


class Fetching:
    """Fetches for one build. ``trusted`` says that the Dockerfile is the user's own: it may name private hosts; ``variables`` are proxies.

    ``no_cache`` asks servers for all, known or not. ``check`` may raise meanwhile; ``lent`` are git's logins; ``tell`` hears how far it is.
    """

    def __init__(
        self, store: Store, *, trusted: bool, variables: Mapping[str, str], check: Callable[[], None], lent: Lent | None = None,
        no_cache: bool = False, tell: Callable[[Event], None] = lambda _event: None,
    ) -> None:  # fmt: skip
        self._store, self._trusted, self._no_cache, self._check = store, trusted, no_cache, check
        self._lent, self._tell = lent or Lent(), tell
        self._variables = {**_proxies(os.environ), **_proxies(variables)}
        self._done: dict[str, Fetched] = {}

    def strict(self) -> Fetching:
        """Return one for words that are not the user's own."""
        return Fetching(
            self._store, trusted=False, variables=self._variables, check=self._check, lent=self._lent, no_cache=self._no_cache,
            tell=self._tell,
        )  # fmt: skip

    def file(self, location: WebFile, *, checksum: str = "") -> Fetched:
        """Return a file of the web, fetched at most once in a build; ``checksum`` is ``sha256:…``, known content is then not asked for.

        Raises BuildError for what cannot be had or is another content.
        """
        found = self._done.get(location.url) or self._file(location, checksum)
        self._done[location.url] = found
        if checksum and found.digest != checksum:
            hint = f"if that is right, write --checksum={found.digest}"
            raise BuildError(f"{location.url} has the digest {found.digest}, not the one given", hint=hint)
        return found

    def _file(self, location: WebFile, checksum: str) -> Fetched:
        key = key_of("url", location.url)
        kept, known = self._kept(key)
        if kept is not None and checksum == kept.digest:
            return kept
        with self.download(location.url, known) as (file, said):
            if said is None:
                assert kept is not None  # else nothing was known to the server
                return kept
            name = location.name or disposition_name(said.disposition) or UNNAMED
            return self._keep(key, location, file, name, said)

    @contextmanager
    def download(self, url: str, known: Known | None = None) -> Iterator[tuple[Path, Downloaded | None]]:
        """Yield the path of a fetched file, there for the block, and what was said of it; None when it still is the known one."""
        from notebook_containers.registry.download import Download

        def moved(size: int, total: int) -> None:
            self._tell(FetchProgress(name=url, current=size, total=total))

        download = Download(private=self._trusted, variables=self._variables, check=self._check, moved=moved)
        with self._store.layers.staged() as directory:
            path = directory / UNNAMED
            try:
                with open(path, "w+b", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                    said = download.fetch(url, file, known)
            except OSError as err:
                if err.errno in FULL:
                    raise disk_full(err.errno, str(directory)) from err
                raise BuildError(f"cannot fetch {url}: {err}") from err
            finally:
                download.close()
            if said is not None:
                self._tell(FetchProgress(name=url, current=said.size, total=said.size, ended=True))
            yield path, said

    def repository(self, location: Repository, *, keep_git: bool = False, checksum: str = "") -> Fetched:
        """Return the tree of a repository at one commit (its ``subdir`` only), fetched when that commit is not kept.

        ``checksum`` is what the commit must begin with. Raises BuildError for what cannot be had or is another commit.
        """
        git = self._git()
        wanted = checksum or location.commit
        commit = git.commit(location)
        key = key_of("git", location.url, commit, location.subdir, str(keep_git))
        found = kept(self._store, key)
        whole = str(found[1]["commit"]) if found is not None else ""
        if found is None:
            with self._store.layers.staged() as directory:
                top = directory / "tree"
                top.mkdir(0o755)
                whole = git.checkout(location, commit, top, keep_git=keep_git)
                copy = CopyTree(source=HostDirectory(path=top), path=_subdir(location, top), destination=f"/{INSIDE}", uid=0, gid=0)
                document = {"commit": whole, "text": f"fetched from {location.text}"[:200]}
                found = keep(self._store, key, [copy], document), document
        if not whole.startswith(wanted):
            raise BuildError(f"{location.text} is the commit {whole}, not {wanted}", hint="name the commit that you want")
        digest = "git:" + keys.digest_of(piece.encode() for piece in (whole, location.subdir, str(keep_git)))
        return Fetched(layer=found[0], path=INSIDE, digest=digest, is_directory=True)

    def _git(self) -> Git:
        from notebook_containers.build.git import Git

        def moved(url: str, current: int, total: int) -> None:
            self._tell(FetchProgress(name=url, current=current, total=total, unit="objects", ended=0 < total == current))

        return Git(trusted=self._trusted, variables=self._variables, check=self._check, lent=self._lent, moved=moved)

    def _kept(self, key: str) -> tuple[Fetched | None, Known | None]:
        from notebook_containers.registry.download import Known

        found = kept(self._store, key)
        if found is None:
            return None, None
        layer, document = found
        file = Fetched(layer=layer, path=str(document["path"]), digest=str(document["digest"]), archive=bool(document["archive"]))
        known = Known(etag=str(document["etag"]), last_modified=str(document["last_modified"]))
        return file, None if self._no_cache or not known.conditions() else known

    def _keep(self, key: str, location: WebFile, file: Path, name: str, said: Downloaded) -> Fetched:
        with open(file, "rb") as opened:
            archive = is_archive(opened)
        path = file.with_name(name)
        os.rename(file, path)
        moment = _moment(said.known.last_modified)
        os.utime(path, (moment, moment))
        inside, digest = f"{INSIDE}/{name}", f"sha256:{said.sha256}"
        document: dict[str, JSON] = {
            "path": inside, "digest": digest, "archive": archive, "etag": said.known.etag, "last_modified": said.known.last_modified,
            "text": f"fetched from {location.url}"[:200],
        }  # fmt: skip
        copy = CopyTree(source=HostDirectory(path=path.parent), path=name, destination=f"/{inside}", uid=0, gid=0)
        return Fetched(layer=keep(self._store, key, [copy], document), path=inside, digest=digest, archive=archive)


def _subdir(location: Repository, top: Path) -> str:
    """The directory of a checkout that is wanted; no link may stand on the way to it."""
    path = location.subdir.strip("/")
    try:
        with SafeRoot.at(top) as root:
            os.close(root.open(path, os.O_PATH | os.O_DIRECTORY))
            if path:
                for end in range(len(path.split("/"))):
                    part = "/".join(path.split("/")[: end + 1])
                    if stat.S_ISLNK(root.lstat(part).st_mode):
                        raise OSError(errno.ELOOP, "a link", part)
    except OSError as err:
        raise BuildError(f"{location.subdir} is no directory of {location.url}", hint="links are not followed") from err
    return path


def _proxies(variables: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables among others, by small names; HTTP_PROXY is not read where a web server could have set it."""
    found = {
        name: variables.get(name) or variables.get(name.upper(), "") for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    }
    if "REQUEST_METHOD" in variables:
        found["http_proxy"] = variables.get("http_proxy", "")
    return {name: value for name, value in found.items() if value}


def _moment(text: str) -> int:
    """A ``Last-Modified`` value as Unix time; the epoch when it is none, as BuildKit does."""
    from email.utils import parsedate_to_datetime

    try:
        return max(int(parsedate_to_datetime(text).timestamp()), 0)
    except (ValueError, OverflowError):
        return 0
