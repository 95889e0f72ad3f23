"""Where a build's Dockerfile comes from."""

from __future__ import annotations

import os
from pathlib import Path

from notebook_containers.errors import InvalidArgument


def read(context: Path, text: str | None, dockerfile: str | os.PathLike[str] | None) -> tuple[str, str]:
    """Return the text and the name of a Dockerfile: ``text`` itself, or the file (in the context, when it is not where the caller is)."""
    if text is not None:
        return text, "Dockerfile"
    path = Path(dockerfile) if dockerfile is not None else context / "Dockerfile"
    if dockerfile is not None and not path.is_absolute() and not path.exists():
        path = context / path
    try:
        return path.read_text(encoding="utf-8-sig"), path.name
    except OSError as err:
        raise InvalidArgument(
            f"cannot read the Dockerfile {str(path)!r}: {err.strerror}", hint="name it with -f, or make it in the context directory"
        ) from err
    except UnicodeDecodeError as err:
        raise InvalidArgument(f"the Dockerfile {str(path)!r} is not UTF-8 text") from err
