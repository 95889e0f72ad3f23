"""Verbs on images: build, images, history, layers, tag, rmi, prune."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import face
from notebook_containers.commands.imagetree import branches
from notebook_containers.commands.layers import ImageStack, LayerBox
from notebook_containers.commands.looking import FORMAT, NO_TRUNC, QUIET
from notebook_containers.commands.removed import removed
from notebook_containers.commands.results import Layers, Removed, Result, Row, Table, Text, Tree
from notebook_containers.engine.filters import from_words
from notebook_containers.errors import Error, InvalidArgument
from notebook_containers.oci.platforms import host_platform, normal, platform_text

if TYPE_CHECKING:
    from notebook_containers.engine.image import Image


def image_rows(images: list[Image], *, full: bool = False) -> list[Row]:
    """Return the rows of ``images``: one for each name."""
    sizes = face().engine.images.sizes(images)
    rows: list[Row] = []
    for image in images:
        unique, shared = sizes[image.id]
        for repository, tag, digest in _names(image):
            rows.append(
                {
                    "image_id": image.id if full else image.short_id,
                    "repository": repository,
                    "tag": tag,
                    "digest": digest,
                    "created": image.created,
                    "size": image.size,
                    "unique_size": unique,
                    "shared_size": shared,
                    "layers": len(image.layers),
                    "labels": dict(image.labels),
                    "platform": image.record.platform,
                }
            )
    return rows


def _names(image: Image) -> list[tuple[str, str, str]]:
    """Return repository, tag and digest of each name, as docker lists them."""
    digests = {repository: digest for repository, _, digest in (name.partition("@") for name in image.record.digests)}
    tagged = [(repository, tag) for repository, _, tag in (name.rpartition(":") for name in image.tags)]
    untagged = [(repository, "<none>") for repository in digests if repository not in dict(tagged)]
    return [(repository, tag, digests.get(repository, "<none>")) for repository, tag in tagged + untagged or [("<none>", "<none>")]]


def _images(
    name: str | None,
    *,
    all: bool,
    filter: tuple[str, ...],
    digests: bool,
    tree: bool,
    quiet: bool,
    format: str | None,
    no_trunc: bool,
) -> Result:
    """List images."""
    if tree and (quiet or format or digests or no_trunc):
        raise InvalidArgument("--tree draws the whole list", hint="leave out --quiet, --format, --digests and --no-trunc")
    found = face().engine.images.list(name, all=all, filters=from_words(filter))
    if tree:
        return Tree(branches=branches(found, face().engine.images.sizes(found)))
    rows = image_rows(found, full=no_trunc)
    if quiet:
        return Text(text="\n".join(dict.fromkeys(str(row["image_id"]) for row in rows)))
    foreign = {str(row["platform"]) for row in rows} - {"", platform_text(normal(host_platform()))}
    kind = "digests" if digests else "platforms" if foreign else "images"
    if format:
        return Text(text=formatting.formatted(kind, rows, format))
    hidden = {"digest", "platform"} - {"digest" if digests else "", "platform" if kind == "platforms" else ""}
    return Table(kind=kind, rows=[{key: value for key, value in row.items() if key not in hidden} for row in rows])


def _history(image: str, *, quiet: bool, format: str | None, no_trunc: bool) -> Result:
    """Show the instructions an image was made with, newest first, and the layer of each."""
    lines = face().engine.images.find(image).history()
    rows: list[Row] = [
        {
            "step": step,
            "created": line.created,
            "created_by": line.created_by,
            "size": line.size,
            "layer": (line.layer if no_trunc else line.layer.short) if line.layer else "",
            "empty": line.layer is None,
            "comment": line.comment,
        }
        for step, line in zip(range(len(lines), 0, -1), lines, strict=True)
    ]
    if quiet:
        return Text(text="\n".join(str(row["layer"]) for row in rows if row["layer"]))
    if format:
        return Text(text=formatting.formatted("history", rows, format, whole=no_trunc))
    return Table(kind="history", rows=rows, whole=no_trunc)


def _layers(images: tuple[str, ...]) -> Result:
    """Draw the layers of images side by side, and what sharing saves (all images when none is named)."""
    engine = face().engine
    found = [engine.images.get(name) for name in images] if images else engine.images.list()
    return Layers(stacks=[stack(image) for image in found])


def stack(image: Image) -> ImageStack:
    """Return one image's layers for the diagram, bottom first."""
    boxes = tuple(
        LayerBox(diff_id=line.layer or "", instruction=line.created_by, size=line.size, empty=line.layer is None)
        for line in reversed(image.history())
    )
    return ImageStack(name=", ".join(image.tags) or image.short_id, id=image.id, layers=boxes)


