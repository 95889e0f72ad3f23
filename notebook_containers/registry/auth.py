"""Who we are to a registry: reads its challenge, gets a bearer token, and gives the password to nobody else.

Sources: RFC 9110 section 11 (WWW-Authenticate), the distribution project's token authentication specification.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from urllib.parse import urlencode, urlsplit

from notebook_containers.errors import RegistryError
from notebook_containers.lean import dataclass, field
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.registry.addresses import is_loopback, is_private, origin, same_site
from notebook_containers.registry.credentials import Credentials
from notebook_containers.registry.reading import whole
from notebook_containers.registry.transport import Transport

_CLIENT = "notebook-containers"
_MAX_HEADER = 8192
_MAX_TOKEN_BYTES = 1024 * 1024
_SCHEME = re.compile(r"\s*([A-Za-z]+)(?:\s+|$)")
_PARAMETER = re.compile(r'\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_NEXT_SCHEME = re.compile(r"\s*[A-Za-z]+(?:\s+[A-Za-z]|\s*$)")
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a 401 asks for: ``scheme`` in lower case (``bearer`` or ``basic``) and its parameters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenge(header: str) -> Challenge:
    """Parse a ``WWW-Authenticate`` value and return the challenge to answer: bearer before basic before any other.

    RegistryError for anything that is not understood as a whole.
    """
    challenges: list[Challenge] = []
    position = 0
    while position < len(header) or not challenges:
        match = _SCHEME.match(header, position)
        if match is None or len(header) > _MAX_HEADER or any(ord(c) < 32 for c in header.replace("\t", " ")):
            raise RegistryError(f"the registry asks for a login in words not understood: {header[:100]!r}")
        parameters, position = _parameters(header, match.end())
        challenges.append(Challenge(scheme=match[1].lower(), parameters=parameters))
    return min(challenges, key=lambda challenge: {"bearer": 0, "basic": 1}.get(challenge.scheme, 2))


def _parameters(header: str, position: int) -> tuple[dict[str, str], int]:
    """Return the parameters that begin at a position, and where they end: at the next scheme or the end of the text."""
    parameters: dict[str, str] = {}
    while position < len(header):
        found = _PARAMETER.match(header, position)
        if found is None:
            if parameters and _NEXT_SCHEME.match(header, position):
                break
            raise RegistryError(f"the registry asks for a login in words not understood: {header[:100]!r}")
        value = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        parameters[found[1].lower()] = value
        position = found.end()
    return parameters, position


class Authenticator:
    """Turns challenges into ``Authorization`` values for one registry, and remembers them by scope; thread-safe."""

    def __init__(self, transport: Transport, find: Callable[[str], Credentials | None]) -> None:
        self._transport, self._find = transport, find
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}

    def known(self, scope: str) -> str:
        """Return the value that worked for this scope, or an empty text."""
        return self._known.get(scope, "")

    def answer(self, header: str, scope: str) -> str:
        """Return the ``Authorization`` value for a challenge; raises RegistryError when there is none we may give."""
        with self._lock:
            challenge = parse_challenge(header)
            if challenge.scheme == "bearer":
                value = f"Bearer {self._token(challenge, scope)}"
            elif challenge.scheme == "basic":
                value = self._basic()
            else:
                raise RegistryError(f"registry {self._transport.registry} asks for a login of an unknown kind, {challenge.scheme!r}")
            self._known[scope] = value
            return value

    def _basic(self) -> str:
        credentials = self._find(self._transport.registry)
        if credentials is None or credentials.identity_token:
            raise needs_login(self._transport.registry)
        if not self._transport.may_have_password:
            raise RegistryError(
                f"registry {self._transport.registry} wants a password without TLS, which is not sent",
                hint="give the registry a certificate: plain http is for what everybody may have",
            )
        return basic(credentials)

    def _token(self, challenge: Challenge, scope: str) -> str:
        realm = challenge.parameters.get("realm", "")
        credentials = self._find(self._transport.registry)
        self._check_realm(realm, with_password=credentials is not None)
        scopes = challenge.parameters.get("scope", scope).split(" ")
        query = [("service", challenge.parameters.get("service", "")), *(("scope", each) for each in scopes)]
        query = [(key, value) for key, value in query if value]
        # the realm is another origin as a rule, so the header is given outright, after _check_realm
        if credentials is not None and credentials.identity_token:
            form = [("grant_type", "refresh_token"), ("client_id", _CLIENT), ("refresh_token", credentials.identity_token), *query]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._transport.request("POST", realm, headers=headers, body=urlencode(form).encode())
        else:
            login = {"Authorization": basic(credentials)} if credentials is not None else {}
            separator = "&" if urlsplit(realm).query else "?"
            account = [("account", credentials.username), ("client_id", _CLIENT)] if credentials is not None else []
            url = f"{realm}{separator}{urlencode([*query, *account])}"
            response = self._transport.request("GET", url, headers=login, follow=False)
        registry = self._transport.registry
        with closing(response):
            if response.status not in (200, 400, 401, 403):
                raise RegistryError(f"the token server of registry {registry} answers {response.status}", hint="try again later")
            data = whole(response, _MAX_TOKEN_BYTES, "its token", registry) if response.status == 200 else b""
        return _token_of(data, registry)

    def _check_realm(self, realm: str, *, with_password: bool) -> None:
        registry, base = self._transport.registry, self._transport.base
        parts = urlsplit(realm)
        host, own = (parts.hostname or "").lower(), origin(base)[1]
        here = is_loopback(parts.netloc) and is_loopback(self._transport.host)
        named = self._transport.said.plain_http and host == own and not with_password
        plain = parts.scheme == "http" and (here or named)
        if not host or parts.username or (parts.scheme != "https" and not plain):
            raise RegistryError(f"registry {registry} sends its login to {realm[:200]!r}, which is not allowed")
        if host != own and is_private(host) and not is_private(own):
            raise RegistryError(f"registry {registry} sends its login to the private address {host!r}, which is not allowed")
        if with_password and not (same_site(host, own) or host in self._transport.said.token_hosts):
            hint = f"if {host!r} belongs to it, name it in registries.toml (token_hosts); else log out of {registry}"
            raise RegistryError(f"registry {registry} wants its password sent to another site, {host!r}", hint=hint)


def basic(credentials: Credentials) -> str:
    """Return the Basic ``Authorization`` value (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def needs_login(registry: str) -> RegistryError:
    """Return the error that says a login is needed."""
    hint = f"log in with 'nbc login {registry}'"
    return RegistryError(f"registry {registry} asks for a login", hint=hint)


def _token_of(data: bytes, registry: str) -> str:
    if not data:
        raise RegistryError(f"registry {registry} refuses the login", hint=needs_login(registry).hint)
    document = untrusted_json(data, what=f"the token of registry {registry}", max_bytes=_MAX_TOKEN_BYTES)
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.match(token):
        raise RegistryError(f"registry {registry} sent no usable token")
    return token
