"""``run`` and ``create``: Docker's flags to the engine's keywords."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from notebook_containers.commands.face import Face, face
from notebook_containers.commands.results import Ended, Result, Started
from notebook_containers.engine.container import Container
from notebook_containers.engine.keywords import CreateKeywords
from notebook_containers.errors import Conflict, ContainerNotFound, InvalidArgument

_DASH_C = ("sh", "bash", "dash", "ash", "zsh", "ksh", "python", "python3")
GRAMMAR = {"allow_interspersed_args": False, "help_option_names": ["--help"]}

_OPTIONS: tuple[click.Option, ...] = (
    click.Option(["--name"], help="Name of the container."),
    click.Option(["-i", "--interactive"], is_flag=True, help="Keep the standard input open."),
    click.Option(["-t", "--tty"], is_flag=True, help="Give it a terminal."),
    click.Option(["-e", "--env"], multiple=True, metavar="NAME[=VALUE]", help="Set an environment variable."),
    click.Option(["--env-file"], multiple=True, type=click.Path(), help="Read environment variables from a file."),
    click.Option(["-v", "--volume"], multiple=True, metavar="SOURCE:TARGET[:ro]", help="Mount a host directory or a named volume."),
    click.Option(["--tmpfs"], multiple=True, metavar="TARGET[:OPTIONS]", help="Mount an empty directory in memory."),
    click.Option(["-w", "--workdir"], help="Working directory inside the container."),
    click.Option(["-u", "--user"], metavar="USER[:GROUP]", help="Run as this user."),
    click.Option(["--entrypoint"], help="Replace the image's entrypoint."),
    click.Option(["-h", "--hostname"], help="Host name inside the container."),
    click.Option(
        ["-p", "--publish"],
        multiple=True,
        metavar="[IP:]HOST:CONTAINER[/PROTO]",
        help="Publish a port (on 127.0.0.1 unless an address is given).",
    ),
    click.Option(["-P", "--publish-all"], is_flag=True, help="Publish every exposed port on a free one."),
    click.Option(["--network", "--net"], default="bridge", show_default=True, help="bridge, none, host or a network's name."),
    click.Option(["--add-host"], multiple=True, metavar="NAME:ADDRESS", help="Add a line to /etc/hosts."),
    click.Option(["--dns"], multiple=True, help="Name server to use."),
    click.Option(["-l", "--label"], multiple=True, metavar="NAME[=VALUE]", help="Set a label."),
    click.Option(["-m", "--memory"], metavar="SIZE", help="Memory limit, as 64m."),
    click.Option(["--memory-reservation"], metavar="SIZE", help="Soft memory limit."),
    click.Option(["--memory-swap"], metavar="SIZE", help="Memory and swap together; -1 is without limit."),
    click.Option(["--cpus"], type=float, help="Number of CPUs, as 0.5."),
    click.Option(["-c", "--cpu-shares"], type=int, help="Relative CPU weight."),
    click.Option(["--cpu-period"], type=int, help="CPU period in microseconds."),
    click.Option(["--cpu-quota"], type=int, help="CPU quota in microseconds."),
    click.Option(["--cpuset-cpus"], help="CPUs to run on, as 0-1."),
    click.Option(["--pids-limit"], type=int, help="Most processes (4096 by default, -1 is without limit)."),
    click.Option(["--shm-size"], metavar="SIZE", help="Size of /dev/shm."),
    click.Option(["--read-only"], is_flag=True, help="Mount the root filesystem read-only."),
    click.Option(["--cap-add"], multiple=True, help="Add a capability."),
    click.Option(["--cap-drop"], multiple=True, help="Drop a capability."),
    click.Option(["--privileged"], is_flag=True, help="Give all of the caller's capabilities; no seccomp, no masked paths."),
    click.Option(["--userns"], metavar="WORD", help="keep-id: have your own user id inside; host."),
    click.Option(["--security-opt"], multiple=True, help="no-new-privileges=false, seccomp=unconfined or seccomp=FILE."),
    click.Option(["--restart"], default="no", show_default=True, metavar="POLICY", help="no, always, on-failure[:N] or unless-stopped."),
    click.Option(["--stop-signal"], help="Signal that asks it to end."),
    click.Option(["--stop-timeout"], type=int, help="Seconds to wait before it is killed."),
    click.Option(["--rm"], is_flag=True, help="Remove it when it ends."),
    click.Option(["--cidfile"], type=click.Path(), help="Write the container id to this file."),
)


def _keywords(face_: Face, given: Mapping[str, object]) -> CreateKeywords:
    """Return docker-py's keywords for Docker's flags."""
    keywords: CreateKeywords = {
        "name": _text(given, "name") or None,
        "stdin_open": bool(given["interactive"]),
        "tty": bool(given["tty"]),
        "environment": [*_env_files(face_, _many(given, "env_file")), *(e for w in _many(given, "env") for e in _env_word(w))],
        "volumes": [_volume(face_, word) for word in _many(given, "volume")],
        "tmpfs": {word.partition(":")[0]: word.partition(":")[2] for word in _many(given, "tmpfs")},
        "working_dir": _text(given, "workdir") or None,
        "user": _text(given, "user") or None,
        "hostname": _text(given, "hostname") or None,
        "ports": _many(given, "publish"),
        "publish_all_ports": bool(given["publish_all"]),
        "network": _text(given, "network"),
        "extra_hosts": dict(_host_line(word) for word in _many(given, "add_host")),
        "dns": _many(given, "dns"),
        "labels": _many(given, "label"),
        "mem_limit": _text(given, "memory") or None,
        "mem_reservation": _text(given, "memory_reservation") or None,
        "memswap_limit": -1 if _text(given, "memory_swap") == "-1" else _text(given, "memory_swap") or None,
        "nano_cpus": nano_cpus(given.get("cpus")),
        "cpu_shares": _number(given, "cpu_shares"),
        "cpu_period": _number(given, "cpu_period"),
        "cpu_quota": _number(given, "cpu_quota"),
        "cpuset_cpus": _text(given, "cpuset_cpus") or None,
        "pids_limit": _number(given, "pids_limit"),
        "shm_size": _text(given, "shm_size") or None,
        "read_only": bool(given["read_only"]),
        "cap_add": _many(given, "cap_add"),
        "cap_drop": _many(given, "cap_drop"),
        "privileged": bool(given["privileged"]),
        "userns_mode": _text(given, "userns"),
        "security_opt": _many(given, "security_opt"),
        "restart_policy": restart_words(_text(given, "restart")),
        "stop_signal": _text(given, "stop_signal") or None,
        "stop_timeout": _number(given, "stop_timeout"),
        "auto_remove": bool(given["rm"]),
    }
    if given.get("entrypoint") is not None:
        keywords["entrypoint"] = [_text(given, "entrypoint")]
    return keywords


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(name)
    return "" if value is None else str(value)


def _number(given: Mapping[str, object], name: str) -> int | None:
    value = given.get(name)
    return value if isinstance(value, int) else None


def _many(given: Mapping[str, object], name: str) -> list[str]:
    value = given.get(name)
    return [str(v) for v in value] if isinstance(value, (list, tuple)) else []


def nano_cpus(value: object) -> int | None:
    """Return ``--cpus`` in billionths; InvalidArgument for more than the machine has."""
    if not isinstance(value, float):
        return None
    cores = os.cpu_count() or 1
    if not 0 < value <= cores:
        raise InvalidArgument(f"--cpus {value:g} is not possible: this machine has {cores}", hint=f"choose 0.01 to {cores}")
    return int(value * 1_000_000_000)


def _env_word(word: str) -> list[str]:
    if "=" in word:
        return [word]
    value = os.environ.get(word)
    return [] if value is None else [f"{word}={value}"]


def _env_files(face_: Face, paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        try:
            lines = (face_.cwd / path).read_text(encoding="utf-8").splitlines()
        except OSError as err:
            raise InvalidArgument(f"environment file {path!r} cannot be read: {err.strerror}") from err
        found += [e for line in lines if line.strip() and not line.lstrip().startswith("#") for e in _env_word(line.strip())]
    return found


def _volume(face_: Face, word: str) -> str:
    if word.startswith((".", "~")):
        source, colon, rest = word.partition(":")
        return f"{(face_.cwd / Path(source).expanduser()).resolve()}{colon}{rest}"
    return word


def _host_line(word: str) -> tuple[str, str]:
    name, separator, address = word.partition("=" if "=" in word else ":")
    if not separator or not name or not address:
        raise InvalidArgument(f"--add-host {word!r} is not understood", hint="write NAME:ADDRESS")
    return name, address


def restart_words(word: str) -> dict[str, object]:
    """Return docker-py's form of ``--restart``."""
    name, _, count = word.partition(":")
    if count and (not count.isdigit() or name != "on-failure"):
        raise InvalidArgument(f"restart policy {word!r} is not understood", hint="write on-failure:5")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _make(face_: Face, image: str, command: list[str], given: Mapping[str, object]) -> Container:
    keywords, cidfile = _keywords(face_, given), _text(given, "cidfile")
    if cidfile and (face_.cwd / cidfile).exists():
        raise InvalidArgument(f"the file {cidfile!r} of --cidfile is there already", hint="remove it when its container is gone")
    container = face_.engine.containers.create(image, command or None, **keywords)
    if cidfile:
        try:
            (face_.cwd / cidfile).write_text(container.id)
        except OSError as err:
            _remove(container)
            raise InvalidArgument(f"the file {cidfile!r} of --cidfile cannot be written: {err.strerror}") from err
    return container


