"""Verbs on what containers use: stats, update."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from notebook_containers.commands import formatting
from notebook_containers.commands.face import Face, face
from notebook_containers.commands.given import nano_cpus, restart_words
from notebook_containers.commands.lifecycle import on_each
from notebook_containers.commands.looking import FORMAT
from notebook_containers.commands.results import Result, Row, Table, Text
from notebook_containers.errors import ContainerNotFound, InvalidArgument
from notebook_containers.oci.documents import JSON

if TYPE_CHECKING:
    from notebook_containers.engine.container import Container

_CLEAR = "\x1b[H\x1b[2J"
_EVERY_S = 1.0


def stats(containers: tuple[str, ...], *, all: bool = False, no_stream: bool, format: str | None) -> Result:
    """Show what containers use: processor, memory, network, disk; again each second until interrupted, or once with --no-stream."""
    here = face()
    if no_stream or not sys.stdout.isatty():
        rows = usage_rows(_chosen(here, containers, all=all))
        return Text(text=formatting.formatted("stats", rows, format)) if format else Table(kind="stats", rows=rows)
    try:
        _watch(here, containers, format, all=all)
    except KeyboardInterrupt:
        return None
    return None


def _chosen(here: Face, names: tuple[str, ...], *, all: bool) -> list[Container]:
    return [here.engine.containers.get(name) for name in names] if names else here.engine.containers.list(all=all)


def usage_rows(containers: list[Container], before: Mapping[str, Mapping[str, JSON]] | None = None) -> list[Row]:
    """Return one row of ``stats`` for each container, all measured over the same half second (or since ``before``)."""
    from notebook_containers.engine import stats

    earlier = before if before is not None else samples(containers)
    if before is None and containers:
        time.sleep(stats.BETWEEN_S)
    return [stats.row(sample) for sample in samples(containers, earlier).values()]


def samples(containers: list[Container], before: Mapping[str, Mapping[str, JSON]] | None = None) -> dict[str, dict[str, JSON]]:
    """Return a sample of each container by id; those that were removed meanwhile are left out."""
    found = {}
    for container in containers:
        try:
            found[container.id] = container.sample((before or {}).get(container.id))
        except ContainerNotFound:
            continue
    return found


def _watch(here: Face, names: tuple[str, ...], template: str | None, *, all: bool) -> None:
    from notebook_containers.engine import stats

    before: dict[str, dict[str, JSON]] = {}
    while True:
        now = samples(_chosen(here, names, all=all), before)
        rows: list[Row] = [stats.row(sample) for sample in now.values()]
        text = formatting.formatted("stats", rows, template) if template else formatting.table("stats", rows)
        here.write("stdout", f"{_CLEAR}{text}\n".encode())
        before = now
        time.sleep(_EVERY_S)


def _update(containers: tuple[str, ...], **given: object) -> Result:
    """Change the limits, the restart policy or the published ports of one or more containers, at once and for their next starts."""
    here = face()
    if not any(value or value == 0 for value in given.values()):
        raise InvalidArgument("nothing to change was given", hint="for example: nbc update -m 256m --restart always NAME")

    def change(container: Container) -> None:
        answer = container.update(
            blkio_weight=_number(given["blkio_weight"]),
            cpu_period=_number(given["cpu_period"]),
            cpu_quota=_number(given["cpu_quota"]),
            cpu_rt_period=_number(given["cpu_rt_period"]),
            cpu_rt_runtime=_number(given["cpu_rt_runtime"]),
            cpu_shares=_number(given["cpu_shares"]),
            cpuset_cpus=_text(given["cpuset_cpus"]),
            cpuset_mems=_text(given["cpuset_mems"]),
            mem_limit=_text(given["memory"]),
            mem_reservation=_text(given["memory_reservation"]),
            memswap_limit=_text(given["memory_swap"]),
            nano_cpus=nano_cpus(given["cpus"]),
            pids_limit=_number(given["pids_limit"]),
            restart_policy=restart_words(str(given["restart"])) if given["restart"] else None,
            ports=_texts(given["publish"]),
            unpublish=_texts(given["unpublish"]),
        )
        warnings = answer["Warnings"]
        for text in warnings if isinstance(warnings, list) else ():
            here.note(str(text))

    return on_each(containers, change)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, tuple) else []


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _command(name: str, callback: Callable[..., Result], *params: click.Parameter) -> click.Command:
    return click.Command(name, callback=callback, params=list(params), help=callback.__doc__)


COMMANDS: Mapping[str, click.Command] = {
    "stats": _command(
        "stats",
        stats,
        click.Option(["-a", "--all"], is_flag=True, help="Also those that do not run."),
        click.Option(["--no-stream"], is_flag=True, help="Show the first result only."),
        click.Option(["--no-trunc"], is_flag=True, expose_value=False, help="Accepted for Docker's sake: nothing is cut."),
        FORMAT,
        click.Argument(["containers"], nargs=-1),
    ),
    "update": _command(
        "update",
        _update,
        click.Option(["-m", "--memory"], metavar="SIZE", help="Memory limit, as 64m."),
        click.Option(["--memory-reservation"], metavar="SIZE", help="Soft memory limit."),
        click.Option(["--memory-swap"], metavar="SIZE", help="Memory and swap together; -1 is without limit."),
        click.Option(["--cpus"], type=float, help="Number of CPUs, as 0.5."),
        click.Option(["-c", "--cpu-shares"], type=int, help="Relative CPU weight."),
        click.Option(["--cpu-period"], type=int, help="CPU period in microseconds."),
        click.Option(["--cpu-quota"], type=int, help="CPU quota in microseconds."),
        click.Option(["--cpu-rt-period"], type=int, help="Period of real-time processes in microseconds (cgroup v1)."),
        click.Option(["--cpu-rt-runtime"], type=int, help="Time of real-time processes in a period, in microseconds (cgroup v1)."),
        click.Option(["--cpuset-cpus"], metavar="LIST", help="CPUs to run on, as 0-1."),
        click.Option(["--cpuset-mems"], metavar="LIST", help="Memory nodes to use, as 0-1."),
        click.Option(["--blkio-weight"], type=int, help="Weight of its disk use, 10 to 1000."),
        click.Option(["--pids-limit"], type=int, help="Most processes; -1 is without limit."),
        click.Option(["--restart"], metavar="POLICY", help="no, always, on-failure[:N] or unless-stopped."),
        click.Option(["-p", "--publish"], multiple=True, metavar="[IP:]HOST:CONTAINER[/PROTO]", help="Publish a further port, at once."),
        click.Option(["--unpublish"], multiple=True, metavar="PORT[/PROTO]", help="Take a published port of the container back, at once."),
        click.Argument(["containers"], nargs=-1, required=True),
    ),
}
