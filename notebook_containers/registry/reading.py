"""Reading answers: never more than allowed, never slower than a trickle, every failure one of our errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from notebook_containers.errors import InvalidDocument, RegistryError
from notebook_containers.oci.documents import untrusted_json
from notebook_containers.registry.transport import TRY_AGAIN

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CHUNK = 256 * 1024
_FIRST_S = 60.0
_SLOWEST_BYTES_PER_S = 4096
_MAX_WORDS = 8192


class Broken(RegistryError):
    """The connection broke or stalled while an answer was read; what came until then is good."""


def pieces(response: BaseHTTPResponse, limit: int, what: str, registry: str, *, end: float | None = None) -> Iterator[bytes]:
    """Yield the body in pieces; RegistryError for more than ``limit`` bytes or a trickle, Broken for a connection that ends too early.

    ``end`` is the moment (monotonic) when it has to be through; a fitting one for ``limit`` when it is None.
    """
    from urllib3.exceptions import HTTPError

    end = time.monotonic() + _FIRST_S + limit / _SLOWEST_BYTES_PER_S if end is None else end
    received = 0
    try:
        # read1 hands on what is there: a trickle must not wait until a whole chunk is together
        while piece := response.read1(min(CHUNK, limit + 1 - received), decode_content=False):
            received += len(piece)
            if received > limit:
                raise RegistryError(f"registry {registry} sends more than the {limit} bytes allowed for {what}")
            yield piece
            if time.monotonic() > end:
                raise RegistryError(f"registry {registry} sends {what} too slowly", hint=TRY_AGAIN)
    except (HTTPError, OSError, ValueError) as err:
        raise Broken(f"the connection to registry {registry} broke in {what}", hint=TRY_AGAIN) from err


def whole(response: BaseHTTPResponse, limit: int, what: str, registry: str) -> bytes:
    """Return the body, at most ``limit`` bytes."""
    return b"".join(pieces(response, limit, what, registry))


def said(response: BaseHTTPResponse, registry: str) -> str:
    """Return the registry's own words from its error document, made fit for one line; empty when there are none."""
    try:
        errors = untrusted_json(whole(response, _MAX_WORDS, "its error", registry), what="the registry's error").get("errors")
        first = errors[0] if isinstance(errors, list) else None
        words = str(first.get("message") or first.get("code")) if isinstance(first, dict) else ""
    except (IndexError, InvalidDocument, RegistryError):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())[:200]
