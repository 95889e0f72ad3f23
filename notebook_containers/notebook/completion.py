"""Tab completion in magics: verbs, options, containers, images, and the instructions of a Dockerfile cell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from notebook_containers.commands.tree import ROOT, Verbs, root
from notebook_containers.errors import Error

if TYPE_CHECKING:
    from notebook_containers.engine.engine import Engine

INSTRUCTIONS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_MAGIC = re.compile(r"^\s*(?:[A-Za-z_]\w*\s*=\s*)?%{1,2}(container|container_\w+|dockerfile|compose)\s+(.*)$")


@context_matcher()  # type: ignore[untyped-decorator]
def container_matcher(context: CompletionContext) -> SimpleMatcherResult:
    """Complete the word at the cursor in one of our magics; nothing elsewhere."""
    lines = context.full_text.split("\n")
    fragment = _fragment(context.line_with_cursor[: context.cursor_position])
    if context.cursor_line > 0 and lines[0].startswith("%%dockerfile"):
        return _result(_dockerfile_words(context.line_with_cursor[: context.cursor_position]), fragment)
    match = _MAGIC.match(context.line_with_cursor[: context.cursor_position])
    if not match:
        return {"completions": []}
    return _result(_words(match[1], match[2].split(), fragment), fragment)


def _fragment(text: str) -> str:
    return re.split(r"\s", text)[-1]


def _result(words: Iterable[str], fragment: str) -> SimpleMatcherResult:
    found = [SimpleCompletion(text=word, type="container") for word in dict.fromkeys(words) if word.startswith(fragment)]
    return {"completions": found, "matched_fragment": fragment, "suppress": bool(found), "ordered": True}


def _words(magic: str, typed: list[str], fragment: str) -> Iterable[str]:
    words = typed[: -1 if fragment else None]
    verb = (
        magic.removeprefix("container_") if magic.startswith("container_") else {"dockerfile": "build", "compose": "compose"}.get(magic, "")
    )
    command: click.Command | None = root()
    path = []
    for name in [verb, *words] if verb else words:
        if isinstance(command, Verbs) and not name.startswith("-"):
            command = command.get_command(click.Context(command), name)
            path.append(name)
    if isinstance(command, Verbs):
        return [*command.list_commands(click.Context(command)), *(ROOT if not verb and not words else ())]
    if command is None:
        return []
    if words and words[-1] == "--context-var":
        return _variables()
    if fragment.startswith("-"):
        options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        return [word for p in options for word in (*p.opts, *p.secondary_opts)]
    if words and (choices := _choices(command, words[-1])):
        return choices
    return _names(command, manifests=path[:1] == ["manifest"])


def _variables() -> Iterable[str]:
    """Return the names that the person has made in the notebook."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return []
    return sorted(name for name in shell.user_ns if not name.startswith("_") and name not in shell.user_ns_hidden)


def _choices(command: click.Command, word: str) -> Sequence[str]:
    """Return what may follow an option that takes one of several words."""
    options = [p for p in command.params if isinstance(p, click.Option) and word in p.opts]
    return [str(choice) for p in options if isinstance(p.type, click.Choice) for choice in p.type.choices]


def _names(command: click.Command, *, manifests: bool) -> Iterable[str]:
    """Return containers, images, manifest lists or registries, as the command's arguments ask."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    magics = shell.magics_manager.registry.get("ContainerMagics") if shell else None
    if magics is None:
        return []
    arguments = {p.name for p in command.params if isinstance(p, click.Argument)}
    try:
        return _known(magics.face.engine, arguments, manifests=manifests)
    except Error:
        return []


def _known(engine: Engine, arguments: set[str], *, manifests: bool) -> list[str]:
    from notebook_containers.engine.registries import logged_in

    found: list[str] = []
    if manifests and arguments & {"name", "names", "manifest"}:
        found += engine.manifests.names()
    if "server" in arguments:
        found += logged_in()
    if not manifests and arguments & {"container", "containers", "names"}:
        found += [c.name for c in engine.containers.list(all=True)]
    if arguments & {"volume", "volumes"}:
        found += [volume.name for volume in engine.volumes.list()]
    if arguments & {"network", "networks"}:
        found += [network.name for network in engine.networks.list()]
    if arguments & {"image", "images", "names", "source", "manifest"}:
        found += [tag for image in engine.images.list() for tag in image.tags]
        found += ["localhost/base", "localhost/python"]
    return found


def _dockerfile_words(line: str) -> Iterable[str]:
    if " " not in line.lstrip():
        return [f"{word} " for word in INSTRUCTIONS] if line.strip() == line.strip().upper() else []
    if line.lstrip().upper().startswith("FROM "):
        return ["localhost/base", "localhost/python", "scratch"]
    return []
