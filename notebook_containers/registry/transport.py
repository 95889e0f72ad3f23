"""HTTP to one registry: which hosts get plain http, who gets credentials, where redirects may lead, how often to try again.

Rules (REG-03 of the hardening cases): plain http only for loopback hosts; no step from https to http; a redirect loses the
``Authorization`` header unless scheme, host and port are the registry's own; a public registry may not send us to private addresses.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from notebook_containers.errors import RegistryError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager
    from urllib3.exceptions import HTTPError

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 60.0
MAX_HOPS = 10
TRY_AGAIN = "try again"
"""The hint of errors that another attempt may not meet: broken and stalled connections."""
_REDIRECTS = (301, 302, 303, 307, 308)
_DOCKER_HUB = "registry-1.docker.io"


class Transport:
    """Requests to one registry, named as in references (``docker.io``, ``localhost:5000``); thread-safe; close it."""

    def __init__(self, registry: str) -> None:
        self.registry = registry
        self.host = _DOCKER_HUB if registry == "docker.io" else registry
        self._pools: dict[str, PoolManager] = {}
        self._base = "" if is_loopback(self.host) else f"https://{self.host}"

    @property
    def base(self) -> str:
        """Scheme and host: https, or for a loopback host what answers there (http is tried first, without credentials)."""
        if not self._base:
            self._base = self._loopback_base()
        return self._base

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        authorization: str = "",
        body: bytes | BinaryIO | None = None,
        follow: bool = True,
    ) -> BaseHTTPResponse:
        """Send a request and return the unread answer, whatever its status; the caller reads and closes it.

        ``url`` is absolute or a path; ``authorization`` goes to the registry's own origin only. GET and HEAD are tried again after 429,
        5xx and broken connections, and follow redirects within the rules. Raises RegistryError when nothing usable answers.
        """
        url = urljoin(self.base, url)
        for _ in range(MAX_HOPS + 1):
            sent = {"User-Agent": "notebook-containers", **(headers or {})}
            if authorization and origin(url) == origin(self.base):
                sent["Authorization"] = authorization
            response = self._send(method, url, sent, body)
            if response.status not in _REDIRECTS or not follow or method not in ("GET", "HEAD"):
                return response
            location = response.headers.get("Location", "")
            response.close()
            url = self.next_url(url, location)
        raise RegistryError(f"registry {self.registry} redirects more than {MAX_HOPS} times")

    def next_url(self, url: str, location: str) -> str:
        """Return the absolute address that ``location`` in an answer from ``url`` means; raises RegistryError for a forbidden one."""
        target = urljoin(url, location)
        parts = urlsplit(target)
        allowed = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
        if not location or parts.scheme not in allowed or not parts.hostname or parts.username:
            raise RegistryError(f"registry {self.registry} sends us to {location[:200]!r}, which is not allowed")
        if origin(target) != origin(self.base) and is_private(parts.hostname) and not is_private(urlsplit(self.base).hostname or ""):
            raise RegistryError(f"registry {self.registry} sends us to the private address {parts.hostname!r}, which is not allowed")
        if parts.scheme == "http" and not is_loopback(parts.netloc):
            raise RegistryError(f"registry {self.registry} sends us to {parts.hostname!r} without TLS, which is not allowed")
        return target

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | BinaryIO | None) -> BaseHTTPResponse:
        from urllib3 import Retry
        from urllib3.exceptions import HTTPError

        retries: Retry | bool = False
        if method in ("GET", "HEAD"):
            retry_statuses = (429, 500, 502, 503, 504)
            retries = Retry(
                total=3,
                connect=0,
                read=1,
                redirect=False,
                status_forcelist=retry_statuses,
                backoff_factor=0.2,
                backoff_jitter=0.2,
                raise_on_status=False,
                respect_retry_after_header=False,
            )
        try:
            pool = self._pool(url)
            return pool.request(
                method, url, headers=headers, body=body, retries=retries, redirect=False, preload_content=False, decode_content=False
            )
        except HTTPError as err:
            raise self.unreachable(err) from err
        except (OSError, ValueError) as err:
            raise RegistryError(f"cannot reach registry {self.registry}: {err}") from err

    def unreachable(self, err: HTTPError) -> RegistryError:
        """Return the error that says in a few words why no answer came."""
        reason: object = getattr(err, "reason", None)
        cause = reason if isinstance(reason, BaseException) else err
        return RegistryError(f"cannot reach registry {self.registry}: {_words(cause)}", hint="check the name, the network and that it runs")

    def _pool(self, url: str) -> PoolManager:
        from urllib3 import PoolManager, ProxyManager, Timeout

        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme, "")
        if proxy and (is_loopback(parts.netloc) or proxy_bypass(parts.hostname or "")):
            proxy = ""
        if proxy not in self._pools:
            timeout = Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
            pool = ProxyManager(proxy, timeout=timeout, maxsize=4) if proxy else PoolManager(timeout=timeout, maxsize=4)
            self._pools.setdefault(proxy, pool)
        return self._pools[proxy]

    def _loopback_base(self) -> str:
        response = self._send("GET", f"http://{self.host}/v2/", {}, None)
        status = response.status
        response.close()
        # a TLS server answers plain http with 400
        return f"https://{self.host}" if status == 400 else f"http://{self.host}"


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port: what must be equal for credentials to be sent."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def is_loopback(netloc: str) -> bool:
    """Tell whether ``host[:port]`` is this machine: localhost or a literal loopback address; other names are not looked up."""
    host = urlsplit(f"//{netloc}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_private(host: str) -> bool:
    """Tell whether any address of the host is not a public one; a name that cannot be looked up counts as public (it will fail)."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global for *_, address in found)


def _words(err: BaseException) -> str:
    chain: BaseException | None = err
    while chain is not None:
        if isinstance(chain, socket.gaierror):
            return "its name is unknown"
        if isinstance(chain, TimeoutError):
            return "it does not answer in time"
        if isinstance(chain, OSError) and chain.errno in (errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH):
            return str(chain.strerror).lower()
        chain = chain.__cause__ or chain.__context__
    return " ".join(str(err).split())[:200]
