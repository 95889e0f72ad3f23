"""Further commands in a running container, as docker-py's ``Container`` runs them; a base of :class:`~.container.Container`."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, overload

from notebook_containers.engine import actors, execresult, users
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.execresult import ExecResult, ExecStream
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.quantities import new_id
from notebook_containers.engine.specgen import capability_set
from notebook_containers.engine.words import environment_list
from notebook_containers.errors import Conflict, InvalidArgument, RuntimeFailure, StartFailed
from notebook_containers.lean import replace
from notebook_containers.oci.runtime import Capabilities, Process, User
from notebook_containers.runtime.bundle import Bundle
from notebook_containers.runtime.state import ContainerState

if TYPE_CHECKING:
    from notebook_containers.runtime.sessions import Session


@contextmanager
def next_step() -> Iterator[None]:
    """Add the next step to the error of a command that could not start: the runtime knows why, not what people do about it."""
    try:
        yield
    except StartFailed as err:
        if not err.hint:
            from notebook_containers.engine.verdict import start_hint

            err.hint = start_hint(err.exit_status, err.message)
        raise


class Executing:
    """What runs in a container beside its own command."""

    id: str
    name: str
    document: ContainerDocument
    _parts: Parts

    @property
    @abstractmethod
    def state(self) -> ContainerState:
        """The runtime's word on the container, looked up once per ``reload``."""

    @abstractmethod
    def _running(self, verb: str) -> None:
        """Look again, and raise Conflict when it does not run: what ``verb`` wants of it needs that."""

    @overload
    def exec_run(self, cmd: str | Sequence[str], *, stdout: bool = ..., stderr: bool = ..., detach: bool = ..., stream: Literal[False] = ..., user: str = ..., environment: Mapping[str, str | None] | Sequence[str] | None = ..., workdir: str | None = ..., tty: bool = ..., privileged: bool = ..., demux: bool = ...) -> ExecResult: ...  # fmt: skip # noqa: E501

    @overload
    def exec_run(self, cmd: str | Sequence[str], *, stdout: bool = ..., stderr: bool = ..., stream: Literal[True], user: str = ..., environment: Mapping[str, str | None] | Sequence[str] | None = ..., workdir: str | None = ..., tty: bool = ..., privileged: bool = ..., demux: bool = ...) -> ExecStream: ...  # fmt: skip # noqa: E501

    def exec_run(
        self,
        cmd: str | Sequence[str],
        *,
        stdout: bool = True,
        stderr: bool = True,
        detach: bool = False,
        stream: bool = False,
        user: str = "",
        environment: Mapping[str, str | None] | Sequence[str] | None = None,
        workdir: str | None = None,
        tty: bool = False,
        privileged: bool = False,
        demux: bool = False,
    ) -> ExecResult | ExecStream:
        """Run a command in the running container and return its exit code and output (docker-py's ``exec_run``).

        With ``stream`` the output is an iterator of what comes, and the exit code None.
        """
        session = self.exec_session(cmd, user=user, environment=environment, workdir=workdir, tty=tty, privileged=privileged, detach=detach)
        if session is None:
            return ExecResult(exit_code=None, output=b"")
        if stream:
            return ExecStream(output=execresult.pieces(session, stdout=stdout, stderr=stderr, demux=demux))
        return execresult.collected(session, stdout=stdout, stderr=stderr, demux=demux)

    def exec_session(
        self,
        cmd: str | Sequence[str],
        *,
        user: str = "",
        environment: Mapping[str, str | None] | Sequence[str] | None = None,
        workdir: str | None = None,
        tty: bool = False,
        stdin: bool = False,
        privileged: bool = False,
        detach: bool = False,
    ) -> Session | None:
        """Start a command in the running container and return the session with its streams (None when detached)."""
        self._running("exec in")
        if self.state.status == "paused":
            raise Conflict(f"container {self.name} is paused", hint=f"let it go on first: nbc unpause {self.name}")
        args = tuple(shlex.split(cmd)) if isinstance(cmd, str) else tuple(cmd)
        if not args:
            raise InvalidArgument("no command given", hint=f"for example: nbc exec {self.name} ls /")
        process = self._exec_process(args, user, environment_list(environment), workdir, tty=tty, privileged=privileged)
        told = {"execID": (exec_id := new_id())}
        actors.tell(self._parts, self.id, f"exec_create: {shlex.join(args)}", told)
        with next_step():
            session = self._parts.runtime.exec(self.id, process, stdin=stdin, detach=detach, exec_id=exec_id)
        actors.tell(self._parts, self.id, f"exec_start: {shlex.join(args)}", told)
        if session is not None:
            session.on_detach = lambda: actors.tell(self._parts, self.id, "exec_detach", told)
        return session

    def _exec_process(
        self, args: tuple[str, ...], user: str, extra: Sequence[str], workdir: str | None, *, tty: bool, privileged: bool
    ) -> Process:
        base = Bundle(path=self._parts.bundle_path(self.id)).process()
        if base is None:
            raise RuntimeFailure(f"container {self.name} has no process description")
        env = {entry.partition("=")[0]: entry for entry in (*base.env, *(["TERM=xterm"] if tty else []), *extra)}
        capabilities = base.capabilities
        if privileged:
            options = replace(self.document.options, privileged=True)
            names = capability_set(options, self._parts.host)
            capabilities = Capabilities(bounding=names, effective=names, permitted=names)
        identity, snapshots = base.user, self._parts.store.snapshots
        if user:
            maps = self._parts.host.container_maps(self.document.options.userns, first_id=self.document.first_id)
            found = users.identity(user, lambda path: snapshots.read_file(self.document.layers, path, key=self.id), maps)
            identity = User(uid=found.uid, gid=found.gid, additional_gids=found.groups, umask=0o022)
        return replace(
            base,
            terminal=tty,
            args=args,
            env=tuple(env.values()),
            cwd=workdir or base.cwd,
            user=identity,
            capabilities=capabilities,
            no_new_privileges=base.no_new_privileges and not privileged,
        )
