"""The default network's subnet, when another store on this machine got there first."""

from __future__ import annotations

import pytest

from notebook_containers import Engine
from tests.home import BASE, new_home

pytestmark = pytest.mark.root


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
