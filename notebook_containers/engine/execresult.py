"""What ``exec_run`` returns, as in docker-py: the exit code and the output, whole or as it comes, both streams together or apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.runtime.sessions import Session

Piece: TypeAlias = "bytes | tuple[bytes | None, bytes | None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """A command that ended; unpacks as ``code, output = ...``, with ``demux`` as ``code, (stdout, stderr) = ...``."""

    exit_code: int | None
    output: bytes
    stderr: bytes = b""
    demux: bool = False

    def __iter__(self) -> Iterator[object]:
        """Unpack as docker-py's pair; a stream that stayed empty is None there, with ``demux``."""
        return iter((self.exit_code, (self.output or None, self.stderr or None) if self.demux else self.output))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecStream:
    """A command that runs; ``output`` yields what it writes until it ends. Unpacks as ``_, output = ...``."""

    output: Iterator[Piece]
    exit_code: None = None

    def __iter__(self) -> Iterator[object]:
        """Unpack as docker-py's pair."""
        return iter((None, self.output))


def collected(session: Session, *, stdout: bool, stderr: bool, demux: bool) -> ExecResult:
    """Read a session to its end."""
    out, err = bytearray(), bytearray()
    with session:
        for stream, data in session:
            if stream == "stdout" and stdout:
                out += data
            elif stream == "stderr" and stderr:
                (err if demux else out).extend(data)
    return ExecResult(exit_code=session.exit_code, output=bytes(out), stderr=bytes(err), demux=demux)


def pieces(session: Session, *, stdout: bool, stderr: bool, demux: bool) -> Iterator[Piece]:
    """Yield what a session's process writes, as it comes; the session is closed at the end, or when the iterator is."""
    with session:
        for stream, data in session:
            if stream == "stdout" and stdout:
                yield (data, None) if demux else data
            elif stream == "stderr" and stderr:
                yield (None, data) if demux else data