def _create(image: str, command: tuple[str, ...], **given: object) -> Result:
    """Make a container without starting it."""
    return Started(container=_make(face(), image, list(command), given))


def _run(image: str, command: tuple[str, ...], *, detach: bool, **given: object) -> Result:
    """Run a command in a new container."""
    here = face()
    words = list(command)
    if here.cell is not None:
        words = _script(here, given, words)
    container = _make(here, image, words, given)
    try:
        if detach:
            container.start()
            for text in container.warnings:
                here.note(text)
            return Started(container=container)
        return _foreground(here, container, given)
    except BaseException:
        if container.document.options.auto_remove or container.status == "created":
            _remove(container)
        raise


def _foreground(here: Face, container: Container, given: Mapping[str, object]) -> Ended:
    session = container.start_attached(stdin=bool(given["interactive"]))
    if session is None:
        raise Conflict(f"container {container.name} was started by someone else", hint=f"see nbc logs {container.name}")
    with session:
        for text in container.warnings:
            here.note(text)
        here.pump(session, container, stdin=bool(given["interactive"]), tty=bool(given["tty"]))
        code = session.exit_code
    if code is None:
        return Ended(exit_code=0, what=f"detached from {container.name}", container_id=container.id)
    if container.document.options.auto_remove:
        _remove(container)
    return Ended(exit_code=code, what=f"{container.command} in {container.image}", container_id=container.id)


