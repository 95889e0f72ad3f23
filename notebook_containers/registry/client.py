"""The distribution API (distribution-spec 1.1): manifests and blobs of one registry, every byte counted and hashed.

What comes back from :meth:`Client.manifest` has been checked against the digest asked for and the one announced. Blobs are handed on
in pieces, never more than announced, and go on where a connection broke; whoever stores them checks the digest.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from notebook_containers.errors import RegistryError
from notebook_containers.lean import dataclass
from notebook_containers.oci.documents import MAX_DOCUMENT_BYTES, untrusted_json
from notebook_containers.oci.image import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, Descriptor, Digest
from notebook_containers.registry.auth import Authenticator, needs_login
from notebook_containers.registry.credentials import Credentials, find_credentials
from notebook_containers.registry.patience import Patience
from notebook_containers.registry.reading import Broken, pieces, said, whole
from notebook_containers.registry.settings import Settings
from notebook_containers.registry.transport import TRY_AGAIN, Transport

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

MANIFEST_TYPES = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
_BROKEN = "the registry, or a proxy before it, is broken"
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A manifest or index as it came: its bytes, their digest, and its media type."""

    data: bytes
    digest: Digest
    media_type: str


class Client:
    """One registry, named as in references; thread-safe; use it in a ``with`` statement or close it."""

    def __init__(
        self,
        registry: str,
        *,
        settings: Settings | None = None,
        find: Callable[[str], Credentials | None] = find_credentials,
        stop: threading.Event | None = None,
    ) -> None:
        self.registry = registry
        self.transport = Transport(registry, settings, stop)
        self.authenticator = Authenticator(self.transport, find)

    def __enter__(self) -> Client:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def manifest(self, repository: str, reference: str) -> Fetched:
        """Return the manifest or index of a tag or digest, verified; raises RegistryError (not there, refused, wrong bytes, > 4 MiB)."""
        what = f"the manifest of {repository}"
        with closing(self._manifest("GET", repository, reference)) as response:
            if response.status == 404:
                raise self._no_image(repository, reference)
            self.expect(response, (200,), what)
            data = whole(response, MAX_DOCUMENT_BYTES, what, self.registry)
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            announced = response.headers.get("Docker-Content-Digest", "")
        return self._verified(data, media_type, announced, reference, repository)

    def manifest_digest(self, repository: str, reference: str) -> str:
        """Return the digest that the registry announces for a tag or digest, without fetching it; empty when it is not there or silent."""
        with closing(self._manifest("HEAD", repository, reference)) as response:
            return response.headers.get("Docker-Content-Digest", "") if response.status == 200 else ""

    def has_blob(self, repository: str, digest: Digest, *, push: bool = False) -> bool:
        """Tell whether we may have the blob from this repository; RegistryError when we may not ask."""
        scope = push_scope(repository) if push else pull_scope(repository)
        with closing(self.call("HEAD", f"/v2/{repository}/blobs/{digest}", scope)) as response:
            if response.status == 404:
                return False
            self.expect(response, (200,), f"blob {digest.short} of {repository}")
            return True

    def blob(self, repository: str, blob: Descriptor) -> BlobReader:
        """Return an iterator over the blob's bytes."""
        return BlobReader(self, repository, blob)

    def call(
        self,
        method: str,
        url: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        patience: Patience | None = None,
        repeat: bool = True,
    ) -> BaseHTTPResponse:
        """Send a request, log in when that is asked for, and return the unread answer; the caller closes it."""
        send = partial(self.transport.request, method, url, headers=headers, body=body, patience=patience, repeat=repeat)
        authorization = self.authenticator.known(scope)
        response = send(authorization=authorization)
        if response.status != 401:
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        response.close()
        if not challenge:
            raise needs_login(self.registry)
        authorization = self.authenticator.answer(challenge, scope)
        response = send(authorization=authorization)
        if response.status == 401:
            response.close()
            raise RegistryError(f"registry {self.registry} refuses the login", hint=needs_login(self.registry).hint)
        return response

    def expect(self, response: BaseHTTPResponse, statuses: tuple[int, ...], what: str) -> None:
        """Raise the RegistryError that an unexpected status means, with the registry's own words."""
        if response.status in statuses:
            return
        words = said(response, self.registry)
        words = f": {words}" if words else ""
        if response.status in (401, 403):
            raise RegistryError(f"registry {self.registry} refuses {what}{words}", hint=needs_login(self.registry).hint)
        hint = "wait, or log in for a higher limit" if response.status == 429 else "try again later" if response.status >= 500 else ""
        raise RegistryError(f"registry {self.registry} answers {response.status} for {what}{words}", hint=hint)

    def _manifest(self, method: str, repository: str, reference: str) -> BaseHTTPResponse:
        url = f"/v2/{repository}/manifests/{quote(reference, safe=':')}"
        return self.call(method, url, pull_scope(repository), headers={"Accept": ", ".join(MANIFEST_TYPES)})

    def _no_image(self, repository: str, reference: str) -> RegistryError:
        name = f"{self.registry}/{repository}" + ("@" if ":" in reference else ":") + reference
        return RegistryError(f"registry {self.registry} has no image {name}", hint="check the name and the tag")

    def _verified(self, data: bytes, media_type: str, announced: str, reference: str, repository: str) -> Fetched:
        digest = Digest.of(data)
        if announced and not fits(data, announced):
            raise RegistryError(
                f"registry {self.registry} announces {announced[:80]!r} for the manifest of {repository} with {digest}", hint=_BROKEN
            )
        if ":" in reference and not fits(data, reference):
            raise RegistryError(
                f"registry {self.registry} sent the manifest {digest} of {repository} when asked for {reference}", hint=_BROKEN
            )
        inner = untrusted_json(data, what=f"the manifest of {repository}").get("mediaType")
        if inner is not None and media_type in MANIFEST_TYPES and inner != media_type:
            raise RegistryError(
                f"registry {self.registry} calls the manifest of {repository} {media_type}, and it calls itself {str(inner)[:80]!r}"
            )
        kind = str(inner or media_type)
        if kind not in MANIFEST_TYPES:
            raise RegistryError(f"registry {self.registry} has something else than an image at {repository}: {kind[:80]!r}")
        return Fetched(data=data, digest=Digest(reference) if ":" in reference else digest, media_type=kind)


