"""Image names as people write them: ``[registry/]repository[:tag][@digest]`` (the distribution project's reference grammar)."""

from __future__ import annotations

import re
from typing import Self

from notebook_containers.errors import InvalidReference
from notebook_containers.lean import dataclass, replace
from notebook_containers.oci.image import Digest

DEFAULT_REGISTRY = "docker.io"

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_REGISTRY = re.compile(rf"{_HOST}\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_HEX_ONLY = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A parsed image name; ``tag`` and ``digest`` are empty when not given."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse text; raises InvalidReference saying which part is wrong."""
        if not text or len(text) > 4096:
            raise InvalidReference(f"{text[:40]!r} is not an image name", hint="expected name[:tag] or name@digest")
        name, _, digest = text.partition("@")
        if digest or text.endswith("@"):
            try:
                Digest(digest)
            except ValueError as err:
                raise InvalidReference(
                    f"{text!r} is not an image name: the part after @ is no digest", hint="a digest is sha256: and 64 hex digits"
                ) from err
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            head, tag = name, ""
        elif not _TAG.match(tag):
            raise InvalidReference(
                f"{text!r} is not an image name: {tag!r} is no tag", hint="a tag has letters, digits, _ . - and at most 128 of them"
            )
        registry, repository = _split(head)
        _check(text, registry, repository)
        return cls(registry=registry, repository=repository, tag=tag, digest=digest)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def familiar_name(self) -> str:
        """The repository as people write it: without ``docker.io/`` and ``library/``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.repository.removeprefix("library/")

    def familiar(self) -> str:
        """The whole name as people write it."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.familiar_name()}{tag}{digest}"

    def tagged(self, default: str = "latest") -> Self:
        """Return the same name with ``default`` as its tag when it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=default)

    def new_tag(self) -> Self:
        """Return the name that something is to get, as :meth:`tagged`; InvalidReference for one with a digest, which nobody can choose."""
        if self.digest:
            bare = self.familiar().partition("@")[0]
            raise InvalidReference(f"{self.familiar()!r} cannot be given: a digest follows from the bytes", hint=f"leave it out: {bare}")
        return self.tagged()

    def __str__(self) -> str:
        """The full canonical text."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def _split(head: str) -> tuple[str, str]:
    first, slash, rest = head.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, head
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def _check(text: str, registry: str, repository: str) -> None:
    if not _REGISTRY.match(registry):
        raise InvalidReference(f"{text!r} is not an image name: {registry!r} is no registry host")
    if repository != repository.lower() and _REPOSITORY.match(repository.lower()):
        raise InvalidReference(f"{text!r} is not an image name: a repository is written in lower case", hint=f"try {text.lower()!r}")
    if not _REPOSITORY.match(repository) or len(registry) + len(repository) > 255:
        raise InvalidReference(
            f"{text!r} is not an image name: {repository!r} is no repository",
            hint="use lower-case letters, digits and single . _ - / between them",
        )
    if _HEX_ONLY.match(repository.removeprefix("library/")):
        raise InvalidReference(f"{text!r} is an image id, not a name", hint="a repository may not be 64 hex digits")
