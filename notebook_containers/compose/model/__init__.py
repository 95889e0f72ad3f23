"""The typed project: what a compose file means, resolved and in one form, for those who run it.

Every class is frozen and holds plain values, so that two of them compare and hash by what they mean.
"""

from __future__ import annotations

from notebook_containers.compose.model.build import Build, Watch
from notebook_containers.compose.model.networks import Attachment, Network, Pool, Port
from notebook_containers.compose.model.process import (
    COMPLETED,
    CONDITIONS,
    HEALTHY,
    STARTED,
    CredentialSpec,
    Dependency,
    EnvironmentFile,
    Healthcheck,
    Hook,
    LanguageModel,
    Link,
    Logging,
    ModelUse,
    Provider,
)
from notebook_containers.compose.model.project import Project, in_order, is_active
from notebook_containers.compose.model.resources import (
    BlockIO,
    Deploy,
    DeviceMapping,
    DeviceRate,
    DeviceRequest,
    Limits,
    RestartPolicy,
    Ulimit,
)
from notebook_containers.compose.model.service import SERVICE_PREFIX, Service
from notebook_containers.compose.model.storage import Grant, Secret, ServiceMount, Volume

__all__ = [
    "COMPLETED",
    "CONDITIONS",
    "HEALTHY",
    "SERVICE_PREFIX",
    "STARTED",
    "Attachment",
    "BlockIO",
    "Build",
    "CredentialSpec",
    "Dependency",
    "Deploy",
    "DeviceMapping",
    "DeviceRate",
    "DeviceRequest",
    "EnvironmentFile",
    "Grant",
    "Healthcheck",
    "Hook",
    "LanguageModel",
    "Limits",
    "Link",
    "Logging",
    "ModelUse",
    "Network",
    "Pool",
    "Port",
    "Project",
    "Provider",
    "RestartPolicy",
    "Secret",
    "Service",
    "ServiceMount",
    "Ulimit",
    "Volume",
    "Watch",
    "in_order",
    "is_active",
]