def _tag(source: str, target: str) -> Result:
    """Give an image one more name."""
    face().engine.images.tag(source, target)
    return None


def _rmi(images: tuple[str, ...], *, force: bool, no_prune: bool) -> Result:
    """Remove one or more images."""
    done: list[tuple[str, str]] = []
    failures: list[Exception] = []
    for name in images:
        try:
            done += [pair for line in face().engine.images.remove(name, force=force, noprune=no_prune) for pair in line.items()]
        except Error as err:
            failures.append(err)
    rows = [{"kind": "tag" if verb == "Untagged" else "image", "name": what, "action": verb.lower()} for verb, what in done]
    return Removed(rows=rows, lines=[f"{verb}: {what}" for verb, what in done], failures=failures)


def _prune(*, all: bool, force: bool, filter: tuple[str, ...]) -> Result:  # noqa: ARG001
    """Remove images without a name (all unused ones with --all) and layers nobody needs."""
    result = face().engine.images.prune(from_words(filter), all=all)
    deleted, warnings = result["ImagesDeleted"], result["Warnings"]
    for text in warnings if isinstance(warnings, list) else ():
        face().note(str(text))
    names = [str(name) for name in deleted] if isinstance(deleted, list) else []
    return removed({"image": names}, [f"Deleted: {name}" for name in names], int(str(result["SpaceReclaimed"])))


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


_ALL = click.Option(["-a", "--all"], is_flag=True, help="Also those without a name.")
_IMAGE = click.Argument(["image"])

COMMANDS: Mapping[str, click.Command] = {
    "images": _command(
        "images",
        _images,
        _ALL,
        click.Option(["-f", "--filter"], multiple=True, metavar="KEY=VALUE", help="dangling, label, before, since, until, reference."),
        click.Option(["--digests"], is_flag=True, help="Show the digests in registries."),
        click.Option(["--tree"], is_flag=True, help="Draw which image stands on which, and their layers."),
        QUIET,
        FORMAT,
        NO_TRUNC,
        click.Argument(["name"], required=False),
    ),
    "history": _command("history", _history, QUIET, FORMAT, NO_TRUNC, _IMAGE),
    "layers": _command("layers", _layers, click.Argument(["images"], nargs=-1)),
    "tag": _command("tag", _tag, click.Argument(["source"]), click.Argument(["target"])),
    "rmi": _command(
        "rmi",
        _rmi,
        click.Option(["-f", "--force"], is_flag=True, help="Remove all its names, even while a container uses it."),
        click.Option(["--no-prune"], is_flag=True, help="Leave the layers that nobody needs to the next prune."),
        click.Argument(["images"], nargs=-1, required=True),
    ),
    "prune": _command(
        "prune",
        _prune,
        click.Option(["-a", "--all"], is_flag=True, help="All images that no container uses, and the whole build cache."),
        click.Option(["-f", "--force"], is_flag=True, help="Do not ask (never asked here)."),
        click.Option(["--filter"], multiple=True, metavar="KEY=VALUE", help="until=24h, label=…, label!=…, dangling=false"),
    ),
}
