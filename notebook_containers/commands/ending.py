"""How a container ended that a verb showed until its end: its exit code, and the verdict where that says more."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from notebook_containers.commands.results import Ended
from notebook_containers.errors import ContainerNotFound

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container


def ended(container: Container, code: int | None) -> Ended:
    """Return the end with this exit code; None says that the container goes on without us. Call it before the container is removed."""
    if code is None:
        return Ended(exit_code=0, what=f"detached from {container.name}", container_id=container.id)
    what = f"{container.command} in {container.image}"
    return Ended(exit_code=code, what=what, container_id=container.id, verdict=_verdict(container) if code else "")


def _verdict(container: Container) -> str:
    with suppress(ContainerNotFound):
        container.reload()
        found = container.verdict
        return str(found) if found.bad else ""
    return ""
