"""Sending blobs and manifests: mounted from another repository, in one piece, or in chunks that go on where a connection broke.

After each, the registry is asked whether it has what was sent (REG-10): its word for a digest is not believed before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from notebook_containers.errors import RegistryError
from notebook_containers.oci.image import Digest
from notebook_containers.registry.client import Client, fits, push_scope
from notebook_containers.registry.transport import TRY_AGAIN

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CHUNK_BYTES = 8 * 1024 * 1024
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
    """One blob on its way to a repository; its bytes are given as pieces, once more from the start when an upload is lost."""

    def __init__(self, client: Client, repository: str, what: str, *, sent: Callable[[int], object] = lambda _count: None) -> None:
        self._client, self._repository, self._what, self._sent = client, repository, f"{what} to {repository}", sent
        self._location = ""
        self._offset = 0
        self._chunk_bytes = CHUNK_BYTES

    def send(self, source: Callable[[], Iterator[bytes]], *, expected: Digest | None = None) -> tuple[Digest, int]:
        """Send what ``source`` yields and return its digest and size; RegistryError when it cannot be sent or arrives as something else."""
        patience = self._client.transport.patience(more_s=1e9)
        while True:
            try:
                return self._once(source, expected)
            except LostUpload:
                self._sent(-self._offset)
                if not patience.again():
                    raise

    def _once(self, source: Callable[[], Iterator[bytes]], expected: Digest | None) -> tuple[Digest, int]:
        self._begin()
        digest = hashlib.new(expected.algorithm if expected else "sha256")
        held: bytes = b""
        for chunk in _chunks(source(), digest.update, self._chunk_bytes):
            if held:
                self._chunk(held)
            held = chunk
        found = Digest(f"{digest.name}:{digest.hexdigest()}")
        if expected is not None and found != expected:
            raise RegistryError(f"{self._what} cannot be sent: its bytes have the digest {found}", hint="run 'nbc system check'")
        size = self._offset + len(held)
        if self._offset:
            self._chunk(held)
            held = b""
        self._end(found, held)
        if not self._client.has_blob(self._repository, found, push=True):
            raise RegistryError(f"registry {self._client.registry} took {self._what} and does not have it")
        return found, size

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


def _chunks(pieces: Iterator[bytes], hashed: Callable[[bytes], object], size: int) -> Iterator[bytes]:
    """Yield the pieces' bytes in chunks of ``size``, the last one shorter (and none for no bytes)."""
    held = bytearray()
    for piece in pieces:
        hashed(piece)
        held += piece
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
