"""``nbc runtime``: the runtime's verbs for callers that bring their own bundle (podman, containerd, a person), with runc's grammar.

Nothing here knows images, networks or the store. ``create``, ``run`` and ``exec`` end by becoming another process, so these are commands
of the command line only; and they run once for every step of a container, so each loads only what it needs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping

from notebook_containers.commands import runtime_words
from notebook_containers.errors import ContainerNotFound, Error, InvalidArgument, Unsupported
from notebook_containers.runtime.ocilog import Log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from notebook_containers.runtime.ocirecord import Record

Given = Mapping[str, object]

FAILED, EXEC_FAILED = 1, 255


class Caller:
    """runc's global options: where records and messages go, and whether limits that cannot be set are an error."""

    def __init__(self, given: Given) -> None:
        self.root = os.path.abspath(_text(given, "root") or default_root())
        self.log_path = _path(given, "log")
        self.log_format = _text(given, "log_format") or "text"
        self.log = Log(self.log_path, self.log_format)
        self.rootless = _rootless(_text(given, "rootless") or "auto")
        if given.get("systemd_cgroup"):
            raise Unsupported(
                "--systemd-cgroup is not supported: groups are made in the cgroup filesystem",
                hint="tell the caller so, as podman by --cgroup-manager=cgroupfs",
            )

    def record(self, given: Given) -> Record:
        """Return the record of the container that was named."""
        from notebook_containers.runtime.ocirecord import Record

        return Record(self.root, _text(given, "container_id"))

    def request(self, op: str, given: Given) -> dict[str, object]:
        """Return a request to the runtime's own process, with what every verb that makes one needs."""
        preserved, environment = _passed_on(given)
        return {
            "op": op,
            "id": _text(given, "container_id"),
            "root": self.root,
            "log": self.log_path,
            "logFormat": self.log_format,
            "rootless": self.rootless,
            "pidFile": _path(given, "pid_file"),
            "consoleSocket": _path(given, "console_socket"),
            "detach": given.get("detach") is True,
            "preserveFds": preserved,
            "environment": environment,
        }


def _text(given: Given, name: str) -> str:
    value = given.get(name)
    return "" if value is None else str(value)


def _path(given: Given, name: str) -> str:
    return os.path.abspath(_text(given, name)) if _text(given, name) else ""


def _words(given: Given, name: str) -> list[str]:
    value = given.get(name)
    return [str(item) for item in value] if isinstance(value, list) else []


def default_root() -> str:
    """Return where containers are recorded: the system's or the user's runtime directory, both emptied when the machine starts."""
    own = os.environ.get("XDG_RUNTIME_DIR")
    if os.geteuid() == 0 and not _in_user_namespace():
        return "/run/nbc-runtime"
    return f"{own}/nbc-runtime" if own and os.access(own, os.W_OK) else f"/tmp/nbc-runtime-{os.geteuid()}"


def _in_user_namespace() -> bool:
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def _rootless(word: str) -> bool:
    if word not in ("true", "false", "auto"):
        raise InvalidArgument(f"--rootless {word!r} is not understood", hint="write true, false or auto")
    return word == "true" or (word == "auto" and (os.geteuid() != 0 or _in_user_namespace()))


# -- verbs that make processes ---------------------------------------------------------------------------------------------------------


def _passed_on(given: Given) -> tuple[int, list[str]]:
    """Return how many descriptors from 3 on the command gets, and what tells it of those that systemd passed."""
    asked = given.get("preserve_fds")
    count = asked if isinstance(asked, int) else 0
    passed = os.environ.get("LISTEN_FDS", "")
    if not passed.isdecimal() or passed == "0":
        return count, []
    return count + int(passed), [f"LISTEN_FDS={passed}", "LISTEN_PID=1"]


def _create(caller: Caller, given: Given) -> None:
    """Make a container; its command waits for 'start'."""
    _make("create", caller, given)


def _run(caller: Caller, given: Given) -> None:
    """Make a container, run its command, and take the container away when it has ended."""
    _make("run", caller, given)


def _make(op: str, caller: Caller, given: Given) -> None:
    request = caller.request(op, given)
    request.update(bundle=os.path.abspath(_text(given, "bundle")), keep=given.get("keep") is True)
    request.update(noPivot=given.get("no_pivot") is True, noNewKeyring=given.get("no_new_keyring") is True)
    _become(request)


