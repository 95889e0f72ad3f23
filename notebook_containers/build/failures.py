"""How a failed RUN is told: one line that names instruction, line and status, and the end of what it printed."""

from __future__ import annotations

from notebook_containers.build import plan
from notebook_containers.errors import BuildError, InvalidArgument, StartFailed

_TAIL_BYTES = 16 * 1024
_MOST_TEXT = 60
_NOT_STARTED = 126

_VERDICTS = {
    126: "126 says that the command was found and could not be executed",
    127: "127 says that a command was not found: is it installed in the image, and in PATH?",
    137: "137 is SIGKILL: often the memory limit, or somebody stopped it",
    139: "139 is SIGSEGV: the program crashed",
    143: "143 is SIGTERM: somebody stopped it",
}


class Tail:
    """The last bytes of an output."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        """Add output, forgetting the oldest."""
        self._data += data
        if len(self._data) > 2 * _TAIL_BYTES:
            del self._data[:-_TAIL_BYTES]

    def text(self) -> str:
        """Return whole lines where there are any."""
        data = bytes(self._data[-_TAIL_BYTES:])
        if len(self._data) > _TAIL_BYTES:
            data = data.partition(b"\n")[2] or data
        return data.decode("utf-8", "replace")


def run_failed(step: plan.Step, status: int, tail: Tail) -> BuildError:
    """Return the error of a RUN that ended with a status other than 0."""
    message = f"{_short(step.text)} (line {step.line}) ended with exit code {status}"
    return BuildError(message, hint=_VERDICTS.get(status, ""), line=step.line, output=tail.text(), exit_status=status)


def start_failed(step: plan.Step, err: StartFailed | InvalidArgument) -> BuildError:
    """Return the error of a RUN whose command could not be started, or whose user is none."""
    status = err.exit_status if isinstance(err, StartFailed) else _NOT_STARTED
    message = f"{_short(step.text)} (line {step.line}) could not be started: {err.message}"
    return BuildError(message, hint=err.hint, line=step.line, exit_status=status)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"
