"""The words of ``nbc runtime``: runc's options, by the standard library's argparse (imported in a fifth of click's time)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import NoReturn

from notebook_containers.errors import InvalidArgument


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are errors of ours, not exits."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing."""
        raise InvalidArgument(message, hint=f"see '{self.prog} --help'")


def _process_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pid-file", help="write the first process's pid to this file")
    parser.add_argument("--console-socket", help="send the terminal's master to this unix socket")
    parser.add_argument("--preserve-fds", type=int, default=0, metavar="N", help="pass N descriptors on, from 3")


def _creation_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-b", "--bundle", default=".", help="directory with config.json")
    _process_options(parser)
    parser.add_argument("--no-pivot", action="store_true", help="move the root instead of pivot_root (hosts on a ramdisk)")
    parser.add_argument("--no-new-keyring", action="store_true", help="keep the caller's session keyring")


def _run_options(parser: argparse.ArgumentParser) -> None:
    _creation_options(parser)
    parser.add_argument("-d", "--detach", action="store_true", help="do not wait for it")
    parser.add_argument("--keep", action="store_true", help="do not take it away when it has ended")
    parser.add_argument("--no-subreaper", action="store_true", help="accepted; orphans are reaped either way")


def _exec_options(parser: argparse.ArgumentParser) -> None:
    _process_options(parser)
    parser.add_argument("-p", "--process", help="take the process object from this file")
    parser.add_argument("-d", "--detach", action="store_true", help="do not wait for it")
    parser.add_argument("-t", "--tty", action="store_true", help="give it a terminal")
    parser.add_argument("--cwd", help="working directory")
    parser.add_argument("-e", "--env", action="append", help="set an environment variable")
    parser.add_argument("-u", "--user", help="UID or UID:GID")
    parser.add_argument("-g", "--additional-gids", action="append", type=int, help="a further group")
    parser.add_argument("-c", "--cap", action="append", help="add a capability")
    parser.add_argument("--no-new-privs", action="store_true", help="it cannot gain privileges")
    parser.add_argument("--process-label", help="SELinux label")
    parser.add_argument("--apparmor", help="AppArmor profile")
    parser.add_argument("--ignore-paused", action="store_true", help="also in a paused container")


def _kill_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="every process")


def _delete_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--force", action="store_true", help="kill it first; no error when there is none")


def _update_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-r", "--resources", required=True, help="file with limits, or -")


def _list_options(parser: argparse.ArgumentParser) -> None:
    _format_option(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only")


def _format_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table", help="table or json")


def _spec_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-b", "--bundle", default=".", help="directory to write it in")
    parser.add_argument("--rootless", action="store_true", dest="rootless_spec", help="for an ordinary user")


def _no_options(_parser: argparse.ArgumentParser) -> None:
    return


OPTIONS: Mapping[str, tuple[Callable[[argparse.ArgumentParser], None], tuple[str, ...]]] = {
    "create": (_creation_options, ("container_id",)),
    "delete": (_delete_options, ("container_id",)),
    "exec": (_exec_options, ("container_id", "command...")),
    "features": (_no_options, ()),
    "kill": (_kill_options, ("container_id", "signal?")),
    "list": (_list_options, ()),
    "pause": (_no_options, ("container_id",)),
    "ps": (_format_option, ("container_id",)),
    "resume": (_no_options, ("container_id",)),
    "run": (_run_options, ("container_id",)),
    "spec": (_spec_options, ()),
    "start": (_no_options, ("container_id",)),
    "state": (_no_options, ("container_id",)),
    "update": (_update_options, ("container_id",)),
}
"""verb → its options, and its arguments (``?`` may be left out, ``...`` takes the rest)."""

_MANY = {"?": "?", "...": argparse.REMAINDER}


def verb_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of one verb's words; its mistakes are InvalidArgument."""
    options, positional = OPTIONS[name]
    parser = _Parser(prog=f"nbc runtime {name}", description=description, allow_abbrev=False)
    options(parser)
    for word in positional:
        for suffix, many in _MANY.items():
            if word.endswith(suffix):
                parser.add_argument(word.removesuffix(suffix), nargs=many)
                break
        else:
            parser.add_argument(word)
    return parser


def global_parser(descriptions: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser of what comes before the verb, the verb, and the words after it."""
    lines = "\n".join(f"  {name:10}{text}" for name, text in descriptions.items())
    parser = _Parser(
        prog="nbc runtime",
        description="The OCI runtime for bundles that others made: runc's commands (podman --runtime, containerd).",
        epilog=f"commands:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--root", help="directory of the containers' records")
    parser.add_argument("--log", help="file for warnings and errors")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="format of --log")
    parser.add_argument("--rootless", default="auto", help="true, false or auto: whether limits that cannot be set are an error")
    parser.add_argument("--systemd-cgroup", action="store_true", help="refused: groups are made in the cgroup filesystem")
    parser.add_argument("--debug", action="store_true", help="accepted and without effect")
    parser.add_argument("-v", "--version", action="store_true", help="print the version")
    parser.add_argument("verb", nargs="?", metavar="command", help="one of those below")
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
