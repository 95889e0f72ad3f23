"""``engine.containers``: make, run, list and find containers; docker-py's verbs and keywords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Unpack

from notebook_containers.engine import launch, neighbours, pulling
from notebook_containers.engine.container import Container
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.engine.options import ContainerOptions, container_options
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import Conflict, ContainerError, ContainerNotFound, NotFound
from notebook_containers.runtime.expected import Expected

if TYPE_CHECKING:
    from notebook_containers.engine.image import Image
    from notebook_containers.engine.images import Images
    from notebook_containers.engine.networks import Networks
    from notebook_containers.engine.registries import Progress
    from notebook_containers.engine.volumes import Volumes
    from notebook_containers.runtime.sessions import Session

_LIVE = ("running", "paused", "restarting")


class Containers:
    """The containers of one engine."""

    def __init__(self, parts: Parts, images: Images, networks: Networks, volumes: Volumes) -> None:
        self._parts, self._images, self._networks, self._volumes = parts, images, networks, volumes

    def create(
        self,
        image: str | Image,
        command: str | Sequence[str] | None = None,
        *,
        progress: Progress = None,
        replaces: Container | None = None,
        **options: Unpack[CreateKeywords],
    ) -> Container:
        """Make a container without starting it; keywords are :class:`~notebook_containers.engine.options.CreateKeywords`.

        ``progress`` hears of the pull, if one is needed, as that of ``images.pull`` does. It gets the anonymous volumes of a container
        that it ``replaces``, where it would have had new ones: they are not to be removed with that one.
        """
        return self.create_from(image, container_options(command, options), progress=progress, replaces=replaces)

    def expect(self) -> Expected:
        """Say that a container is about to be made and started, in a ``with`` around both: it is faster then."""
        return self._parts.runtime.soon()

    def create_from(
        self,
        image: str | Image,
        options: ContainerOptions,
        *,
        progress: Progress = None,
        expected: Expected | None = None,
        replaces: Container | None = None,
    ) -> Container:
        """Make a container from checked options; ``expected`` is what :meth:`expect` gave for it, ``replaces`` as :meth:`create`'s."""
        name = image if isinstance(image, str) else (image.tags[0] if image.tags else image.short_id)
        with self._parts.store.lease():  # no collection may free the image's layers before the container holds them
            options = neighbours.refer(options, self._document)
            self._networks.check(options)
            record = pulling.choose(self._images, name, policy=options.pull, platform=options.platform, progress=progress)
            inherited = neighbours.inherited(options, self._document)
            if replaces is not None:
                options, taken = neighbours.taken_over(options, replaces.document, record.config.config.volumes)
                inherited += taken
            wanted = [mount.source for mount in options.volumes if mount.kind == "image"]
            images = {word: pulling.choose(self._images, word, policy=options.pull, progress=progress).diff_ids for word in wanted}
            document = launch.create(
                self._parts, self._volumes, record, name, options, inherited=inherited, images=images, expected=expected
            )
        return Container(self._parts, self._networks, self._parts.store.records.container(document.id))

    def _document(self, name: str) -> ContainerDocument:
        return self.get(name).document

    def run(
        self,
        image: str | Image,
        command: str | Sequence[str] | None = None,
        *,
        detach: bool = False,
        remove: bool = False,
        stdout: bool = True,
        stderr: bool = False,
        **options: Unpack[CreateKeywords],
    ) -> bytes | Container:
        """Run a command in a new container (docker-py's ``run``).

        With ``detach`` the running Container is returned at once. Otherwise the output is (stdout, and stderr when asked for), and a
        non-zero exit status raises ContainerError. ``remove`` takes the container away at its end, in both cases. Interrupting stops it.
        """
        if remove:
            options["auto_remove"] = True
        checked = container_options(command, options)
        container: Container | None = None
        try:
            with self.expect() as expected:
                container = self.create_from(image, checked, expected=expected)
                session = container.start_attached(attach=not detach)
            return container if detach else self._foreground(container, session, stdout=stdout, stderr=stderr)
        except BaseException:
            with suppress(ContainerNotFound):
                if container is not None and (remove or container.status == "created"):
                    container.remove(force=True)
            raise

    def _foreground(self, container: Container, session: Session | None, *, stdout: bool, stderr: bool) -> bytes:
        output, errors = bytearray(), bytearray()
        if session is not None:
            with session:
                for stream, data in session:
                    if stream == "stderr":
                        errors += data
                    if stdout if stream == "stdout" else stderr:
                        output += data
        code = session.exit_code if session else 0
        container.reload()
        verdict = container.verdict
        if container.document.options.auto_remove:
            container.remove(force=True)
        if code:
            tail = bytes(errors[-4096:]).decode("utf-8", "replace").strip()
            raise ContainerError(
                f"command {container.command!r} in image {container.image!r} ended with exit status {code}"
                + (f": {verdict.text}" if verdict.bad else f": {tail.splitlines()[-1]}" if tail else ""),
                hint=verdict.hint if verdict.bad else "",
                exit_status=code,
                container_id=container.id,
                stderr=tail,
            )
        return bytes(output)

    def list(
        self,
        *,
        all: bool = False,
        limit: int = -1,
        before: str | None = None,
        since: str | None = None,
        filters: Mapping[str, object] | None = None,
    ) -> list[Container]:
        """Return containers, newest first: the running ones, or with ``all`` (a ``limit``, a filter ``status``) every one that fits.

        ``filters`` are docker-py's, ``before`` and ``since`` name a container that must be younger or older.
        """
        from notebook_containers.engine.listing import Chosen

        more = {key: [name] for key, name in (("before", before), ("since", since)) if name}
        chosen = Chosen({**(filters or {}), **more}, find=self.get, image_layers=self._image_layers)
        found = []
        for container in self.every():
            if container.status == "exited" and container.document.options.auto_remove:
                self._collect(container)
            elif (all or limit > 0 or chosen.ended_too or container.status in _LIVE) and chosen.fits(container):
                found.append(container)
        return found[:limit] if limit > 0 else found

    def _image_layers(self, name: str) -> tuple[str, ...] | None:
        try:
            return tuple(self._parts.store.images.resolve(name).config.rootfs.diff_ids)
        except NotFound:
            return None

    def every(self) -> Sequence[Container]:
        """Return every container there is a record of, newest first, ended ``--rm`` ones too; nothing is looked at or removed."""
        rows = sorted(self._parts.store.records.containers(), key=lambda row: row.created, reverse=True)
        return [Container(self._parts, self._networks, row) for row in rows]

    @staticmethod
    def _collect(container: Container) -> None:
        """Remove an ended ``--rm`` container that nobody waited for; another process may be doing the same."""
        try:
            container.remove(force=True)
        except (ContainerNotFound, Conflict):
            return

    def get(self, name: str) -> Container:
        """Return a container by name, id or id prefix; raises ContainerNotFound, or Conflict when a prefix fits several."""
        word = name.removeprefix("/")
        rows = self._parts.store.records.containers()
        exact = [row for row in rows if word in (row.name, row.id)]
        fitting = exact or [row for row in rows if len(word) >= 2 and row.id.startswith(word)]
        if len(fitting) > 1:
            raise Conflict(f"container id {word!r} is ambiguous: {len(fitting)} containers begin so", hint="give more digits")
        if not fitting:
            raise ContainerNotFound(f"no such container: {name}", hint=_near(word, [row.name for row in rows]))
        return Container(self._parts, self._networks, fitting[0])

    def prune(self, filters: Mapping[str, object] | None = None) -> dict[str, object]:
        """Remove every container that does not run; returns ``ContainersDeleted`` and ``SpaceReclaimed`` (bytes).

        ``filters`` are docker-py's: ``{"until": "24h", "label": ["stage=test"], "label!": "keep"}``; all must fit.
        """
        from notebook_containers.engine.filters import prune_test

        fits = prune_test(filters)
        deleted, freed = [], 0
        for container in self.list(all=True):
            if container.status in ("created", "exited") and fits(container.created, container.labels):
                freed += container.size_rw()
                container.remove()
                deleted.append(container.id)
        self._parts.emit("container", "prune", "", {"reclaimed": freed})
        return {"ContainersDeleted": deleted, "SpaceReclaimed": freed}


def _near(word: str, names: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, names, n=3)
    return f"did you mean {', '.join(near)}?" if near else "see nbc ps -a"
