"""What a caller lends to the RUN instructions of a build: secrets and SSH agents, from the words of ``--secret`` and ``--ssh``."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from notebook_containers.errors import InvalidArgument

_MAX_SECRET = 500 * 1024  # BuildKit's limit
_KEYS = ("id", "src", "source", "env", "type")
_ANOTHER = "name another file: --secret id=NAME,src=FILE"


def read_secrets(words: Iterable[str], directory: Path, environment: Mapping[str, str]) -> dict[str, bytes]:
    """Return the secrets of ``id=NAME[,src=FILE|,env=VARIABLE]`` words, by id; without a source the id names a variable or a file.

    Raises InvalidArgument for a word that is none, and for what cannot be read.
    """
    return dict(_secret(word, directory, environment) for word in words)


def _secret(word: str, directory: Path, environment: Mapping[str, str]) -> tuple[str, bytes]:
    values = dict(pair.partition("=")[::2] for pair in word.split(","))
    unknown = [key for key in values if key not in _KEYS]
    if unknown:
        raise InvalidArgument(f"--secret {word!r} has an unknown part {unknown[0]!r}", hint="id=NAME,src=FILE or id=NAME,env=VARIABLE")
    source = values.get("src", values.get("source", ""))
    name = values.get("id", "") or source.rpartition("/")[2]
    if not name:
        raise InvalidArgument(f"--secret {word!r} has no id", hint="id=NAME,src=FILE or id=NAME,env=VARIABLE")
    variable = values.get("env", source if values.get("type") == "env" else "")
    if variable or (not source and name in environment):
        wanted = variable or name
        if wanted not in environment:
            raise InvalidArgument(f"the secret {name}: there is no variable {wanted}", hint=f"set {wanted}, or give src=FILE")
        return name, environment[wanted].encode("utf-8", "surrogateescape")
    return name, secret_file(name, directory / (source or name))


def secret_file(name: str, path: Path) -> bytes:
    """Return the secret in a regular file of at most 500 KiB; raises InvalidArgument."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as err:
        raise InvalidArgument(f"the secret {name} cannot be read: {path}: {os.strerror(err.errno or 0).lower()}", hint=_ANOTHER) from err
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArgument(f"the secret {name} cannot be read: {path} is no regular file", hint=_ANOTHER)
        if status.st_size > _MAX_SECRET:
            raise InvalidArgument(f"the secret {name} is larger than {_MAX_SECRET // 1024} KiB: {path}", hint="mount a directory instead")
        return os.read(fd, _MAX_SECRET)
    finally:
        os.close(fd)


def read_agents(words: Iterable[str], directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the sockets of ``default`` or ``ID=SOCKET`` words, by id; raises InvalidArgument for what is no socket."""
    return dict(_agent(word, directory, environment) for word in words)


def _agent(word: str, directory: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    name, _, text = word.partition("=")
    socket = str(directory / text) if text else environment.get("SSH_AUTH_SOCK", "")
    if not socket:
        raise InvalidArgument(f"--ssh {word}: no SSH agent runs", hint="start one (eval $(ssh-agent); ssh-add) or give ID=SOCKET")
    try:
        is_socket = stat.S_ISSOCK(os.stat(socket).st_mode)
    except OSError as err:
        raise InvalidArgument(f"--ssh {word}: {socket}: {os.strerror(err.errno or 0).lower()}", hint="give ID=SOCKET") from err
    if not is_socket:
        raise InvalidArgument(f"--ssh {word}: {socket} is no socket", hint="add the key to an agent with ssh-add and give its socket")
    return name, socket
