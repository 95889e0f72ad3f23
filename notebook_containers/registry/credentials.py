"""The user's registry passwords, where docker, podman and we leave them: ``config.json``, ``auth.json``, credential helpers."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from notebook_containers.errors import InvalidDocument, RegistryError
from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import JSON, untrusted_json
from notebook_containers.registry.keeper import Keeper

_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_MAX_CONFIG_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name with a password, or an identity token; secrets are never shown."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def find_credentials(registry: str) -> Credentials | None:
    """Return the user's credentials for a registry named as in references, or None; raises RegistryError for a failing helper."""
    for path in _files():
        document = read_config(path)
        found = _in_document(document, registry) if document is not None else None
        if found is not None:
            return found
    return None


def config_path() -> Path:
    """Return docker's ``config.json``: where a login is kept. RegistryError when there is no home directory."""
    folder = os.environ.get("DOCKER_CONFIG")
    try:
        return (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    except RuntimeError as err:
        raise RegistryError("there is no home directory to keep a login in", hint="set HOME or DOCKER_CONFIG") from err


def read_config(path: Path) -> dict[str, JSON] | None:
    """Return a config file's document, None when there is none; RegistryError names one that cannot be understood."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_CONFIG_BYTES + 1)
    except OSError:
        return None
    try:
        return untrusted_json(data, what=str(path)) if data.strip() else {}
    except InvalidDocument as err:
        raise RegistryError(f"cannot read credentials: {err}", hint="repair or remove that file") from err


def keys_of(registry: str) -> tuple[str, ...]:
    """Return the names under which a registry's credentials may be kept, the one that we write first."""
    return _HUB_KEYS if registry == "docker.io" else (registry, f"https://{registry}", f"https://{registry}/", f"https://{registry}/v1/")


def keeper_of(document: Mapping[str, JSON], registry: str) -> tuple[Keeper, str] | None:
    """Return the program that keeps a registry's password, with the registry's name for it, or None: ``credHelpers``, ``credsStore``."""
    helpers, keys = document.get("credHelpers"), keys_of(registry)
    for key in keys:
        if isinstance(helpers, dict) and isinstance(name := helpers.get(key), str):
            return Keeper(name), key
    store = document.get("credsStore")
    return (Keeper(store), keys[0]) if isinstance(store, str) and store else None


def _files() -> Iterator[Path]:
    if chosen := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(chosen)
    with suppress(RegistryError):
        yield config_path()
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"


def _in_document(document: dict[str, JSON], registry: str) -> Credentials | None:
    keys, auths = keys_of(registry), document.get("auths")
    helpers = document.get("credHelpers")
    named = isinstance(helpers, dict) and any(key in helpers for key in keys)
    for key in () if named else keys:
        if isinstance(auths, dict) and isinstance(entry := auths.get(key), dict) and (found := _decode(entry)) is not None:
            return found
    keeper = keeper_of(document, registry)
    answer = keeper[0].get(keeper[1]) if keeper is not None else None
    if answer is None or not answer[1]:
        return None
    username, secret = answer
    if username == "<token>":
        return Credentials(username="", identity_token=secret)
    return Credentials(username=username, password=secret)


def _decode(entry: dict[str, JSON]) -> Credentials | None:
    username, password = entry.get("username"), entry.get("password")
    if isinstance(auth := entry.get("auth"), str) and auth:
        with suppress(binascii.Error, UnicodeDecodeError):
            username, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
    token = entry.get("identitytoken")
    token = token if isinstance(token, str) else ""
    if not isinstance(username, str) or not isinstance(password, str) or not (password or token):
        return None
    return Credentials(username=username, password=password.rstrip("\0"), identity_token=token)
