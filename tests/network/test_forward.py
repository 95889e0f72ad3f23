from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notebook_containers.errors import NetworkError, Unsupported
from notebook_containers.linux import syscalls
from notebook_containers.network import bridge, carry, forward, listeners, ports
from tests.network.stage import ROOT, Place, ask, ends, network, reaches

pytestmark = [pytest.mark.root, pytest.mark.netns]
Make = Callable[[], Place]


def joined(place: Place, last: int = 2) -> str:
    bridge.ensure(network())
    return bridge.attach(network(), pid=place.pid, container_id=f"c{place.pid}", address=f"10.133.1.{last}").address


def publish(place: Place, text: str, address: str | None) -> tuple[int, int]:
    """Publish and return (forwarder's pid, host port)."""
    sockets, mappings = ports.reserve(ports.parse(text))
    pid = forward.start(sockets, mappings, pid=place.pid, address=address)
    place.attendants.append(pid)
    return pid, mappings[0].host_port


def test_published_port_leads_into_the_container(place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening() as port:
        _, host_port = publish(container, f"{port}", address)
        assert ask("127.0.0.1", host_port, b"ping") == b"hello from 10.133.1.1 ping"


def test_net01_loopback_port_is_refused_from_the_lan(lan: Place, place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening() as port:
        _, host_port = publish(container, f"{port}", address)
        assert reaches("127.0.0.1", host_port)
        assert lan.blocked("198.51.100.1", host_port)


def test_a_port_on_all_addresses_is_open_to_the_lan(lan: Place, place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening() as port:
        _, host_port = publish(container, f"0.0.0.0::{port}", address)
        assert lan.reaches("198.51.100.1", host_port)


@pytest.mark.parametrize(("where", "host"), [("[::1]", "::1"), ("[::]", "::1")])
def test_a_port_of_ipv6_leads_into_a_container_of_ipv4(place: Make, where: str, host: str) -> None:
    container = place()
    address = joined(container)
    inside = container.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with container.listening() as port, inside:
        inside.bind(("0.0.0.0", 0))
        inside.settimeout(10)
        _, host_port = publish(container, f"{where}::{port}", address)
        assert ask(host, host_port, b"ping") == b"hello from 10.133.1.1 ping"
        assert not reaches("127.0.0.1", host_port), "a port of IPv6 is of that alone"
        _, udp_port = publish(container, f"{where}::{inside.getsockname()[1]}/udp", address)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.sendto(b"ping", (host, udp_port))
            data, peer = inside.recvfrom(10)
            inside.sendto(data + b" back", peer)
            assert client.recv(100) == b"ping back"


def test_much_data_comes_back_whole_and_a_half_closed_connection_stays(place: Make) -> None:
    container, data = place(), os.urandom(8 << 20)
    address = joined(container)
    with container.listening() as port:
        _, host_port = publish(container, f"{port}", address)
        with socket.create_connection(("127.0.0.1", host_port), timeout=20) as connection:

            def send() -> None:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            answer = b"".join(iter(lambda: connection.recv(1 << 18), b""))
            sender.join()
    assert answer == b"hello from 10.133.1.1 " + data


def test_p7_a_reader_that_stalls_holds_the_writer_back_not_our_memory(place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening() as port:
        pid, host_port = publish(container, f"{port}", address)
        with socket.create_connection(("127.0.0.1", host_port), timeout=1) as connection:
            with pytest.raises(TimeoutError):
                connection.sendall(b"x" * (256 << 20))
            assert rss_kb(pid) < 30_000
            assert reaches("127.0.0.1", host_port)  # nobody else is held up


def test_nobody_listening_inside_is_a_reset_not_an_end(place: Make) -> None:
    container = place()
    address = joined(container)
    _, host_port = publish(container, "81", address)
    with pytest.raises(ConnectionResetError):
        ask("127.0.0.1", host_port, b"x")
    with container.listening(port=81):  # and a program that starts late is found
        assert reaches("127.0.0.1", host_port)


def test_a_connection_reset_inside_is_reset_outside(place: Make) -> None:
    container = place()
    address = joined(container)
    listener = container.run(lambda: socket.create_server(("0.0.0.0", 0)))
    _, host_port = publish(container, f"{listener.getsockname()[1]}", address)
    with listener, socket.create_connection(("127.0.0.1", host_port), timeout=3) as connection:
        inner, _ = listener.accept()
        inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        inner.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_many_connections_at_once(place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening() as port, contextlib.ExitStack() as stack:
        pid, host_port = publish(container, f"{port}", address)
        every = [stack.enter_context(socket.create_connection(("127.0.0.1", host_port), timeout=5)) for _ in range(100)]
        for number, connection in enumerate(every):
            connection.sendall(f"{number};".encode())
        for number, connection in enumerate(every):
            connection.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda c=connection: c.recv(4096), b"")).endswith(f" {number};".encode())  # type: ignore[misc]
        assert eventually(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 10)


def test_p4_forwarder_ends_with_the_container_and_frees_the_port(place: Make) -> None:
    container = place()
    address = joined(container)
    with container.listening() as port:
        pid, host_port = publish(container, f"{port}", address)
        stuck = socket.create_connection(("127.0.0.1", host_port), timeout=5)
        container.end()
        assert ends(pid)
        stuck.close()
    again, _ = ports.reserve(ports.parse(f"{host_port}:80"))
    again[0].close()


def test_p4_forwarder_outlives_the_process_that_started_it(place: Make) -> None:
    container = place()
    address = joined(container)
    script = f"""
import os, signal
from notebook_containers.network import forward, ports
sockets, mappings = ports.reserve(ports.parse("82"))
print(forward.start(sockets, mappings, pid={container.pid}, address="{address}"), mappings[0].host_port, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env={"PYTHONPATH": str(ROOT), "SECRET": "x"}, check=False, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, host_port = map(int, done.stdout.split())
    with container.listening(port=82):
        assert reaches("127.0.0.1", host_port)
    container.end()
    assert ends(pid)


def test_rt02_forwarder_has_nothing_of_the_notebook(place: Make) -> None:
    container = place()
    address = joined(container)
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        pid, _ = publish(container, "80", address)
    finally:
        os.close(leak)
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.getsid(pid) != os.getsid(0)

    def descriptors() -> list[str]:
        found = [os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")]
        return sorted("other" if name in {"pidfd", "anon_inode"} else name for name in found)

    # The others are the pidfd and epoll, which older and newer kernels name differently.
    assert eventually(lambda: descriptors() == ["/dev/null"] * 3 + ["other"] * 2 + ["socket"]), descriptors()
    facts = dict(line.split(":\t", 1) for line in status(pid).splitlines())
    assert {facts[key] for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert facts["NoNewPrivs"] == "1"
    assert facts["Name"] == "nbc-forward"


def test_rel33_an_idle_forwarder_sleeps(place: Make) -> None:
    container = place()
    address = joined(container)
    pid, _ = publish(container, "80", address)

    def switches() -> int:
        lines = status(pid).splitlines()
        return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)

    time.sleep(0.2)
    before = switches()
    time.sleep(1)
    assert switches() == before


def test_a_taken_port_names_the_forwarder(place: Make) -> None:
    container = place()
    address = joined(container)
    pid, host_port = publish(container, "80", address)
    assert ports.holder(host_port) == f"nbc-forward (pid {pid})"


def test_a_container_that_is_gone_is_an_error_and_the_port_is_free(place: Make) -> None:
    container = place()
    container.end()
    sockets, mappings = ports.reserve(ports.parse("80"))
    with pytest.raises(NetworkError, match=f"published ports of process {container.pid}"):
        forward.start(sockets, mappings, pid=container.pid, address="10.133.1.2")
    again, _ = ports.reserve(mappings)
    again[0].close()


@contextmanager
def echoing(place: Place) -> Iterator[int]:
    listener = place.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    listener.bind(("0.0.0.0", 0))
    listener.settimeout(0.2)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                data, peer = listener.recvfrom(65535)
                listener.sendto(data + b" to " + str(peer[1]).encode(), peer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    stop.set()
    thread.join()
    listener.close()


def test_udp_goes_both_ways_and_each_client_gets_its_own_answers(place: Make) -> None:
    container = place()
    address = joined(container)
    with echoing(container) as port, contextlib.ExitStack() as stack:
        _, host_port = publish(container, f"{port}/udp", address)
        clients = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(5)]
        for number, client in enumerate(clients):
            client.settimeout(3)
            client.sendto(f"{number}".encode(), ("127.0.0.1", host_port))
        answers = [client.recvfrom(100) for client in clients]
        assert [data.split()[0] for data, _ in answers] == [f"{n}".encode() for n in range(5)]
        assert len({data.split()[2] for data, _ in answers}) == 5
        assert {peer for _, peer in answers} == {("127.0.0.1", host_port)}
        clients[0].sendto(b"again", ("127.0.0.1", host_port))
        assert clients[0].recv(100).split() == [b"again", b"to", answers[0][0].split()[2]]


def test_udp_sessions_are_bounded_and_end_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    target = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target.bind(("127.0.0.1", 0))
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    loop = carry.Loop()
    port = listeners.UdpPort(loop, listener, listeners.Door("127.0.0.1", target.getsockname()[1], None), most=3)
    with contextlib.ExitStack() as stack:
        for number in range(5):
            client = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            client.sendto(f"{number}".encode(), listener.getsockname())
            for key, events in loop.selector.select(1):
                key.data(events)
        assert len(port.sessions) == 3
        assert port.sweep() is not None
        monkeypatch.setattr(listeners, "UDP_IDLE_S", -1.0)
        assert port.sweep() is None
        assert port.sessions == {}
        assert len(loop.selector.get_map()) == 1
    loop.forget(listener)
    loop.selector.close()
    target.close()


@pytest.fixture
def userns(machine: None) -> Iterator[Place]:
    made = Place(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
    yield made
    made.end()


def test_net10_without_an_address_the_port_is_reached_from_inside_and_not_as_loopback(userns: Place) -> None:
    with userns.listening("127.0.0.1") as port:
        pid, host_port = publish(userns, f"{port}", None)
        assert ask("127.0.0.1", host_port, b"ping") == b"hello from 169.254.254.1 ping"
        assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.fstat(userns.namespace).st_ino
        assert os.stat(f"/proc/{pid}/ns/user").st_ino == os.stat(f"/proc/{userns.pid}/ns/user").st_ino


@pytest.mark.user
def test_an_ordinary_user_publishes_a_port(tmp_path: object) -> None:
    python = sys.executable if os.path.realpath(sys.executable).startswith("/usr/") else "/usr/bin/python3"
    done = subprocess.run(
        [python, "-I", "-S", "-c", _AS_USER, str(ROOT)],
        user=64231,
        group=64231,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
    )
    assert done.stdout.splitlines() == ["hello from 169.254.254.1 ping", "True", "ended"], done.stderr


_AS_USER = """
import os, select, socket, subprocess, sys
sys.path.append(sys.argv[1])
from notebook_containers.network import forward, ports
inside = '''
import socket, sys
sys.path.append(sys.argv[1])
from notebook_containers.linux import syscalls
from notebook_containers.linux.netlink import NetlinkSocket
from notebook_containers.network import links
syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET)
with NetlinkSocket() as kernel:
    kernel.execute([links.set_link(1)])
listener = socket.create_server(("127.0.0.1", 8080))
print("there", flush=True)
connection, peer = listener.accept()
data = connection.recv(100)
connection.sendall(b"hello from " + peer[0].encode() + b" " + data)
connection.close()
sys.stdin.read()
'''
container = subprocess.Popen([sys.executable, "-I", "-S", "-c", inside, sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert container.stdout.readline() == b"there\\n"
sockets, mappings = ports.reserve(ports.parse("8080"))
pid = forward.start(sockets, mappings, pid=container.pid, address=None)
with socket.create_connection(("127.0.0.1", mappings[0].host_port), timeout=5) as connection:
    connection.sendall(b"ping")
    print(connection.recv(100).decode())
print(ports.holder(mappings[0].host_port).startswith("nbc-forward"))
pidfd = os.pidfd_open(pid)
container.communicate()
print("ended" if select.select([pidfd], [], [], 5)[0] else "still there")
"""


def status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def rss_kb(pid: int) -> int:
    lines = status(pid).splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def eventually(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    return done()


def test_messages_stay_messages() -> None:
    """What sctp needs: each is passed on as one, however many wait."""
    outer, client = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = carry.Loop()
    ended: list[carry.Connection] = []
    with outer, inner:
        inner.settimeout(20)
        carry.Connection(loop, client, server, ended.append, messages=True)
        for message in (b"one", b"two" * 100, b"three"):
            outer.send(message)
        outer.shutdown(socket.SHUT_WR)
        inner.send(b"answer")
        inner.shutdown(socket.SHUT_WR)
        while not ended:
            for key, events in loop.selector.select(20):
                key.data(events)
        assert [inner.recv(1000) for _ in range(4)] == [b"one", b"two" * 100, b"three", b""]
        assert [outer.recv(1000) for _ in range(2)] == [b"answer", b""]
    loop.selector.close()


def test_a_protocol_that_the_kernel_lacks_is_named() -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        with pytest.raises(Unsupported, match=r"port 8080/sctp .* cannot be published: this kernel has no SCTP"):
            ports.reserve(ports.parse("8080:80/sctp"))
    else:
        sockets, mappings = ports.reserve(ports.parse("80/sctp"))
        sockets[0].close()
        assert mappings[0].host_port
