"""The labels by which a project knows its own: Docker Compose's, so that it and others recognise a project that was made here.

A container counts by the labels it was *made* with: those of its image are somebody else's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from notebook_containers import __version__
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.compose.model import Network, Volume
    from notebook_containers.engine.container import Container

PREFIX = "com.docker.compose"
PROJECT = f"{PREFIX}.project"
SERVICE = f"{PREFIX}.service"
NUMBER = f"{PREFIX}.container-number"
CONFIG_HASH = f"{PREFIX}.config-hash"
ONE_OFF = f"{PREFIX}.oneoff"
SLUG = f"{PREFIX}.slug"
IMAGE = f"{PREFIX}.image"
DEPENDS_ON = f"{PREFIX}.depends_on"
WORKING_DIR = f"{PREFIX}.project.working_dir"
CONFIG_FILES = f"{PREFIX}.project.config_files"
NETWORK = f"{PREFIX}.network"
VOLUME = f"{PREFIX}.volume"
VERSION = f"{PREFIX}.version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One container of a project, with what its labels say; ``number`` is 0 for one that ``run`` made."""

    container: Container
    project: str
    service: str
    number: int
    config_hash: str
    one_off: bool

    @property
    def name(self) -> str:
        """The container's name."""
        return self.container.name


def own_labels(container: Container) -> Mapping[str, str]:
    """Return the labels a container was made with, without its image's."""
    return container.document.options.labels


def member(container: Container) -> Member | None:
    """Return the container as a project's member, None when no project made it."""
    labels = own_labels(container)
    if PROJECT not in labels or SERVICE not in labels:
        return None
    number = labels.get(NUMBER, "")
    return Member(
        container=container,
        project=labels[PROJECT],
        service=labels[SERVICE],
        number=int(number) if number.isdecimal() else 0,
        config_hash=labels.get(CONFIG_HASH, ""),
        one_off=labels.get(ONE_OFF, "").lower() == "true",
    )


def of_network(project: str, network: Network) -> dict[str, str]:
    """Return the labels that a project's network is made with."""
    return {**network.labels, PROJECT: project, NETWORK: network.key, VERSION: __version__}


def of_volume(project: str, volume: Volume) -> dict[str, str]:
    """Return the labels that a project's volume is made with."""
    return {**volume.labels, PROJECT: project, VOLUME: volume.key, VERSION: __version__}
