"""What a build leaves besides the image: ``-o type=local|tar|oci|docker|image|registry`` (BuildKit's exporters)."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from notebook_containers.engine import saving
from notebook_containers.engine.parts import Parts
from notebook_containers.errors import InvalidArgument, StoreError
from notebook_containers.lean import dataclass
from notebook_containers.oci.image import Digest
from notebook_containers.oci.reference import Reference
from notebook_containers.store.operations import CopyTree, LayersView
from notebook_containers.store.packing import LEVELS

if TYPE_CHECKING:
    from notebook_containers.engine.image import Image
    from notebook_containers.engine.images import Images

_REWRITE, _LEVEL = "rewrite-timestamp", "compression-level"
_KEYS = {
    "local": {"dest", _REWRITE},
    "tar": {"dest", _REWRITE},
    "oci": {"dest", "tar", "name", "compression", _LEVEL, _REWRITE},
    "docker": {"dest", "name", "compression", _LEVEL, _REWRITE},
    "image": {"name", "push", "compression", _LEVEL, _REWRITE},
    "registry": {"name", "compression", _LEVEL, _REWRITE},
}
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One ``-o``: where it goes (``-``: standard output), the names it gives or pushes, how new layers are compressed on the way.

    Without a ``compression`` they are pushed as gzip, and are as they are in an archive.

    ``rewrite``: times after SOURCE_DATE_EPOCH become it. What a build with an epoch makes has them so anyway; of an image's base they
    are in a layer of its own and stay, in a tree (``local``, ``tar``) they go too.
    """

    type: str
    dest: str = ""
    names: tuple[str, ...] = ()
    push: bool = False
    compression: str = ""
    level: int | None = None
    as_directory: bool = False
    rewrite: bool = False


def parse(word: str) -> Output:
    """Read ``type=tar,dest=file``, or a path alone: a directory (``type=local``), ``-`` (a tar on standard output).

    Raises InvalidArgument for a type or key that is none, and for a missing destination.
    """
    if "=" not in word:
        return Output(type="tar", dest="-") if word == "-" else Output(type="local", dest=_needed(word, "dest", word))
    values = dict(part.strip().partition("=")[::2] for part in next(csv.reader([word])))
    kind = values.pop("type", "")
    if kind not in _KEYS:
        near = difflib.get_close_matches(kind, _KEYS, n=1)
        raise InvalidArgument(f"-o {word!r}: no type {kind!r}", hint=f"did you mean {near[0]}?" if near else "use " + ", ".join(_KEYS))
    unknown = sorted(set(values) - _KEYS[kind])
    if unknown:
        raise InvalidArgument(f"-o {word!r}: type {kind} has no {unknown[0]!r}", hint="it knows " + ", ".join(sorted(_KEYS[kind])))
    compression = _compression(values, word)
    names = tuple(name for name in values.get("name", "").split(",") if name)
    return Output(
        type=kind, dest=_needed(values.get("dest", ""), "dest", word) if kind in ("local", "tar", "oci", "docker") else "", names=names,
        push=kind == "registry" or values.get("push", "") == "true", compression=compression, level=_level(values, compression, word),
        as_directory=values.get("tar", "true") == "false", rewrite=values.get(_REWRITE, "") == "true",
    )  # fmt: skip


def _compression(values: Mapping[str, str], word: str) -> str:
    wanted = values.get("compression", "")
    if wanted not in ("", "gzip", "zstd", "none", "uncompressed"):
        raise InvalidArgument(f"-o {word!r}: compression {wanted!r} is unknown", hint="use gzip, zstd or uncompressed")
    return "none" if wanted == "uncompressed" else wanted


def _level(values: Mapping[str, str], compression: str, word: str) -> int | None:
    text, levels = values.get(_LEVEL, ""), LEVELS.get(compression or "gzip", range(0))
    if not text:
        return None
    if not text.isdecimal() or int(text) not in levels:
        hint = f"{compression or 'gzip'} has {levels[0]} to {levels[-1]}" if levels else "leave it out: nothing is compressed"
        raise InvalidArgument(f"-o {word!r}: no {_LEVEL} {text!r}", hint=hint)
    return int(text)


def _needed(value: str, key: str, word: str) -> str:
    if not value:
        raise InvalidArgument(f"-o {word!r} needs {key}", hint="such as -o type=tar,dest=image.tar")
    return value


