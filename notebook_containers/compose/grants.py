"""Secrets and configs of a service: read-only files at their places inside.

A file of this machine is mounted as it is, unless the service asks for an owner or a mode. Everything else is written, once for each
content and owner, below the store (mode 0700 above it), so that containers find it again after a restart of the machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from notebook_containers.compose.model import Grant, Secret, Service
from notebook_containers.compose.site import Site
from notebook_containers.engine.lending import secret_file
from notebook_containers.errors import InvalidArgument

_MODE = 0o444


def mounts(site: Site, service: Service) -> list[Mapping[str, object]]:
    """Return the mounts of a service's secrets and configs, and write what must be written; InvalidArgument for one without bytes."""
    found = [_mount(site, "secret", grant, site.project.secrets) for grant in service.secrets]
    return [*found, *(_mount(site, "config", grant, site.project.configs) for grant in service.configs)]


def _mount(site: Site, kind: str, grant: Grant, known: Mapping[str, Secret]) -> Mapping[str, object]:
    secret = _known(kind, grant, known)
    asked = grant.mode is not None or grant.uid or grant.gid
    source = Path(secret.file) if secret.file and not asked else _written(site, kind, grant, secret)
    if not source.exists():
        raise InvalidArgument(f"{kind} {grant.source}: there is no file {source}", hint="make the file first")
    return {"Type": "bind", "Source": str(source), "Target": grant.target, "ReadOnly": True}


def _known(kind: str, grant: Grant, known: Mapping[str, Secret]) -> Secret:
    secret = known.get(grant.source)
    if secret is None:
        raise InvalidArgument(f"there is no {kind} {grant.source}", hint=f"name it in {kind}s at the top of the file")
    if secret.external:
        raise InvalidArgument(
            f"{kind} {grant.source} is external, and there is no keeper of {kind}s here", hint="give it a file, a variable or its content"
        )
    if not secret.file and secret.content is None:
        raise InvalidArgument(f"{kind} {grant.source}: the variable {secret.environment} is not set", hint=f"set {secret.environment}")
    return secret


def content(kind: str, grant: Grant, known: Mapping[str, Secret]) -> bytes:
    """Return a secret's bytes; InvalidArgument for one that has none."""
    secret = _known(kind, grant, known)
    if secret.file:
        return secret_file(grant.source, Path(secret.file))
    return (secret.content or "").encode("utf-8", "surrogateescape")


def _written(site: Site, kind: str, grant: Grant, secret: Secret) -> Path:
    """Return the file with these bytes, this owner and this mode; it is whole when it is there at all."""
    data = content(kind, grant, {grant.source: secret})
    mode = _MODE if grant.mode is None else grant.mode & 0o777
    name = hashlib.sha256(b"\0".join([data, f"{grant.uid}:{grant.gid}:{mode:o}".encode()])).hexdigest()
    directory = site.place / "granted"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / name
    if path.exists():
        return path
    part = directory / f".{name}.{os.getpid()}"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            _own(kind, grant, file.fileno())
            os.fchmod(file.fileno(), mode)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _own(kind: str, grant: Grant, fd: int) -> None:
    words = [word or "0" for word in (grant.uid, grant.gid)]
    if not all(word.isdecimal() for word in words):
        raise InvalidArgument(f"{kind} {grant.source}: an owner is given by its number", hint='write uid: "1000"')
    if os.geteuid() == 0:
        os.fchown(fd, int(words[0]), int(words[1]))
    elif any(word != "0" for word in words):
        raise InvalidArgument(
            f"{kind} {grant.source}: an ordinary user cannot give a file to {':'.join(words)}",
            hint="leave out uid and gid, and give a mode",
        )


def tidy(site: Site, used: Sequence[str]) -> None:
    """Remove written files that no container of the project has mounted; ``used`` are the sources of their mounts."""
    directory = site.place / "granted"
    with suppress(FileNotFoundError):
        for name in os.listdir(directory):
            if str(directory / name) not in used and not name.startswith("."):
                (directory / name).unlink(missing_ok=True)


def forget(site: Site) -> None:
    """Remove everything that was written for the project."""
    import shutil

    shutil.rmtree(site.place, ignore_errors=True)
