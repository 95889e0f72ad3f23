"""The user's registry passwords, where other tools left them: docker's ``config.json``, podman's ``auth.json``, credential helpers."""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from notebook_containers.errors import InvalidDocument, RegistryError
from notebook_containers.oci.documents import JSON, untrusted_json

_HELPER = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_HELPER_TIMEOUT_S = 20.0
_MAX_HELPER_BYTES = 64 * 1024
_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name with a password, or an identity token; secrets are never shown."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def find_credentials(registry: str) -> Credentials | None:
    """Return the user's credentials for a registry named as in references, or None; raises RegistryError for a failing helper."""
    for path in _files():
        with suppress(OSError):
            try:
                document = untrusted_json(path.read_bytes(), what=str(path))
            except InvalidDocument as err:
                raise RegistryError(f"cannot read credentials: {err}", hint="repair or remove that file") from err
            found = _in_document(document, registry)
            if found is not None:
                return found
    return None


def _files() -> Iterator[Path]:
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    if chosen := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(chosen)
    folder = os.environ.get("DOCKER_CONFIG")
    with suppress(RuntimeError):
        yield (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def _in_document(document: dict[str, JSON], registry: str) -> Credentials | None:
    keys = _HUB_KEYS if registry == "docker.io" else (registry, f"https://{registry}", f"https://{registry}/", f"https://{registry}/v1/")
    helpers = document.get("credHelpers")
    for key in keys:
        if isinstance(helpers, dict) and isinstance(helper := helpers.get(key), str):
            return _from_helper(helper, key)
    auths = document.get("auths")
    for key in keys:
        if isinstance(auths, dict) and isinstance(entry := auths.get(key), dict) and (found := _decode(entry)) is not None:
            return found
    store = document.get("credsStore")
    return _from_helper(store, keys[0]) if isinstance(store, str) and store else None


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


def _from_helper(name: str, server: str) -> Credentials | None:
    """Ask ``docker-credential-<name> get`` (its protocol: the server on standard input, JSON on standard output)."""
    program = shutil.which(f"docker-credential-{name}") if _HELPER.match(name) else None
    if program is None:
        raise RegistryError(
            f"the credential helper {name[:80]!r} of your docker config.json is not there", hint="install it or remove its entry"
        )
    environment = {
        key: os.environ[key] for key in ("HOME", "PATH", "USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS") if key in os.environ
    }
    try:
        done = subprocess.run(
            [os.path.abspath(program), "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_TIMEOUT_S,
            env=environment,
            cwd="/",
            start_new_session=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise RegistryError(f"the credential helper {name!r} does not answer", hint="run it by hand to see why") from err
    if done.returncode != 0 or len(done.stdout) > _MAX_HELPER_BYTES:
        return None
    with suppress(InvalidDocument):
        answer = untrusted_json(done.stdout, what=f"the answer of {name}")
        username, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
        if username == "<token>":
            return Credentials(username="", identity_token=secret)
        return Credentials(username=username, password=secret) if secret else None
    return None
