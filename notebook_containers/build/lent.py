"""What a caller lends to a build: secrets and SSH agents, for RUN to mount and for git to log in with."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from notebook_containers.lean import dataclass, field

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """Secrets by id, SSH agents' sockets by id."""

    secrets: dict[str, bytes] = field(default_factory=dict, repr=False)
    agents: dict[str, str] = field(default_factory=dict)

    def authorization(self, url: str, *, own: bool) -> str:
        """Return the value of ``Authorization`` for git's requests to an address; empty where there is none.

        BuildKit's words: the secrets ``GIT_AUTH_HEADER.HOST``, ``GIT_AUTH_TOKEN.HOST``, and without a host for any. An address that is
        not the caller's ``own`` word gets what names its host alone, and none is sent in the clear but to this machine.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
            return ""
        for ending in (f".{host}", *([""] if own else [])):
            if header := self._text(f"GIT_AUTH_HEADER{ending}"):
                return header
            if token := self._text(f"GIT_AUTH_TOKEN{ending}"):
                return "basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()
        return ""

    def _text(self, name: str) -> str:
        text = self.secrets.get(name, b"").decode("utf-8", "replace").strip()
        return text if text.isprintable() else ""
