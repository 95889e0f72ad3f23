"""The verb build: its options, and what they mean to the engine."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from notebook_containers.commands.build_views import MODES
from notebook_containers.commands.face import Face, face
from notebook_containers.commands.given import host_lines, nano_cpus
from notebook_containers.commands.looking import QUIET
from notebook_containers.commands.results import Built, Planned, Result, Table, Text
from notebook_containers.errors import BuildError, InvalidArgument
from notebook_containers.lean import dataclass

if TYPE_CHECKING:
    from notebook_containers.build.calls import Look
    from notebook_containers.engine.image import Image


def _build(context: str | None, **given: object) -> Result:
    """Build an image from a Dockerfile."""
    from notebook_containers.build.build import source_date_epoch
    from notebook_containers.engine import lending, outputs

    here = face()
    source = _source(context, given["file"])
    directory, text, file = source.context, source.text, source.file
    args = dict(_pair("--build-arg", word) for word in _many(given["build_arg"]))
    platform = ",".join(dict.fromkeys(_many(given["platform"])))
    call = "check" if given["check"] else str(given["call"] or "build")
    contexts = dict(_context(word) for word in _many(given["build_context"]))
    if call != "build":
        if source.archive is not None:
            raise InvalidArgument(f"--call={call} reads no archive from standard input", hint="unpack it, and name the directory")
        target = str(given["target"] or "")
        look = here.engine.images.look(
            directory, text=text, dockerfile=file, buildargs=args, target=target, platform=platform, contexts=contexts
        )  # fmt: skip
        return _look(call, look)
    outputs_wanted, epoch = [outputs.parse(word) for word in _many(given["output"])], source_date_epoch(args)
    for output in outputs_wanted:
        outputs.check(output, epoch)
    metadata_file, iidfile = (_target(here.cwd, option, given[name]) for option, name in _FILES)
    labels = dict(_pair("--label", word) for word in _many(given["label"]))
    variables = dict(_variable(word) for word in _many(given["context_var"]))
    mode = "quiet" if given["quiet"] else str(given["progress"])
    with _debugging(here, wanted=bool(given["debug_shell"])), here.build_view(mode) as progress:
        result = here.engine.images.build(
            directory,
            text=text,
            dockerfile=file,
            tag=_many(given["tag"]),
            buildargs=args,
            target=str(given["target"] or ""),
            platform=platform,
            nocache=bool(given["no_cache"]),
            pull=bool(given["pull"]),
            labels=labels,
            network=str(given["network"]),
            nocache_filter=[name for word in _many(given["no_cache_filter"]) for name in word.split(",") if name],
            extra_hosts=host_lines(_host(word) for word in _many(given["add_host"])),
            ulimits=_many(given["ulimit"]),
            shmsize=_text(given["shm_size"]),
            mem_limit=_text(given["memory"]),
            cache_from=_places(here.cwd, given["cache_from"]),
            cache_to=_places(here.cwd, given["cache_to"]),
            nano_cpus=nano_cpus(given["cpus"]),
            secrets=lending.read_secrets(_many(given["secret"]), here.cwd, os.environ),
            ssh=lending.read_agents(_many(given["ssh"]), here.cwd, os.environ),
            fileobj=source.archive,
            custom_context=source.archive is not None,
            contexts=contexts,
            context_vars=variables,
            progress=progress,
        )
    for output in outputs_wanted:
        here.engine.images.deliver(result.image, _many(given["tag"]), output, directory=here.cwd, stdout=sys.stdout.buffer, epoch=epoch)
    if metadata_file:
        metadata_file.write_text(json.dumps(_metadata(result.image, _many(given["tag"])), indent=2) + "\n")
    if iidfile:
        iidfile.write_text(result.image.id)
    if any(output.dest == "-" for output in outputs_wanted):
        return None
    plan = None
    if given["graph"]:
        from notebook_containers.commands import plans

        plan = plans.built(result.plan, result.steps)
    return Built(image=result.image, steps=result.steps, quiet=bool(given["quiet"]), plan=plan)


@contextmanager
def _debugging(here: Face, *, wanted: bool) -> Iterator[None]:
    """Open a shell at the step that fails in the block, if that is wanted; its error goes on."""
    if wanted:
        here.check_terminal(stdin=True, tty=True)
    try:
        yield
    except BuildError as err:
        from notebook_containers.commands import shell
        from notebook_containers.engine.opened import OpenedStep

        if wanted and isinstance(err.step, OpenedStep):
            here.note(err.message)
            shell.enter(here, err.step, ())
        raise


def _metadata(image: Image, tags: Sequence[str]) -> dict[str, object]:
    """Return what ``--metadata-file`` writes, in BuildKit's words."""
    manifest = str(image.record.manifest_digest)
    size = len(image.record.manifest.to_bytes())
    found: dict[str, object] = {"containerimage.config.digest": image.id, "containerimage.digest": manifest}
    found["containerimage.descriptor"] = {"mediaType": image.record.manifest.media_type, "digest": manifest, "size": size}
    return {**found, **({"image.name": ",".join(tags)} if tags else {})}


