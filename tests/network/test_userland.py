from __future__ import annotations

import os
import subprocess
import sys

import pytest

from notebook_containers.errors import Unsupported
from notebook_containers.network import userland
from tests.needs import need
from tests.network.stage import ROOT, Place

_SCRIPT = """
import os, select, socket, subprocess, sys
sys.path.append(sys.argv[1])
from notebook_containers.network import userland
wanted, port = sys.argv[2], int(sys.argv[3])
found = userland.Tool(name=wanted, path=f"/usr/bin/{wanted}", resolver="169.254.1.1")
userland.find = lambda: found
inside = '''
import socket, sys
sys.path.append(sys.argv[1])
from notebook_containers.linux import syscalls
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import links
syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
with NetlinkSocket() as kernel:
    kernel.execute([links.set_link(1)])
print("there", flush=True)
for line in sys.stdin:
    address, port = line.split()
    try:
        with socket.create_connection((address, int(port)), timeout=2) as connection:
            print(connection.recv(5).decode(), flush=True)
    except OSError as err:
        print("no", flush=True)
'''
container = subprocess.Popen(
    [sys.executable, "-I", "-S", "-c", inside, sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
container.stdout.readline()
for name, words in (("setgroups", "deny"), ("gid_map", f"0 {os.getgid()} 1"), ("uid_map", f"0 {os.getuid()} 1")):
    with open(f"/proc/{container.pid}/{name}", "w") as file:
        file.write(words)
def ask(address, port):
    container.stdin.write(f"{address} {port}\\n")
    container.stdin.flush()
    return container.stdout.readline().strip()
print("before", ask("198.51.100.2", port))
pid = userland.start(container.pid)
print("after", ask("198.51.100.2", port))
print("metadata", ask("169.254.169.254", 80))
own = socket.create_server(("127.0.0.1", 0))
children = open(f"/proc/{pid}/task/{pid}/children").read().split()
descriptors = [os.pidfd_open(int(p)) for p in [str(pid), *children]]
container.communicate()
print("ended", len(descriptors), all(select.select([d], [], [], 5)[0] for d in descriptors))
"""

# Ordinary users may open /dev/net/tun on most systems; here they may in a mount namespace of the test's own.
_AS_USER = """
import os, subprocess, sys
sys.path.append(sys.argv[2])
from notebook_containers.linux import syscalls
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
syscalls.mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755")
os.mknod("/dev/net/tun", 0o20666, os.makedev(10, 200))
os.chmod("/dev/net/tun", 0o666)
os.setgroups([])
os.setresgid(64231, 64231, 64231)
os.setresuid(64231, 64231, 64231)
os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", sys.argv[1], *sys.argv[2:]])
"""


@pytest.mark.root
@pytest.mark.user
@pytest.mark.netns
@pytest.mark.parametrize("name", ["pasta", "slirp4netns"])
def test_a_container_of_an_ordinary_user_reaches_the_outside_and_nothing_stays(lan: Place, name: str) -> None:
    need(os.access(f"/usr/bin/{name}", os.X_OK), name)
    python = sys.executable if os.path.realpath(sys.executable).startswith("/usr/") else "/usr/bin/python3"
    with lan.listening() as port:
        done = subprocess.run(
            [python, "-I", "-S", "-c", _AS_USER, _SCRIPT, str(ROOT), name, str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
        )
    assert done.stdout.splitlines() == ["before no", "after hello", "metadata no", "ended 2 True"], done.stderr


def test_without_a_tool_it_is_said_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userland, "_DIRECTORIES", ())
    assert "no way out" in userland.describe()
    assert "install passt" in userland.describe()
    with pytest.raises(Unsupported, match="no program for outgoing connections"):
        userland.start(os.getpid())
