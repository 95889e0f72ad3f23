"""``compose config``: check the files and show what they mean, whole or one kind of names at a time, or where every value comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click

from notebook_containers.commands.compose import SERVICES, request
from notebook_containers.commands.face import face
from notebook_containers.commands.results import Names, Result, Text
from notebook_containers.errors import InvalidArgument
from notebook_containers.lean import replace

if TYPE_CHECKING:
    from notebook_containers.compose.loading import Loaded
    from notebook_containers.compose.nodes import Node

_LISTS = ("services", "volumes", "networks", "models", "images", "profiles", "environment", "variables")


def _config(services: tuple[str, ...], **given: object) -> Result:
    """Check the files and show the project they mean, resolved and in one form."""
    from notebook_containers.compose.loading import load

    asked = [name for name in _LISTS if given[f"only_{name}"]]
    if len(asked) > 1:
        raise InvalidArgument(f"--{asked[0]} and --{asked[1]} exclude each other", hint="ask for one kind of names at a time")
    filled = not given["no_interpolate"]
    everything = bool(given["all_resources"])
    wanted = replace(
        request(),
        filled=filled,
        absolute=not given["no_path_resolution"],
        consistent=not given["no_consistency"],
        normalised=not given["no_normalize"],
        env_files_read=not given["no_env_resolution"],
        everything=everything,
    )
    loaded = load(wanted)
    for note in loaded.project.notes:
        face().note(note)
    chosen = _with_needed(loaded, services)
    if given["quiet"]:
        return None
    if given["hash"]:
        return _hashes(loaded, str(given["hash"]))
    if asked:
        return Names(names=list(_NAMES[asked[0]](loaded)))
    return _written(_text(loaded, chosen, given, filled=filled), str(given["output"] or ""))


def _text(loaded: Loaded, chosen: tuple[str, ...], given: Mapping[str, object], *, filled: bool) -> str:
    from notebook_containers.compose import explaining, pinning, showing

    worked_in, locked = not given["no_env_resolution"], bool(given["lock_image_digests"])
    shown = showing.shown(loaded, services=chosen, everything=bool(given["all_resources"]), filled=filled, worked_in=worked_in)
    if locked or given["resolve_image_digests"]:
        images = face().engine.images
        shown = pinning.pinned(shown, lambda name: str(images.registry_digest(name)))
    if locked:
        shown = pinning.images_alone(shown)
    as_json = given["format"] == "json"
    if given["explain"]:
        return json.dumps(list(explaining.rows(shown)), indent=2, ensure_ascii=False) + "\n" if as_json else explaining.text(shown)
    printed: Node = showing.escaped(shown) if filled else shown
    return showing.json_text(printed) if as_json else showing.yaml_text(printed)


def _written(text: str, output: str) -> Result:
    if not output:
        return Text(text=text.removesuffix("\n"))
    path = face().cwd / output
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as err:
        raise InvalidArgument(f"{str(path)!r} cannot be written: {err.strerror}", hint="name another file with -o") from err
    return None


def _with_needed(loaded: Loaded, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named services and those they depend on."""
    waiting, found = list(names), list[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            known = {service.name for service in loaded.project.services}
            waiting += [other for other in loaded.project.service(name).depends_on if other in known]
    return tuple(found)


def _hashes(loaded: Loaded, word: str) -> Result:
    from notebook_containers.compose.digests import service_hash

    chosen = [service.name for service in loaded.project.services] if word == "*" else word.split(",")
    services = [loaded.project.service(name) for name in sorted(chosen)]
    return Names(names=[f"{service.name} {service_hash(loaded.project, service)}" for service in services])


def _images(loaded: Loaded) -> Iterable[str]:
    return [service.image or f"{loaded.project.name}-{service.name}" for service in loaded.project.services if not service.provider]


def _profiles(loaded: Loaded) -> Iterable[str]:
    everyone = (*loaded.project.services, *loaded.project.disabled)
    return sorted({profile for service in everyone for profile in service.profiles})


def _environment(loaded: Loaded) -> Iterable[str]:
    return [f"{name}={value}" for name, value in sorted(loaded.variables.values().items())]


def _variables(loaded: Loaded) -> Iterable[str]:
    """Return a table of the variables that the files name: is it needed, its default, what stands in when it is set."""
    rows = [("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")]
    rows += [(one.name, str(one.required).lower(), one.default, one.alternate) for one in loaded.named_variables()]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


_NAMES: Mapping[str, Callable[[Loaded], Iterable[str]]] = {
    "services": lambda loaded: [service.name for service in loaded.project.services],
    "volumes": lambda loaded: list(loaded.project.volumes),
    "networks": lambda loaded: list(loaded.project.networks),
    "models": lambda loaded: list(loaded.project.models),
    "images": _images,
    "profiles": _profiles,
    "environment": _environment,
    "variables": _variables,
}
_PARAMETERS = (
    click.Option(["--format"], type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="How the project is written."),
    click.Option(["--explain"], is_flag=True, help="Say of each value which file and line, variable or default it comes from."),
    click.Option(["-q", "--quiet"], is_flag=True, help="Check only, show nothing."),
    click.Option(["-o", "--output"], metavar="FILE", help="Write into this file."),
    click.Option(["only_services", "--services"], is_flag=True, help="The services' names."),
    click.Option(["only_volumes", "--volumes"], is_flag=True, help="The volumes' names."),
    click.Option(["only_networks", "--networks"], is_flag=True, help="The networks' names."),
    click.Option(["only_models", "--models"], is_flag=True, help="The language models' names."),
    click.Option(["only_images", "--images"], is_flag=True, help="The images' names."),
    click.Option(["only_profiles", "--profiles"], is_flag=True, help="The profiles' names."),
    click.Option(["only_environment", "--environment"], is_flag=True, help="The variables that values are filled with."),
    click.Option(["only_variables", "--variables"], is_flag=True, help="The variables that the files name."),
    click.Option(["--hash"], metavar="SERVICES", help="The configuration's hash of services, by commas; * is every one."),
    click.Option(["--no-interpolate"], is_flag=True, help="Leave variables as they stand."),
    click.Option(["--no-path-resolution"], is_flag=True, help="Leave relative paths as they stand."),
    click.Option(["--no-consistency"], is_flag=True, help="Do not check what one part says of another."),
    click.Option(["--no-normalize"], is_flag=True, help="Add nothing that the files do not say: no default network, no implied need."),
    click.Option(["--no-env-resolution"], is_flag=True, help="Leave env_file and bare names of environment as they stand."),
    click.Option(["--resolve-image-digests"], is_flag=True, help="Say which image a name stands for now in its registry."),
    click.Option(["--lock-image-digests"], is_flag=True, help="Write a file of the services' images by digest alone, to be given with -f."),
    click.Option(["--all-resources"], is_flag=True, help="Also networks, volumes, secrets and configs that no service uses."),
    SERVICES,
)

COMMANDS: Mapping[str, click.Command] = {
    "config": click.Command("config", callback=_config, params=list(_PARAMETERS), help=_config.__doc__),
}