def _become(request: dict[str, object]) -> None:
    from notebook_containers.runtime import interpreter

    sys.stdout.flush()
    sys.stderr.flush()
    preserved = request["preserveFds"]
    interpreter.become(request, preserved if isinstance(preserved, int) else 0)


def _exec(caller: Caller, given: Given) -> None:
    """Run a further process in a container."""
    path = _text(given, "process")
    process = _process_file(path) if path else _process_of(caller.record(given), given)
    if given["no_new_privs"]:
        process["noNewPrivileges"] = True
    if given["tty"]:
        process["terminal"] = True
    for member, option in (("apparmorProfile", "apparmor"), ("selinuxLabel", "process_label")):
        if given[option]:
            process[member] = given[option]
    request = caller.request("exec", given)
    request.update(process=process, ignorePaused=given["ignore_paused"])
    _become(request)


def _process_file(path: str) -> dict[str, object]:
    from notebook_containers.runtime import document

    try:
        return document.read(path)
    except (OSError, ValueError) as err:
        raise InvalidArgument(f"process file {path} cannot be read: {err}") from err


def _process_of(record: Record, given: Given) -> dict[str, object]:
    """Return the container's own process object, changed by the options."""
    from notebook_containers.runtime import document

    command = _words(given, "command")
    if not command:
        raise InvalidArgument("process args cannot be empty", hint="give a command, or --process FILE")
    record.read()
    found = {**document.table(record.config(), "process"), "args": command, "terminal": False}
    found["env"] = [*document.texts(found, "env"), *_words(given, "env")]
    if cwd := _text(given, "cwd"):
        found["cwd"] = cwd
    if given["user"] or given["additional_gids"]:
        user = _user(_text(given, "user")) if given["user"] else document.table(found, "user")
        found["user"] = {**user, "additionalGids": [int(word) for word in _words(given, "additional_gids")]}
    if extra := _words(given, "cap"):
        caps = document.table(found, "capabilities")
        found["capabilities"] = {**caps, **{k: [*document.texts(caps, k), *extra] for k in ("bounding", "effective", "permitted")}}
    return found


def _user(text: str) -> dict[str, object]:
    uid, colon, gid = text.partition(":")
    if not uid.isdecimal() or (colon and not gid.isdecimal()):
        raise InvalidArgument(f"--user {text!r} is not understood", hint="write numbers: UID or UID:GID")
    return {"uid": int(uid), "gid": int(gid or 0)}


# -- verbs that look and change --------------------------------------------------------------------------------------------------------


def _start(caller: Caller, given: Given) -> None:
    """Run the command of a created container."""
    from notebook_containers.runtime import oci

    oci.start(caller.record(given), caller.log)


def _state(caller: Caller, given: Given) -> None:
    """Print a container's state as JSON."""
    _print(json.dumps(_described(caller.record(given)), indent=2))


def _described(record: Record) -> dict[str, object]:
    from notebook_containers.runtime import document, ocirecord

    kept = record.read()
    made = document.real(kept, "created")
    return {**ocirecord.state(record, kept), "rootfs": document.text(kept, "rootfs"), "created": _time(made), "owner": ""}


def _time(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e9):09d}Z"


def _kill(caller: Caller, given: Given) -> None:
    """Send a signal (TERM unless another is named) to a container's first process."""
    from notebook_containers.runtime import oci
    from notebook_containers.runtime.bundle import signal_number

    oci.kill(caller.record(given), signal_number(_text(given, "signal") or "SIGTERM"), everyone=given["all"] is True)


def _delete(caller: Caller, given: Given) -> None:
    """Take a container away that is over; with --force kill it first."""
    from notebook_containers.runtime import oci

    try:
        oci.delete(caller.record(given), caller.log, force=given["force"] is True)
    except ContainerNotFound:
        if not given["force"]:
            raise


def _pause(caller: Caller, given: Given) -> None:
    """Stop every process of a container where it is."""
    from notebook_containers.runtime import oci

    oci.freeze(caller.record(given), frozen=True)


def _resume(caller: Caller, given: Given) -> None:
    """Let a paused container go on."""
    from notebook_containers.runtime import oci

    oci.freeze(caller.record(given), frozen=False)


