"""What a build is made from: its context (a directory, an archive, an address), its Dockerfile, named contexts, values as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from notebook_containers.engine import dockerfiles
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass, field
from notebook_containers.linux.paths import SafeRoot
from notebook_containers.oci.reference import Reference

if TYPE_CHECKING:
    from notebook_containers.build.contexts import Named
    from notebook_containers.build.lent import Lent
    from notebook_containers.build.locations import Location
    from notebook_containers.build.progress import Event
    from notebook_containers.store.images import ImageRecord

_IMAGE, _LAYOUT = "docker-image://", "oci-layout://"
_MOST = 16 << 20
Layout = Callable[[str], "Sequence[ImageRecord]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the caller gave: ``path`` is a directory or an address, ``archive`` a tar that is the context instead.

    ``contexts`` are named ones as words, ``values`` become files of the context; ``variables`` (proxies) and ``lent`` are for fetching,
    which is told to ``tell``.
    """

    path: str | os.PathLike[str] | None = None
    text: str | None = None
    dockerfile: str | os.PathLike[str] | None = None
    archive: BinaryIO | None = None
    contexts: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, object] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    lent: Lent | None = None
    tell: Callable[[Event], None] = lambda _event: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What the builder gets; ``trusted``: the Dockerfile is the user's own, ``local``: the context is a directory of theirs."""

    context: Path
    text: str
    name: str
    trusted: bool
    local: bool
    named: Mapping[str, Named]
    values: Path | None


@contextmanager
def opened(parts: Parts, wanted: Wanted, layout: Layout) -> Iterator[Sources]:
    """Make all of it ready for the block; ``layout`` reads the images of an OCI layout. Raises InvalidArgument and BuildError."""
    place = address(wanted.path)
    with ExitStack() as ended:
        local = place is None and wanted.archive is None
        if local:
            context = directory(wanted.path)
            text, name = dockerfiles.read(context, wanted.text, wanted.dockerfile)
        else:
            ended.enter_context(parts.store.lease())
            context = _fetched(parts, wanted, place, ended)
            text, name = (wanted.text, "Dockerfile") if wanted.text is not None else _inside(context, wanted.dockerfile)
        values = None
        if wanted.values:
            from notebook_containers.engine import context_values

            ended.enter_context(parts.store.lease())
            values = ended.enter_context(parts.store.layers.staged())
            values.chmod(0o755)
            context_values.write(values, wanted.values)
        named = {name: _named(name, word, layout) for name, word in wanted.contexts.items()}
        trusted = place is None or wanted.text is not None
        yield Sources(context=context, text=text, name=name, trusted=trusted, local=local, named=named, values=values)


def address(path: str | os.PathLike[str] | None) -> Location | None:
    """Return the address that a context's word is, None for a directory; raises InvalidArgument for one that cannot be used."""
    from notebook_containers.build.locations import WrongLocation, remote

    if not isinstance(path, str):
        return None
    known = path.startswith("github.com/") and not os.path.isdir(path)
    word = f"https://{path.partition('#')[0].removesuffix('.git')}.git{''.join(path.partition('#')[1:])}" if known else path
    try:
        return remote(word)
    except WrongLocation as err:
        raise InvalidArgument(f"build context {path!r}: {err.message}", hint=err.hint) from err


def directory(path: str | os.PathLike[str] | None) -> Path:
    """Return the directory of a context; raises InvalidArgument when it is none."""
    found = Path(path) if path is not None else Path.cwd()
    if not found.is_dir():
        raise InvalidArgument(f"build context {str(found)!r} is no directory", hint="give the directory that holds the files to COPY")
    return found


def _fetched(parts: Parts, wanted: Wanted, place: Location | None, ended: ExitStack) -> Path:
    from notebook_containers.build import contexts
    from notebook_containers.build.fetching import Fetching

    if place is None:
        assert wanted.archive is not None
        return ended.enter_context(contexts.piped(parts.store, wanted.archive))
    fetching = Fetching(parts.store, trusted=True, variables=wanted.variables, check=lambda: None, lent=wanted.lent, tell=wanted.tell)
    return contexts.fetched_tree(parts.store, place, fetching)


def _inside(context: Path, dockerfile: str | os.PathLike[str] | None) -> tuple[str, str]:
    """The text and name of a Dockerfile that came with its context; links lead nowhere outside it."""
    path = os.fspath(dockerfile) if dockerfile is not None else "Dockerfile"
    try:
        with SafeRoot.at(context, follow=True) as root:
            return root.read(path, max_bytes=_MOST).decode("utf-8-sig"), os.path.basename(path)
    except OSError as err:
        reason = os.strerror(err.errno or 0).lower()
        raise InvalidArgument(f"cannot read the Dockerfile {path!r} in the build context: {reason}", hint="name it with -f") from err
    except UnicodeDecodeError as err:
        raise InvalidArgument(f"the Dockerfile {path!r} is not UTF-8 text") from err


def _named(name: str, word: str, layout: Layout) -> Named:
    from notebook_containers.build.contexts import NamedImage

    if not name or not word:
        raise InvalidArgument(f"the build context {name}={word} is incomplete", hint="write NAME=DIRECTORY, or NAME=docker-image://IMAGE")
    if word.startswith(_IMAGE):
        Reference.parse(word.removeprefix(_IMAGE))
        return NamedImage(reference=word.removeprefix(_IMAGE))
    if word.startswith(_LAYOUT):
        return NamedImage(reference=_of_layout(name, word.removeprefix(_LAYOUT), layout))
    found = address(word)
    if found is not None:
        return found
    if not os.path.isdir(word):
        raise InvalidArgument(f"the build context {name} is {word!r}, which is no directory", hint="give a directory or an address")
    return Path(word)


def _of_layout(name: str, word: str, layout: Layout) -> str:
    """The id of the image of an OCI layout; of several ``@sha256:…`` (manifest or image) tells which."""
    path, _, digest = word.partition("@")
    if not os.path.isdir(path):
        raise InvalidArgument(f"the build context {name} is {path!r}, which is no directory", hint="give the directory of an OCI layout")
    images = layout(path)
    chosen = [image for image in images if not digest or digest in (image.id, str(image.manifest_digest))]
    if len(chosen) != 1:
        known = ", ".join(str(image.manifest_digest) for image in images)
        raise InvalidArgument(
            f"{path} holds {len(images)} images, and the build context {name} is one", hint=f"add @DIGEST of {known}"[:400]
        )
    return str(chosen[0].id)
