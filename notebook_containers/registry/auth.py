"""Who we are to a registry: reads its challenge, gets a bearer token, and gives the password to nobody else.

Sources: RFC 9110 section 11 (WWW-Authenticate), the distribution project's token authentication specification.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from notebook_containers.errors import RegistryError
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.registry.credentials import Credentials
from notebook_containers.registry.transport import Transport, is_loopback, is_private, origin

_MAX_HEADER = 8192
_MAX_TOKEN_BYTES = 1024 * 1024
_SCHEME = re.compile(r"\s*([A-Za-z]+)(?:\s+|$)")
_PARAMETER = re.compile(r'\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_TOKEN = re.compile(r"[\x21-\x7e]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a 401 asks for: ``scheme`` in lower case (``bearer`` or ``basic``) and its parameters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenge(header: str) -> Challenge:
    """Parse a ``WWW-Authenticate`` value with one challenge; raises RegistryError for anything else."""
    match = _SCHEME.match(header)
    if match is None or len(header) > _MAX_HEADER or any(ord(c) < 32 for c in header.replace("\t", " ")):
        raise RegistryError(f"the registry asks for a login in words not understood: {header[:100]!r}")
    parameters: dict[str, str] = {}
    position = match.end()
    while position < len(header):
        found = _PARAMETER.match(header, position)
        if found is None:
            raise RegistryError(f"the registry asks for a login in words not understood: {header[:100]!r}")
        value = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        parameters[found[1].lower()] = value
        position = found.end()
    return Challenge(scheme=match[1].lower(), parameters=parameters)


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
        # the transport speaks plain http to loopback hosts only
        return basic(credentials)

    def _token(self, challenge: Challenge, scope: str) -> str:
        realm = challenge.parameters.get("realm", "")
        credentials = self._find(self._transport.registry)
        self._check_realm(realm, with_password=credentials is not None)
        query = {"service": challenge.parameters.get("service", ""), "scope": challenge.parameters.get("scope", scope)}
        # the realm is another origin as a rule, so the header is given outright, after _check_realm
        if credentials is not None and credentials.identity_token:
            form = {"grant_type": "refresh_token", "client_id": "notebook-containers", "refresh_token": credentials.identity_token, **query}
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._transport.request("POST", realm, headers=headers, body=urlencode(form).encode())
        else:
            login = {"Authorization": basic(credentials)} if credentials is not None else {}
            separator = "&" if urlsplit(realm).query else "?"
            url = f"{realm}{separator}{urlencode({k: v for k, v in query.items() if v})}"
            response = self._transport.request("GET", url, headers=login, follow=False)
        try:
            data = response.read(_MAX_TOKEN_BYTES + 1, decode_content=False) if response.status == 200 else b""
        finally:
            response.close()
        return _token_of(data, self._transport.registry)

    def _check_realm(self, realm: str, *, with_password: bool) -> None:
        registry, base = self._transport.registry, self._transport.base
        parts = urlsplit(realm)
        host, own = (parts.hostname or "").lower(), origin(base)[1]
        plain = parts.scheme == "http" and is_loopback(parts.netloc) and is_loopback(self._transport.host)
        if not host or parts.username or (parts.scheme != "https" and not plain):
            raise RegistryError(f"registry {registry} sends its login to {realm[:200]!r}, which is not allowed")
        if host != own and is_private(host) and not is_private(own):
            raise RegistryError(f"registry {registry} sends its login to the private address {host!r}, which is not allowed")
        if with_password and not same_site(host, own):
            hint = f"remove the credentials for {registry} from your docker config.json to go on without them"
            raise RegistryError(f"registry {registry} wants its password sent to another site, {host!r}", hint=hint)


def basic(credentials: Credentials) -> str:
    """Return the Basic ``Authorization`` value (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def same_site(one: str, other: str) -> bool:
    """Tell whether two host names belong together: equal, or with the same registrable domain, judged cautiously without a suffix list."""
    if one == other:
        return True
    left, right = one.split("."), other.split(".")
    # co.uk, com.au, gov.br are suffixes, not sites: a short second label under a country needs a third
    labels = 3 if len(left[-1]) == 2 and len(left) > 1 and len(left[-2]) <= 3 else 2
    numeric = one.replace(".", "").isdigit() or ":" in one
    return not numeric and len(left) >= labels and len(right) >= labels and left[-labels:] == right[-labels:]


def needs_login(registry: str) -> RegistryError:
    """Return the error that says a login is needed."""
    hint = f"put credentials for {registry} into ~/.docker/config.json, as 'docker login', 'podman login' or 'skopeo login' do"
    return RegistryError(f"registry {registry} asks for a login", hint=hint)


def _token_of(data: bytes, registry: str) -> str:
    if not data:
        raise RegistryError(f"registry {registry} refuses the login", hint=needs_login(registry).hint)
    document = untrusted_json(data, what=f"the token of registry {registry}", max_bytes=_MAX_TOKEN_BYTES)
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not _TOKEN.match(token):
        raise RegistryError(f"registry {registry} sent no usable token")
    return token
