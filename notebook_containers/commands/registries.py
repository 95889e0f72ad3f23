"""Verbs on registries: pull, push, login, logout, search, manifest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.looking import FORMAT, NO_TRUNC
from notebook_containers.commands.moving import moving
from notebook_containers.commands.results import Documents, Given, Names, Result, Row, Table, Text
from notebook_containers.commands.text import one_line
from notebook_containers.commands.tree import Verbs
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import dataclass
from notebook_containers.oci.reference import Reference

_MAX_PASSWORD_BYTES = 64 * 1024


def _pull(image: str, *, all_tags: bool, platform: str | None, quiet: bool) -> Result:
    """Fetch an image (or with -a all of a repository) from its registry."""
    images = face().engine.images
    with moving(face(), "pull", image, quiet=quiet) as outcome:
        if all_tags:
            found = images.pull_all(image, platform=platform or "", progress=outcome.take)
        else:
            found = [images.pull(image, platform=platform or "", progress=outcome.take)]
    if quiet:
        return Text(text="\n".join(Reference.parse(event.name).familiar() for event in outcome.done))
    lines = []
    for event, each in zip(outcome.done, found, strict=True):
        state = "Downloaded newer image for" if event.changed else "Image is up to date for"
        lines += [f"Digest: {event.manifest}", f"Status: {state} {event.name}", f"{event.name}: {each.id}"]
    return Given(value=found if all_tags else found[0], text="\n".join(lines))


def _push(image: str, *, all_tags: bool, compression_format: str, platform: str | None, quiet: bool) -> Result:
    """Send an image (or with -a all tags of a repository) to its registry."""
    if all_tags and platform:
        raise InvalidArgument("-a sends all there is", hint="leave out --platform, or name one tag")
    images = face().engine.images
    with moving(face(), "push", image, quiet=quiet) as outcome:
        if all_tags:
            sent: Mapping[str, str] = images.push_all(image, compression=compression_format, progress=outcome.take)
        else:
            name = Reference.parse(image).tagged().familiar()
            sent = {name: images.push(image, compression=compression_format, platform=platform or "", progress=outcome.take)}
    if quiet:
        return Text(text="\n".join(sent))
    lines = [f"{name}: digest: {digest}" for name, digest in sent.items()]
    return Given(value=dict(sent) if all_tags else next(iter(sent.values())), text="\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Login:
    """Who is logged in where, from now on; the password lies where docker keeps it."""

    registry: str
    username: str

    def __repr__(self) -> str:
        """One line."""
        return f"<Login {self.username} at {self.registry}>"


def _login(server: str | None, *, username: str | None, password: str | None, password_stdin: bool) -> Result:
    """Log in to a registry (Docker Hub when none is named); the password is tried before it is kept."""
    here = face()
    if password and password_stdin:
        raise InvalidArgument("--password and --password-stdin contradict each other", hint="leave out --password")
    if password:
        here.take_secret(password)
    if password_stdin:
        if not username:
            raise InvalidArgument("--password-stdin needs --username", hint="add -u NAME")
        password = _from_stdin()
    username = username or _ask("Username: ", secret=False)
    password = password or _ask("Password: ", secret=True)
    for warning in here.engine.login(username, password, registry=server or ""):
        here.note(warning)
    return Given(value=Login(registry=server or "docker.io", username=username), text="Login Succeeded")


def _from_stdin() -> str:
    if face().cell is not None or not hasattr(sys.stdout, "buffer"):
        raise InvalidArgument("a cell has no standard input", hint="leave out --password-stdin: you are asked for the password")
    data = sys.stdin.buffer.read(_MAX_PASSWORD_BYTES)
    return data.decode().rstrip("\r\n")


def _ask(prompt: str, *, secret: bool) -> str:
    """Ask the person: a terminal, or the notebook's own input field, which is not kept in it."""
    import getpass

    if secret and face().streams and not (sys.stdin and sys.stdin.isatty()):  # getpass would warn, and read what echoes
        raise InvalidArgument("nobody can be asked for the password here", hint="use -u NAME --password-stdin")
    try:
        return getpass.getpass(prompt) if secret else input(prompt)
    except (EOFError, OSError, NotImplementedError) as err:
        raise InvalidArgument("nobody can be asked for user name and password here", hint="use -u NAME --password-stdin") from err
    except RuntimeError as err:  # what a kernel without input raises
        raise InvalidArgument("nobody can be asked for user name and password here", hint="log in with nbc in a terminal") from err


def _logout(server: str | None) -> Result:
    """Forget the password of a registry."""
    name = server or "docker.io"
    removed = face().engine.logout(server or "")
    return Text(text=f"Removed the login for {name}" if removed else f"Not logged in to {name}")


def _search(term: str, *, limit: int, filter: tuple[str, ...], format: str | None, no_trunc: bool) -> Result:
    """Search a registry for images: Docker Hub, or another one as REGISTRY/TERM."""
    wanted = [_search_filter(word) for word in filter]
    found = [each for each in face().engine.images.search(term, limit=limit) if all(fits(each.stars, each.official) for fits in wanted)]
    rows: list[Row] = [
        {
            "name": one_line(each.name, limit=255),
            "description": one_line(each.description, limit=1000 if no_trunc else 45),
            "stars": each.stars,
            "official": each.official,
        }
        for each in found
    ]
    return Text(text=formatting.formatted("search", rows, format)) if format else Table(kind="search", rows=rows)


