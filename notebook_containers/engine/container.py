"""One container: docker-py's ``Container``, with the same verbs and meaning."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from notebook_containers.engine import actors, health, inspection, launch, network_words, publishing, volumes
from notebook_containers.engine.contents import Contents
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.executing import Executing, next_step
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.publishing import PortUrl
from notebook_containers.engine.quantities import ago, human_duration
from notebook_containers.engine.telling import Telling
from notebook_containers.engine.usage import Usage
from notebook_containers.engine.words import DEFAULT_PIDS_LIMIT
from notebook_containers.errors import Conflict, VolumeNotFound
from notebook_containers.network.ports import PortMapping
from notebook_containers.oci.documents import JSON, untrusted_json
from notebook_containers.runtime.bundle import Bundle, signal_number
from notebook_containers.runtime.state import ContainerState

if TYPE_CHECKING:
    from notebook_containers.engine.networks import Networks
    from notebook_containers.runtime.sessions import Session
    from notebook_containers.store.changes import Change
    from notebook_containers.store.records import ContainerRow

Status = Literal["created", "running", "paused", "restarting", "exited"]
_STATUS: Mapping[str, Status] = {
    "created": "created",
    "running": "running",
    "paused": "paused",
    "restarting": "restarting",
    "stopped": "exited",
}


class Container(Contents, Executing, Usage, Telling):
    """A container, found again from the store by any process; attributes are as of the last look (``reload()`` looks again)."""

    def __init__(self, parts: Parts, networks: Networks, row: ContainerRow) -> None:
        self._parts, self._networks = parts, networks
        self._text = ""  # the record that ``document`` was read from
        self._adopt(row)

    def _adopt(self, row: ContainerRow) -> None:
        self.name = row.name
        if row.document != self._text:  # most looks find what the last one found
            self.document = ContainerDocument.from_json(untrusted_json(row.document.encode(), what="container record"))
            self._text = row.document
        self.id = self.document.id
        self._state: ContainerState | None = None

    # what it is -----------------------------------------------------------------------------------------------------------------

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self.id[:12]

    @property
    def image(self) -> str:
        """The image's name as it was given."""
        return self.document.image

    @property
    def command(self) -> str:
        """The command line in shell words."""
        return shlex.join(self.document.args)

    @property
    def created(self) -> float:
        """When it was made, Unix time."""
        return self.document.created

    @property
    def labels(self) -> Mapping[str, str]:
        """The image's labels and the caller's."""
        return self.document.labels

    @property
    def networks(self) -> list[str]:
        """The names of the networks it is in, or will be when it starts; ``host``, ``none`` or ``container:…`` where it has none."""
        wanted = [place.network for place in self.document.wanted()]
        own = network_words.is_own(self.document.options.network)
        return wanted if wanted or own else [self.document.options.network]

    @property
    def ports(self) -> Sequence[PortMapping]:
        """The published ports while it lives: they are held between two of its runs too."""
        return self.document.ports if self.state.status in ("running", "paused", "restarting") else ()

    def url(self, port: int | str, *, scheme: str = "http", path: str = "/") -> PortUrl:
        """Return the address of a published port, as ``http://127.0.0.1:49153/``; ``port`` is the container's (80, "53/udp").

        Displayed in a notebook it is a link, through jupyter-server-proxy where that is installed. Raises NotFound when the port is not
        published, or the container does not run.
        """
        return publishing.url(self.name, self.ports, str(port), scheme=scheme, path=path)

    @property
    def warnings(self) -> Sequence[str]:
        """What was asked for and cannot be enforced on this machine, in words; a default that cannot be is told by ``info()`` alone."""
        default = self.document.options.pids_limit == DEFAULT_PIDS_LIMIT
        return (*self.document.warnings, *(w for w in self.state.warnings if not (default and w.startswith("pids limit"))))

    @property
    def state(self) -> ContainerState:
        """The runtime's word on the container, looked up once per ``reload``."""
        if self._state is None:
            self._state = self._look()
        return self._state

    def _look(self) -> ContainerState:
        return launch.state(self._parts, self.id)

    @property
    def status(self) -> Status:
        """One of created, running, paused, restarting, exited (docker-py's words)."""
        return _STATUS[self.state.status]

    @property
    def status_text(self) -> str:
        """The words of Docker's STATUS column: ``Up 3 minutes``, ``Exited (0) 2 hours ago``."""
        state = self.state
        if state.status == "created":
            return "Created"
        if state.status == "stopped":
            return f"Exited ({state.exit_code}) {ago(state.finished_at or self.created)}"
        now = datetime.now().timestamp()  # noqa: DTZ005
        up = human_duration(now - (state.started_at or now))
        if state.status == "restarting":
            return f"Restarting ({state.exit_code}) {ago(state.finished_at or self.created)}"
        return f"Up {up} (Paused)" if state.status == "paused" else f"Up {up}{health.words(state)}"

    @property
    def can_stand_still(self) -> bool:
        """Whether it has a cgroup that can freeze it: for ``pause``, and for files of one moment in ``commit``."""
        return not {"freezer", "unified"}.isdisjoint(self.state.cgroup_locations)

    @property
    def exit_code(self) -> int | None:
        """The exit status of the last run, None while it runs or when it never ran."""
        return self.state.exit_code

    @property
    def attrs(self) -> dict[str, JSON]:
        """Everything known, in the shape of ``docker inspect``."""
        return inspection.container(self._parts, self.document, self.name, self.state)

    def reload(self) -> None:
        """Look at the store and the runtime again; raises ContainerNotFound when it is gone."""
        self._adopt(self._parts.store.records.container(self.id))

    def __repr__(self) -> str:
        """Name and state in one line."""
        return f"<Container {self.short_id} {self.name} {self.image} {self.status_text}>"

    # life cycle -----------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; nothing happens when it runs already; raises StartFailed when its command cannot be started."""
        self.start_attached(attach=False)

    def start_attached(self, *, attach: bool = True, stdin: bool = False) -> Session | None:
        """Start it with a session that misses no byte of output; None with ``attach=False`` or when it runs already."""
        with self._parts.container_lock(self.id):
            self._parts.runtime.abandon(
                self.id, self._parts.bundle_path(self.id)
            )  # what a killed start left; one that came through all the same runs
            self.reload()
            if self.state.status == "paused":
                raise Conflict(f"container {self.name} is paused", hint=f"let it go on: nbc unpause {self.name}")
            if self.state.status == "running":
                return None
            with next_step():
                document, session = launch.start(self._parts, self._networks, self.document, attach=attach, stdin=stdin)
            if document != self.document:
                self.document, self._text = document, ""
        self._state = None
        return session

    def attach(self, *, stdin: bool = False, logs: bool = False) -> Session:
        """Return a session with the running container's streams; raises Conflict when it does not run."""
        self._running("attach to")
        return self._parts.runtime.attach(self.id, stdin=stdin, logs=logs)

    def stop(self, *, timeout: int | None = None, signal: str | int | None = None, going: bool = False) -> None:
        """Ask it to end with its stop signal (or ``signal``), and kill it after ``timeout`` seconds (10, or as it was made; -1: never).

        One that is ``going`` is removed next: its addresses are given back by that. StuckProcess when the kernel does not let a process
        of it end, a few seconds after that.
        """
        seconds = self.document.options.stop_timeout_s if timeout is None else timeout
        number = signal_number(str(signal or self.document.options.stop_signal or self.document.config.stop_signal or "SIGTERM"))
        with self._parts.container_lock(self.id):
            self._stop(None if seconds < 0 else seconds, number, going=going)

    def _stop(self, seconds: float | None, number: int, *, going: bool) -> None:
        self._state = None
        if self.state.status not in ("running", "paused", "restarting"):
            return
        with suppress(Conflict):  # it ends by itself at this moment
            self._parts.runtime.kill(self.id, number, why="stop")
        try:
            self._parts.runtime.wait(self.id, timeout_s=seconds)
        except TimeoutError:
            with suppress(Conflict):
                self._parts.runtime.kill(self.id, signal_number("SIGKILL"), why="stop")
            self._parts.runtime.wait_killed(self.id)
        if not going:
            self._networks.release(self.id)
        self._state = None
        actors.tell(self._parts, self.id, "stop")

    def restart(self, *, timeout: int | None = None, signal: str | int | None = None) -> None:
        """Stop it and start it again."""
        self.stop(timeout=timeout, signal=signal)
        self.start()
        actors.tell(self._parts, self.id, "restart")

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send a signal to its first process; raises Conflict when it does not run."""
        self._running("kill")
        self._parts.runtime.kill(self.id, signal_number(str(signal)), why="kill")
        self._state = None

    def pause(self) -> None:
        """Freeze all its processes."""
        self._running("pause")
        if self.status == "paused":
            raise Conflict(f"container {self.name} is paused already", hint=f"let it go on: nbc unpause {self.name}")
        self._parts.runtime.pause(self.id)
        self._state = None

    def unpause(self) -> None:
        """Let frozen processes go on."""
        self._running("unpause")
        if self.status != "paused":
            raise Conflict(f"container {self.name} is not paused", hint="it runs already")
        self._parts.runtime.resume(self.id)
        self._state = None

    def wait(self, *, timeout: float | None = None) -> dict[str, JSON]:
        """Wait while it runs; returns ``{"StatusCode": n, "Error": None}``, at once with 0 when it was never started (as Docker)."""
        found = self._look()
        if found.status == "created":
            return {"StatusCode": found.exit_code or 0, "Error": None}
        code = self._parts.runtime.wait(self.id, timeout_s=timeout)
        self._state = None
        return {"StatusCode": code, "Error": None}

    def remove(self, *, force: bool = False, v: bool = False) -> None:
        """Remove it with its writable layer and logs; ``force`` kills it first, ``v`` takes its anonymous volumes along."""
        with self._parts.container_lock(self.id):
            self._state = None
            if self.state.status in ("running", "paused", "restarting") and not force:
                raise Conflict(
                    f"container {self.name} is {self.status}", hint=f"stop it first, or remove it with force (nbc rm -f {self.name})"
                )
            launch.remove(self._parts, self.id, [point.snapshot for point in self.document.mounts if point.snapshot])
        if v or self.document.options.auto_remove:
            for point in self.document.mounts:
                if point.anonymous:
                    with suppress(Conflict, VolumeNotFound):  # another container has it
                        volumes.Volumes.destroy(self._parts, point.volume)

    def rename(self, name: str) -> None:
        """Give it another name; raises Conflict when that is taken."""
        from notebook_containers.engine.words import check_name

        old = self.name
        if name == old:
            raise Conflict(f"container {old} has that name already", hint="choose another name")
        self._parts.store.records.update_container(self.id, name=check_name(name))
        actors.rename(self._parts, self.id, old, name)
        self.reload()
        if self.document.endpoints and self.status in ("running", "paused"):
            from notebook_containers.engine.announcing import announce

            announce(self._parts, self.document, self.state)

    # looking inside -------------------------------------------------------------------------------------------------------------

    def resize(self, height: int, width: int) -> None:
        """Tell its terminal, if it has one, how many lines and columns it has; raises Conflict when it does not run."""
        self._running("resize the terminal of")
        self._parts.runtime.resize(self.id, height, width)

    def diff(self) -> list[Change]:
        """Return what it changed on its filesystem since it was made: kind A, C or D and the path."""
        spec = Bundle(path=self._parts.bundle_path(self.id)).spec()
        return self._parts.store.snapshots.changes(self.id, ignore=[mount.destination for mount in spec.mounts])

    def size_rw(self) -> int:
        """Return the bytes of its writable layer."""
        return self._parts.store.snapshots.usage(self.id)

    def size_root_fs(self) -> int:
        """Return the bytes of its whole file system: its image's layers and its writable one."""
        return sum(self._parts.store.layers.get(layer).size for layer in self.document.layers) + self.size_rw()

    def _running(self, verb: str) -> None:
        self._state = None
        if self.state.status not in ("running", "paused"):
            raise Conflict(f"cannot {verb} container {self.name}: it is {self.status}", hint=f"start it: nbc start {self.name}")
