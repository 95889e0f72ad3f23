"""The one error tree; every exception this package raises on purpose is an :class:`Error`.

::

    Error                        what happened, and a hint of what to do next
    ├── InvalidArgument          the caller's words are wrong (ValueError)
    │   ├── InvalidReference     not an image name
    │   ├── InvalidDocument      JSON, manifest, config, archive that is not what it should be
    │   ├── DockerfileError      with the line, and a caret under the word
    │   └── ComposeError         with file, line and path of the key
    ├── NotFound                 a named thing does not exist
    │   ├── ImageNotFound
    │   ├── ContainerNotFound
    │   ├── NetworkNotFound
    │   └── VolumeNotFound
    ├── Conflict                 a name, an address, a port or a state is taken
    ├── StoreError               the store cannot do it
    │   ├── DiskFull             ENOSPC or EDQUOT, with the path
    │   └── Corrupt              bytes on disk are not what their digest says
    ├── Unsupported              this kernel, privilege level or build cannot do it
    ├── RuntimeFailure           a container could not be made, started or reached
    │   ├── StartFailed          its command: 126 cannot execute, 127 not found, 125 anything else
    │   └── StuckProcess         it was killed, and the kernel does not let a process of it end yet
    ├── NetworkError             links, addresses, firewall, ports
    ├── RegistryError            a registry refused, lied or is not there
    ├── BuildError               a build step failed (with its output's tail)
    └── ContainerError           a foreground container ended with a non-zero status

Messages are lower case, without a final period, and name the thing; ``hint`` says the next step. ``str(error)`` is the message alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, Self

_WIDTH = 120


class Error(Exception):
    """Anything this package raises on purpose: ``message`` says what happened, ``hint`` what to do next (may be empty)."""

    exit_status = 125

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def one_line(self) -> str:
        """Return message and hint as one line of text."""
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return " ".join(text.split())


class InvalidArgument(Error, ValueError):
    """The caller's words are wrong."""


class InvalidReference(InvalidArgument):
    """Text that is not an image reference."""


class InvalidDocument(InvalidArgument):
    """A document or archive that is not what it should be."""


class SourceError(InvalidArgument):
    """An error at a place in a text: ``line`` and ``column`` count from 1, ``source`` is the line as written.

    ``others`` are further errors in the same text, where reading could go on behind the first.
    """

    def __init__(
        self, message: str, *, hint: str = "", file: str = "", line: int = 0, column: int = 0, length: int = 1, source: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.file, self.line, self.column, self.length, self.source = file, line, column, length, source
        self.others: tuple[SourceError, ...] = ()

    def along_with(self, others: Iterable[SourceError]) -> Self:
        """Return this error, telling of the others too."""
        self.others = tuple(others)
        return self

    def one_line(self) -> str:
        """Return message and hint as one line of text, and how many more errors there are."""
        more = len(self.others)
        return super().one_line() + (f" (and {more} more error{'s' if more > 1 else ''})" if more else "")

    def excerpt(self) -> str:
        """Return the source line with carets under the wrong words, or an empty text when the place is unknown.

        When there are others, each error stands with its line, and its message behind the carets.
        """
        if not self.others:
            return self._place()
        return "\n".join(f"{err._place()} {Error.one_line(err)}".rstrip() for err in (self, *self.others))

    def _place(self) -> str:
        if not self.line:
            return ""
        number = f"{self.line:>4} | "
        column, length = max(self.column - 1, 0), max(self.length, 1)
        shown = self.source.replace("\t", " ")
        if len(shown) > _WIDTH:
            first = max(min(column - _WIDTH // 3, len(shown) - _WIDTH), 0)
            shown = ("…" if first else "") + shown[first + bool(first) : first + _WIDTH] + ("…" if first + _WIDTH < len(shown) else "")
            column, length = column - first, min(length, _WIDTH - (column - first))
        return f"{number}{shown}\n{' ' * (len(number) + column)}{'^' * length}"


class DockerfileError(SourceError):
    """A Dockerfile that cannot be understood."""


class ComposeError(SourceError):
    """A compose file that cannot be understood."""


class NotFound(Error, LookupError):
    """A named thing does not exist."""


class ImageNotFound(NotFound):
    """No image has this name or id."""


class ContainerNotFound(NotFound):
    """No container has this name or id."""


class NetworkNotFound(NotFound):
    """No network has this name or id."""


class VolumeNotFound(NotFound):
    """No volume has this name."""


class Conflict(Error):
    """A name, an address, a port or a state is taken."""


class StoreError(Error):
    """The store cannot do what was asked."""


class DiskFull(StoreError):
    """No space (or no quota, or no inode) is left where the store lies."""


class Corrupt(StoreError):
    """Bytes on disk are not what their digest says."""


class Unsupported(Error):
    """This kernel, this privilege level or this version cannot do it."""


class RuntimeFailure(Error):
    """A container could not be made, started or reached."""


class StartFailed(RuntimeFailure):
    """A command that could not be started; ``exit_status`` is 127 (not found), 126 (cannot execute) or 125."""

    def __init__(self, message: str, *, hint: str = "", exit_status: int = 125) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status


class StuckProcess(RuntimeFailure):
    """A container that was killed and is not over: the kernel holds a process in uninterruptible sleep; the same call may succeed later."""


class NetworkError(Error):
    """Links, addresses, firewall rules or ports could not be set up."""


class RegistryError(Error):
    """A registry refused, sent what it should not, or is not there."""


class Changed(Protocol):
    """A path that a step changed: ``kind`` is A (added), C (changed) or D (deleted)."""

    @property
    def path(self) -> str:
        """The path inside."""

    @property
    def kind(self) -> str:
        """A, C or D."""


class OpenStep(Protocol):
    """A step whose files can be looked at and worked in."""

    def run(self, command: str | Sequence[str] | None = None, *, detach: bool | None = None) -> object:
        """Run a command there."""

    def changes(self) -> Sequence[Changed]:
        """Return what the step had changed."""


class BuildError(Error):
    """A build step failed: ``line`` is the instruction's line, ``output`` the tail of what it printed.

    ``step`` is the step as it was left, open until the next build of the same Dockerfile; None where nothing is kept (``kept`` names the
    row of the build cache that keeps it).
    """

    def __init__(self, message: str, *, hint: str = "", line: int = 0, output: str = "", exit_status: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.line, self.output, self.exit_status = line, output, exit_status
        self.kept = ""
        self.step: OpenStep | None = None

    def run(self, command: str | Sequence[str] | None = None, *, detach: bool | None = None) -> object:
        """Run a command exactly where the step failed: its files, environment, user and directory; NotFound when nothing was kept.

        A shell alone (or no command) opens a container that stays and is returned; another command's output is returned as bytes.
        """
        return self._open().run(command, detach=detach)

    def changes(self) -> Sequence[Changed]:
        """Return what the failed step had changed on its filesystem; NotFound when nothing was kept."""
        return self._open().changes()

    def _open(self) -> OpenStep:
        if self.step is None:
            raise NotFound("nothing is kept of the step that failed", hint="build again to open it")
        return self.step


class ContainerError(Error):
    """A foreground container ended with a non-zero status, kept in ``exit_status``."""

    def __init__(self, message: str, *, hint: str = "", exit_status: int = 1, container_id: str = "", stderr: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_status, self.container_id, self.stderr = exit_status, container_id, stderr
