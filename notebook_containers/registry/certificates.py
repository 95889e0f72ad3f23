"""Which certificates are believed, and which are shown: the system's, the user's ``ca``, and ``certs.d/<host:port>`` as docker has it.

In such a directory ``*.crt`` are authorities that are believed, ``NAME.cert`` with ``NAME.key`` is our own certificate.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

from notebook_containers.errors import RegistryError
from notebook_containers.registry.settings import Settings

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?\Z|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?\Z")
_SYSTEM = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))


def context_for(registry: str, host: str, settings: Settings) -> ssl.SSLContext:
    """Return the TLS context for a registry's own host (``host[:port]``); RegistryError names a file that cannot be used."""
    said = settings.host(registry)
    context = ssl.create_default_context()
    if said.ca:
        _believe(context, Path(said.ca).expanduser())
    for folder in _folders(host, settings):
        for path in sorted(folder.glob("*.crt")):
            _believe(context, path)
        for path in sorted(folder.glob("*.cert")):
            _show(context, path, path.with_suffix(".key"))
    if said.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _folders(host: str, settings: Settings) -> Iterator[Path]:
    """Yield the directories that there are; a name that could lead elsewhere has none."""
    if not _HOST.match(host) or ".." in host:
        return
    places = [*_SYSTEM]
    if home := os.environ.get("HOME"):
        places += [Path(home) / ".docker" / "certs.d", Path(home) / ".config" / "containers" / "certs.d"]
    if settings.folder is not None:
        places.append(settings.folder / "certs.d")
    for place in places:
        if (place / host).is_dir():
            yield place / host


def _believe(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=str(path))
    except (OSError, ssl.SSLError) as err:
        raise RegistryError(f"{path} cannot be used as a certificate authority: {_words(err)}", hint="repair or remove it") from err


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as err:
        raise RegistryError(f"{certificate} and {key.name} cannot be used: {_words(err)}", hint="repair or remove them") from err


def _words(err: OSError) -> str:
    return (err.strerror or str(err)).lower()[:200]
