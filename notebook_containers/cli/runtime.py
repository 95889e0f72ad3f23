"""``nbc runtime`` in the tree of commands: its own grammar (runc's) takes every word after it."""

from __future__ import annotations

from collections.abc import Mapping

import click

from notebook_containers.commands import runtime


def _runtime(arguments: tuple[str, ...]) -> None:
    """The OCI runtime for bundles that others made: runc's commands (podman --runtime, containerd)."""
    raise click.exceptions.Exit(runtime.main(list(arguments)))


COMMANDS: Mapping[str, click.Command] = {
    "runtime": click.Command(
        "runtime",
        callback=_runtime,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
        help=_runtime.__doc__,
    )
}
