"""Networks of an ordinary user: containers reach each other, with pasta, with slirp4netns and with neither, with and without lent ids."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.home import BASE
from tests.needs import need
from tests.network.stage import Place, wire
from tests.people import Person, person

pytestmark = [pytest.mark.root, pytest.mark.user, pytest.mark.netns]

# What is installed is the machine's; in a mount namespace of the test's own only one of the two programs is, or none.
_STAGE = """
import os, sys
sys.path.append(sys.argv[1])
from notebook_containers.linux import syscalls
tool, uid, gid = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
for name in {"pasta", "slirp4netns"} - {tool}:
    if os.path.exists(f"/usr/bin/{name}"):
        syscalls.mount("/dev/null", f"/usr/bin/{name}", "", syscalls.MS_BIND)
if tool:
    syscalls.mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755")
    os.mknod("/dev/net/tun", 0o20666, os.makedev(10, 200))
    os.chmod("/dev/net/tun", 0o666)
os.setgroups([])
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
os.execv("/usr/bin/python3", ["/usr/bin/python3", "-c", *sys.argv[5:]])
"""

_JOURNEY = f"""
import json, sys, time, urllib.request
from notebook_containers import Engine
from notebook_containers.commands.topology import topology
from notebook_containers.errors import Conflict, Unsupported
served = "mkdir -p /www; echo served > /www/index.html; exec busybox httpd -f -p 80 -h /www"
def wait(action):
    deadline = time.monotonic() + 30
    while True:
        try:
            return action()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
def published(container, inside):
    container.reload()
    (port,) = [p.host_port for p in container.ports if p.container_port == inside]
    return wait(lambda: urllib.request.urlopen(f"http://127.0.0.1:{{port}}/", timeout=10).read().decode())
found = {{}}
with Engine() as engine:
    def ask(network, host, seconds=10, program=""):
        program = program or f"wget -qO- http://{{host}}/"
        script = f"timeout {{seconds}} {{program}} || echo no way"
        return engine.containers.run({BASE!r}, ["sh", "-c", script], network=network, remove=True).decode().strip()
    for name in ("web", "apart"):
        engine.networks.create(name)
    engine.networks.create("closed", internal=True)
    options = dict(detach=True, name="server", network="web", ports={{"80/tcp": None}}, stop_timeout=0)
    server = engine.containers.run({BASE!r}, ["sh", "-c", served], **options)
    found["picture"] = topology(engine, ["web"]).networks[0].way_out()
    found["warned"] = any("no outgoing network" in line for line in server.warnings)
    found["published"] = published(server, 80)
    address = server.document.endpoint.address
    found["same network"] = ask("web", address)
    found["by name"] = ask("web", "server")
    found["name in another"] = ask("apart", "server", 1)
    found["another network"] = ask("apart", address, 1)
    found["gateway's own"] = ask("web", server.document.endpoint.gateway, 1)
    outside = f"busybox nc {{sys.argv[1]}} {{sys.argv[2]}} </dev/null"
    found["outside"] = ask("web", "", 5, outside)
    found["outside, internal"] = ask("closed", "", 1, outside)
    engine.networks.connect("apart", server)
    server.reload()
    found["connected"] = ask("apart", "server")
    server.update(ports=["81"])
    server.exec_run(["sh", "-c", "busybox httpd -p 81 -h /www"])
    found["published while it runs"] = published(server, 81)
    server.restart(timeout=0)
    found["after a restart"] = published(server, 80)
    server.reload()
    found["and inside"] = ask("web", "server")
    try:
        engine.networks.remove("web")
    except Conflict as err:
        found["removed too early"] = err.message
    server.remove(force=True)
    for name in ("web", "apart", "closed"):
        engine.networks.remove(name)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def people() -> Iterator[dict[str, Person]]:
    with person(lent=True) as wide, person(lent=False) as single:
        yield {"wide": wide, "single": single}


@pytest.fixture
def outside() -> Iterator[tuple[str, int]]:
    """A machine on the LAN that listens: its address and port."""
    number = os.getpid() % 250
    place = Place()
    try:
        wire(place, f"nbclan{number}", f"198.19.{number}.1", f"198.19.{number}.2", f"198.19.{number}.0/24")
        with place.listening() as port:
            yield f"198.19.{number}.2", port
    finally:
        place.end()


def run(who: Person, tool: str, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    need(not tool or os.access(f"/usr/bin/{tool}", os.X_OK), tool or "nothing")
    tree = str(Path(__file__).parents[2])
    return subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", _STAGE, tree, tool, str(who.uid), str(who.gid), code, *words],
        env=who.environment,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.mark.parametrize(("ids", "tool"), [("wide", "pasta"), ("single", "slirp4netns"), ("wide", ""), ("single", "")])
def test_containers_of_a_user_reach_each_other(people: dict[str, Person], outside: tuple[str, int], ids: str, tool: str) -> None:
    address, port = outside
    done = run(people[ids], tool, _JOURNEY, address, str(port))
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    answered = found.pop("outside")
    assert ("hello" in answered) == bool(tool), answered
    assert found == {
        "picture": f"outward by {tool}" if tool else "no way out: neither pasta nor slirp4netns can be used",
        "warned": not tool,
        "published": "served\n",
        "same network": "served",
        "by name": "served",
        "name in another": "no way",
        "another network": "no way",
        "gateway's own": "no way",
        "outside, internal": "no way",
        "connected": "served",
        "published while it runs": "served\n",
        "after a restart": "served\n",
        "and inside": "served",
        "removed too early": "network web is used by server",
    }
    deadline = time.monotonic() + 30
    while left := people[ids].processes():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert not (people[ids].home / "run" / "networks" / "holder").exists()


_STACK = f"""
name: stack
services:
  web: {{image: {BASE}, command: [sh, -c, "mkdir -p /www; echo served > /www/index.html; exec busybox httpd -f -p 80 -h /www"]}}
  asking: {{image: {BASE}, command: sleep 1000, depends_on: [web]}}
"""


def test_a_stack_of_a_user_works(people: dict[str, Person]) -> None:
    user = people["single"]
    (user.home / "compose.yaml").write_text(_STACK)
    compose = ("compose", "-f", user.home / "compose.yaml")
    user.nbc(*compose, "up", "-d")
    try:
        ask = "for i in 1 2 3 4 5 6 7 8 9; do timeout 10 wget -qO- http://web/ && exit; sleep 0.2; done"
        assert user.nbc(*compose, "exec", "asking", "sh", "-c", ask) == "served\n"
    finally:
        user.nbc(*compose, "down", "-t", "0")
