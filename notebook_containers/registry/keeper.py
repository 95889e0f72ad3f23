"""Programs that keep passwords: ``docker-credential-<name>`` with ``get``, ``store`` and ``erase`` (docker's protocol).

A program is started by its absolute path, from a directory nobody else can write to, with few variables of the environment, a time
limit, and no more of its answer read than a password needs.
"""

from __future__ import annotations

import json
import os
import re
import select
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from notebook_containers.errors import InvalidDocument, RegistryError
from notebook_containers.oci.documents import untrusted_json

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_MAX_BYTES = 64 * 1024
_VARIABLES = ("HOME", "PATH", "USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "PASSWORD_STORE_DIR", "LANG")
"""What the known programs (pass, secretservice, gcloud's) need to find the user's own keys; nothing of the notebook's."""


class Keeper:
    """One such program, by the name that docker's ``config.json`` gives it."""

    def __init__(self, name: str, *, timeout_s: float = 20.0) -> None:
        self._name, self._timeout_s = name, timeout_s

    def get(self, server: str) -> tuple[str, str] | None:
        """Return user name and secret, or None when it has none or its answer is not understood; RegistryError when it cannot be asked."""
        status, data = self._run("get", server.encode())
        if status != 0:
            return None
        with suppress(InvalidDocument):
            answer = untrusted_json(data, what=f"the answer of {self._name}", max_bytes=_MAX_BYTES)
            return str(answer.get("Username", "")), str(answer.get("Secret", ""))
        return None

    def store(self, server: str, username: str, secret: str) -> None:
        """Give it a secret to keep; RegistryError when it does not take it."""
        document = json.dumps({"ServerURL": server, "Username": username, "Secret": secret})
        if self._run("store", document.encode())[0] != 0:
            raise RegistryError(f"the credential helper {self._name!r} did not store the password", hint="run it by hand to see why")

    def erase(self, server: str) -> bool:
        """Make it forget a secret; False when it had none."""
        return self._run("erase", server.encode())[0] == 0

    def _run(self, verb: str, given: bytes) -> tuple[int, bytes]:
        """Return its exit status and at most the bytes that an answer may have."""
        program = self._program()
        environment = {key: os.environ[key] for key in _VARIABLES if key in os.environ}
        try:
            process = subprocess.Popen(
                [program, verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as err:
            raise self._silent() from err
        with process:
            try:
                return self._talk(process, given)
            except (OSError, subprocess.TimeoutExpired) as err:
                raise self._silent() from err
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)

    def _talk(self, process: subprocess.Popen[bytes], given: bytes) -> tuple[int, bytes]:
        end = time.monotonic() + self._timeout_s
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(given)
        with suppress(BrokenPipeError):
            process.stdin.close()
        data, fd = b"", process.stdout.fileno()
        while len(data) <= _MAX_BYTES:
            ready, _, _ = select.select([fd], [], [], max(end - time.monotonic(), 0))
            if not ready:
                raise subprocess.TimeoutExpired(self._name, self._timeout_s)
            piece = os.read(fd, _MAX_BYTES + 1 - len(data))
            if not piece:
                return process.wait(max(end - time.monotonic(), 0)), data
            data += piece
        return 1, b""

    def _silent(self) -> RegistryError:
        return RegistryError(f"the credential helper {self._name!r} does not answer", hint="run it by hand to see why")

    def _program(self) -> str:
        """Return its absolute path: the first on PATH whose file and directory belong to us or root and that others cannot write."""
        folders = os.environ.get("PATH", "").split(os.pathsep) if _NAME.match(self._name) else ()
        for folder in folders:
            path = Path(folder) / f"docker-credential-{self._name}"
            if path.is_absolute() and os.access(path, os.X_OK) and _is_safe(path.parent) and _is_safe(path) and path.is_file():
                return str(path)
        raise RegistryError(
            f"the credential helper {self._name[:80]!r} of your docker config.json is not there",
            hint="install it where only you or root can write, or remove its entry",
        )


def _is_safe(path: Path) -> bool:
    found = path.stat()
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & stat.S_IWOTH
