"""The server's one table from errors to HTTP statuses."""

from __future__ import annotations

from notebook_containers.errors import Conflict, Error, InvalidArgument, NotFound, Unsupported

TABLE: tuple[tuple[type[Error], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (InvalidArgument, 400),
    (Unsupported, 501),
    (Error, 500),
)


def status_of(error: Error) -> int:
    """Return the HTTP status that the Engine API gives for this kind of error."""
    return next(status for kind, status in TABLE if isinstance(error, kind))
