"""Flags with a truth value, as docker takes them."""

from __future__ import annotations

import click
import pytest

from notebook_containers.commands.booleans import plain
from notebook_containers.commands.tree import ROOT, root


def leaf(name: str) -> click.Command:
    found = root().get_command(click.Context(root()), name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("verb", "words", "expected"),
    [
        ("run", "--rm=true img", "--rm img"),
        ("run", "--rm=false img", "img"),
        ("run", "--rm=1 --init=T --read-only=TRUE -d=t img", "--rm --init --read-only -d img"),
        ("run", "--rm=0 --init=F -d=False img", "img"),
        ("run", "-it=false img", "-i img"),
        ("run", "-it=true img", "-i -t img"),
        ("run", "--privileged=true img cmd --rm=true -i=false", "--privileged img cmd --rm=true -i=false"),
        ("run", "--sig-proxy=false img", "--sig-proxy=false img"),
        ("run", "-e --rm=true --name --init=true img", "-e --rm=true --name --init=true img"),
        ("run", "-ie --rm=true img", "-ie --rm=true img"),
        ("run", "-e=A=true -eB=false img", "-e=A=true -eB=false img"),
        ("run", "--rm -i --rm=false img", "-i img"),
        ("run", "--rm=false --rm img", "--rm img"),
        ("run", "--disable-content-trust --rm=true img", "--disable-content-trust --rm img"),
        ("run", "--nothing=true -Z=true img", "--nothing=true -Z=true img"),
        ("run", "-- --rm=true", "-- --rm=true"),
        ("run", "--rm", "--rm"),
        ("run", "--name", "--name"),
        ("commit", "--pause=false box", "--no-pause box"),
        ("commit", "-p=false box img", "--no-pause box img"),
        ("commit", "-p=true box", "-p box"),
        ("ps", "-aq=true", "-a -q"),
        ("rm", "box -f=true", "box -f"),
        ("ps", "-=true =true", "-=true =true"),
    ],
)
def test_words(verb: str, words: str, expected: str) -> None:
    assert plain(leaf(verb), words.split()) == expected.split()


@pytest.mark.parametrize("value", ["maybe", "", "yes", "tRUE", "2"])
def test_what_is_neither_true_nor_false(value: str) -> None:
    with pytest.raises(click.UsageError, match=r"a flag is true or false; say --rm, --rm=true or --rm=false"):
        plain(leaf("run"), [f"--rm={value}", "img"])


@pytest.mark.parametrize("verb", [*ROOT])
def test_a_true_flag_of_every_verb_is_the_flag(verb: str) -> None:
    command = leaf(verb)
    for option in command.params:
        if isinstance(option, click.Option) and option.is_bool_flag:
            for name in option.opts:
                assert plain(command, [f"{name}=true"]) == [name]
                assert plain(command, [f"{name}=false"]) == option.secondary_opts[:1]
