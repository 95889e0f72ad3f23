"""What runs in a service's containers, what it waits for, and how its state is known. Times are seconds."""

from __future__ import annotations

from collections.abc import Mapping

from notebook_containers.lean import dataclass, field

STARTED, HEALTHY, COMPLETED = "service_started", "service_healthy", "service_completed_successfully"
CONDITIONS = (STARTED, HEALTHY, COMPLETED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """What a service waits for before it starts.

    ``condition`` is service_started, service_healthy or service_completed_successfully. ``restart``: when Compose restarts or recreates
    the other, this one is restarted too. Without ``required`` a missing or failed other is told and passed over.
    """

    condition: str = STARTED
    restart: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Another service (or, for ``external_links``, a container) and the name it is reached by."""

    target: str
    alias: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """How health is asked for: ``test`` begins with NONE, CMD or CMD-SHELL; () and None leave the image's own word."""

    test: tuple[str, ...] = ()
    disable: bool = False
    interval: float | None = None
    timeout: float | None = None
    start_period: float | None = None
    start_interval: float | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A command run in the container after its start or before its stop (or by ``sync+exec``); "" is the container's own word."""

    command: tuple[str, ...]
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    environment: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """The log driver's name ("" is the default) and its options."""

    driver: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFile:
    """A file of variables (``env_file``), an absolute path; its variables stand in ``Service.environment`` already."""

    path: str
    required: bool = True
    format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSpec:
    """Credentials of a managed service account: Windows only, read and told of."""

    config: str = ""
    file: str = ""
    registry: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A program that runs the service in Compose's place, and its options (one key may stand several times)."""

    type: str
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """The variables through which a service learns a language model's address and name."""

    endpoint_var: str = ""
    model_var: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A language model of the file's ``models``."""

    model: str
    name: str = ""
    context_size: int | None = None
    runtime_flags: tuple[str, ...] = ()
