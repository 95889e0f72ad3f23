"""Verbs that move files in and out of containers and images: cp, export, commit, import, save, load."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from notebook_containers.commands.face import Face, face
from notebook_containers.commands.results import Given, Result, Text
from notebook_containers.engine.image_words import SAVED_FORMATS
from notebook_containers.errors import InvalidArgument, NotFound, StoreError
from notebook_containers.registry.progress import Report, StreamMeter

_PIECE = 1 << 20


def copy(source: str, destination: str, *, archive: bool, follow_link: bool, quiet: bool) -> Result:
    """Copy files between a container (NAME:PATH) and this machine; - is a tar stream on standard input or output."""
    here = face()
    (from_name, from_path), (to_name, to_path) = split(source), split(destination)
    if bool(from_name) == bool(to_name):
        raise InvalidArgument(
            "one of source and destination is a container's, the other is not",
            hint="write NAME:PATH for the container's, as in: nbc cp web:/etc/hostname .",
        )
    if to_name:
        warnings = _copy_in(here, to_name, to_path, from_path, archive=archive, follow=follow_link)
    else:
        warnings = _copy_out(here, from_name, from_path, to_path, archive=archive, follow=follow_link)
    for text in warnings:
        here.note(text)
    if not quiet and "-" not in (source, destination):
        # docker says it on standard error, so that a script's output stays its own; in a cell that would look like a failure
        here.write("stderr" if here.streams else "stdout", f"Successfully copied {source} to {destination}\n".encode())
    return None


def _copy_in(here: Face, name: str, path: str, local: str, *, archive: bool, follow: bool) -> list[str]:
    container = here.engine.containers.get(name)
    if local == "-":
        container.put_archive(path, standard_input(here))
        return []
    return container.copy_to(local_path(here, local), path, archive=archive, follow=follow)


def _copy_out(here: Face, name: str, path: str, local: str, *, archive: bool, follow: bool) -> list[str]:
    container = here.engine.containers.get(name)
    if local == "-":
        stream, _status = container.get_archive(path)
        _check_output()
        for piece in stream:
            here.write("stdout", piece)
        return []
    return container.copy_from(path, local_path(here, local), archive=archive, follow=follow)


def split(word: str) -> tuple[str, str]:
    """Split ``CONTAINER:PATH``; no container for a local path: one that begins with ``/`` or ``.``, or has no colon, and ``-``."""
    if word.startswith((".", "/", "~")) or ":" not in word:
        return "", word
    name, _, path = word.partition(":")
    if not name or not path:
        raise InvalidArgument(f"{word!r} is no CONTAINER:PATH", hint="write a local path that holds a colon as ./NAME")
    return name, path


def local_path(here: Face, word: str) -> str:
    """Return a local path from the face's directory on; a slash or a dot at its end is kept, because it means something."""
    return os.path.join(here.cwd, os.path.expanduser(word))


def standard_input(here: Face) -> BinaryIO:
    """Return standard input as bytes; a notebook has none."""
    if here.cell is not None or not hasattr(sys.stdout, "buffer"):
        raise InvalidArgument("a notebook has no standard input", hint="write the archive's file, or use put_archive in Python")
    return sys.stdin.buffer


def _check_output() -> None:
    if not hasattr(sys.stdout, "buffer"):
        raise InvalidArgument("a cell cannot show a tar stream", hint="write it to a file with -o, or use Python")
    if sys.stdout.isatty():
        raise InvalidArgument("a tar stream is not written to a terminal", hint="redirect it: ... > file.tar, or use -o file.tar")


def _export(container: str, *, output: str | None) -> Result:
    """Write a container's whole file system as a tar archive."""
    here = face()
    found = here.engine.containers.get(container)
    with here.transfer_view("export", container, quiet=False) as view:
        write_stream(here, output, lambda: _measured(found.export(), view, container))
    return None


def _measured(pieces: Iterator[bytes], report: Report, name: str) -> Iterator[bytes]:
    """Yield the pieces, and report how many bytes there were; how many there will be nobody knows."""
    meter = StreamMeter(report, name, 0)
    meter.phase("writing")
    for piece in pieces:
        meter.add(len(piece))
        yield piece
    meter.phase("done")


