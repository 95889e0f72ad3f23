"""The default network's subnet, when another store on this machine got there first."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import pytest

from notebook_containers import Engine
from tests.home import BASE, new_home

pytestmark = [pytest.mark.root, pytest.mark.netns]


def address(engine: Engine) -> str:
    out = engine.containers.run(BASE, ["sh", "-c", "tail -n 1 /etc/hosts"], remove=True)
    assert isinstance(out, bytes)
    return out.split()[0].decode()


def test_two_stores_do_not_meet_in_one_subnet() -> None:
    with new_home() as first, new_home() as second:
        with first.open() as one:
            before = address(one)
        # its bridge is gone now, and the second store chooses the same subnet
        with second.open() as two:
            two.containers.run(BASE, "sleep 60", detach=True, name="stays")
            held = two.containers.get("stays").attrs["NetworkSettings"]
            with first.open() as one:
                after = address(one)
            two.containers.get("stays").remove(force=True)
        assert isinstance(held, dict)
        assert str(held["IPAddress"]).rpartition(".")[0] == before.rpartition(".")[0]
        assert after.rpartition(".")[0] != before.rpartition(".")[0]


_RUN = """
import sys
from notebook_containers import Engine
with Engine(sys.argv[1], sys.argv[2]) as engine:
    engine.networks.list()
    print("there", flush=True)
    sys.stdin.readline()
    container = engine.containers.run(sys.argv[3], "sleep 1000", detach=True, stop_timeout=0)
    print(container.document.endpoint.address, flush=True)
    sys.stdin.readline()
    container.remove(force=True)
"""


def test_net12_stores_that_choose_at_once_choose_differently() -> None:
    with ExitStack() as stack:
        homes = [stack.enter_context(new_home()) for _ in range(4)]
        makers = []
        for home in homes:
            words = [sys.executable, "-c", _RUN, str(home.root), str(home.run), BASE]
            maker = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.callback(maker.kill)
            makers.append(stack.enter_context(maker))
        assert [_said(maker) for maker in makers] == ["there"] * 4
        for maker in makers:
            _go_on(maker)
        subnets = [_said(maker).rpartition(".")[0] for maker in makers]
        for maker in makers:
            _go_on(maker)
        assert [maker.wait(60) for maker in makers] == [0] * 4
        assert len(set(subnets) - {""}) == 4, subnets


def _said(maker: subprocess.Popen[str]) -> str:
    assert maker.stdout is not None
    return maker.stdout.readline().strip()


def _go_on(maker: subprocess.Popen[str]) -> None:
    assert maker.stdin is not None
    maker.stdin.write("\n")
    maker.stdin.flush()
