"""What needs no store: help of every verb, unknown words, and that errors are lines with a next step."""

from __future__ import annotations

import click
import pytest

from notebook_containers import __version__
from notebook_containers.cli.terminal import Detached, KeyFilter
from notebook_containers.commands.face import DETACH_KEYS, detach_keys
from notebook_containers.commands.tree import ROOT, Verbs, root
from notebook_containers.errors import InvalidArgument
from tests.cli.conftest import Nbc

OWN = dict.fromkeys(("demo", "lab"), "notebook_containers.cli.lessons")


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        found.append(path)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child, (*path, name))

    walk(root(OWN), ())
    return found


@pytest.mark.parametrize("path", every_command(), ids=lambda path: " ".join(path) or "nbc")
def test_help_of_every_verb_is_written(path: tuple[str, ...]) -> None:
    from click.testing import CliRunner

    result = CliRunner().invoke(root(OWN), [*path, "--help"], prog_name="nbc")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: nbc {' '.join(path)}".rstrip())
    described = [line for line in result.output.splitlines()[1:] if line.strip()]
    assert described
    assert not described[0].lstrip().startswith("Options")


def test_every_option_says_what_it_does() -> None:
    for path in every_command():
        command: click.Command = root(OWN)
        for name in path:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), name)
            assert found is not None
            command = found
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.opts)


def test_the_issues_verbs_are_there() -> None:
    verbs = ["run", "build", "ps", "images", "logs", "exec", "inspect", "rm", "rmi", "start", "stop", "history", "diff", "layers", "system"]
    assert set(verbs) <= set(ROOT)
    assert isinstance(root(), Verbs)


def test_help_and_version_from_a_shell(plain_nbc: Nbc) -> None:
    assert plain_nbc.ok("--help").startswith("Usage: nbc")
    assert "--publish" in plain_nbc.ok("run", "--help")
    assert plain_nbc.ok("--version") == plain_nbc.ok("-v") == f"nbc version {__version__}"
    assert plain_nbc("").status == 125


def test_an_unknown_verb_names_the_nearest(plain_nbc: Nbc) -> None:
    done = plain_nbc("rum")
    assert done.status == 125
    assert "did you mean 'run'?" in done.err or "'rm'" in done.err
    assert "see 'nbc --help'" in plain_nbc("zzzzzz").err
    assert plain_nbc("container", "zzzz").status == 125


def test_an_unwritable_root_is_one_line_with_the_next_step(plain_nbc: Nbc) -> None:
    done = plain_nbc("ps")
    assert done.status == 1
    assert done.line.startswith("nbc: cannot make /proc/no/root: ")
    assert "NBC_ROOT" in done.line
    assert plain_nbc("run", "x").status == 125


def test_the_detach_keys_are_found_across_reads() -> None:
    keys = KeyFilter(DETACH_KEYS)
    assert keys.feed(b"abc") == b"abc"
    assert keys.feed(b"a\x10") == b"a"
    assert keys.feed(b"b") == b"\x10b"
    assert keys.feed(b"\x10") == b""
    with pytest.raises(Detached):
        keys.feed(b"\x11")
    with pytest.raises(Detached):
        KeyFilter(DETACH_KEYS).feed(b"x\x10\x11y")


def test_other_detach_keys_are_found_and_what_only_begins_so_is_passed_on() -> None:
    keys = KeyFilter(detach_keys("ctrl-a,d,d"))
    assert keys.feed(b"x\x01") == b"x"
    assert keys.feed(b"d") == b""
    assert keys.feed(b"e") == b"\x01de"
    with pytest.raises(Detached):
        keys.feed(b"\x01dd")
    assert detach_keys("") == DETACH_KEYS
    assert detach_keys("ctrl-@,ctrl-_,z") == b"\x00\x1fz"
    for word in ("ctrl-", "ab", "ctrl-1", "a,,b", "é"):
        with pytest.raises(InvalidArgument, match="--detach-keys"):
            detach_keys(word)
