"""``compose`` verbs on the services' images: build, pull, push."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click

from notebook_containers.commands.compose import SERVICES, opened, shown
from notebook_containers.commands.face import face
from notebook_containers.commands.results import Names, Result


def _build(services: tuple[str, ...], *, build_arg: tuple[str, ...], no_cache: bool, pull: bool, push: bool, quiet: bool, progress: str, memory: str | None, with_dependencies: bool) -> Result:  # fmt: skip # noqa: E501
    """Build the images of services that have a build section."""
    import os

    here, project = face(), opened(needs_file=True)
    args = {}
    for word in build_arg:
        name, equals, value = word.partition("=")
        args[name] = value if equals else os.environ.get(name, "")
    names = project.build(
        services,
        no_cache=no_cache,
        pull=pull,
        args=args,
        memory=memory,
        with_dependencies=with_dependencies,
        view=lambda _service: here.build_view("quiet" if quiet else progress),
    )
    if push:
        with shown(project, services, quiet=quiet) as told:
            project.push(services, told=told)
    return Names(names=names)


def _pull(services: tuple[str, ...], *, ignore_pull_failures: bool, include_deps: bool, quiet: bool, policy: str | None, ignore_buildable: bool) -> Result:  # fmt: skip # noqa: E501
    """Fetch the services' images."""
    project = opened(needs_file=True)
    with shown(project, services, quiet=quiet) as told:
        project.pull(
            services,
            policy=policy or "",
            ignore_buildable=ignore_buildable,
            ignore_failures=ignore_pull_failures,
            include_deps=include_deps,
            told=told,
        )
    return None


def _push(services: tuple[str, ...], *, ignore_push_failures: bool, include_deps: bool, quiet: bool) -> Result:
    """Send the images of services that are built here to their registries."""
    project = opened(needs_file=True)
    with shown(project, services, quiet=quiet) as told:
        digests = project.push(services, ignore_failures=ignore_push_failures, include_deps=include_deps, told=told)
    return Names(names=[f"{name}: digest: {digest}" for name, digest in digests.items()])


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(list(names), is_flag=True, help=help)


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


_QUIET = _flag("-q", "--quiet", help="Show no progress.")

COMMANDS: Mapping[str, click.Command] = {
    "build": _command(
        "build",
        _build,
        click.Option(["--build-arg"], multiple=True, metavar="NAME[=VALUE]", help="Set an ARG for every build."),
        _flag("--no-cache", help="Run every step again."),
        _flag("--pull", help="Ask the registry for newer base images."),
        _flag("--push", help="Send the images to their registries."),
        _QUIET,
        click.Option(["--progress"], default="auto", show_default=True, help="auto, plain or quiet."),
        click.Option(["-m", "--memory"], metavar="SIZE", help="Memory limit of RUN."),
        _flag("--with-dependencies", help="Also what the named services depend on."),
        SERVICES,
    ),
    "pull": _command(
        "pull",
        _pull,
        _flag("--ignore-pull-failures", help="Go on without what cannot be fetched."),
        _flag("--include-deps", help="Also what the named services depend on."),
        _flag("--ignore-buildable", help="Leave out what can be built."),
        click.Option(["--policy"], type=click.Choice(["missing", "always"]), help="missing: only what is not here."),
        _QUIET,
        SERVICES,
    ),
    "push": _command(
        "push",
        _push,
        _flag("--ignore-push-failures", help="Go on without what cannot be sent."),
        _flag("--include-deps", help="Also what the named services depend on."),
        _QUIET,
        SERVICES,
    ),
}
