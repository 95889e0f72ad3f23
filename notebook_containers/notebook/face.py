"""The notebook's side of a verb: streams into the cell's output, one updating display for a build, interrupts that stop the container."""

from __future__ import annotations

import atexit
import codecs
import difflib
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core.getipython import get_ipython

from notebook_containers.commands import build_views
from notebook_containers.commands.face import DETACH_KEYS, STREAMS
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.notebook.progress import build_view

if TYPE_CHECKING:
    from notebook_containers.build.progress import Event
    from notebook_containers.commands.compose_board import Board
    from notebook_containers.commands.transfers import Verb
    from notebook_containers.compose.progress import Told
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.engine import Engine
    from notebook_containers.registry.progress import TransferEvent
    from notebook_containers.runtime.sessions import Session

MAX_OUTPUT_BYTES = 1_000_000
_GRACE_S = 2.0


class NotebookFace:
    """One a kernel; the engine is opened on first use and shared by every magic."""

    streams = False
    colours = True
    adds_up_sizes = True

    def __init__(self) -> None:
        self.cell: str | None = None
        self.project_text: str | None = None
        self.project_name = ""
        self._line = ""
        self._engine: Engine | None = None
        self._written = 0
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    @property
    def engine(self) -> Engine:
        """The engine, opened on first use."""
        if self._engine is None:
            from notebook_containers.engine.engine import Engine  # not at %load_ext, which is to be felt by nobody

            self._engine = Engine()
            atexit.register(self.close)
        return self._engine

    @property
    def cwd(self) -> Path:
        """The notebook's directory, which is the kernel's."""
        return Path.cwd()

    def close(self) -> None:
        """Close the engine; containers go on."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
            atexit.unregister(self.close)

    def begin(self, cell: str | None, line: str = "") -> None:
        """Start a new cell's account of output; ``line`` is what was typed behind the magic's name."""
        self.cell, self._line, self._written, self._decoders = cell, line, 0, {}

    def write(self, stream: str, data: bytes) -> None:
        """Show output as it comes; after a megabyte only a pointer to the log is left, so that the page stays usable."""
        before, self._written = self._written, self._written + len(data)
        if before >= MAX_OUTPUT_BYTES:
            return
        decoder = self._decoders.setdefault(stream, codecs.getincrementaldecoder("utf-8")("replace"))
        target = sys.stderr if stream == "stderr" else sys.stdout
        target.write(decoder.decode(data[: MAX_OUTPUT_BYTES - before]))
        if self._written >= MAX_OUTPUT_BYTES:
            target.write("\n… output cut here at 1 MB; the whole is in the log (%container_logs --tail N NAME)\n")
        target.flush()

    def variable(self, name: str) -> object:
        """Return the value that a name has in the notebook."""
        shell = get_ipython()
        names: dict[str, object] = shell.user_ns if shell is not None else {}
        if name in names:
            return names[name]
        near = difflib.get_close_matches(name, [each for each in names if not each.startswith("_")], n=1)
        hint = f"did you mean {near[0]}?" if near else "run the cell that makes it first"
        raise InvalidArgument(f"the notebook has no variable {name}", hint=hint)

    def note(self, text: str) -> None:
        """Show a warning, one line."""
        sys.stderr.write(f"WARNING: {text}\n")

    def take_secret(self, secret: str) -> None:
        """Refuse a password that stands in the cell, which the notebook keeps; one of a variable, as ``-p {token}``, is not kept."""
        if secret in self._line:
            raise InvalidArgument(
                "a password in a cell is kept in the notebook and its history",
                hint="take it out of the cell, and leave out -p: you are asked for it; or write -p {variable}",
            )

    def check_terminal(self, *, stdin: bool, tty: bool) -> None:
        """Refuse an interactive terminal, which a cell cannot be."""
        if stdin and tty:
            raise InvalidArgument(
                "a cell has no terminal", hint="leave out -i and -t, or type the command with nbc in a JupyterLab terminal"
            )

    def pump(
        self,
        session: Session,
        container: Container,
        *,
        stdin: bool,
        tty: bool,  # noqa: ARG002 a cell has no terminal
        streams: Collection[str] = STREAMS,
        detach_keys: bytes = DETACH_KEYS,  # noqa: ARG002 a cell has no keys
        sig_proxy: bool = True,
    ) -> None:
        """Relay output until the process ends; an interrupt asks it to end, kills it after two seconds, and is raised again.

        Without ``sig_proxy`` it lets the container run on. A cell has no input: a process that wants some finds its end.
        """
        if stdin:
            session.close_stdin()
        try:
            self._relay(session, streams)
        except KeyboardInterrupt:
            if not sig_proxy:
                session.detach()
                return
            self._interrupt(session, container, streams)
            raise

    def _relay(self, session: Session, streams: Collection[str]) -> None:
        for stream, data in session:
            if stream in streams:
                self.write(stream, data)

    def _interrupt(self, session: Session, container: Container, streams: Collection[str]) -> None:
        kill = threading.Timer(_GRACE_S, self._end, args=(container, "SIGKILL"))
        kill.daemon = True
        kill.start()
        try:
            self._end(container, "SIGINT")
            self._relay(session, streams)
        except KeyboardInterrupt:
            self._end(container, "SIGKILL")
        finally:
            kill.cancel()

    @staticmethod
    def _end(container: Container, signal: str) -> None:
        with suppress(Error):
            container.kill(signal)

    @contextmanager
    def build_view(self, mode: str) -> Iterator[Callable[[Event], None]]:
        """Show a build as one updating display, unless ``mode`` wants it plain, raw or quiet."""
        with build_view(get_ipython()) if mode in ("auto", "tty") else build_views.build_view(mode, sys.stdout) as view:
            yield view

    @contextmanager
    def project_view(self, board: Board, *, quiet: bool) -> Iterator[Callable[[Told], None]]:
        """Show what is done with a project as one updating display, or nothing but warnings when ``quiet``."""
        if quiet:
            yield lambda event: self.note(event.line()) if event.phase == "warning" else None
            return
        from notebook_containers.notebook.projects import project_view

        with project_view(get_ipython(), board) as view:
            yield view

    @contextmanager
    def transfer_view(self, verb: Verb, subject: str, *, quiet: bool) -> Iterator[Callable[[TransferEvent], None]]:
        """Show images on their way as one updating display, or nothing when ``quiet``."""
        if quiet:
            yield lambda _event: None
            return
        from notebook_containers.notebook.transfers import transfer_view

        with transfer_view(get_ipython(), verb, subject) as view:
            yield view