def check(output: Output, epoch: int | None) -> None:
    """Raise InvalidArgument for an output that wants times rewritten where there is no ``epoch`` to rewrite them to."""
    if output.rewrite and epoch is None:
        raise InvalidArgument(f"-o {_REWRITE}=true needs a time", hint="give --build-arg SOURCE_DATE_EPOCH=SECONDS")


def deliver(
    parts: Parts, images: Images, image: Image, tags: Sequence[str], output: Output, *, directory: Path, stdout: BinaryIO,
    epoch: int | None = None,
) -> None:  # fmt: skip
    """Write or push a built image; relative destinations are below ``directory``. Raises StoreError, RegistryError, DiskFull.

    InvalidArgument for times that are to be rewritten, and no ``epoch`` to rewrite them to.
    """
    check(output, epoch)
    epoch = epoch if output.rewrite else None
    names = [*tags, *output.names]
    if output.type in ("image", "registry"):
        for name in output.names:
            image.tag(name)
        for name in names if output.push else ():
            images.push(name, compression=output.compression or "gzip", compression_level=output.level)
        if output.push and not names:
            raise InvalidArgument(f"-o type={output.type}: there is no name to push to", hint="give -t NAME, or name=NAME in the output")
        return
    target = directory / output.dest
    if output.type == "local":
        _unpack(parts, image, target, epoch)
    elif output.as_directory:
        saving.directory(parts, _chosen(image, names), target, form="oci-dir", packing=_packing(output))
    else:
        _write(_pieces(parts, image, names, output, epoch=epoch), None if output.dest == "-" else target, stdout)


def _pieces(parts: Parts, image: Image, names: Sequence[str], output: Output, *, epoch: int | None) -> Iterator[bytes]:
    if output.type == "tar":
        return _flat_tar(parts, image, epoch)
    form = "oci-archive" if output.type == "oci" else "docker-archive"
    return saving.archive(parts, _chosen(image, names), form=form, packing=_packing(output))


def _chosen(image: Image, names: Sequence[str]) -> saving.Chosen:
    return [(image.record, [Reference.parse(name).tagged().familiar() for name in names])]


def _packing(output: Output) -> saving.Packing | None:
    wanted = output.compression or ("gzip" if output.level is not None else "none")
    return None if wanted == "none" else saving.Packing(kind=wanted, level=output.level)


def _write(pieces: Iterator[bytes], target: Path | None, stdout: BinaryIO) -> None:
    """Write a file beside its place and rename it, so that what is there is whole; or to standard output."""
    if target is None:
        for piece in pieces:
            stdout.write(piece)
        stdout.flush()
        return
    staged = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
    try:
        with open(staged, "xb") as file:
            for piece in pieces:
                file.write(piece)
        os.replace(staged, target)
    except OSError as err:
        raise StoreError(f"cannot write {target}: {os.strerror(err.errno or 0).lower()}", hint="choose another dest") from err
    finally:
        staged.unlink(missing_ok=True)


def _flat(parts: Parts, image: Image, epoch: int | None) -> Digest | None:
    """Return a layer that holds everything of an image; the next collection frees it. None for an empty image."""
    snapshots, key = parts.store.snapshots, f"output-{os.urandom(8).hex()}"
    layers = tuple(image.record.diff_ids)
    if not layers:
        return None
    snapshots.prepare(key, (), volatile=True)
    try:
        snapshots.edit(key, [CopyTree(source=LayersView(layers=layers), path="/", destination="/")])
        layer = snapshots.commit(key, epoch=epoch)
    except BaseException:
        snapshots.remove(key)
        raise
    return layer.diff_id if layer is not None else None


def _flat_tar(parts: Parts, image: Image, epoch: int | None) -> Iterator[bytes]:
    with parts.store.lease():
        flat = _flat(parts, image, epoch)
        if flat is None:
            yield bytes(1024)  # the end of an archive
            return
        with parts.store.layers.open_tar(flat) as stream:
            while piece := stream.read(_PIECE):
                yield piece


def _unpack(parts: Parts, image: Image, target: Path, epoch: int | None) -> None:
    from notebook_containers.engine.copying import unpack_here

    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise StoreError(f"cannot write {target}: {os.strerror(err.errno or 0).lower()}", hint="choose another dest") from err
    unpack_here(_flat_tar(parts, image, epoch), str(target), archive_mode=os.geteuid() == 0)
