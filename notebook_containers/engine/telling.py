"""What a container tells of itself: its log, its health, and why it ended; a base of :class:`~.container.Container`."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal, overload

from notebook_containers.engine import health, launch, refusals, verdict
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.moments import Moment, unix
from notebook_containers.engine.parts import Parts
from notebook_containers.engine.verdict import Verdict
from notebook_containers.errors import Conflict, ContainerNotFound, Error
from notebook_containers.linux.inotify import Watch
from notebook_containers.linux.process import open_pidfd
from notebook_containers.runtime.bundle import Bundle
from notebook_containers.runtime.exhausted import limit_named
from notebook_containers.runtime.logs import LogLine, read_log
from notebook_containers.runtime.state import LOST_TEXT, ContainerState

_TAIL_LINES = 20
_LIVE = ("running", "paused", "restarting")


class Telling(ABC):
    """Log, health and verdict; nothing here changes the container."""

    id: str
    name: str
    document: ContainerDocument
    _parts: Parts

    @property
    @abstractmethod
    def state(self) -> ContainerState:
        """The runtime's word on the container, looked up once per ``reload``."""

    @property
    def health(self) -> str:
        """starting, healthy, unhealthy, or ``none`` for a container without a health check (docker-py's ``health``)."""
        return health.status(self.state)

    @property
    def verdict(self) -> Verdict:
        """Why it ended, or what ails it while it runs, and the next step; empty while all is well. ``str()`` is one line."""
        return verdict.judge(
            self.state,
            name=self.name,
            log_tail=self._log_tail,
            killed_for=lambda: refusals.killed_for(self._profile()),
            refused=lambda: refusals.refused(self._profile()),
        )

    def _log_tail(self) -> str:
        with suppress(OSError, Conflict):
            return b"".join(line.data for line in self.log_lines(tail=_TAIL_LINES))[-4096:].decode("utf-8", "replace")
        return ""

    def _profile(self) -> dict[str, object]:
        try:
            linux = Bundle(path=self._parts.bundle_path(self.id)).spec().linux
        except (OSError, Error):
            return {}
        return dict(linux.seccomp) if linux and linux.seccomp else {}

    @overload
    def logs(self, *, stdout: bool = ..., stderr: bool = ..., stream: Literal[False] = ..., timestamps: bool = ..., tail: int | str = ..., since: Moment | None = ..., until: Moment | None = ...) -> bytes: ...  # fmt: skip # noqa: E501

    @overload
    def logs(self, *, stdout: bool = ..., stderr: bool = ..., stream: Literal[True], follow: bool = ..., timestamps: bool = ..., tail: int | str = ..., since: Moment | None = ..., until: Moment | None = ...) -> Iterator[bytes]: ...  # fmt: skip # noqa: E501

    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        stream: bool = False,
        follow: bool = False,
        timestamps: bool = False,
        tail: int | str = "all",
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> bytes | Iterator[bytes]:
        """Return what it wrote: bytes, or with ``stream`` an iterator of lines (``follow`` waits for more until it ends)."""
        wanted = {name for name, on in (("stdout", stdout), ("stderr", stderr)) if on}
        lines = self.log_lines(tail=tail, since=since, until=until, follow=follow and stream)
        chunks = (data for name, data in shown(lines, timestamps=timestamps) if name in wanted)
        return chunks if stream else b"".join(chunks)

    def log_lines(
        self, *, tail: int | str = "all", since: Moment | None = None, until: Moment | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """Yield log lines with their time and stream; with ``follow`` (a FollowedLog) until the container ends, or until ``until``.

        Raises Conflict for a container that keeps no log.
        """
        if self.document.options.log.driver == "none":
            raise Conflict(f"container {self.name} keeps no log", hint="it was made with --log-driver none: attach to it while it runs")
        count = None if tail == "all" else int(tail)
        path = self._parts.bundle_path(self.id) / "container.log"
        begin, end = unix(since), unix(until)
        if not follow:
            return read_log(path, tail=count, since=begin, until=end)
        return FollowedLog(path, alive=self._lives, watch=self._watch_log(), tail=count, since=begin, until=end)

    def log_details(self) -> str:
        """Return what its log options (``tag``, ``labels``, ``env``) add to each line, as ``key=value,…``; empty when they add nothing."""
        from notebook_containers.engine import log_words

        document, image = self.document, self.document.image_id
        known = {"ID": self.id[:12], "FullID": self.id, "Name": self.name, "ImageName": document.image, "DaemonName": "nbc"}
        known |= {"ImageID": image.removeprefix("sha256:")[:12], "ImageFullID": image}
        env = (*document.config.env, *document.options.environment)
        return log_words.details(document.options.log, known, document.labels, env)

    def _lives(self) -> bool:
        try:
            state = launch.state(self._parts, self.id)
            return state.status in _LIVE and state.error != LOST_TEXT  # without a monitor nothing is logged any more
        except ContainerNotFound:
            return False

    @limit_named()
    def _watch_log(self) -> Watch:
        """Watch what changes when the log grows or the container ends, and its monitor, which may be killed without a word."""
        watch = Watch()
        state = launch.state(self._parts, self.id)
        for directory in (self._parts.bundle_path(self.id), self._parts.run / "c" / self.id[:12]):
            with suppress(OSError):
                watch.add(os.fspath(directory))
        with suppress(OSError):
            watch.also(open_pidfd(state.monitor_pid, state.monitor_started))
        return watch


class FollowedLog(Iterator[LogLine]):
    """A log's lines as they come; one thread iterates, and :meth:`close` ends it from any thread."""

    def __init__(
        self,
        path: os.PathLike[str],
        *,
        alive: Callable[[], bool],
        watch: Watch,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> None:
        self._closed, self._watch = False, watch
        lives = self._unless_closed(alive)
        self._lines = read_log(path, tail=tail, since=since, until=until, follow=True, alive=lives, watch=watch)

    def _unless_closed(self, alive: Callable[[], bool]) -> Callable[[], bool]:
        return lambda: not self._closed and alive()

    def __next__(self) -> LogLine:
        """Return the next line; waits for it."""
        return next(self._lines)

    def close(self) -> None:
        """End the iteration, also one that waits in another thread; what is written already is still read. Idempotent."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):  # the iteration is over already
                self._watch.wake()


def shown(lines: Iterator[LogLine], *, timestamps: bool = False, details: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield stream and bytes of log lines as ``docker logs`` prints them: ``-t`` puts the time before each line, not before each piece.

    ``details`` (:meth:`Telling.log_details`) and a space come before each line.
    """
    more = b"" if details is None else f"{details} ".encode()
    inside: set[str] = set()  # streams in the middle of a line
    for line in lines:
        prefix = b"" if line.stream in inside else (f"{line.stamp} ".encode() if timestamps else b"") + more
        inside.add(line.stream)
        if line.data.endswith(b"\n"):
            inside.discard(line.stream)
        yield line.stream, prefix + line.data