def write_stream(here: Face, output: str | None, stream: Callable[[], Iterator[bytes]]) -> None:
    """Write to a file, which appears when it is whole, or to standard output."""
    if output is None:
        _check_output()
        for piece in stream():
            here.write("stdout", piece)
        return
    with _new_file(Path(local_path(here, output))) as file:
        for piece in stream():
            file.write(piece)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name when the block ends well."""
    if path.exists() and not path.is_file():  # a device or a FIFO is written as it is
        with open(path, "wb") as file:
            yield file
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as err:
        hint = "make the directory first" if isinstance(err, FileNotFoundError) else "choose another file with -o"
        raise StoreError(f"cannot write {path}: {(err.strerror or str(err)).lower()}", hint=hint) from err
    finally:
        temporary.unlink(missing_ok=True)


def _commit(container: str, name: str | None, *, author: str, change: tuple[str, ...], message: str, pause: bool) -> Result:
    """Make an image of a container's changes."""
    here = face()
    found = here.engine.containers.get(container)
    if pause and found.status == "running" and not found.can_stand_still:
        here.note("it is not paused meanwhile, for no cgroup could freeze it: what changes while it is read may not fit together")
    with here.transfer_view("commit", name or container, quiet=False) as view:
        image = found.commit(name, author=author, changes=list(change), message=message, pause=pause, progress=view)
    return Given(value=image, text=str(image.id))


def _import(file: str, name: str | None, *, change: tuple[str, ...], message: str, platform: str, quiet: bool) -> Result:
    """Make an image of one layer from a tar archive: a file, an http or https address, or - for standard input."""
    here = face()
    if file.lower().startswith(("http://", "https://")):
        with here.transfer_view("import", name or file, quiet=quiet):
            image = here.engine.images.import_image_from_url(file, name, changes=list(change), message=message, platform=platform)
        return Given(value=image, text=str(image.id))
    with opened(here, file) as stream, here.transfer_view("import", name or file, quiet=quiet) as view:
        said = message or f"Imported from {file}"
        pieces = _counted(stream, view, file)
        image = here.engine.images.import_image(pieces, name, changes=list(change), message=said, platform=platform)
    return Given(value=image, text=str(image.id))


def _save(images: tuple[str, ...], *, output: str | None, format: str, platform: str, quiet: bool) -> Result:
    """Write images, with all their names, as an archive or a directory that docker, podman, skopeo and umoci read."""
    here = face()
    if format.endswith("-dir"):
        if output is None:
            raise InvalidArgument(f"{format} is a directory", hint="say which: -o DIRECTORY")
        with here.transfer_view("save", ", ".join(images), quiet=quiet) as view:
            target = local_path(here, output)
            here.engine.images.save_directory(list(images), target, format=format, platform=platform, progress=view)
        return None
    if output is None:
        _check_output()
    with here.transfer_view("save", ", ".join(images), quiet=quiet) as view:
        write_stream(here, output, lambda: here.engine.images.save(list(images), format=format, platform=platform, progress=view))
    return None


def _load(*, file: str | None, quiet: bool, no_names: bool, platform: str) -> Result:
    """Read images from an archive or a directory of docker, podman, skopeo or umoci."""
    here = face()
    engine, word = here.engine.images, file or "-"
    before = {tag: image.id for image in engine.list() for tag in image.tags}
    if word != "-" and os.path.isdir(local_path(here, word)):
        with here.transfer_view("load", word, quiet=quiet) as view:
            images = engine.load_directory(local_path(here, word), named=not no_names, platform=platform, progress=view)
    else:
        with opened(here, word) as stream, here.transfer_view("load", word, quiet=quiet) as view:
            images = engine.load(_counted(stream, view, word), named=not no_names, platform=platform, progress=view)
    for image in images:
        for tag in image.tags:
            if before.get(tag, image.id) != image.id:
                here.note(f"{tag} named another image, {before[tag].removeprefix('sha256:')[:12]}, which no longer has that name")
    lines = [f"Loaded image: {tag}" for image in images for tag in image.tags]
    text = "\n".join([*lines, *(f"Loaded image ID: {image.id}" for image in images if not image.tags)])
    return Text(text=text) if quiet else Given(value=images[0] if len(images) == 1 else list(images), text=text)


