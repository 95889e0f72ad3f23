"""The output of several containers as one stream: whole lines, each with the container it is from."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress

from notebook_containers.compose.labels import Member
from notebook_containers.engine.moments import Moment
from notebook_containers.engine.telling import FollowedLog
from notebook_containers.errors import Conflict, Error
from notebook_containers.lean import dataclass
from notebook_containers.runtime.logs import LogLine

_MOST_PENDING = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One line of a container with its newline; ``line`` is None when the container has ended and nothing more comes from it."""

    member: Member
    line: LogLine | None


def past(members: Iterable[Member], *, tail: int | str = "all", since: Moment | None = None, until: Moment | None = None) -> Iterator[Said]:
    """Yield what containers wrote, by the time at which they wrote it; one that keeps no log has no lines."""
    streams = [_said(member, tail, since, until) for member in members]
    return heapq.merge(*streams, key=lambda said: said.line.time if said.line else 0.0)


def _said(member: Member, tail: int | str, since: Moment | None, until: Moment | None) -> Iterator[Said]:
    with suppress(Conflict):
        for line in whole(member.container.log_lines(tail=tail, since=since, until=until)):
            yield Said(member=member, line=line)


def whole(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Yield whole lines, each with its newline, of lines that may come in pieces; what is longer than 64 KiB comes in several."""
    pending: dict[str, LogLine] = {}
    for line in lines:
        begun = pending.pop(line.stream, None)
        joined = line if begun is None else begun._replace(data=begun.data + line.data)
        if joined.data.endswith(b"\n"):
            yield joined
        elif len(joined.data) > _MOST_PENDING:
            yield joined._replace(data=joined.data + b"\n")
        else:
            pending[line.stream] = joined
    for line in pending.values():
        yield line._replace(data=line.data + b"\n")


class Following:
    """The lines of containers as they come; :meth:`add` more and :meth:`close` it from any thread, and iterate in one.

    The iteration ends when every container has ended (unless it is ``endless``: then when it is closed). Use it in ``with``.
    """

    def __init__(
        self, members: Iterable[Member] = (), *, tail: int | str = "all", since: Moment | None = None, endless: bool = False
    ) -> None:
        self._tail, self._since, self._endless = tail, since, endless
        self._said: queue.Queue[Said | None] = queue.Queue(maxsize=1000)
        self._logs: dict[str, FollowedLog] = {}
        self._threads: list[threading.Thread] = []
        self._lock, self._closed = threading.Lock(), threading.Event()
        for member in members:
            self.add(member)

    def add(self, member: Member, *, tail: int | str | None = None) -> None:
        """Follow one more container, unless it is followed already; one that keeps no log has ended at once."""
        with self._lock:
            if member.container.id in self._logs or self._closed.is_set():
                return
            lines = member.container.log_lines(tail=self._tail if tail is None else tail, since=self._since, follow=True)
            if not isinstance(lines, FollowedLog):
                raise TypeError("a followed log is a FollowedLog")
            self._logs[member.container.id] = lines
            thread = threading.Thread(target=self._read, args=(member, lines), name="nbc-compose-log", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _read(self, member: Member, lines: FollowedLog) -> None:
        with suppress(Error, OSError):  # its log went with it
            for line in whole(lines):
                self._put(Said(member=member, line=line))
        self._put(Said(member=member, line=None))

    def _put(self, said: Said) -> None:
        while not self._closed.is_set():
            try:
                return self._said.put(said, timeout=0.2)
            except queue.Full:
                continue
        return None

    def __iter__(self) -> Iterator[Said]:
        """Yield what comes."""
        while not self._closed.is_set() and (self._endless or self._logs):
            said = self._said.get()
            if said is None:
                return
            if said.line is None:
                with self._lock:
                    self._logs.pop(said.member.container.id, None)
            yield said

    def close(self) -> None:
        """End the iteration, and wait for the threads that read. Idempotent."""
        self._closed.set()
        with self._lock:
            logs = list(self._logs.values())
        for lines in logs:
            lines.close()
        with suppress(queue.Full):
            self._said.put_nowait(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Following:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End it."""
        self.close()


def numbered(member: Member) -> str:
    """Return how a container is named in front of its lines: ``web-1``; ``web-run-…`` for one that ``run`` made."""
    return f"{member.service}-{member.number}" if member.number else member.name.removeprefix(f"{member.project}-")
