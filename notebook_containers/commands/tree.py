"""The tree of commands: which module holds which verb; a module is imported when its verb is first used."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping

import click

from notebook_containers import __version__
from notebook_containers.commands import booleans

_CONTAINER = {
    "attach": "looking",
    "commit": "files",
    "cp": "files",
    "create": "run",
    "diff": "looking",
    "exec": "looking",
    "export": "files",
    "inspect": "looking",
    "kill": "lifecycle",
    "logs": "looking",
    "pause": "lifecycle",
    "port": "looking",
    "ps": "looking",
    "rename": "lifecycle",
    "restart": "lifecycle",
    "rm": "lifecycle",
    "run": "run",
    "start": "lifecycle",
    "stats": "usage",
    "stop": "lifecycle",
    "top": "looking",
    "unpause": "lifecycle",
    "update": "usage",
    "wait": "lifecycle",
}
_IMAGE = {
    "build": "building",
    "history": "images",
    "import": "files",
    "layers": "images",
    "load": "files",
    "pull": "registries",
    "push": "registries",
    "rmi": "images",
    "save": "files",
    "tag": "images",
}

ROOT: Mapping[str, str] = {
    **_CONTAINER,
    **_IMAGE,
    "builder": "builder",
    "compose": "compose",
    "events": "events",
    "container": "tree",
    "doctor": "system",
    "image": "tree",
    "images": "images",
    "info": "system",
    "login": "registries",
    "logout": "registries",
    "manifest": "registries",
    "network": "networks",
    "search": "registries",
    "shell": "shell",
    "system": "system",
    "version": "system",
    "volume": "volumes",
}


class Verbs(click.Group):
    """A group whose commands live in modules of this package, imported on use; ``verbs`` maps a name to ``module`` or ``module:name``.

    A module of another package (a face's own verbs) is named in full.
    """

    def __init__(self, name: str, verbs: Mapping[str, str], *, help: str) -> None:
        super().__init__(name=name, help=help, context_settings={"help_option_names": ["-h", "--help"]})
        self.verbs = dict(verbs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in alphabetical order."""
        return sorted({*super().list_commands(ctx), *self.verbs})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb."""
        if cmd_name not in self.verbs:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.verbs[cmd_name].partition(":")
        loaded = importlib.import_module(module if "." in module else f"notebook_containers.commands.{module}")
        command: click.Command = loaded.COMMANDS[name or cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs with the first clause of what each does: whole words, where click would cut with dots."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                text = " ".join((command.help or "").split())
                rows.append((name, re.split(r"[.;:](?:\s|$)", text, maxsplit=1)[0] + "."))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; an unknown one is an error that names the nearest."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"see '{ctx.command_path} --help'"
            raise click.UsageError(f"{name!r} is no {ctx.command_path} command; {hint}", ctx)
        found, command, rest = super().resolve_command(ctx, args)
        return found, command, booleans.plain(command, rest) if command is not None else rest


COMMANDS: Mapping[str, click.Command] = {
    "container": Verbs(
        "container", {**_CONTAINER, "ls": "looking:ps", "list": "looking:ps", "prune": "lifecycle:prune"}, help="Manage containers."
    ),
    "image": Verbs(
        "image",
        {
            **{k: v for k, v in _IMAGE.items() if k != "rmi"},
            "ls": "images:images",
            "rm": "images:rmi",
            "prune": "images:prune",
            "inspect": "looking:inspect",
        },
        help="Manage images.",
    ),
}


def root(extra: Mapping[str, str] | None = None) -> Verbs:
    """Return the whole tree, with a face's own verbs (``demo``, ``lab``) and their modules added."""
    verbs = Verbs("nbc", {**ROOT, **(extra or {})}, help="Containers without a daemon: build images and run them, with Docker's words.")
    words = ["-v", "--version"]
    verbs.params.append(
        click.Option(words, is_flag=True, is_eager=True, expose_value=False, callback=_say_version, help="Show the version and exit.")
    )
    return verbs


def _say_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"nbc version {__version__}")
        context.exit()
