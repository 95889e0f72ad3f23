"""Each kind of error has its status."""

from __future__ import annotations

import pytest

from notebook_containers import errors
from notebook_containers.server.status import status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ContainerNotFound("no such container: web"), 404),
        (errors.ImageNotFound("no such image: hello"), 404),
        (errors.Conflict("name web is taken"), 409),
        (errors.InvalidArgument("tail is x"), 400),
        (errors.InvalidReference("not a name"), 400),
        (errors.Unsupported("no user namespaces"), 501),
        (errors.StoreError("/nowhere cannot be written"), 500),
        (errors.StartFailed("sh not found", exit_status=127), 500),
        (errors.Error("anything else"), 500),
    ],
)
def test_status_of_an_error(error: errors.Error, status: int) -> None:
    assert status_of(error) == status
