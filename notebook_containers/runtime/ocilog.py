"""What the low-level commands have to say: to the file of ``--log`` in runc's two formats, and errors to the standard error as well."""

from __future__ import annotations

import json
import os
import sys
import time


class Log:
    """``path`` empty: the standard error; ``form`` is text or json."""

    def __init__(self, path: str = "", form: str = "text") -> None:
        self._path, self._form = path, form

    def warn(self, text: str) -> None:
        """Say that something was left out."""
        self._write("warning", text)

    def error(self, text: str) -> None:
        """Say why the command fails."""
        self._write("error", text)
        if self._path:
            sys.stderr.write(f"nbc runtime: {text}\n")
            sys.stderr.flush()

    def _write(self, level: str, text: str) -> None:
        line = self._line(level, " ".join(text.split()))
        if not self._path:
            sys.stderr.write(line)
            sys.stderr.flush()
            return
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as err:
            sys.stderr.write(f"nbc runtime: cannot open the log {self._path}: {err.strerror}\n{line}")
            return
        os.write(fd, line.encode())
        os.close(fd)

    def _line(self, level: str, text: str) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._form == "json":
            return json.dumps({"level": level, "msg": text, "time": now}, separators=(",", ":"), ensure_ascii=False) + "\n"
        return f"time={json.dumps(now)} level={level} msg={json.dumps(text, ensure_ascii=False)}\n"
