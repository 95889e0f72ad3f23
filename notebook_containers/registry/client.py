"""The distribution API (distribution-spec 1.1): manifests, blobs and tags of one registry, every byte counted and hashed.

What comes back from :meth:`Client.manifest` has been checked against the digest asked for and the one announced. Blobs are handed on
in pieces, never more than announced; whoever stores them checks the digest (``ContentStore.writer``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

from notebook_containers.errors import InvalidDocument, RegistryError
from notebook_containers.oci.documents import MAX_DOCUMENT_BYTES, untrusted_json
from notebook_containers.oci.image import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, Descriptor, Digest
from notebook_containers.registry.auth import Authenticator, needs_login
from notebook_containers.registry.credentials import Credentials, find_credentials
from notebook_containers.registry.transport import TRY_AGAIN, Transport

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

MANIFEST_TYPES = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
CHUNK = 256 * 1024
SLOWEST_BYTES_PER_S = 4 * 1024
_MAX_TAG_PAGES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A manifest or index as it came: its bytes, their digest, and its media type."""

    data: bytes
    digest: Digest
    media_type: str


class Client:
    """One registry, named as in references; thread-safe; use it in a ``with`` statement or close it."""

    def __init__(self, registry: str, *, find: Callable[[str], Credentials | None] = find_credentials) -> None:
        self.registry = registry
        self._transport = Transport(registry)
        self._authenticator = Authenticator(self._transport, find)

    def __enter__(self) -> Client:
        """Return the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def manifest(self, repository: str, reference: str) -> Fetched:
        """Return the manifest or index of a tag or digest, verified; raises RegistryError (not there, refused, wrong bytes, > 4 MiB)."""
        url, scope = f"/v2/{repository}/manifests/{reference}", _pull(repository)
        with closing(self._call("GET", url, scope, headers={"Accept": ", ".join(MANIFEST_TYPES)})) as response:
            if response.status == 404:
                name = f"{self.registry}/{repository}" + ("@" if ":" in reference else ":") + reference
                raise RegistryError(f"registry {self.registry} has no image {name}", hint="check the name and the tag")
            self._expect(response, (200,), f"the manifest of {repository}")
            data = b"".join(self._pieces(response, MAX_DOCUMENT_BYTES, f"the manifest of {repository}"))
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
            announced = response.headers.get("Docker-Content-Digest", "")
        return self._verified(data, media_type, announced, reference, repository)

    def blob(self, repository: str, blob: Descriptor) -> Iterator[bytes]:
        """Yield the blob's bytes, at most ``blob.size`` of them; raises RegistryError for more, fewer, or a stalled connection.

        The receiver must check the digest.
        """
        what = f"blob {blob.digest.short} of {repository}"
        with closing(self._call("GET", f"/v2/{repository}/blobs/{blob.digest}", _pull(repository))) as response:
            if response.status == 404:
                raise RegistryError(f"registry {self.registry} does not have {what}", hint="the image there is incomplete: push it again")
            self._expect(response, (200,), what)
            received = 0
            for piece in self._pieces(response, blob.size, what):
                received += len(piece)
                yield piece
        if received != blob.size:
            raise RegistryError(f"registry {self.registry} sent {received} of the {blob.size} bytes of {what}", hint=TRY_AGAIN)

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Tell whether the repository has the blob already."""
        with closing(self._call("HEAD", f"/v2/{repository}/blobs/{digest}", _push(repository))) as response:
            return response.status == 200

    def tags(self, repository: str) -> list[str]:
        """Return all tags of the repository, in the registry's order."""
        found: list[str] = []
        url = f"/v2/{repository}/tags/list"
        for _ in range(_MAX_TAG_PAGES):
            with closing(self._call("GET", url, _pull(repository))) as response:
                if response.status == 404:
                    raise RegistryError(f"registry {self.registry} has no repository {repository}", hint="check the name")
                self._expect(response, (200,), f"the tags of {repository}")
                what = f"the tag list of {repository}"
                document = untrusted_json(b"".join(self._pieces(response, MAX_DOCUMENT_BYTES, what)), what=what)
                link = response.headers.get("Link", "")
            tags = document.get("tags") or []
            if not isinstance(tags, list):
                raise RegistryError(f"registry {self.registry} sent a tag list that is none")
            found += [tag for tag in tags if isinstance(tag, str)]
            if 'rel="next"' not in link:
                return found
            url = self._transport.next_url(self._transport.base + url, link.partition("<")[2].partition(">")[0])
        raise RegistryError(f"registry {self.registry} has no end of tags")

    def push_blob(self, repository: str, digest: Digest, size: int, body: BinaryIO) -> None:
        """Upload a blob in one piece (POST, then PUT); ``body`` is read from its start, ``size`` bytes."""
        what = f"blob {digest.short} to {repository}"
        with closing(self._call("POST", f"/v2/{repository}/blobs/uploads/", _push(repository), body=b"")) as response:
            self._expect(response, (202,), what)
            here = f"{self._transport.base}/v2/{repository}/blobs/uploads/"
            location = self._transport.next_url(here, response.headers.get("Location", ""))
        url = location + ("&" if urlsplit(location).query else "?") + urlencode({"digest": digest})
        body.seek(0)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with closing(self._call("PUT", url, _push(repository), headers=headers, body=body)) as response:
            self._expect(response, (201, 204), what)
        if not self.has_blob(repository, digest):
            raise RegistryError(f"registry {self.registry} took {what} and does not have it")

    def push_manifest(self, repository: str, reference: str, data: bytes, media_type: str) -> Digest:
        """Upload a manifest under a tag or digest and return its digest; raises RegistryError when the registry names another."""
        url = f"/v2/{repository}/manifests/{quote(reference, safe=':')}"
        with closing(self._call("PUT", url, _push(repository), headers={"Content-Type": media_type}, body=data)) as response:
            self._expect(response, (201,), f"the manifest of {repository}")
            stored = response.headers.get("Docker-Content-Digest", "")
        if stored and stored != Digest.of(data):
            raise RegistryError(f"registry {self.registry} stored the manifest of {repository} as {stored[:80]!r}, not {Digest.of(data)}")
        return Digest.of(data)

    def _call(
        self, method: str, url: str, scope: str, *, headers: Mapping[str, str] | None = None, body: bytes | BinaryIO | None = None
    ) -> BaseHTTPResponse:
        authorization = self._authenticator.known(scope)
        response = self._transport.request(method, url, headers=headers, authorization=authorization, body=body)
        if response.status != 401:
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        response.close()
        if not challenge:
            raise needs_login(self.registry)
        authorization = self._authenticator.answer(challenge, scope)
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        response = self._transport.request(method, url, headers=headers, authorization=authorization, body=body)
        if response.status == 401:
            response.close()
            raise RegistryError(f"registry {self.registry} refuses the login", hint=needs_login(self.registry).hint)
        return response

    def _pieces(self, response: BaseHTTPResponse, limit: int, what: str) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + 60 + limit / SLOWEST_BYTES_PER_S
        received = 0
        try:
            while piece := response.read(min(CHUNK, limit + 1 - received), decode_content=False):
                received += len(piece)
                if received > limit:
                    raise RegistryError(f"registry {self.registry} sends more than the {limit} bytes allowed for {what}")
                yield piece
                if time.monotonic() > deadline:
                    raise RegistryError(f"registry {self.registry} sends {what} too slowly", hint=TRY_AGAIN)
        except HTTPError as err:
            raise RegistryError(f"the connection to registry {self.registry} broke in {what}", hint=TRY_AGAIN) from err

    def _expect(self, response: BaseHTTPResponse, statuses: tuple[int, ...], what: str) -> None:
        if response.status in statuses:
            return
        said = _message(response.read(8192, decode_content=False))
        said = f": {said}" if said else ""
        if response.status in (401, 403):
            raise RegistryError(f"registry {self.registry} refuses {what}{said}", hint=needs_login(self.registry).hint)
        hint = "wait, or log in for a higher limit" if response.status == 429 else "try again later" if response.status >= 500 else ""
        raise RegistryError(f"registry {self.registry} answers {response.status} for {what}{said}", hint=hint)

    def _verified(self, data: bytes, media_type: str, announced: str, reference: str, repository: str) -> Fetched:
        hint = "the registry, or a proxy before it, is broken"
        digest = Digest.of(data)
        if announced and announced != digest and not announced.startswith("sha512:"):
            raise RegistryError(
                f"registry {self.registry} announces {announced[:80]!r} for the manifest of {repository} with {digest}", hint=hint
            )
        if ":" in reference and reference != digest:
            raise RegistryError(
                f"registry {self.registry} sent the manifest {digest} of {repository} when asked for {reference}", hint=hint
            )
        inner = untrusted_json(data, what=f"the manifest of {repository}").get("mediaType")
        if inner is not None and media_type in MANIFEST_TYPES and inner != media_type:
            raise RegistryError(
                f"registry {self.registry} calls the manifest of {repository} {media_type}, and it calls itself {str(inner)[:80]!r}"
            )
        kind = str(inner or media_type)
        if kind not in MANIFEST_TYPES:
            raise RegistryError(f"registry {self.registry} has something else than an image at {repository}: {kind[:80]!r}")
        return Fetched(data=data, digest=digest, media_type=kind)


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _push(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def _message(data: bytes) -> str:
    """Return the registry's own words from its error document, made fit for one line."""
    try:
        errors = untrusted_json(data, what="the registry's error").get("errors")
        first = errors[0] if isinstance(errors, list) else None
        words = str(first.get("message") or first.get("code")) if isinstance(first, dict) else ""
    except (IndexError, InvalidDocument):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())[:200]
