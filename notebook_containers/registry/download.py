"""One file from the web, for ``ADD <url>`` and for build contexts: which hosts may be asked, how much is taken, what it is called.

Rules (BLD-04 of the hardening cases): http and https only; link-local addresses and the clouds' own are never connected to, private ones
not for a Dockerfile that came from elsewhere, nor after a redirect from a public host; each name is looked up once and what is connected
to is what was checked; no step from https to http; no password in an address; a size limit; a server that sends next to nothing is left.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

from notebook_containers.errors import BuildError
from notebook_containers.lean import dataclass
from notebook_containers.registry.addresses import bypasses_proxy, is_loopback, is_metadata_address, is_private, is_public_address
from notebook_containers.registry.patience import AGAIN, Patience, retry_after
from notebook_containers.registry.settings import Timeouts

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

    from notebook_containers.registry.wire import Wire

MAX_BYTES = 8 << 30
"""The largest file that is taken."""
MAX_HOPS = 10
_CHUNK = 1 << 18
_REDIRECTS = (301, 302, 303, 307, 308)
_TOLD_S = 0.125
_GRACE_S = 60.0
_KINDS = ("is a link-local or metadata address", "is a private address")
_FORBIDDEN = "a build never asks there; COPY the file, or fetch it before the build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a server said last time about the file that is kept: its validators (RFC 9110 section 8.8), either may be empty."""

    etag: str = ""
    last_modified: str = ""

    def conditions(self) -> dict[str, str]:
        """Return the headers of a request that asks for the file only if it is another one by now."""
        pairs = (("If-None-Match", self.etag), ("If-Modified-Since", self.last_modified if not self.etag else ""))
        return {name: value for name, value in pairs if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A file that was written: sha256 as hex, bytes, the server's name for it as sent (may be anything), and its validators."""

    sha256: str
    size: int
    disposition: str
    known: Known


class Download:
    """Requests for one file; ``variables`` are proxy variables, ``private`` says whether private addresses are fine; close it.

    ``moved`` is told the bytes so far and of how many (0: the server does not say), a few times a second.
    """

    def __init__(
        self, *, private: bool, variables: Mapping[str, str], timeouts: Timeouts | None = None, max_bytes: int = MAX_BYTES,
        check: Callable[[], None] = lambda: None, moved: Callable[[int, int], None] = lambda _size, _total: None,
    ) -> None:  # fmt: skip
        self._private, self._variables, self._max, self._check = private, variables, max_bytes, check
        self._timeouts, self._moved = timeouts or Timeouts(), moved
        self._pools: list[PoolManager] = []

    def fetch(self, url: str, into: BinaryIO, known: Known | None = None) -> Downloaded | None:
        """Write the file to ``into`` (seekable, empty); None when the server says that it is still the ``known`` one.

        Tried again while connections break. Raises BuildError when it cannot be had, and what ``check`` raises meanwhile.
        """
        from urllib3.exceptions import HTTPError

        from notebook_containers.registry.transport import may_pass, why

        patience = Patience(self._timeouts, threading.Event())
        while True:
            self._check()
            try:
                response = self._answer(url, known.conditions() if known is not None else {})
                try:
                    if response.status not in AGAIN or not patience.again(retry_after(response.headers.get("Retry-After", ""))):
                        return self._taken(url, response, into)
                finally:
                    response.close()
            except HTTPError as err:
                if not (may_pass(err) and patience.again()):
                    words, hint = why(err)
                    hint = hint or (_FORBIDDEN if words.endswith(_KINDS) else "check the address, and that its server runs")
                    raise BuildError(f"cannot fetch {url}: {words}", hint=hint) from err

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools:
            pool.clear()
        self._pools.clear()

    def _answer(self, url: str, conditions: Mapping[str, str]) -> BaseHTTPResponse:
        headers = {"User-Agent": "notebook-containers", "Accept-Encoding": "identity", **conditions}
        private, place = self._private, check_address(url)
        for _ in range(MAX_HOPS + 1):
            response = self._request(place, headers, private=private)
            if response.status not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "")
            response.close()
            private = private and is_private(urlsplit(place).hostname or "")
            place = _next(url, place, location)
        raise BuildError(f"cannot fetch {url}: it redirects more than {MAX_HOPS} times", hint="give the address of the file itself")

    def _request(self, url: str, headers: Mapping[str, str], *, private: bool) -> BaseHTTPResponse:
        from urllib3 import PoolManager, ProxyManager, Timeout, make_headers

        from notebook_containers.registry.wire import Wire

        self.close()
        proxy = self._proxy(url)
        timeout = Timeout(connect=self._timeouts.connect_s, read=self._timeouts.read_s)
        pool: PoolManager
        if proxy:
            self._check_proxied(url, private=private)
            parts = urlsplit(proxy)
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
            pool = ProxyManager(proxy, timeout=timeout, proxy_headers=make_headers(proxy_basic_auth=login) if login else None)
        else:
            wire: Wire = Wire(connect_s=self._timeouts.connect_s, forbids=lambda address: forbidden(address, private=private))
            pool = PoolManager(timeout=timeout)
            pool.pool_classes_by_scheme = wire.pools()
        self._pools.append(pool)
        return pool.request("GET", url, headers=headers, retries=False, redirect=False, preload_content=False, decode_content=False)

    def _proxy(self, url: str) -> str:
        parts = urlsplit(url)
        if is_loopback(parts.netloc) or bypasses_proxy(parts.netloc, self._variable("no_proxy")):
            return ""
        proxy = self._variable(f"{parts.scheme}_proxy") or self._variable("all_proxy")
        return proxy if "://" in proxy or not proxy else f"http://{proxy}"

    def _variable(self, name: str) -> str:
        return self._variables.get(name) or self._variables.get(name.upper(), "")

    def _check_proxied(self, url: str, *, private: bool) -> None:
        """Through a proxy it is the proxy that looks names up: what this machine can tell of the host is still refused."""
        import socket

        host = urlsplit(url).hostname or ""
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return
        words = next(filter(None, (forbidden(str(address[0]), private=private) for *_, address in found)), "")
        if words:
            raise BuildError(f"cannot fetch {url}: {words}", hint=_FORBIDDEN)

    def _taken(self, url: str, response: BaseHTTPResponse, into: BinaryIO) -> Downloaded | None:
        if response.status == 304:
            return None
        if response.status != 200:
            hint = "check the path" if response.status in (404, 410) else "a file that needs a login can be fetched in a RUN with a secret"
            raise BuildError(
                f"cannot fetch {url}: its server answers {response.status} {_plain(response.reason or '')}".rstrip(), hint=hint
            )
        length = response.headers.get("Content-Length", "")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._max:
            raise self._too_large(url)
        sha256, size = self._copied(url, response, into)
        return Downloaded(
            sha256=sha256, size=size, disposition=response.headers.get("Content-Disposition", "")[:4096],
            known=Known(etag=response.headers.get("ETag", "")[:1024], last_modified=response.headers.get("Last-Modified", "")[:64]),
        )  # fmt: skip

    def _copied(self, url: str, response: BaseHTTPResponse, into: BinaryIO) -> tuple[str, int]:
        into.seek(0)
        into.truncate()
        total, size, began, told = hashlib.sha256(), 0, time.monotonic(), 0.0
        length = response.headers.get("Content-Length", "")
        whole = int(length) if length.isascii() and length.isdigit() else 0
        for chunk in response.stream(_CHUNK, decode_content=False):
            self._check()
            size += len(chunk)
            if size > self._max:
                raise self._too_large(url)
            total.update(chunk)
            into.write(chunk)
            if time.monotonic() - told > _TOLD_S:
                self._moved(size, whole)
                told = time.monotonic()
            if time.monotonic() - began > _GRACE_S + size / self._timeouts.slowest_bytes_per_s:
                raise BuildError(f"cannot fetch {url}: its server sends next to nothing", hint="try again later")
        into.flush()
        return total.hexdigest(), size

    def _too_large(self, url: str) -> BuildError:
        return BuildError(f"cannot fetch {url}: it is larger than {self._max} bytes", hint="mount it into a RUN, or COPY it")