def _remove(container: Container) -> None:
    try:
        container.remove(force=True)
    except ContainerNotFound:
        return


def _script(here: Face, given: Mapping[str, object], words: list[str]) -> list[str]:
    import shlex

    interpreter = shlex.split(_text(given, "interpreter") or "sh")
    name = interpreter[0].rpartition("/")[2]
    if name.rstrip("0123456789.") not in _DASH_C and name not in _DASH_C:
        raise InvalidArgument(f"interpreter {interpreter[0]!r} is not known to take a script with -c", hint="use sh, bash or python3")
    return [*interpreter, "-c", here.cell or "", name, *words]


_DETACH = click.Option(["-d", "--detach"], is_flag=True, help="Run in the background and print the container id.")
_INTERPRETER = click.Option(["--interpreter"], default="sh", show_default=True, help="What runs the cell's text: sh, bash, python3.")
_ARGUMENTS = (click.Argument(["image"]), click.Argument(["command"], nargs=-1, type=click.UNPROCESSED))

COMMANDS: Mapping[str, click.Command] = {
    "run": click.Command("run", callback=_run, params=[_DETACH, *_OPTIONS, *_ARGUMENTS], context_settings=GRAMMAR, help=_run.__doc__),
    "create": click.Command("create", callback=_create, params=[*_OPTIONS, *_ARGUMENTS], context_settings=GRAMMAR, help=_create.__doc__),
    "cell": click.Command(
        "container_run",
        callback=_run,
        params=[_DETACH, _INTERPRETER, *_OPTIONS, *_ARGUMENTS],
        context_settings={"help_option_names": ["--help"]},
        help="Run the cell's text as a script in a new container.",
    ),
}
