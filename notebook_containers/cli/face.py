"""The command line's side of a verb: streams, the terminal, build progress as plain lines."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.cli.terminal import Detached, KeyFilter, raw_mode

if TYPE_CHECKING:
    from notebook_containers.build.progress import Event
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.engine import Engine
    from notebook_containers.runtime.sessions import Session
    from notebook_containers.runtime.starter import Starter


class TerminalFace:
    """Writes to this process's standard streams; interrupts go on to the container, as Docker's signal proxy does."""

    cell: str | None = None
    adds_up_sizes = False

    def __init__(self, starter: Starter | None = None) -> None:
        self._starter = starter
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
            self._engine.close()
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

    def note(self, text: str) -> None:
        """Write one warning line."""
        print(f"WARNING: {text}", file=sys.stderr)

    def pump(self, session: Session, container: Container, *, stdin: bool, tty: bool) -> None:
        """Relay a session until its process ends or the user types the detach keys (Ctrl-P Ctrl-Q)."""
        if tty and not sys.stdin.isatty():
            tty = False
        with raw_mode(active=tty and stdin), _window_changes(session, active=tty):
            if stdin:
                threading.Thread(target=_feed, args=(session,), kwargs={"tty": tty}, daemon=True).start()
            self._relay(session, container)

    def _relay(self, session: Session, container: Container) -> None:
        interrupts = 0
        while True:
            try:
                for stream, data in session:
                    self.write(stream, data)
                return
            except KeyboardInterrupt:
                interrupts += 1
                container.kill("SIGKILL" if interrupts > 2 else "SIGINT")

    @contextmanager
    def build_view(self, mode: str) -> Iterator[Callable[[Event], None]]:
        """Show a build as plain lines on standard error, or nothing with ``quiet``."""
        if mode == "quiet":
            yield lambda _event: None
            return
        from notebook_containers.commands.progress import PlainBuildView

        with PlainBuildView(sys.stderr) as view:
            yield view


def _feed(session: Session, *, tty: bool) -> None:
    keys = KeyFilter()
    try:
        while data := os.read(0, 65536):
            session.write(keys.feed(data) if tty else data)
        session.close_stdin()
    except Detached:
        session.detach()
    except OSError:
        return


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
