"""From files, a text or what is there to a project on an engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from notebook_containers.compose import finding, listing, loading
from notebook_containers.compose.project import ComposeProject
from notebook_containers.errors import InvalidArgument

if TYPE_CHECKING:
    from notebook_containers.engine.engine import Engine


def open_project(
    engine: Engine,
    *,
    text: str | None = None,
    file: Path | None = None,
    files: Sequence[str | Path] = (),
    directory: Path | None = None,
    name: str = "",
    profiles: Sequence[str] = (),
    env_files: Sequence[str | Path] = (),
    policy: str = "",
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> ComposeProject:
    """Return the project of compose files (or of text); variables come from ``.env`` beside it, the environment wins.

    The ``policy`` "restricted" (or the variable NBC_COMPOSE_POLICY) lets nothing be made that asks for more than an ordinary container.
    Raises ComposeError with the place of what is wrong in a file, InvalidArgument for a file that cannot be read.
    """
    request = loading.Request(
        cwd=(cwd or directory or Path.cwd()).absolute(),
        text=text,
        files=[*([file] if file else []), *files],
        directory=directory,
        name=name,
        profiles=profiles,
        env_files=env_files,
        policy=policy,
        environment=variables,
    )
    return project_of(engine, request)


def project_of(engine: Engine, request: loading.Request) -> ComposeProject:
    """Return the project that is asked for, on the engine; raises as :func:`open_project`."""
    return ComposeProject(engine, loading.load(request).project)


def find_project(engine: Engine, directory: Path, name: str = "") -> ComposeProject | None:
    """Return a project that has containers but no file here (of ``name``, else of the directory's), as their labels tell it; else None.

    It can be looked at, stopped, started and taken down; what it was made from is not known any more.
    """
    try:
        finding.found(directory.absolute())
    except InvalidArgument:
        wanted = name or os.environ.get(loading.NAME_VARIABLE) or loading.normal_name(directory.absolute().name)
        if os.environ.get("COMPOSE_FILE"):
            return None
        project = listing.from_labels(engine, wanted)
        return ComposeProject(engine, project) if project is not None else None
    return None