def _search_filter(word: str) -> Callable[[int, bool], bool]:
    key, _, value = word.partition("=")
    if key == "stars" and value.isdigit():
        return lambda stars, _official: stars >= int(value)
    if key == "is-official" and value in ("true", "false"):
        return lambda _stars, official: official == (value == "true")
    raise InvalidArgument(f"--filter {word!r} is not understood", hint="write stars=3 or is-official=true")


def _inspect(manifest: str) -> Result:
    """Show a manifest or a manifest list: the one made here, else the registry's."""
    return Documents(documents=[face().engine.manifests.inspect(manifest)])


def _create(name: str, images: tuple[str, ...], *, amend: bool) -> Result:
    """Make a manifest list NAME of images that are in the registry."""
    made = face().engine.manifests.create(name, images, amend=amend)
    return Given(value=made, text=f"Created manifest list {made.name.familiar()}")


def _annotate(name: str, image: str, **given: object) -> Result:
    """Correct what a manifest list says an image runs on."""
    features = given["os_features"]
    face().engine.manifests.annotate(
        name,
        image,
        os=str(given["os"] or ""),
        arch=str(given["arch"] or ""),
        variant=str(given["variant"] or ""),
        os_version=str(given["os_version"] or ""),
        os_features=[str(each) for each in features] if isinstance(features, tuple) else (),
    )
    return None


def _push_list(name: str, *, purge: bool) -> Result:
    """Send a manifest list to its registry."""
    digest = face().engine.manifests.push(name, purge=purge)
    return Given(value=digest, text=digest)


def _remove(names: tuple[str, ...]) -> Result:
    """Forget manifest lists; what was pushed stays in the registry."""
    for name in names:
        face().engine.manifests.remove(name)
    return Names(names=names)


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


def _options(*words: Sequence[str]) -> list[click.Option]:
    return [click.Option([flag], metavar=metavar, help=help) for flag, metavar, help in words]


_IMAGE = click.Argument(["image"])
_ALL_TAGS = click.Option(["-a", "--all-tags"], is_flag=True, help="All tags of the repository.")
_SERVER = click.Argument(["server"], required=False)
_LIST = click.Argument(["name"], metavar="MANIFEST_LIST")

_MANIFEST: Mapping[str, str] = {verb: f"registries:manifest {verb}" for verb in ("annotate", "create", "inspect", "push", "rm")}

COMMANDS: Mapping[str, click.Command] = {
    "pull": _command(
        "pull",
        _pull,
        _ALL_TAGS,
        click.Option(["--platform"], metavar="OS/ARCH[/VARIANT]", help="Another platform than this machine's, as linux/arm64."),
        click.Option(["-q", "--quiet"], is_flag=True, help="Only the names."),
        _IMAGE,
    ),
    "push": _command(
        "push",
        _push,
        _ALL_TAGS,
        click.Option(
            ["--compression-format"],
            type=click.Choice(["gzip", "zstd", "none"]),
            default="gzip",
            show_default=True,
            help="How layers made here are compressed.",
        ),
        click.Option(["--platform"], metavar="OS/ARCH[/VARIANT]", help="This one alone of a name that is here for several platforms."),
        click.Option(["-q", "--quiet"], is_flag=True, help="Only the names."),
        _IMAGE,
    ),
    "login": _command(
        "login",
        _login,
        click.Option(["-u", "--username"], metavar="NAME", help="User name."),
        click.Option(["-p", "--password"], metavar="TEXT", help="Password (seen by others: better --password-stdin)."),
        click.Option(["--password-stdin"], is_flag=True, help="Read the password from standard input."),
        _SERVER,
    ),
    "logout": _command("logout", _logout, _SERVER),
    "search": _command(
        "search",
        _search,
        click.Option(["--limit"], type=click.IntRange(1, 100), default=25, show_default=True, help="Results at most."),
        click.Option(["-f", "--filter"], multiple=True, metavar="NAME=VALUE", help="stars=3 or is-official=true."),
        FORMAT,
        NO_TRUNC,
        click.Argument(["term"]),
    ),
    "manifest": Verbs("manifest", _MANIFEST, help="Manage manifest lists: one name for the images of several platforms."),
    "manifest inspect": _command("inspect", _inspect, click.Argument(["manifest"], metavar="MANIFEST")),
    "manifest create": _command(
        "create",
        _create,
        click.Option(["-a", "--amend"], is_flag=True, help="Add to a list that there is."),
        _LIST,
        click.Argument(["images"], nargs=-1, required=True),
    ),
    "manifest annotate": _command(
        "annotate",
        _annotate,
        *_options(
            ("--arch", "NAME", "Architecture, as arm64."),
            ("--os", "NAME", "Operating system, as linux."),
            ("--variant", "NAME", "Variant of the architecture, as v7."),
            ("--os-version", "TEXT", "Version of the operating system."),
        ),
        click.Option(["--os-features"], multiple=True, metavar="NAME", help="Feature of the operating system."),
        _LIST,
        _IMAGE,
    ),
    "manifest push": _command("push", _push_list, click.Option(["-p", "--purge"], is_flag=True, help="Forget it here afterwards."), _LIST),
    "manifest rm": _command("rm", _remove, click.Argument(["names"], metavar="MANIFEST_LIST...", nargs=-1, required=True)),
}
