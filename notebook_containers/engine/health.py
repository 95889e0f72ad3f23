"""Which health check a container has, from the caller's words and the image's, and how its state reads."""

from __future__ import annotations

from notebook_containers.engine.log_words import effective_health
from notebook_containers.engine.options import ContainerOptions
from notebook_containers.oci.documents import JSON
from notebook_containers.oci.image import ContainerConfig, Healthcheck
from notebook_containers.runtime.state import ContainerState

_DEFAULT_SHELL = ("/bin/sh", "-c")
_SHOWN = {"starting": " (health: starting)", "healthy": " (healthy)", "unhealthy": " (unhealthy)"}


def arguments(check: Healthcheck, config: ContainerConfig) -> tuple[str, ...]:
    """Return the command of a check: ``CMD`` as it is, ``CMD-SHELL`` in the image's shell; empty for ``NONE`` and for nonsense."""
    kind, *words = check.test or ("NONE",)
    if kind == "CMD":
        return tuple(words)
    if kind == "CMD-SHELL" and words:
        return (*(config.shell or _DEFAULT_SHELL), words[0])
    return ()


def check(options: ContainerOptions, config: ContainerConfig) -> dict[str, object]:
    """Return the check as the monitor reads it (:class:`~notebook_containers.runtime.bundle.MonitorOptions`), empty for none."""
    found = effective_health(options.healthcheck, config.healthcheck)
    words = arguments(found, config) if found is not None else ()
    if found is None or not words:
        return {}
    return {
        "args": list(words),
        "interval": found.interval,
        "timeout": found.timeout,
        "startPeriod": found.start_period,
        "startInterval": found.start_interval,
        "retries": found.retries,
    }


def status(state: ContainerState) -> str:
    """Return starting, healthy or unhealthy, or ``none`` for a container without a check (docker-py's ``container.health``)."""
    return state.health.status if state.health is not None else "none"


def words(state: ContainerState) -> str:
    """Return what Docker's STATUS column says behind ``Up …``, with a space before it; empty without a check."""
    return _SHOWN.get(status(state), "") if state.status in ("running", "paused") else ""


def inspected(state: ContainerState) -> dict[str, JSON]:
    """Return ``{"Health": …}`` for ``State`` of docker inspect, empty for a container without a check."""
    return {"Health": state.health.to_json()} if state.health is not None else {}
