"""Sending blobs and manifests: mounted from another repository, in one piece, or in chunks that go on where a connection broke.

After each, the registry is asked whether it has what was sent (REG-10): its word for a digest is not believed before.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from notebook_containers.errors import RegistryError
from notebook_containers.oci.image import Digest
from notebook_containers.registry.client import Client, fits, push_scope
from notebook_containers.registry.patience import Stopped
from notebook_containers.registry.transport import TRY_AGAIN

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CHUNK_BYTES = 8 * 1024 * 1024
_WHOLE_BYTES = 1024 * 1024
_LARGEST_CHUNK_BYTES = 64 * 1024 * 1024
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,18})\Z")
_OCTETS = {"Content-Type": "application/octet-stream"}


class LostUpload(RegistryError):
    """The registry no longer knows an upload that had begun: it can only be begun again."""


def mount(client: Client, repository: str, digest: Digest, source: str) -> bool:
    """Have a blob of the repository ``source`` of the same registry in this one too; False when the registry would rather be sent it."""
    scope = f"{push_scope(repository)} repository:{source}:pull"
    url = f"/v2/{repository}/blobs/uploads/?{urlencode({'mount': digest, 'from': source})}"
    with closing(client.call("POST", url, scope, body=b"")) as response:
        if response.status == 202:
            _cancel(client, repository, _location(client, response, f"/v2/{repository}/blobs/uploads/"))
        if response.status != 201:
            return False
        named = response.headers.get("Docker-Content-Digest", digest)
    if named != digest:
        raise RegistryError(f"registry {client.registry} mounted {named[:80]!r}, not blob {digest}")
    # a registry that says yes and does not have it is sent the bytes
    return client.has_blob(repository, digest, push=True)


class Upload:
    """One blob on its way to a repository; its bytes are given as pieces, from the start again when that is needed.

    A small one goes in one request. A larger one is streamed (one PATCH, as docker does); where that breaks, or is not taken, it goes on
    from what the registry has, in chunks that say their place (Content-Range).
    """

    def __init__(self, client: Client, repository: str, what: str, *, sent: Callable[[int], object] = lambda _count: None) -> None:
        self._client, self._repository, self._what, self._sent = client, repository, f"{what} to {repository}", sent
        self._location = ""
        self._offset = 0
        self._chunk_bytes = CHUNK_BYTES
        self._may_stream = True

    def send(self, source: Callable[[], Iterator[bytes]], *, expected: Digest | None = None) -> tuple[Digest, int]:
        """Send what ``source`` yields and return its digest and size; RegistryError when it cannot be sent or arrives as something else."""
        patience = self._client.transport.patience(more_s=1e9)
        while True:
            try:
                found, size = self._once(source, expected)
            except LostUpload:
                self._sent(-self._offset)
                if not patience.again():
                    raise
            else:
                break
        if not self._client.has_blob(self._repository, found, push=True):
            raise RegistryError(f"registry {self._client.registry} took {self._what} and does not have it")
        return found, size

    def _once(self, source: Callable[[], Iterator[bytes]], expected: Digest | None) -> tuple[Digest, int]:
        self._begin()
        algorithm = expected.algorithm if expected else "sha256"
        digest, size, last = self._send_streamed(source, algorithm) or self._send_chunks(source, algorithm)
        if expected is not None and digest != expected:
            raise RegistryError(f"{self._what} cannot be sent: its bytes have the digest {digest}", hint="run 'nbc system check'")
        self._end(digest, last)
        return digest, size

    def _send_streamed(self, source: Callable[[], Iterator[bytes]], algorithm: str) -> tuple[Digest, int, bytes] | None:
        """Send all as one request; return digest, size, and what is still to be sent (all of a small blob); None: to go on in chunks."""
        digest = hashlib.new(algorithm)
        pieces = _hashed(source(), digest.update)
        with closing(pieces):
            enough = min(self._chunk_bytes, _WHOLE_BYTES)
            first = _beginning(pieces, enough)
            if len(first) < enough:
                return _digest(digest), len(first), first
            if not self._may_stream:
                return None
            self._may_stream = False  # it is tried once
            counted = _Counted(first, pieces, self._sent)
            whole = False
            try:
                whole = self._streamed(counted)
            finally:
                self._sent(0 if whole else -counted.count)
            if not whole:
                return None
        self._offset = counted.count
        return _digest(digest), counted.count, b""

    def _streamed(self, pieces: _Counted) -> bool:
        """Tell whether one request took it all; otherwise the offset is what the registry has of it."""
        known = self._client.authenticator.known(push_scope(self._repository))
        transport = self._client.transport
        try:
            response = transport.request("PATCH", self._location, headers=_OCTETS, authorization=known, body=iter(pieces), repeat=False)
        except Stopped:
            raise
        except RegistryError:
            self._ask(pieces.count, refused=False)
            return False
        with closing(response):
            match = _RANGE.match(response.headers.get("Range", ""))
            if response.status in (201, 202, 204) and pieces.ended and (match is None or int(match[1]) == pieces.count - 1):
                self._location = _location(self._client, response, self._location)
                return True
        self._ask(pieces.count, refused=False)
        return False

    def _send_chunks(self, source: Callable[[], Iterator[bytes]], algorithm: str) -> tuple[Digest, int, bytes]:
        digest, size = hashlib.new(algorithm), 0
        skip = self._offset
        with closing(_hashed(source(), digest.update)) as pieces:
            for chunk in _chunks(_without(pieces, skip), self._chunk_bytes):
                self._chunk(chunk)
                size += len(chunk)
        return _digest(digest), skip + size, b""

    def _begin(self) -> None:
        url = f"/v2/{self._repository}/blobs/uploads/"
        with closing(self._client.call("POST", url, push_scope(self._repository), body=b"")) as response:
            self._client.expect(response, (202,), self._what)
            self._location = _location(self._client, response, url)
            least = response.headers.get("OCI-Chunk-Min-Length", "")
        self._offset = 0
        if least.isdigit():
            self._chunk_bytes = min(max(CHUNK_BYTES, int(least[:12])), _LARGEST_CHUNK_BYTES)

    def _chunk(self, data: bytes) -> None:
        """Send one chunk; what the registry has of it already after a failure is not sent again."""
        end = self._offset + len(data)
        patience = self._client.transport.patience(more_s=len(data) / self._client.transport.settings.timeouts.slowest_bytes_per_s)
        while self._offset < end:
            status = 0
            rest = data[len(data) - (end - self._offset) :]
            headers = {**_OCTETS, "Content-Range": f"{self._offset}-{end - 1}"}
            try:
                with closing(self._call("PATCH", self._location, headers, rest, repeat=False)) as response:
                    status = response.status
                    if status in (201, 202, 204):
                        self._advance(response, end)
                        continue
                    if status == 404:
                        raise LostUpload(f"registry {self._client.registry} has lost the upload of {self._what}", hint=TRY_AGAIN)
                    if status not in (408, 416, 429, 500, 502, 503, 504):
                        self._client.expect(response, (202,), self._what)
                    error = RegistryError(f"registry {self._client.registry} answers {status} for {self._what}", hint=TRY_AGAIN)
            except LostUpload:
                raise
            except RegistryError as err:
                error = err
                if err.hint != TRY_AGAIN and not err.message.startswith("cannot reach"):
                    raise
            if not patience.again():
                raise error
            self._ask(end, refused=status == 416)

    def _advance(self, response: BaseHTTPResponse, end: int) -> None:
        self._location = _location(self._client, response, self._location)
        self._sent(end - self._offset)
        self._offset = end

    def _ask(self, end: int, *, refused: bool) -> None:
        """Ask how far the upload came; LostUpload when the registry does not know it or is somewhere else entirely."""
        with closing(self._call("GET", self._location, {}, None)) as response:
            match = _RANGE.match(response.headers.get("Range", ""))
            if response.status not in (200, 202, 204) or match is None:
                raise LostUpload(f"registry {self._client.registry} has lost the upload of {self._what}", hint=TRY_AGAIN)
            # 0-0 is one byte, or what registries say of nothing at all; where the start is refused it cannot be told which
            has = int(match[1]) + (1 if match[1] != "0" or self._offset else 0)
            if not self._offset <= has <= end or (refused and has == self._offset):
                raise LostUpload(f"registry {self._client.registry} has other bytes of {self._what} than were sent", hint=TRY_AGAIN)
            if response.headers.get("Location"):
                self._location = _location(self._client, response, self._location)
        self._sent(has - self._offset)
        self._offset = has

    def _end(self, digest: Digest, body: bytes) -> None:
        url = self._location + ("&" if urlsplit(self._location).query else "?") + urlencode({"digest": digest})
        with closing(self._call("PUT", url, _OCTETS, body)) as response:
            if response.status == 404:
                raise LostUpload(f"registry {self._client.registry} has lost the upload of {self._what}", hint=TRY_AGAIN)
            self._client.expect(response, (201, 204), self._what)
            named = response.headers.get("Docker-Content-Digest", digest)
        if named != digest:
            raise RegistryError(f"registry {self._client.registry} stored {self._what} as {named[:80]!r}, not {digest}")
        self._sent(len(body))

    def _call(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, repeat: bool = True) -> BaseHTTPResponse:
        return self._client.call(method, url, push_scope(self._repository), headers=headers, body=body, repeat=repeat)


def push_manifest(client: Client, repository: str, reference: str, data: bytes, media_type: str) -> Digest:
    """Send a manifest under a tag or digest and return its digest; RegistryError when the registry has another one afterwards."""
    url = f"/v2/{repository}/manifests/{quote(reference, safe=':')}"
    with closing(client.call("PUT", url, push_scope(repository), headers={"Content-Type": media_type}, body=data)) as response:
        client.expect(response, (201,), f"the manifest of {repository}")
        stored = response.headers.get("Docker-Content-Digest", "")
    digest = Digest.of(data)
    for found in (stored, client.manifest_digest(repository, reference)):
        if found and not fits(data, found):
            raise RegistryError(f"registry {client.registry} stored the manifest of {repository} as {found[:80]!r}, not {digest}")
    return digest


def _location(client: Client, response: BaseHTTPResponse, base: str) -> str:
    here = base if "://" in base else client.transport.base + base
    return client.transport.next_url(here, response.headers.get("Location", ""))


def _cancel(client: Client, repository: str, location: str) -> None:
    with closing(client.call("DELETE", location, push_scope(repository))):
        return


class _Counted:
    """Yields a first chunk and the rest, and counts what was handed over; ``ended`` when that is all."""

    def __init__(self, first: bytes, rest: Iterator[bytes], sent: Callable[[int], object]) -> None:
        self._first, self._rest, self._sent = first, rest, sent
        self.count, self.ended = 0, False

    def __iter__(self) -> Iterator[bytes]:
        for piece in itertools.chain((self._first,), self._rest):
            self.count += len(piece)
            self._sent(len(piece))
            yield piece
        self.ended = True


def _hashed(pieces: Iterator[bytes], update: Callable[[bytes], object]) -> Generator[bytes, None, None]:
    for piece in pieces:
        update(piece)
        yield piece


def _digest(digest: hashlib._Hash) -> Digest:
    return Digest(f"{digest.name}:{digest.hexdigest()}")


def _without(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield the pieces without the first ``count`` bytes."""
    for piece in pieces:
        if count < len(piece):
            yield piece[count:]
        count = max(count - len(piece), 0)


def _beginning(pieces: Iterator[bytes], size: int) -> bytes:
    """Return the first pieces, as many as have ``size`` bytes together; fewer bytes are all there are."""
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) >= size:
            break
    return bytes(held)


def _chunks(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the pieces' bytes in chunks of ``size``, the last one shorter (and none for no bytes)."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