def _update(caller: Caller, given: Given) -> None:
    """Change the limits of a container (the specification's linux.resources as JSON)."""
    from notebook_containers.runtime import oci

    path = _text(given, "resources")
    try:
        if path == "-":
            value = json.loads(sys.stdin.read())
        else:
            with open(path, encoding="utf-8") as file:
                value = json.load(file)
    except (OSError, ValueError) as err:
        raise InvalidArgument(f"resources {path} cannot be read: {err}") from err
    if not isinstance(value, dict):
        raise InvalidArgument(f"resources {path} are no JSON object")
    oci.update(caller.record(given), value, caller.log)


def _list(caller: Caller, given: Given) -> None:
    """List the containers under --root."""
    from notebook_containers.runtime import ocirecord

    names = ocirecord.ids(caller.root)
    if given["quiet"]:
        _print("\n".join(names))
        return
    rows = [_described(caller.record({"container_id": name})) for name in names]
    if given["format"] == "json":
        _print(json.dumps(rows))
        return
    columns = ("id", "pid", "status", "bundle", "created")
    _print(_aligned([[column.upper() for column in columns], *([str(row[name]) for name in columns] for row in rows)]))


def _ps(caller: Caller, given: Given) -> None:
    """List a container's processes."""
    from notebook_containers.runtime import ocirecord

    pids = ocirecord.limits_of(caller.record(given).read()).pids()
    if given["format"] == "json":
        _print(json.dumps(pids))
        return
    _print(_aligned([["UID", "PID", "PPID", "CMD"], *(words for pid in pids if (words := _process_line(pid)))]))


def _process_line(pid: int) -> list[str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            status = dict(line.rstrip("\n").partition(":\t")[::2] for line in file)
        with open(f"/proc/{pid}/cmdline", "rb") as words:
            command = words.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return []
    return [status["Uid"].split()[0], str(pid), status["PPid"], command or f"[{status['Name']}]"]


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _features(_caller: Caller, _given: Given) -> None:
    """Print what this runtime can do, as the specification's JSON."""
    from notebook_containers.runtime import ocidocs

    _print(json.dumps(ocidocs.features(), indent=2))


def _spec(_caller: Caller, given: Given) -> None:
    """Write a config.json to start from."""
    from notebook_containers.runtime import ocidocs

    path = os.path.join(_text(given, "bundle"), "config.json")
    text = json.dumps(ocidocs.spec(rootless=given["rootless_spec"] is True, euid=os.geteuid(), egid=os.getegid()), indent="\t") + "\n"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InvalidArgument(f"file {path} exists", hint="remove it first") from None
    except OSError as err:
        raise InvalidArgument(f"{path} cannot be written: {err.strerror}") from err


def _print(text: str) -> None:
    sys.stdout.write(text + "\n" if text else "")


VERBS: Mapping[str, Callable[[Caller, Given], None]] = {
    "create": _create,
    "delete": _delete,
    "exec": _exec,
    "features": _features,
    "kill": _kill,
    "list": _list,
    "pause": _pause,
    "ps": _ps,
    "resume": _resume,
    "run": _run,
    "spec": _spec,
    "start": _start,
    "state": _state,
    "update": _update,
}


def main(arguments: list[str]) -> int:
    """Carry out one command line (without ``nbc runtime``) and return runc's exit status; errors go to ``--log`` and standard error."""
    log, verb = Log(), ""
    try:
        given = vars(_parser().parse_args(arguments))
        verb = _text(given, "verb")
        if given["version"]:
            _print(_version())
            return 0
        if not verb:
            _parser().print_help()
            return 0
        if verb not in VERBS:
            raise InvalidArgument(f"{verb!r} is no command of the runtime", hint="see 'nbc runtime --help'")
        log = Log(_path(given, "log"), _text(given, "log_format"))
        words = vars(runtime_words.verb_parser(verb, VERBS[verb].__doc__ or "").parse_args(_words(given, "words")))
        VERBS[verb](Caller(given), words)
        sys.stdout.flush()
    except (Error, OSError, ValueError) as err:
        return _failed(err, log, verb)
    return 0


def _parser() -> argparse.ArgumentParser:
    return runtime_words.global_parser({name: verb.__doc__ or "" for name, verb in VERBS.items()})


def _version() -> str:
    from notebook_containers import __version__
    from notebook_containers.runtime import ocidocs

    return f"nbc runtime version {__version__}\nspec: {ocidocs.VERSION_MAX}"


def _failed(err: Exception, log: Log, verb: str) -> int:
    from notebook_containers.runtime import oci

    log.error(oci.words_for(err))
    return EXEC_FAILED if verb == "exec" else FAILED