def _counted(file: BinaryIO, report: Report, name: str) -> Iterator[bytes]:
    """Yield what a file holds, and report how far it is; how long a pipe is nobody knows."""
    status = os.fstat(file.fileno())
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    meter = StreamMeter(report, "standard input" if name == "-" else os.path.basename(name), size)
    meter.phase("reading")
    while piece := file.read1(_PIECE) if isinstance(file, io.BufferedReader) else file.read(_PIECE):
        meter.add(len(piece))
        yield piece
    meter.phase("done")


@contextmanager
def opened(here: Face, word: str) -> Iterator[BinaryIO]:
    """Open a local file to read, or standard input for ``-``; NotFound when it cannot be."""
    if word == "-":
        yield standard_input(here)
        return
    path = local_path(here, word)
    try:
        file = open(path, "rb")
    except OSError as err:
        raise NotFound(
            f"cannot read {word}: {(err.strerror or str(err)).lower()}", hint="give a tar archive, or - for standard input"
        ) from err
    with file:
        yield file


def _command(name: str, callback: Callable[..., Result], params: Sequence[click.Parameter]) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


_CHANGE = click.Option(["-c", "--change"], multiple=True, metavar="INSTRUCTION", help="Dockerfile instruction for the image's settings.")
_MESSAGE = click.Option(["-m", "--message"], default="", help="Message in the image's history.")
_OUTPUT = click.Option(["-o", "--output"], metavar="FILE", help="Write to this file instead of standard output.")
_INPUT = click.Option(["file", "-i", "--input"], metavar="FILE", help="Read this file or directory instead of standard input.")
_PLATFORM = click.Option(["--platform"], default="", metavar="OS/ARCH[/VARIANT]", help="The platform, as linux/arm64.")
_NO_NAMES = click.Option(["--no-names"], is_flag=True, help="Do not take the names in the archive: it may claim any.")
_FORMAT = click.Option(["--format"], type=click.Choice(SAVED_FORMATS), default=SAVED_FORMATS[0], show_default=True, help="How to write it.")
_SILENT = click.Option(["-q", "--quiet"], is_flag=True, help="Show no progress.")
_CONTAINER = click.Argument(["container"])

COMMANDS: Mapping[str, click.Command] = {
    "cp": _command(
        "cp",
        copy,
        [
            click.Option(["-a", "--archive"], is_flag=True, help="Keep owners and groups."),
            click.Option(["-L", "--follow-link"], is_flag=True, help="Copy what a link leads to."),
            click.Option(["-q", "--quiet"], is_flag=True, help="Say nothing."),
            click.Argument(["source"]),
            click.Argument(["destination"]),
        ],
    ),
    "export": _command("export", _export, [_OUTPUT, _CONTAINER]),
    "commit": _command(
        "commit",
        _commit,
        [
            click.Option(["-a", "--author"], default="", help="Author, as 'Ada <ada@example.org>'."),
            _CHANGE,
            _MESSAGE,
            click.Option(["-p", "--pause/--no-pause"], default=True, help="Let it stand still meanwhile (the default)."),
            _CONTAINER,
            click.Argument(["name"], required=False),
        ],
    ),
    "import": _command(
        "import", _import, [_CHANGE, _MESSAGE, _PLATFORM, _SILENT, click.Argument(["file"]), click.Argument(["name"], required=False)]
    ),
    "save": _command("save", _save, [_OUTPUT, _FORMAT, _PLATFORM, _SILENT, click.Argument(["images"], nargs=-1, required=True)]),
    "load": _command("load", _load, [_INPUT, _PLATFORM, _NO_NAMES, _SILENT]),
}
