"""HTTP to one registry: which hosts get plain http, who gets credentials, where redirects may lead, how often to try again.

Rules (REG-03, REG-11 of the hardening cases): plain http only for loopback hosts and those the user names; no step from https to http; a
redirect loses the ``Authorization`` header unless scheme, host and port are the registry's own; a public registry may not send us to
private addresses. Only the registry's own host sees our certificate, or is believed without a proper one where the user says so.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from notebook_containers.errors import RegistryError
from notebook_containers.registry.addresses import bypasses_proxy, is_loopback, is_private, origin
from notebook_containers.registry.patience import AGAIN, Patience, Stopped, retry_after
from notebook_containers.registry.settings import Settings

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager
    from urllib3.exceptions import HTTPError

    from notebook_containers.registry.wire import Wire

MAX_HOPS = 10
TRY_AGAIN = "try again"
"""The hint of errors that another attempt may not meet: broken and stalled connections."""
_CERTIFICATE_HINT = "put its authority into certs.d/<host>/ca.crt beside the store, or call the host insecure in registries.toml there"
_REDIRECTS = (301, 302, 303, 307, 308)
_DOCKER_HUB = "registry-1.docker.io"
_CONNECTIONS = 8
_FOREIGN, _OWN = "foreign", "own"


class Transport:
    """Requests to one registry, named as in references (``docker.io``, ``localhost:5000``); thread-safe; close it."""

    def __init__(self, registry: str, settings: Settings | None = None, stop: threading.Event | None = None) -> None:
        self.registry, self.settings = registry, settings or Settings()
        self.said = self.settings.host(registry)
        self.host = _DOCKER_HUB if registry == "docker.io" else registry
        self.stop = stop or threading.Event()
        self._pools: dict[tuple[str, str, bool], PoolManager] = {}
        self._wires: list[Wire] = []
        self._lock = threading.Lock()
        self._base = self._known_base()

    def _known_base(self) -> str:
        if self.said.plain_http:
            return f"http://{self.host}"
        # a loopback host is asked what it speaks, unless the user says something about its certificate
        undecided = is_loopback(self.host) and not (self.said.insecure or self.said.ca)
        return "" if undecided else f"https://{self.host}"

    @property
    def base(self) -> str:
        """Scheme and host: https, or for a loopback host what answers there (http is tried first, without credentials)."""
        if not self._base:
            self._base = self._loopback_base()
        return self._base

    @property
    def may_have_password(self) -> bool:
        """Whether a password may be sent to the registry: over TLS, or on this machine."""
        return self.base.startswith("https:") or is_loopback(self.host)

    def patience(self, *, more_s: float = 0.0) -> Patience:
        """Return a fresh count of attempts, with ``more_s`` added to the usual deadline."""
        return Patience(self.settings.timeouts, self.stop, more_s=more_s)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        authorization: str = "",
        body: bytes | Iterator[bytes] | None = None,
        follow: bool = True,
        patience: Patience | None = None,
        repeat: bool = True,
    ) -> BaseHTTPResponse:
        """Send a request and return the unread answer, whatever its status; the caller reads and closes it.

        ``url`` is absolute or a path; ``authorization`` goes to the registry's own origin only. With ``repeat`` what can be sent
        twice (no body, or bytes) is tried again after 408, 429, 5xx and broken connections; GET and HEAD follow redirects within
        the rules. Raises RegistryError when nothing usable answers, Stopped when the transfer is.
        """
        url = urljoin(self.base, url)
        patience = patience or self.patience()
        for _ in range(MAX_HOPS + 1):
            sent = {"User-Agent": "notebook-containers", **(headers or {})}
            if authorization and origin(url) == origin(self.base):
                sent["Authorization"] = authorization
            response = self._send(method, url, sent, body, patience, repeat=repeat)
            if response.status not in _REDIRECTS or not follow or method not in ("GET", "HEAD"):
                return response
            location = response.headers.get("Location", "")
            response.close()
            url = self.next_url(url, location)
        raise RegistryError(f"registry {self.registry} redirects more than {MAX_HOPS} times")

    def next_url(self, url: str, location: str) -> str:
        """Return the absolute address that ``location`` in an answer from ``url`` means; raises RegistryError for a forbidden one."""
        try:
            target = urljoin(url, location)
            parts = urlsplit(target)
            port = parts.port
        except ValueError:
            raise RegistryError(f"registry {self.registry} sends us to {location[:200]!r}, which is no address") from None
        allowed = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
        if not location or parts.scheme not in allowed or not parts.hostname or parts.username or port == 0:
            raise RegistryError(f"registry {self.registry} sends us to {location[:200]!r}, which is not allowed")
        if origin(target) != origin(self.base) and not self._may_go_private and is_private(parts.hostname):
            raise RegistryError(f"registry {self.registry} sends us to the private address {parts.hostname!r}, which is not allowed")
        if parts.scheme == "http" and not is_loopback(parts.netloc) and origin(target) != origin(self.base):
            raise RegistryError(f"registry {self.registry} sends us to {parts.hostname!r} without TLS, which is not allowed")
        return target

    @property
    def _may_go_private(self) -> bool:
        return self.said.private_redirects or is_private(urlsplit(self.base).hostname or "")

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

    def cut(self) -> None:
        """End every request that is being waited for, at once, from any thread; no further one is sent."""
        self.stop.set()
        with self._lock:
            wires = list(self._wires)
        for wire in wires:
            wire.cut()

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterator[bytes] | None,
        patience: Patience,
        *,
        repeat: bool = True,
    ) -> BaseHTTPResponse:
        from urllib3.exceptions import HTTPError

        twice = repeat and (body is None or isinstance(body, bytes))
        while True:
            patience.check()
            try:
                response = self._pool(url).request(
                    method, url, headers=headers, body=body, retries=False, redirect=False, preload_content=False, decode_content=False
                )
            except HTTPError as err:
                patience.check()
                if not (twice and may_pass(err) and patience.again()):
                    raise self.unreachable(err) from err
            except (OSError, ValueError) as err:
                raise RegistryError(f"cannot reach registry {self.registry}: {err}") from err
            else:
                wait = retry_after(response.headers.get("Retry-After", "")) if response.status in AGAIN else None
                if response.status not in AGAIN or not twice or not patience.again(wait):
                    return response
                response.close()

    def unreachable(self, err: HTTPError) -> RegistryError:
        """Return the error that says in a few words why no answer came."""
        words, hint = why(err)
        return RegistryError(f"cannot reach registry {self.registry}: {words}", hint=hint or "check the name, the network and that it runs")

    def _pool(self, url: str) -> PoolManager:
        own = _OWN if origin(url)[1:] == origin(f"https://{self.host}")[1:] or urlsplit(url).netloc == self.host else _FOREIGN
        proxy = self._proxy(url)
        key = (own, proxy, url.startswith("https:") or proxy.startswith("https:"))
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._make_pool(*key)
            return self._pools[key]

    def _proxy(self, url: str) -> str:
        parts = urlsplit(url)
        if is_loopback(parts.netloc) or bypasses_proxy(parts.netloc, _variable("no_proxy")):
            return ""
        proxy = _variable(f"{parts.scheme}_proxy") or _variable("all_proxy")
        return proxy if "://" in proxy or not proxy else f"http://{proxy}"

    def _make_pool(self, own: str, proxy: str, tls: bool) -> PoolManager:
        from urllib3 import PoolManager, ProxyManager, Timeout, make_headers

        from notebook_containers.registry.certificates import context_for
        from notebook_containers.registry.wire import Wire, anything, public_only

        timeouts = self.settings.timeouts
        timeout = Timeout(connect=timeouts.connect_s, read=timeouts.read_s)
        context = None  # reading the system's authorities takes some 20 ms: plain http needs none
        if tls:
            context = context_for(self.registry, self.host, self.settings) if own == _OWN else ssl.create_default_context()
        # through a proxy it is the proxy that looks names up
        guarded = own == _FOREIGN and not proxy and not self._may_go_private
        wire = Wire(connect_s=timeouts.connect_s, forbids=public_only if guarded else anything)
        self._wires.append(wire)
        if self.stop.is_set():
            raise Stopped("the transfer was stopped")
        pool: PoolManager
        if proxy:
            parts = urlsplit(proxy)
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
            headers = make_headers(proxy_basic_auth=login) if login else None
            pool = ProxyManager(proxy, timeout=timeout, maxsize=_CONNECTIONS, ssl_context=context, proxy_headers=headers)
        else:
            pool = PoolManager(timeout=timeout, maxsize=_CONNECTIONS, ssl_context=context)
        pool.pool_classes_by_scheme = wire.pools()
        return pool

    def _loopback_base(self) -> str:
        patience = self.patience()
        try:
            response = self._send("GET", f"http://{self.host}/v2/", {}, None, patience)
        except RegistryError as err:
            if not _looks_like_tls(err):
                raise
            return f"https://{self.host}"
        status = response.status
        response.close()
        # a TLS server answers plain http with 400, or not in http at all
        return f"https://{self.host}" if status == 400 else f"http://{self.host}"


def _variable(name: str) -> str:
    """Return a proxy variable of the environment, the small form first; HTTP_PROXY is not read where a web server could have set it."""
    large = "" if name == "http_proxy" and "REQUEST_METHOD" in os.environ else os.environ.get(name.upper(), "")
    return os.environ.get(name, "") or large


def _chain(err: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    reason: object = getattr(err, "reason", None)
    current: BaseException | None = reason if isinstance(reason, BaseException) else err
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def _looks_like_tls(err: RegistryError) -> bool:
    return any(type(each).__name__ in ("BadStatusLine", "ProtocolError") for each in _chain(err))


def may_pass(err: HTTPError) -> bool:
    """Tell whether another attempt may do better: not for a name that is unknown, a refused connection, a wrong certificate.

    A connection that is not made in time is not tried again either: the kernel has asked several times by then (tcp(7)).
    """
    if type(err).__name__ == "ConnectTimeoutError":
        return False
    for each in _chain(err):
        if isinstance(each, socket.gaierror):
            return each.errno == socket.EAI_AGAIN
        if isinstance(each, ssl.SSLError) and not isinstance(each, ssl.SSLEOFError):
            return False
        if isinstance(each, OSError) and each.errno in (errno.ECONNREFUSED, errno.EACCES, errno.EINVAL):
            return False
    return True


def why(err: BaseException) -> tuple[str, str]:
    """Return why no answer came, and a hint that fits."""
    for each in _chain(err):
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {each.verify_message.lower()}", _CERTIFICATE_HINT
        if isinstance(each, ssl.SSLError):
            return (
                f"TLS fails: {(each.reason or str(each)).lower().replace('_', ' ')[:120]}",
                "if it speaks plain http, say so in registries.toml",
            )
        if isinstance(each, socket.gaierror):
            return "its name is unknown", ""
        if isinstance(each, TimeoutError):
            return "it does not answer in time", TRY_AGAIN
        if isinstance(each, OSError) and each.errno == errno.EACCES:
            return each.strerror or "it is not allowed", ""
        if isinstance(each, OSError) and each.errno in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH):
            return os.strerror(each.errno).lower(), ""
    if any("Timeout" in type(each).__name__ for each in _chain(err)):
        return "it does not answer in time", TRY_AGAIN
    return " ".join(str(err).split())[:200], ""