def check_address(url: str) -> str:
    """Return an address that may be asked, without its fragment; raises BuildError for one that may not, whatever its host is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BuildError(f"{url[:200]} is no address", hint="such as https://example.org/file") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise BuildError(f"{url[:200]} is no address", hint="such as https://example.org/file")
    if parts.username or parts.password:
        raise BuildError("an address may not hold a password: it would stay in the image's history", hint="use RUN --mount=type=secret")
    return url.partition("#")[0]


def forbidden(address: str, *, private: bool) -> str:
    """Say in words why a literal address may not be connected to; empty when it may."""
    if is_metadata_address(address):
        return f"{address} {_KINDS[0]}"
    return "" if private or is_public_address(address) else f"{address} {_KINDS[1]}"


def _next(url: str, place: str, location: str) -> str:
    with suppress(BuildError, ValueError):
        target = check_address(urljoin(place, location))
        if location and (urlsplit(place).scheme == "http" or urlsplit(target).scheme == "https"):
            return target
    raise BuildError(f"cannot fetch {url}: it redirects to {_plain(location)[:200]!r}, which is not allowed")


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def pinned(url: str, *, private: bool) -> tuple[str, int, str]:
    """Look the host of an address up once and check it; return host, port and the literal address (empty: it is unknown).

    Raises BuildError for an address that may not be connected to.
    """
    import socket

    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"https": 443, "http": 80, "ssh": 22, "git": 9418}.get(parts.scheme, 0)
    try:
        found = [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except OSError:
        return host, port, ""
    words = next(filter(None, (forbidden(address, private=private) for address in found)), "")
    if words:
        raise BuildError(f"cannot fetch {url}: {words}", hint=_FORBIDDEN)
    return host, port, f"[{found[0]}]" if ":" in found[0] else found[0]
