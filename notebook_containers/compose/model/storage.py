"""Volumes, mounts, secrets and configs. Sizes are bytes; host paths are absolute."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.lean import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One named volume: ``key`` is its name in the file, ``name`` its name on the engine; an ``external`` one is never made or removed."""

    key: str
    name: str
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceMount:
    """One mount of a service: ``type`` is bind, volume, tmpfs, image, cluster or npipe.

    ``source`` is an absolute path (bind), a key of the file's volumes or "" for an anonymous one (volume), an image's name (image).
    ``size`` and ``mode`` (an octal file mode as a number) are tmpfs's; None is not said.
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    consistency: str = ""
    propagation: str = ""
    create_host_path: bool = True
    recursive: str = ""
    selinux: str = ""
    nocopy: bool = False
    subpath: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """One secret or config: ``key`` in the file, ``name`` on the engine, and where its bytes come from: exactly one of the last four.

    ``file`` is an absolute path; ``environment`` names a variable of the project's environment, whose value stands in ``content`` when it
    is set; an ``external`` one has its bytes elsewhere.
    """

    key: str
    name: str
    file: str = ""
    environment: str = ""
    content: str | None = field(default=None, repr=False)
    external: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    driver: str = ""
    driver_opts: Mapping[str, str] = field(default_factory=dict)
    template_driver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A service's use of a secret or config: ``target`` is an absolute path inside (a build secret's id for ``build.secrets``).

    ``mode`` is an octal file mode as a number; None is 0444.
    """

    source: str
    target: str
    uid: str = ""
    gid: str = ""
    mode: int | None = None
