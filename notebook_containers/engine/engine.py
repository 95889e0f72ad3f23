"""The engine: composition root of store, runtime and network, and the public Python API.

``Engine()`` opens the store and is ready; there is no daemon. Any number of engines, in any number of processes, share one store and see
the same containers. An engine owns one spawner process, which ends with it; containers do not.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from notebook_containers import __version__
from notebook_containers.engine.builder import Builder
from notebook_containers.engine.containers import Containers
from notebook_containers.engine.images import Images
from notebook_containers.engine.networks import Networks
from notebook_containers.engine.parts import Parts, check_machine, default_root, default_run, private_directory, read_host
from notebook_containers.engine.registries import Manifests, login, logout
from notebook_containers.engine.volumes import Volumes
from notebook_containers.errors import InvalidArgument
from notebook_containers.oci.documents import JSON
from notebook_containers.runtime.lifecycle import Runtime
from notebook_containers.runtime.starter import Starter
from notebook_containers.store.store import Store

if TYPE_CHECKING:
    from notebook_containers.compose.project import ComposeProject
    from notebook_containers.engine.events import EventStream, Filters
    from notebook_containers.engine.integrity import Checked
    from notebook_containers.engine.moments import Moment
    from notebook_containers.engine.reclaim import Reclaimed
    from notebook_containers.engine.recover import Recovered


class Engine:
    """Everything a notebook, the command line or the server asks for; usable as a context manager, safe for threads.

    ``root`` holds images and containers, ``run`` volatile state (defaults: ``NBC_ROOT`` and ``NBC_RUN``, else the system's or the user's
    directories); a face may bring a ``starter`` that is warm already. Raises Unsupported on a machine that cannot run containers,
    StoreError for places that cannot be written.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        run: str | os.PathLike[str] | None = None,
        *,
        starter: Starter | None = None,
    ) -> None:
        check_machine()
        root_path = Path(root).absolute() if root is not None else default_root()
        run_path = Path(run).absolute() if run is not None else default_run()
        private_directory(root_path)
        private_directory(run_path)
        store = Store.open(root_path)
        try:
            runtime, host = Runtime(run_path, starter=starter), read_host(store.ids.maps)
        except BaseException:
            store.close()
            raise
        self._parts = Parts(store=store, runtime=runtime, root=root_path, run=run_path, host=host)
        self.networks = Networks(self._parts)
        self.volumes = Volumes(self._parts)
        self.images = Images(self._parts, self.networks)
        self.manifests = Manifests(self._parts)
        self.builder = Builder(self._parts)
        self.containers = Containers(self._parts, self.images, self.networks, self.volumes)

    @property
    def root(self) -> Path:
        """Where images and containers are kept."""
        return self._parts.root

    @property
    def run_dir(self) -> Path:
        """Where volatile state is kept."""
        return self._parts.run

    def close(self, *, tidy: bool = True) -> None:
        """End the spawner, take networks nobody uses away (unless not to be ``tidy``) and close the store; containers go on.

        A bridge that stays is found by the next container, and taken away by the next engine that is closed.
        """
        if tidy:
            self.networks.tidy()
        self.networks.close()
        self._parts.runtime.close()
        self._parts.store.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def events(self, *, since: Moment | None = None, until: Moment | None = None, filters: Filters | None = None) -> EventStream:
        """Return what happens to containers, images, networks and volumes, whoever does it, as dicts in the shape of ``docker events``.

        With ``since`` or ``until`` what is remembered comes first; without ``until`` the stream goes on until it is closed.
        ``filters``: container, event, image, label, network, scope, type, volume, each one value or several.
        """
        from notebook_containers.engine.events import EventStream

        return EventStream(self._parts, since=since, until=until, filters=filters)

    def compose(self, source: str | os.PathLike[str], *, name: str = "", directory: str | os.PathLike[str] | None = None) -> ComposeProject:
        """Return the project of a compose file: its path, its directory's, or its text; relative paths start at its (or at this) directory.

        ``name`` is the project's (else the file's own word, or the directory's name). Raises ComposeError with file, line and column.
        """
        from notebook_containers.compose.opening import open_project

        place = Path(directory) if directory is not None else None
        if isinstance(source, str) and "\n" in source:
            return open_project(self, text=source, directory=place, name=name)
        path = Path(source)
        if path.is_dir():
            return open_project(self, directory=path, name=name)
        return open_project(self, file=path, directory=place, name=name)

    def login(self, username: str, password: str, *, registry: str = "") -> Sequence[str]:
        """Try a password at a registry (Docker Hub when none is named) and keep it where docker keeps it; returns warnings.

        RegistryError when it is refused; nothing is kept then.
        """
        return login(self._parts, username, password, registry)

    def logout(self, registry: str = "") -> bool:
        """Forget the password of a registry; False when there was none."""
        return logout(registry)

    def recover(self) -> Recovered:
        """Make every container's state true after a restart of the machine, and start again what its restart policy asks for."""
        from notebook_containers.engine.recover import recover

        return recover(self._parts, self.containers)

    def check(self, *, quick: bool = False, repair: bool = False, force: bool = False) -> Checked:
        """Check every blob, layer, row, volume and container; with ``repair`` make again or fetch again what can be had.

        ``quick`` reads no file's bytes. With ``force`` a repair also removes the images and containers that cannot be made whole; bytes
        of volumes are never removed. Nothing is damaged when the answer is ``clean``.
        """
        from notebook_containers.engine import integrity

        if force and not repair:
            raise InvalidArgument("force only says how far a repair may go", hint="give repair too")
        if repair:
            return integrity.mend(self._parts, self.containers, quick=quick, force=force)
        return integrity.inspect(self._parts, quick=quick)

    def version(self) -> dict[str, JSON]:
        """Return versions and platform, in the Engine API's names."""
        return {
            "Version": __version__,
            "ApiVersion": "1.51",
            "Os": "linux",
            "Arch": platform.machine(),
            "KernelVersion": platform.release(),
            "PythonVersion": platform.python_version(),
        }

    def disk_usage(self, *, verbose: bool = False) -> list[dict[str, object]]:
        """Return where every byte of the store is: rows of type, total, active, size, reclaimable and shared (bytes)."""
        from notebook_containers.engine import diskusage

        look = diskusage.details if verbose else diskusage.disk_usage
        return [line.row() for line in look(self._parts, self.containers.list(all=True))]

    def df(self, *, verbose: bool = False) -> list[dict[str, object]]:
        """Return where every byte of the store is: :meth:`disk_usage` by its short name; the sizes add up to what ``du`` says."""
        return self.disk_usage(verbose=verbose)

    def prune(self, *, all: bool = False, volumes: bool = False, filters: Mapping[str, object] | None = None) -> Reclaimed:
        """Remove what nothing needs: ended containers, images without a name (``all``: unused ones), networks, layers, anonymous volumes.

        Volumes only with ``volumes``, and never named ones. ``filters`` are those of :meth:`Images.prune` and :meth:`Containers.prune`.
        """
        from notebook_containers.engine import reclaim

        return reclaim.prune(self, all=all, volumes=volumes, filters=filters)

    def reset(self, *, volumes: bool = False) -> Reclaimed:
        """Remove every container, image and network, running or not, and with ``volumes`` every volume; the store is as new then."""
        from notebook_containers.engine import reclaim

        return reclaim.reset(self, volumes=volumes)

    def info(self) -> dict[str, JSON]:
        """Return what this engine has and what is really active here: limits, security and network, with the reasons for what is weaker."""
        from notebook_containers.engine import explain

        containers = self.containers.list(all=True)
        reasons = self._parts.runtime.enforced()
        states = [c.status for c in containers]
        return {
            "Name": platform.node() or "localhost",
            "ServerVersion": __version__,
            "KernelVersion": platform.release(),
            "Architecture": platform.machine(),
            "NCPU": os.cpu_count() or 1,
            "MemTotal": self._parts.host.memory_bytes,
            "Rootless": self._parts.host.rootless,
            "DockerRootDir": str(self.root),
            "RunDir": str(self.run_dir),
            "Containers": len(states),
            "ContainersRunning": states.count("running"),
            "ContainersPaused": states.count("paused"),
            "ContainersStopped": states.count("exited") + states.count("created"),
            "Images": len(self.images.list()),
            "Limits": explain.limits(reasons),
            "Security": explain.security(self._parts.host),
            "Compression": explain.compression(),
            "Network": explain.network(self._parts.host),
            "Warnings": explain.warnings(self._parts.host, reasons, self._parts.store.ids.note),
        }
