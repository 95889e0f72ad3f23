"""Which files a project is made of, and reading them: ``-f``, the files found by name, cells' texts; what is elsewhere is refused."""

from __future__ import annotations

import os
from pathlib import Path

from notebook_containers.compose import dotenv
from notebook_containers.compose.variables import Layer, Variables
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass

FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
OVERRIDES = ("compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml")
_MOST_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Compose files that a word names: those of a directory fetched from elsewhere, which their paths must not leave, or a local one."""

    directory: Path
    files: tuple[Path, ...]
    local: bool = False

    @property
    def within(self) -> Path | None:
        """The directory that the files' paths must not leave."""
        return None if self.local else self.directory


def found(directory: Path) -> tuple[Path, ...]:
    """Return the compose file of a directory or of one above it, with its override file; raises InvalidArgument when there is none."""
    for place in (directory, *directory.parents):
        for name in FILES:
            if (place / name).is_file():
                override = next((place / other for other in OVERRIDES if (place / other).is_file()), None)
                return (place / name, override) if override else (place / name,)
    raise InvalidArgument(f"no compose file in {directory}", hint="there is none of " + ", ".join(FILES) + "; name one with -f")


def is_remote(word: str) -> bool:
    """Tell whether a word names a compose file elsewhere: an OCI artifact, a git repository, a web address."""
    return word.startswith(("oci://", "git@", "git://", "ssh://", "http://", "https://", "github.com/")) or "://" in word


def refuse_remote(word: str) -> None:
    """Raise InvalidArgument for a file elsewhere: what it holds would decide what runs here, and nobody has looked at it."""
    if is_remote(word):
        raise InvalidArgument(
            f"{word!r} is not on this machine, and compose files from elsewhere are refused",
            hint="fetch it, look at it, and name the local file; or allow it: --allow-remote",
        )


def read_text(path: Path, *, what: str = "compose file") -> str:
    """Return a file's text; raises InvalidArgument naming it when it is missing, no file, too large or no UTF-8."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe that nobody writes to must not hold us
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as err:
        raise InvalidArgument(f"{what} {str(path)!r} cannot be read: {err.strerror}", hint="check the path and its permissions") from err
    if len(data) > _MOST_BYTES:
        raise InvalidArgument(f"{what} {str(path)!r} is larger than the {_MOST_BYTES} bytes allowed")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise InvalidArgument(f"{what} {str(path)!r} is no UTF-8 text: byte {err.start}", hint="save it as UTF-8") from err


def shown(path: Path, directory: Path) -> str:
    """Return a path as it is told: relative to the project's directory where it lies below, else whole."""
    try:
        return str(path.relative_to(directory))
    except ValueError:
        return str(path)


def env_layer(path: Path, *, name: str, variables: Variables, raw: bool = False) -> Layer:
    """Return the variables of a file; raises InvalidArgument or ComposeError naming it."""
    return dotenv.parse(read_text(path, what="file of variables"), name=name, variables=variables, raw=raw)


def dot_env(directory: Path, variables: Variables) -> Layer | None:
    """Return the variables of the directory's ``.env``, or None when it has none."""
    path = directory / ".env"
    return env_layer(path, name=".env", variables=variables) if path.is_file() else None
