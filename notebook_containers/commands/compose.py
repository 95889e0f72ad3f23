"""``compose``: the group with its options, and how a project is opened; the verbs are in modules of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.face import face
from notebook_containers.commands.tree import Verbs
from notebook_containers.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from notebook_containers.compose.loading import Request
    from notebook_containers.compose.progress import Told
    from notebook_containers.compose.project import ComposeProject
    from notebook_containers.compose.remote import Remotes

SERVICES = click.Argument(["services"], nargs=-1)


def opened(*, needs_file: bool = False) -> ComposeProject:
    """Open the project the group's options name, and say once what of it is not honoured.

    Without a file, a project that has containers is known by their labels, unless ``needs_file``: so another kernel finds it again.
    """
    from notebook_containers.compose.opening import find_project, project_of

    here, asked = face(), request()
    if asked.text is None and not asked.files and not needs_file:
        known = find_project(here.engine, asked.directory or here.cwd, asked.name)
        if known is not None:
            return known
    found = project_of(here.engine, asked)
    for note in found.notes:
        here.note(note)
    return found


def request() -> Request:
    """Return what to load, as the group's options say it; in a notebook the last cell's text stands in where no file is named."""
    from notebook_containers.compose.loading import Request

    here = face()
    parent = click.get_current_context().parent
    given = parent.params if parent else {}
    directory = here.cwd / str(given["project_directory"]) if given.get("project_directory") else None
    files, name = _words(given.get("file")), str(given.get("project_name") or "")
    text = here.cell
    if text is not None and files:
        raise InvalidArgument(f"-f {files[0]} and a cell's text cannot both be the file", hint="leave out -f, or write %compose in a line")
    elsewhere = files or directory or os.environ.get("COMPOSE_FILE")
    if text is None and not elsewhere and here.project_text is not None and name in ("", here.project_name):
        text, name = here.project_text, here.project_name
    return Request(
        cwd=here.cwd,
        text=text,
        files=files,
        stdin=sys.stdin.read() if "-" in files else "",
        directory=directory,
        name=name,
        profiles=_words(given.get("profile")),
        env_files=_words(given.get("env_file")),
        policy=str(given.get("policy") or ""),
        remotes=_remotes(here.engine.root) if given.get("allow_remote") else None,
    )


def _remotes(root: Path) -> Remotes:
    from notebook_containers.compose.remote import Remotes
    from notebook_containers.registry.settings import Settings

    return Remotes(root, settings=Settings.read(root))


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, tuple) else []


def group_option(name: str) -> object:
    """Return the value of an option of the group."""
    parent = click.get_current_context().parent
    return parent.params.get(name) if parent else None


@contextmanager
def shown(project: ComposeProject, services: Sequence[str] = (), *, quiet: bool = False) -> Iterator[Callable[[Told], None]]:
    """Show what is done with a project (or some services of it) while the block runs; yields who is to be told."""
    from notebook_containers.commands.compose_board import Board

    names = [service.name for service in project.project.services if not services or service.name in services]
    names += [name for name in services if name not in names]
    board = Board(f"project {project.name}", names, project.members)
    with face().project_view(board, quiet=quiet) as told:
        yield told


_MODULES: Mapping[str, Sequence[str]] = {
    "compose_life": ("up", "down", "create", "start", "stop", "restart", "kill", "pause", "unpause", "rm", "scale", "wait", "watch"),
    "compose_look": ("ps", "logs", "images", "top", "port", "events", "stats", "volumes", "ls", "version", "graph"),
    "compose_inside": ("exec", "run", "cp"),
    "compose_images": ("build", "pull", "push"),
    "compose_config": ("config",),
}
VERBS: Mapping[str, str] = {verb: module for module, verbs in _MODULES.items() for verb in verbs}

GROUP = Verbs("compose", VERBS, help="Run the services of a compose file.")
GROUP.params += [
    click.Option(["-f", "--file"], multiple=True, help="A compose file (compose.yaml here or above); later ones change earlier ones."),
    click.Option(["-p", "--project-name"], help="Name of the project (the file's word, or the directory's name)."),
    click.Option(["--profile"], multiple=True, help="Have the services of this profile take part; * is every one."),
    click.Option(["--env-file"], multiple=True, help="A file of variables, instead of .env."),
    click.Option(["--project-directory"], help="Where relative paths start (the first file's directory)."),
    click.Option(["--allow-remote"], is_flag=True, help="Take compose files from git repositories and registries (oci://) too."),
    click.Option(
        ["--policy"], type=click.Choice(["restricted"]), help="Refuse services that ask for more than an ordinary container does."
    ),
    click.Option(["--parallel"], type=int, default=-1, help="How many things are done at once at most; -1 leaves it open."),
]


def project_name(words: Sequence[str]) -> str:
    """Return the value of ``-p`` among words, empty without it."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-p", "--project-name"):
            return following
        if word.startswith("--project-name="):
            return word.partition("=")[2]
    return ""


def with_verb(words: Sequence[str]) -> list[str]:
    """Return the words with ``up`` in front of the first that is no option of the group, unless that is a verb: what a cell means."""
    valued = {name for option in GROUP.params if isinstance(option, click.Option) and not option.is_flag for name in option.opts}
    flags = {name for option in GROUP.params if isinstance(option, click.Option) and option.is_flag for name in option.opts}
    at = 0
    while at < len(words):
        word = words[at]
        if word in valued:
            at += 2
        elif word in flags or word.partition("=")[0] in valued:
            at += 1
        else:
            break
    verbs = GROUP.list_commands(click.Context(GROUP))
    return [*words] if at < len(words) and (words[at] in verbs or words[at] == "--help") else [*words[:at], "up", *words[at:]]


COMMANDS: Mapping[str, click.Command] = {"compose": GROUP}
