"""The command line's side of a verb: streams, the terminal, build progress as plain lines."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.cli.terminal import Detached, KeyFilter, raw_mode
from notebook_containers.commands.face import DETACH_KEYS, STREAMS
from notebook_containers.errors import Error, InvalidArgument

if TYPE_CHECKING:
    from notebook_containers.build.progress import Event
    from notebook_containers.commands.compose_board import Board
    from notebook_containers.commands.transfers import Verb
    from notebook_containers.compose.progress import Told
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.engine import Engine
    from notebook_containers.registry.progress import TransferEvent
    from notebook_containers.runtime.sessions import Session
    from notebook_containers.runtime.starter import Starter


_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGCONT)


class TerminalFace:
    """Writes to this process's standard streams; interrupts go on to the container, as Docker's signal proxy does."""

    cell: str | None = None
    project_text: str | None = None
    project_name = ""
    streams = True
    adds_up_sizes = False

    @property
    def colours(self) -> bool:
        """Whether colours may be shown: on a terminal, unless NO_COLOR says otherwise."""
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def __init__(self, starter: Starter | None = None, *, tidy: bool = True) -> None:
        self._starter, self._tidy = starter, tidy
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine, opened on first use."""
        if self._engine is None:
            from notebook_containers.engine.engine import Engine

            self._engine = Engine(starter=self._starter)
        return self._engine

    def close(self) -> None:
        """Close the engine; containers go on."""
        if self._engine is not None:
            self._engine.close(tidy=self._tidy)
            self._engine = None
        elif self._starter is not None:
            self._starter.close()

    @property
    def cwd(self) -> Path:
        """This process's working directory."""
        return Path.cwd()

    def write(self, stream: str, data: bytes) -> None:
        """Write bytes as they are."""
        target = sys.stderr if stream == "stderr" else sys.stdout
        target.flush()
        target.buffer.write(data)
        target.buffer.flush()

    def variable(self, name: str) -> object:
        """Raise InvalidArgument: a command line has no variables."""
        hint = "use --build-context NAME=DIRECTORY"
        raise InvalidArgument(f"--context-var {name} is for notebooks: there are no variables here", hint=hint)

    def note(self, text: str) -> None:
        """Write one warning line."""
        print(f"WARNING: {text}", file=sys.stderr)

    def take_secret(self, secret: str) -> None:  # noqa: ARG002 where it was typed others see it, whatever it is
        """Warn: other users see the command line, and the shell's history keeps it."""
        self.note("a password on the command line is seen by others and kept in the shell's history: use --password-stdin")

    def check_terminal(self, *, stdin: bool, tty: bool) -> None:
        """Accept everything: a terminal that is not there is a pipe."""

    def pump(
        self,
        session: Session,
        container: Container,
        *,
        stdin: bool,
        tty: bool,
        streams: Collection[str] = STREAMS,
        detach_keys: bytes = DETACH_KEYS,
        sig_proxy: bool = True,
    ) -> None:
        """Relay a session until its process ends or the user types the detach keys; signals go on to the container."""
        if tty and not sys.stdin.isatty():
            tty = False
        with raw_mode(active=tty and stdin), _window_changes(session, active=tty), _signals(container, active=sig_proxy):
            if stdin:
                keys = KeyFilter(detach_keys) if tty else None
                threading.Thread(target=_feed, args=(session, keys), daemon=True).start()
            self._relay(session, container, streams, sig_proxy=sig_proxy)

    def _relay(self, session: Session, container: Container, streams: Collection[str], *, sig_proxy: bool) -> None:
        interrupts = 0
        while True:
            try:
                for stream, data in session:
                    if stream in streams:
                        self.write(stream, data)
                return
            except KeyboardInterrupt:
                if not sig_proxy:
                    session.detach()
                    return
                interrupts += 1
                container.kill("SIGKILL" if interrupts > 2 else "SIGINT")

    def build_view(self, mode: str) -> AbstractContextManager[Callable[[Event], None]]:
        """Show a build on standard error, as ``--progress`` says."""
        from notebook_containers.commands.build_views import build_view

        return build_view(mode, sys.stderr)

    @contextmanager
    def project_view(self, board: Board, *, quiet: bool) -> Iterator[Callable[[Told], None]]:
        """Show a table that follows on a terminal and lines elsewhere, on standard error."""
        if quiet:
            yield lambda event: self.note(event.line()) if event.phase == "warning" else None
            return
        from notebook_containers.commands.compose_views import stream_view

        with stream_view(board, sys.stderr) as view:
            yield view

    @contextmanager
    def transfer_view(self, verb: Verb, subject: str, *, quiet: bool) -> Iterator[Callable[[TransferEvent], None]]:
        """Show bars on a terminal and lines elsewhere, on standard error: standard output is the verb's result."""
        if quiet:
            yield lambda _event: None
            return
        from notebook_containers.commands.transfer_views import stream_view

        with stream_view(verb, subject, sys.stderr) as view:
            yield view


def _feed(session: Session, keys: KeyFilter | None) -> None:
    try:
        while data := os.read(0, 65536):
            session.write(keys.feed(data) if keys else data)
        session.close_stdin()
    except Detached:
        session.detach()
    except OSError:
        return


@contextmanager
def _signals(container: Container, *, active: bool) -> Iterator[None]:
    """Pass the signals that ask a program for something on to the container (SIGINT comes as KeyboardInterrupt)."""

    def forward(number: int, _frame: object) -> None:
        with suppress(Error):  # it may have ended meanwhile
            container.kill(number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED} if active else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _window_changes(session: Session, *, active: bool) -> Iterator[None]:
    if not active:
        yield
        return

    def resize(*_unused: object) -> None:
        size = os.get_terminal_size(0)
        session.resize(size.lines, size.columns)

    previous = signal.signal(signal.SIGWINCH, resize)
    resize()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)