class BlobReader:
    """Yields one blob's bytes, at most its size of them; a broken connection is taken up where it ended (Range), within a deadline.

    ``parts`` says of how many answers the bytes are made: with more than one, wrong bytes may be an exchange between the parts, and one
    more try in one part is fair. RegistryError for more bytes, fewer, a trickle, a refusal.
    """

    def __init__(self, client: Client, repository: str, blob: Descriptor) -> None:
        self._client, self._repository, self._blob = client, repository, blob
        self._what = f"blob {blob.digest.short} of {repository}"
        self._received = 0
        self._ranges = True
        self.parts = 0

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes."""
        blob, timeouts = self._blob, self._client.transport.settings.timeouts
        allowance = blob.size / timeouts.slowest_bytes_per_s
        patience = self._client.transport.patience(more_s=allowance)
        end = time.monotonic() + timeouts.deadline_s + allowance
        while self._received < blob.size or not self.parts:
            before = self._received
            try:
                for piece in self._part(patience, end):
                    self._received += len(piece)
                    yield piece
            except Broken as err:
                patience.check()
                if self._received > before:
                    patience.progressed()
                if not patience.again():
                    raise self._short(err) from err
                continue
            if self._received < blob.size:
                if self._received > before:
                    patience.progressed()
                if not patience.again():
                    raise self._short()

    def _part(self, patience: Patience, end: float) -> Iterator[bytes]:
        """Yield what one answer adds to what was received; what it repeats is dropped (the digest at the end covers all)."""
        start = self._received if self._ranges else 0
        headers = {"Range": f"bytes={start}-"} if start else {}
        client, scope = self._client, pull_scope(self._repository)
        url = f"/v2/{self._repository}/blobs/{self._blob.digest}"
        with closing(client.call("GET", url, scope, headers=headers, patience=patience)) as response:
            if response.status == 404:
                raise RegistryError(
                    f"registry {client.registry} does not have {self._what}", hint="the image there is incomplete: push it again"
                )
            if start and not self._continues(response, start):
                self._ranges = False
                if response.status != 200:
                    return
                start = 0
            client.expect(response, (200, 206) if start else (200,), self._what)
            self.parts += 1
            skip = self._received - start
            for piece in pieces(response, self._blob.size - start, self._what, client.registry, end=end):
                if skip < len(piece):
                    yield piece[skip:]
                skip = max(skip - len(piece), 0)

    def _continues(self, response: BaseHTTPResponse, start: int) -> bool:
        """Tell whether an answer to a Range is the part that was asked for."""
        match = _CONTENT_RANGE.match(response.headers.get("Content-Range", "")) if response.status == 206 else None
        return match is not None and int(match[1]) == start and match[3] in ("*", str(self._blob.size))

    def _short(self, err: Broken | None = None) -> RegistryError:
        where = f"{self._received} of the {self._blob.size} bytes of {self._what}"
        words = f"the connection to registry {self._client.registry} broke after {where}" if err else None
        return RegistryError(words or f"registry {self._client.registry} sent {where}", hint=TRY_AGAIN)


def fits(data: bytes, digest: str) -> bool:
    """Tell whether bytes have a digest, whatever its algorithm; text that is no digest fits nothing."""
    try:
        wanted = Digest(digest)
    except ValueError:
        return False
    return Digest.of(data, wanted.algorithm) == wanted


def pull_scope(repository: str) -> str:
    """Return the token scope for reading."""
    return f"repository:{repository}:pull"


def push_scope(repository: str) -> str:
    """Return the token scope for writing."""
    return f"repository:{repository}:pull,push"
