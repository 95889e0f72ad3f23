"""Logging in and out: the password is tried at the registry, then kept as docker keeps it, so that all tools find it."""

from __future__ import annotations

import base64
import json
import os
from contextlib import closing
from pathlib import Path

from notebook_containers.errors import InvalidArgument, RegistryError
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import JSON
from notebook_containers.registry.attended import attended
from notebook_containers.registry.client import Client
from notebook_containers.registry.credentials import Credentials, config_path, keeper_of, keys_of, read_config
from notebook_containers.registry.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """A login that was kept; ``warnings`` say what people should know of it."""

    registry: str
    warnings: tuple[str, ...] = ()


def login(registry: str, username: str, password: str, *, settings: Settings | None = None) -> LoggedIn:
    """Try the password at the registry and keep it; RegistryError when it is refused (nothing is kept), InvalidArgument without one."""
    if not username or not password or ":" in username:
        raise InvalidArgument("a login needs a user name (without a colon) and a password")
    credentials = Credentials(username=username, password=password)
    with Client(registry, settings=settings, find=lambda _registry: credentials) as client:
        asked = attended(lambda: _try(client), client.transport.cut, name="nbc-login")
    warnings = [] if asked else [f"registry {registry} asks nobody for a login: the password was not tried"]
    kept_in = _keep(registry, credentials)
    if kept_in is not None:
        warnings.append(f"the password is stored unencrypted in {kept_in}; a credential helper (credsStore) would encrypt it")
    return LoggedIn(registry=registry, warnings=tuple(warnings))


def logout(registry: str) -> bool:
    """Forget a registry's password; False when there was none."""
    path = config_path()
    document = read_config(path) or {}
    found = keeper_of(document, registry)
    removed = found[0].erase(found[1]) if found is not None else False
    auths = document.get("auths")
    if isinstance(auths, dict):
        gone = [auths.pop(key) for key in keys_of(registry) if key in auths]
        if gone:
            _write(path, document)
            removed = True
    return removed


def _try(client: Client) -> bool:
    """Tell whether the registry asked for the password, which it then accepted."""
    with closing(client.transport.request("GET", "/v2/")) as response:
        status, challenge = response.status, response.headers.get("WWW-Authenticate", "")
    if status == 200:
        return False
    if status != 401:
        raise RegistryError(f"registry {client.registry} answers {status} to a login", hint="check that it is a registry")
    authorization = client.authenticator.answer(challenge, "")
    with closing(client.transport.request("GET", "/v2/", authorization=authorization)) as response:
        status = response.status
    if status == 401:
        raise RegistryError(f"registry {client.registry} refuses the login", hint="check user name and password")
    return True


def _keep(registry: str, credentials: Credentials) -> Path | None:
    """Store the password as docker does; returns the file that has it in the clear, None when a program keeps it."""
    path, key = config_path(), keys_of(registry)[0]
    document = read_config(path) or {}
    found = keeper_of(document, registry)
    entry: dict[str, JSON] = {}
    if found is not None:
        found[0].store(found[1], credentials.username, credentials.password)
    else:
        entry["auth"] = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
    auths = document.get("auths")
    document["auths"] = {**(auths if isinstance(auths, dict) else {}), key: entry}
    _write(path, document)
    return path if found is None else None


def _write(path: Path, document: dict[str, JSON]) -> None:
    """Replace the file in one step, readable by its owner only; a link is followed to the file that it means."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target = Path(os.readlink(path)) if path.is_symlink() else path
        target = path.parent / target
        staged = target.with_name(f".{target.name}-{os.getpid()}-{os.urandom(4).hex()}")
        fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(fd, "w", encoding="utf-8") as file:
                json.dump(document, file, indent="\t")
                file.flush()
                os.fsync(fd)
            os.replace(staged, target)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
    except OSError as err:
        raise RegistryError(f"{path} cannot be written: {err.strerror}", hint="make it writable, or set DOCKER_CONFIG") from err
