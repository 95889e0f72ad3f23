"""``nbc network`` and the flags of ``run`` about networks, as people type them."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Nbc
from tests.home import BASE

pytestmark = [pytest.mark.root, pytest.mark.netns]


def test_a_network_from_its_making_to_its_end(nbc: Nbc) -> None:
    identity = nbc.ok("network", "create", "--label", "a=b", "--attachable", "web")
    nbc.ok("network", "create", "--internal", "-d", "bridge", "data")
    assert nbc.ok("network", "ls", "-q").split()[-2:] == ["host", "none"], "which have no id, and are named all the same"
    assert nbc.ok("network", "ls", "-f", "name=none", "--format", "{{.Name}} at {{.CreatedAt}}.") == "none at ."
    try:
        nbc.ok(
            "run",
            "-d",
            "--name",
            "one",
            "--network",
            "web:alias=db,alias=store",
            "--network",
            "name=data,gw-priority=-1",
            BASE,
            "sleep",
            "1000",
        )
        place = json.loads(nbc.ok("inspect", "one"))[0]["NetworkSettings"]["Networks"]
        assert place["web"]["Aliases"] == ["db", "store"]
        assert (place["web"]["NetworkID"], place["data"]["GwPriority"]) == (identity, -1)
        found = json.loads(nbc.ok("network", "inspect", "web", identity[:8]))
        assert found[0] == found[1]
        assert found[0]["Containers"][json.loads(nbc.ok("inspect", "one"))[0]["Id"]]["Name"] == "one"
        assert (
            nbc.ok("network", "ls", "-f", "label=a=b", "--format", "{{.ID}} {{.Name}} {{.Driver}} {{.Scope}}")
            == f"{identity[:12]} web bridge local"
        )
        assert nbc.ok("inspect", "-f", "{{.Internal}}", "data") == "true"

        nbc.ok("network", "disconnect", "web", "one")
        assert nbc("network", "disconnect", "web", "one").line == "nbc: container one is not in network web; see nbc inspect one"
        nbc.ok("network", "connect", "--alias", "again", "--link", "two:second", "web", "one")
        assert '"two:second"' in nbc.ok("inspect", "one")
        assert nbc.ok("ps", "--format", "{{.Networks}}") == "data,web"
        done = nbc("network", "rm", "web")
        assert (done.status, done.line) == (1, "nbc: network web is used by one; stop it first: nbc stop one")
        assert nbc.ok("network", "prune", "-f") == ""
        nbc.ok("rm", "-f", "one")
        assert nbc.ok("network", "prune", "-f", "--filter", "label=a=b") == "Deleted Networks:\nweb"
    finally:
        nbc.ok("rm", "-f", "one")
        nbc.ok("network", "rm", "-f", "web", "data")


def test_flags_of_run_about_its_place(nbc: Nbc) -> None:
    nbc.ok("network", "create", "web")
    try:
        base = json.loads(nbc.ok("network", "inspect", "web"))[0]["IPAM"]["Config"][0]["Gateway"].rpartition(".")[0]
        out = nbc.ok(
            "run", "--rm", "--network", "web", "--ip", f"{base}.9", "--mac-address", "02:00:00:00:00:09", "--link-local-ip", "169.254.7.7",
            "--network-alias", "x", "--dns-option", "ndots:3", "--dns-search", "example.org", BASE, "sh", "-c",
            "ip -o -4 addr show eth0 | sed 's/ *brd.*//;s/.*inet //'; cat /sys/class/net/eth0/address; cat /etc/resolv.conf",
        )  # fmt: skip
        address, local, mac, *resolver = out.splitlines()
        assert (address.strip(), local.strip().split()[0], mac) == (f"{base}.9/24", "169.254.7.7/16", "02:00:00:00:00:09")
        assert {"search example.org", "options ndots:3"} <= set(resolver)
        exposed = nbc.ok("create", "--expose", "8000-8001", "--expose", "53/udp", BASE)
        assert set(json.loads(nbc.ok("inspect", exposed))[0]["Config"]["ExposedPorts"]) == {"8000/tcp", "8001/tcp", "53/udp"}
        nbc.ok("rm", exposed)
    finally:
        nbc.ok("network", "rm", "web")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["run", "--network", "web:alias", BASE], "'web:alias'"),
        (["run", "--network", "web:color=red", BASE], "'color'"),
        (["run", "--network", "alias=x", BASE], "names no network"),
        (["run", "--network", "web:ip=10.0.0.1", "--ip", "10.0.0.2", BASE], "ipv4_address"),
        (["run", "--network", "web", "--network", "web", BASE], "twice"),
        (["run", "--network", "host", "--network", "web", BASE], "--network host"),
        (["run", "--ip", "10.0.0.1", BASE], "user-defined"),
        (["run", "--expose", "x", BASE], "'x'"),
        (["network", "create", "--ipv4=false", "web"], "--ipv6"),
        (["network", "create", "--ingress", "web"], "swarm"),
        (["network", "create", "--label", "=x", "web"], "'=x' has no name"),
        (["network", "create", "--subnet", "10.0.0.0/33", "web"], "10.0.0.0/33"),
        (["network", "create", "bridge"], "always exists"),
        (["network", "create", "-d", "overlay", "web"], "overlay"),
        (["network", "connect", "nowhere", "x"], "nowhere"),
        (["network", "ls", "-f", "color=red"], "color"),
    ],
)
def test_one_line_says_what_is_wrong(nbc: Nbc, words: list[str], names: str) -> None:
    done = nbc(*words)
    assert done.status in (1, 2, 125), done
    assert names in done.line
