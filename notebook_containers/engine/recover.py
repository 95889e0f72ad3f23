"""After a restart of the machine, or of a monitor's death: make the records true again, and start what its policy wants started.

Docker does this when its daemon starts. Here there is none, so it is a verb: ``engine.recover()``, ``nbc system recover``.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from notebook_containers.engine import actors, launch
from notebook_containers.engine.documents import ContainerDocument
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import ContainerNotFound, Error
from notebook_containers.lean import dataclass, replace
from notebook_containers.linux.boot import boot_id
from notebook_containers.oci.documents import Document
from notebook_containers.runtime import document as documents
from notebook_containers.runtime.orphans import sweep
from notebook_containers.runtime.state import LOST, LOST_TEXT, ContainerState

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container
    from notebook_containers.engine.containers import Containers

_AGAIN = ("always", "unless-stopped")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Recovered(Document):
    """What :func:`recover` did, container ids: found ``lost`` (exit code 137), ``removed`` (--rm), ``started``, and ``failed`` with why."""

    lost: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def recover(parts: Parts, containers: Containers) -> Recovered:
    """Refresh every container's state and start what ``always`` and ``unless-stopped`` ask for; safe to repeat, and in several processes.

    What ended before this boot is started again when its policy is ``always``, or ``unless-stopped`` and no caller had ended it, as
    Docker's daemon does; what ended since only when its monitor was killed. One that cannot be started does not keep the others from it.
    """
    lost, removed, started, failed = [], [], [], []
    for container in containers.every():
        try:
            with parts.container_lock(container.id):
                container.reload()
                state = launch.state(parts, container.id)
                if was_lost := is_lost(state):
                    lost.append(container.id)
                    state = _settle(parts, container.document, state)
            if state.status == "stopped" and container.document.options.auto_remove:
                container.remove(force=True)
                removed.append(container.id)
            elif state.status == "stopped" and _wanted(container, state, lost=was_lost):
                container.start()
                started.append(container.id)
        except ContainerNotFound:
            continue  # another process removed it meanwhile
        except Error as err:
            failed.append(f"{container.id[:12]}: {err.one_line()}")
    return Recovered(lost=tuple(lost), removed=tuple(removed), started=tuple(started), failed=tuple(failed))


def settle(parts: Parts, container: Container, *, kill: bool) -> bool:
    """Write the end of a container down whose monitor was killed; one whose process still runs only if it may be killed. Tells whether."""
    with parts.container_lock(container.id):
        container.reload()
        state = launch.state(parts, container.id)
        if not is_lost(state) or (state.live() and not kill):
            return False
        _settle(parts, container.document, state)
        return True


def is_lost(state: ContainerState) -> bool:
    """Say whether nobody watches the container any more and nobody has written down its end."""
    return state.error == LOST_TEXT and state.finished_at is None  # with a time it is written down already


def _settle(parts: Parts, document: ContainerDocument, state: ContainerState) -> ContainerState:
    """Write down the end that nobody saw, and take away what is left: processes that no monitor watches, cgroup, addresses."""
    launch.forget(parts, document.id)
    sweep(parts.bundle_path(document.id))
    parts.store.records.release_addresses(document.id)
    bundle = parts.bundle_path(document.id)
    settled = replace(state, status="stopped", pid=0, pid_started=0, exit_code=LOST, finished_at=time.time())
    documents.write(os.fspath(bundle / "exit.json"), settled.to_json(), durable=True)
    if state.boot != boot_id():
        actors.tell(parts, document.id, "die", {"exitCode": LOST})
    return settled


def _wanted(container: Container, state: ContainerState, *, lost: bool) -> bool:
    policy = container.document.options.restart
    if policy not in _AGAIN or state.start_failed or not (lost or state.boot != boot_id()):
        return False
    return policy == "always" or not state.manual