def _places(directory: Path, words: object) -> list[str]:
    """Make the directories of cache words absolute: they are the caller's, not the context's."""
    return [re.sub(r"((?:^|,)(?:src|dest)=)([^/,][^,]*)", lambda m: f"{m[1]}{directory / m[2]}", word) for word in _many(words)]


def _host(word: str) -> tuple[str, str]:
    name, separator, address = word.partition(":" if "=" not in word.split(":", maxsplit=1)[0] else "=")
    if not separator or not name or not address:
        raise InvalidArgument(f"--add-host {word!r} is no NAME:ADDRESS", hint="such as --add-host db:10.0.0.5")
    return name, address


def _text(value: object) -> str | None:
    return str(value) if value else None


def _look(call: str, look: Look) -> Result:
    if call == "plan":
        from notebook_containers.commands import plans

        return Planned(plan=plans.planned(look.steps()))
    if call == "targets":
        return Table(kind="targets", rows=[target.row() for target in look.targets()])
    if call == "outline":
        return Table(kind="outline", rows=[parameter.row() for parameter in look.outline()])
    findings = look.findings()
    lines = [finding.text() for finding in findings]
    found = sum(bool(finding.rule) for finding in findings)
    count = "no warnings found" if not found else f"{found} warning{'s' if found > 1 else ''} found"
    return Text(text="\n".join([*lines, f"Check complete, {count}"]), status=int(found > 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where a build comes from: the context (a directory or an address), the Dockerfile's text or path, or an archive with both."""

    context: str | Path
    text: str | None = None
    file: str | Path | None = None
    archive: BinaryIO | None = None


def _source(context: str | None, file: object) -> _Source:
    here = face()
    if here.cell is not None:
        return _Source(context=_place(context or "."), text=here.cell)
    if context is None:
        raise click.UsageError("the build context is missing: give a directory, for example 'nbc build -t hello .'")
    if context == "-":
        return _piped(str(file) if file else None)
    place = _place(context)
    if file == "-":
        return _Source(context=place, text=sys.stdin.read())
    inside = isinstance(place, str)
    return _Source(context=place, file=(str(file) if inside else here.cwd / str(file)) if file else None)


def _piped(file: str | None) -> _Source:
    """Standard input: an archive that is the context, or the text of a Dockerfile."""
    from notebook_containers.build.archives import BLOCK, is_tar_header
    from notebook_containers.store.compression import Replayed, compression_of

    stream = Replayed(sys.stdin.buffer)
    start = stream.start(BLOCK)
    if is_tar_header(start) or compression_of(start[:4]):
        return _Source(context=face().cwd, file=file, archive=cast("BinaryIO", stream))
    try:
        return _Source(context=face().cwd, text=(start + sys.stdin.buffer.read()).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidArgument("standard input is neither a Dockerfile nor a tar archive", hint="pipe one of them in") from None


def _place(word: str) -> str | Path:
    """A context's word: an address as it is, a directory below the face's own."""
    from notebook_containers.engine import build_sources

    directory = face().cwd / word
    return word if not directory.is_dir() and build_sources.address(word) is not None else directory


def _context(word: str) -> tuple[str, str]:
    name, value = _pair("--build-context", word)
    if "=" not in word or not value:
        raise InvalidArgument(f"--build-context {word} names no context", hint="write NAME=DIRECTORY, or NAME=docker-image://IMAGE")
    kind = next((kind for kind in ("docker-image://", "oci-layout://") if value.startswith(kind)), "")
    return name, value if kind == "docker-image://" else f"{kind}{_place(value.removeprefix(kind))}"


def _variable(word: str) -> tuple[str, object]:
    name, _, file = word.partition("=")
    return file or name, face().variable(name)


def _target(cwd: Path, option: str, word: object) -> Path | None:
    """Return the file that an option names, None without one; InvalidArgument, before anything is built, where none can be written."""
    path = cwd / str(word)
    if not word:
        return None
    if path.is_dir():
        raise InvalidArgument(f"{option} {word}: that is a directory", hint="name a file")
    if not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InvalidArgument(f"{option} {word}: no file can be written there", hint=f"name another, or see to {path.parent} first")
    return path


def _many(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, tuple) else []


def _pair(option: str, word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not name:
        raise InvalidArgument(f"{option} {word!r} has no name", hint="write NAME=VALUE")
    return name, value if equals else os.environ.get(name, "")


_CONTEXT_HELP = "A further context for FROM and --from: a directory, an address, docker-image://IMAGE or oci-layout://DIRECTORY."
_PROGRESS = "How it is shown: lines, a terminal's block, nothing, or BuildKit's JSON."
_FILES = (("--metadata-file", "metadata_file"), ("--iidfile", "iidfile"))
_CALLS = ("build", "check", "outline", "plan", "targets")

COMMANDS: Mapping[str, click.Command] = {
    "build": click.Command(
        "build",
        callback=_build,
        help=_build.__doc__,
        params=[
            click.Option(["-t", "--tag"], multiple=True, metavar="NAME[:TAG]", help="Name of the image."),
            click.Option(["-f", "--file"], help="The Dockerfile (CONTEXT/Dockerfile), or - for standard input."),
            click.Option(["--build-arg"], multiple=True, metavar="NAME=VALUE", help="Set an ARG."),
            click.Option(["--target"], help="Stage to build."),
            click.Option(
                ["--platform"], multiple=True, metavar="OS/ARCH", help="What the image is for, such as linux/arm64 (this machine's)."
            ),
            click.Option(["--no-cache"], is_flag=True, help="Run every step again."),
            click.Option(["--pull"], is_flag=True, help="Ask the registry for newer base images."),
            click.Option(["--label"], multiple=True, metavar="NAME=VALUE", help="Set a label."),
            click.Option(["--network"], default="default", show_default=True, help="Network of RUN: default, none or host."),
            click.Option(["-o", "--output"], multiple=True, metavar="type=TYPE,dest=PATH", help="Also write or push the result."),
            click.Option(["--metadata-file"], help="Write digests and names to this file."),
            click.Option(["--no-cache-filter"], multiple=True, metavar="STAGE", help="Run the steps of these stages again."),
            click.Option(["--cache-from"], multiple=True, metavar="type=TYPE,…", help="Take steps: registry,ref=NAME or local,src=DIR."),
            click.Option(["--cache-to"], multiple=True, metavar="type=TYPE,…", help="Write it: registry, local (dest=DIR) or inline."),
            click.Option(["--add-host"], multiple=True, metavar="NAME:ADDRESS", help="A name that RUN sees."),
            click.Option(["--ulimit"], multiple=True, metavar="NAME=SOFT[:HARD]", help="A limit of RUN."),
            click.Option(["--shm-size"], metavar="SIZE", help="Size of /dev/shm in RUN."),
            click.Option(["-m", "--memory"], metavar="SIZE", help="Memory limit of RUN."),
            click.Option(["--cpus"], type=float, metavar="NUMBER", help="Processors that RUN may use."),
            click.Option(["--build-context"], multiple=True, metavar="NAME=CONTEXT", help=_CONTEXT_HELP),
            click.Option(["--context-var"], multiple=True, metavar="NAME[=FILE]", help="Put a notebook's variable into the context."),
            click.Option(["--secret"], multiple=True, metavar="id=NAME[,src=FILE]", help="Lend a secret to RUN --mount=type=secret."),
            click.Option(["--ssh"], multiple=True, metavar="default|ID=SOCKET", help="Lend an SSH agent to RUN --mount=type=ssh."),
            click.Option(["--check"], is_flag=True, help="Check the Dockerfile, and build nothing."),
            click.Option(["--graph"], is_flag=True, help="Show the plan as a picture: stages, what was cached, what ran at once."),
            click.Option(["--debug-shell"], is_flag=True, help="When a step fails, open a shell where it stopped."),
            click.Option(["--call"], type=click.Choice(_CALLS), help="What to do instead of building."),
            click.Option(
                ["--progress"], type=click.Choice(MODES), default="auto", show_default=True, envvar="BUILDKIT_PROGRESS", help=_PROGRESS
            ),
            click.Option(["--iidfile"], help="Write the image id to this file."),
            QUIET,
            click.Argument(["context"], required=False),
        ],
    ),
}
